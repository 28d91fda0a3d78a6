"""`unjoin migrate` as a process: what a deployment runs before its sinks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sinks.clickhouse.address import address_of
from sinks.clickhouse.migrate import migrations
from sinks.clickhouse.server import Server
from sinks.rows.dictionary import DICTIONARY
from testkit.clickhouse_server import ClickHouseServer, missing

pytestmark = pytest.mark.server


def _migrate(folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("UNJOIN_")}
    return subprocess.run(
        [sys.executable, "-m", "unjoin", "migrate"],
        env=plain | {"UNJOIN_DATA_DIR": str(folder), "UNJOIN_CLICKHOUSE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_migrate_makes_the_tables_once_and_reads_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every upgrade runs it: the second time there is nothing to do, and no broker is asked for."""
    if reason := missing():
        pytest.skip(reason)
    server = ClickHouseServer(tmp_path_factory.mktemp("server"))
    server.start()
    try:
        url = server.url_of("default", "")
        for _ in range(2):
            done = _migrate(tmp_path_factory.mktemp("sink"), url)
            assert done.returncode == 0, done.stderr
            assert "the tables are up to date" in done.stderr
        engine = Server(address_of(url))
        applied = engine.select("SELECT count() FROM unjoin.migrations", "TabSeparated")
        silent = engine.select("SELECT table, name FROM system.columns WHERE database = 'unjoin' AND comment = ''")
        (said,) = engine.run("SELECT comment FROM system.tables WHERE database = 'unjoin' AND name = 'label_export'")[0]
        engine.close()
        assert int(applied) == len(migrations())
        assert silent == b""
        assert said == (DICTIONARY["label_export"].comment,)
    finally:
        server.stop()


def test_migrate_without_a_server_fails_with_a_sentence(tmp_path: Path) -> None:
    """A deployment that cannot have its tables stops there, and tells nobody the password."""
    done = _migrate(tmp_path, "clickhouse://sink:hunter2@127.0.0.1:1/unjoin")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr
    assert done.stderr.strip()
