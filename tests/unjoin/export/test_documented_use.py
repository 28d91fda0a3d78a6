"""docs/export.md: what it shows people to write runs, on files as `unjoin export` writes them."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from sinks.clickhouse.embedded import Embedded
from tests.unjoin.export.test_increments import CLOSED, K, exported, random_votes, store
from unjoin.export.labels import export_labels
from unjoin.export.source import ReadTable
from unjoin.export.views import CONSENSUS, VOTES

PAGE = (Path(__file__).parents[3] / "docs" / "export.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(engine: Embedded, source: ReadTable, tmp_path: Path) -> Path:
    """The files that the page names."""
    store(engine, random_votes(1))
    for view, name in ((CONSENSUS, "labels.parquet"), (VOTES, "votes.parquet")):
        export_labels(source, view, K, tmp_path / name, lambda done, of: None)
    for closed in CLOSED:
        exported(source, tmp_path / "labels", closed)
    return tmp_path


def test_every_snippet_of_the_page_runs_and_gives_rows(folder: Path) -> None:
    """In one process, for what they import takes seconds; without a network, for the files are here.

    Faust wants another click than `datasets` does, so that is run where PYTHONPATH has it.
    """
    names = [re.findall(r"^(?:import|from) (\w+)", snippet, re.M)[-1] for snippet in SNIPPETS]
    assert names == ["pandas", "pandas", "polars", "duckdb", "datasets", "pyarrow"]
    here = {
        name: snippet for name, snippet in enumerate(SNIPPETS) if names[name] != "datasets" or find_spec("datasets")
    }
    lines = [f"exec({snippet!r}, space := {{}}); print(len(space['frame']))" for snippet in here.values()]
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    environment = {
        **kept,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "hf"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    whole, added_up, answers, consensus, *votes, notes = map(int, done.stdout.split())
    assert added_up == consensus <= answers
    assert added_up
    assert all(count > 0 for count in (whole, *votes))
    assert notes == 1
