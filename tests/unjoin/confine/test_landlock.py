"""Each role can open its own keys, and no other's; a process that answers SQL can open none."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ingest.access.sites import SitesFile
from tests.unjoin.confined import DAY
from unjoin.confine.allowed_paths import Role, allowed_paths_of
from unjoin.confine.landlock import SandboxError, confine
from unjoin.keys.keyring import Keyring
from unjoin.settings import Settings

ROOT = Path(__file__).parents[3]
SHUT = "errno 13"
EVERYWHERE_SHUT = ("records", "listing", "writing", "accounts", "parent", "program")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data directory with keys of both roles, a site, and a broker's and an engine's files."""
    settings = Settings(data_dir=tmp_path)
    for folder in (settings.edge_keys_dir, settings.epoch_keys_dir):
        Keyring(folder).key_of(DAY)
    SitesFile(settings.sites_file).add("shop", ["https://shop.example"])
    for folder in (settings.clickhouse_dir, tmp_path / "kafka"):
        folder.mkdir()
    return settings


def tried(role: Role, settings: Settings) -> dict[str, Any]:
    """What a process of that role could reach; skips where there is no Landlock."""
    command = [sys.executable, "-m", "tests.unjoin.confined", role, str(settings.data_dir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    if not found["confined"]:
        pytest.skip("this kernel has no Landlock, so there is no such layer here")
    for attempt in EVERYWHERE_SHUT:
        assert found[attempt] == SHUT, attempt
    assert not (settings.data_dir / "x").exists()
    return found


def test_a_collector_uses_edge_keys_and_opens_no_epoch_key(settings: Settings) -> None:
    """Who breaks into a collector has sessions and edge keys; with the door's they would have the rows, too."""
    found = tried("collector", settings)
    assert found["edge keys used"] == "1 left of 3 events"
    assert found["epoch key"] == SHUT
    assert found["epoch keys used"].startswith("KeysUnreachable")
    assert (found["sites"], found["sites changed"]) == ("1", SHUT)
    assert found["stored rows"] == SHUT


def test_a_processor_uses_epoch_keys_and_opens_no_edge_key(settings: Settings) -> None:
    """The door knows voters; with the edge's key it could try sessions until one fits."""
    found = tried("processor", settings)
    assert found["epoch keys used"] == "1 left of 3 events"
    for attempt in ("edge key", "edge key through proc", "sites", "sites changed", "stored rows"):
        assert found[attempt] == SHUT, attempt
    assert found["edge keys used"].startswith("KeysUnreachable")


def test_a_sink_stores_rows_and_opens_no_key(settings: Settings) -> None:
    """The last layer: whatever hole the ones above have, by SQL or in Python, the kernel says no."""
    found = tried("sink", settings)
    for attempt in ("edge key", "edge key through proc", "epoch key", "sites", "sites changed"):
        assert found[attempt] == SHUT, attempt
    assert found["stored"] == 1
    for attempt in ("sql scalar", "sql table", "sql outfile"):
        assert "Permission denied" in found[attempt], attempt
    assert found["sql glob"] == "b''"
    assert found["external table"] == r"b'45\n'", "a file in memory, and an answer through a pipe"
    assert found["again"].startswith("SandboxError threads are running")


@pytest.mark.parametrize("role", ["collector", "processor", "sink"])
def test_a_role_reaches_nothing_that_it_must_not(role: Role, tmp_path: Path) -> None:
    """Whatever is opened must hold nothing that is closed, and both kinds of keys are never open at once."""
    settings = Settings(data_dir=tmp_path)
    reach = allowed_paths_of(role, settings)
    opened = (*reach.read, *reach.write, *reach.files)
    assert not any(shut.is_relative_to(path) for shut in reach.closed for path in opened)
    keys = {settings.edge_keys_dir, settings.epoch_keys_dir}
    assert len(keys & set(reach.closed)) == (2 if role == "sink" else 1)
    assert keys & set(opened) == keys - set(reach.closed)


def test_a_sink_of_a_server_writes_temporary_files_alone(tmp_path: Path) -> None:
    """What it stores lies in the server; chdb, which transcodes for it, wants a temporary folder."""
    settings = Settings(
        data_dir=tmp_path, clickhouse_url="clickhouse://store:9000/unjoin", asn_database="/srv/asn.mmdb"
    )
    reach = allowed_paths_of("sink", settings)
    assert reach.write == (settings.clickhouse_dir,)
    assert reach.files == (Path("/srv"),)  # where the file that replaces this one will lie


@pytest.mark.parametrize("role", ["collector", "processor", "sink"])
def test_token_of_the_brokers_is_read_by_every_role_and_whatever_replaces_it(role: Role, tmp_path: Path) -> None:
    """Kubernetes mounts a link to a link to a folder, which it makes anew each time."""
    mounted, data = tmp_path / "mounted", tmp_path / "data"
    (mounted / "..1").mkdir(parents=True)
    (mounted / "..1" / "token").touch()
    (mounted / "..data").symlink_to("..1")
    (mounted / "token").symlink_to("..data/token")
    reach = allowed_paths_of(role, Settings(data_dir=data, kafka_oauth_token_file=str(mounted / "token")))
    assert mounted in reach.files


def test_a_sink_reads_certificates_also_those_that_replace_them(tmp_path: Path) -> None:
    """They are read for each connection."""
    paths = {f"clickhouse_tls_{name}": f"/etc/tls/{name}.pem" for name in ("ca", "cert", "key")}
    settings = Settings(data_dir=tmp_path, clickhouse_url="clickhouses://store/unjoin", **paths)
    assert set(allowed_paths_of("sink", settings).files) == {Path("/etc/tls")}
    assert allowed_paths_of("collector", settings).files == allowed_paths_of("processor", settings).files == ()


def test_asn_database_beside_keys_opens_itself_alone(tmp_path: Path) -> None:
    """Its folder is readable, so that a new file is; not where that would open keys."""
    database = tmp_path / "asn.mmdb"
    reach = allowed_paths_of("sink", Settings(data_dir=tmp_path, asn_database=str(database)))
    assert reach.files == (database,)


def test_a_folder_to_open_that_holds_the_keys_is_refused(settings: Settings) -> None:
    """Landlock knows no exceptions: whoever may read a folder may read all of it."""
    with pytest.raises(SandboxError, match="move the data directory"):
        confine([settings.data_dir], [], closed=[settings.edge_keys_dir])
