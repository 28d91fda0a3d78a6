"""A process that answers SQL cannot open a key."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sinks.sandbox import SandboxError, confine

ROOT = Path(__file__).parents[2]
SECRET = "canary-key-4417"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a key and the sites in it."""
    keys = tmp_path / "keys" / "edge"
    keys.mkdir(parents=True)
    (keys / "2026-09-21").write_text(SECRET)
    (tmp_path / "sites.json").write_text(SECRET)
    return tmp_path


def test_a_confined_process_stores_rows_and_opens_no_key(data: Path) -> None:
    """The last layer: whatever hole the ones above have, by SQL or in Python, the kernel says no."""
    command = [sys.executable, "-m", "tests.sinks.confined", str(data), SECRET]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    found = json.loads(done.stdout)
    if not found["confined"]:
        pytest.skip("this kernel has no Landlock, so there is no such layer here")
    assert SECRET not in done.stdout
    for attempt in ("key", "key through proc", "sites", "listing", "writing", "accounts", "parent", "program"):
        assert found[attempt] == "errno 13", attempt
    assert found["stored"] == 1
    for attempt in ("sql scalar", "sql table", "sql outfile"):
        assert "Permission denied" in found[attempt], attempt
    assert found["sql glob"] == "b''"
    assert found["again"].startswith("SandboxError threads are running")
    assert not (data / "x").exists()


def test_a_folder_to_open_that_holds_the_keys_is_refused(data: Path) -> None:
    """Landlock knows no exceptions: whoever may read a folder may read all of it."""
    with pytest.raises(SandboxError, match="move the data directory"):
        confine([data], [], closed=[data / "keys"])
