"""`unjoin export` on a running pipeline, as an operator calls it."""

import datetime
import json
import re
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from examples.verdicts.__main__ import ExampleError, features_of, post, verdicts_of
from testkit.running_stack import RunningStack
from unjoin.export.by_day import export_by_day
from unjoin.export.files import ExportError, Notes, new_file
from unjoin.export.labels import fetch, now
from unjoin.export.signal_views import FEATURES, SIGNALS
from unjoin.export.source import source_of
from unjoin.export.views import CONSENSUS, VOTES
from unjoin.settings import Settings

pytestmark = pytest.mark.kafka
NOW_MS = 1_790_000_000_123
SESSIONS = 60
ODD_TASKS = ("file", "eval", "ai-summary", "executable:7", "outfile")


@pytest.fixture(scope="module")
def mark(stack: RunningStack) -> str:
    """Part of the tasks that sessions of this module have answered; at least two whole crowds of them have left."""
    mark = uuid.uuid4().hex[:12]
    for number in range(SESSIONS):
        events = [
            {"type": "text_answer", "task": f"common-{mark}", "answer": "beagle" if number % 10 else f"rare {number}"},
            {"type": "image_label", "task": f"rare-{mark}", "answer": f"nobody else says {number}"},
            *({"type": "image_label", "task": f"{task}-{mark}", "answer": "yes"} for task in ODD_TASKS),
        ]
        numbered = [{"id": f"{mark}-{number}-{place}", "ts": NOW_MS, **event} for place, event in enumerate(events)]
        posted = stack.post({"sent_at": NOW_MS, "session": f"{mark}-{number}", "events": numbered})
        assert posted[1]["accepted"] == len(events)
    assert stack.wait_until(f"SELECT count() >= 40 FROM labels WHERE task = 'common-{mark}'")
    return mark


def export(stack: RunningStack, *arguments: str) -> str:
    done = stack.command("export", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def test_labels_with_agreement_are_exported_without_what_few_say(
    stack: RunningStack, mark: str, tmp_path: Path
) -> None:
    """The file is what leaves the house."""
    target = tmp_path / "labels.parquet"
    said = export(stack, str(target))
    frame = pd.read_parquet(target)
    assert list(frame.columns) == CONSENSUS.schema.names
    match = re.fullmatch(rf"(\d+) tasks in {target}; (\d+) left out, for fewer than 5 votes say so", said)
    assert match
    assert int(match[1]) == len(frame)
    assert frame["votes"].min() >= 5
    common = frame[frame["task"] == f"common-{mark}"].iloc[0]
    assert common["answer"] == "beagle"
    assert common["agreement"] == common["votes"] / common["total"] < 1
    assert f"rare-{mark}" not in set(frame["task"])
    assert b"rare" not in target.read_bytes().replace(f"rare-{mark}".encode(), b"")


def test_votes_have_no_row_id_and_no_row_that_few_are_equal_to(stack: RunningStack, mark: str, tmp_path: Path) -> None:
    """A name that a vote keeps from file to file would join them."""
    target = tmp_path / "votes.parquet"
    export(stack, str(target), "--votes", "--k", "7")
    frame = pd.read_parquet(target)
    assert list(frame.columns) == ["task", "kind", "answer", "day"]
    assert frame.groupby(list(frame.columns), dropna=False).size().min() >= 7
    assert f"common-{mark}" in set(frame["task"])


def test_tasks_called_what_the_port_refuses_are_exported(stack: RunningStack, mark: str, tmp_path: Path) -> None:
    """Port 8123 refuses a statement with such a word even in a literal; a slice of one task ends at each of them."""
    settings = Settings(clickhouse_http_port=stack.clickhouse_port)
    for view in (CONSENSUS, VOTES):
        notes = Notes(dataset="", query="", made_at=now())
        with source_of(settings) as source, new_file(tmp_path / "rows", ".parquet", view.schema, notes) as file:
            fetch(source, view, 5, file, lambda done, of: None, slice_votes=1)
        tasks = set(pd.read_parquet(tmp_path / "rows")["task"])
        assert {f"{task}-{mark}" for task in ODD_TASKS} <= tasks


def test_no_day_that_has_not_closed_is_in_an_increment(stack: RunningStack, mark: str, tmp_path: Path) -> None:
    """Its votes go on coming; what a nightly job reads says so."""
    said = json.loads(export(stack, "--since-last", str(tmp_path / "out"), "--format", "json"))
    assert (said["file"], said["mark"], said["rows_of_all"]) == (None, None, 0)
    assert datetime.date.fromisoformat(said["closed"]) < datetime.datetime.now(datetime.UTC).date()
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["_manifest.json"]


def test_a_failed_export_leaves_the_file_of_before(stack: RunningStack, tmp_path: Path) -> None:
    """A reader sees the old file or the new one, and no half of either; nothing else stays behind."""
    target = tmp_path / "labels.parquet"
    target.write_bytes(b"the file of before")
    away = RunningStack.__new__(RunningStack)
    away.environment = {**stack.environment, "UNJOIN_CLICKHOUSE_HTTP_PORT": "1"}
    done = away.command("export", str(target))
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("unjoin: no ClickHouse answers at http://127.0.0.1:1/")
    assert target.read_bytes() == b"the file of before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_server_that_is_away_is_one_sentence() -> None:
    """The URL holds a password and is never shown."""
    settings = Settings(clickhouse_url="clickhouse://ml:secret@127.0.0.1:1/unjoin")
    with (
        pytest.raises(ExportError, match="ClickHouse does not answer where UNJOIN_CLICKHOUSE_URL points") as raised,
        source_of(settings) as source,
    ):
        source("SELECT 1 AS one", pa.schema([("one", pa.int64())]))
    assert "secret" not in str(raised.value)


def test_signals_and_features_are_exported_by_days_that_are_over(stack: RunningStack, tmp_path: Path) -> None:
    """Port 8123 lets through what that takes; today is not over, and the command says what it wrote and what not."""
    session = uuid.uuid4().hex
    event = {
        "id": session,
        "type": "pointer",
        "ts": NOW_MS,
        "t": [0, 40, 80, 120],
        "x": [0, 5, 9, 12],
        "y": [0, 1, 1, 2],
    }
    assert stack.post({"sent_at": NOW_MS, "session": session, "events": [event]})[1]["accepted"] == 1
    assert stack.wait_until(f"SELECT count() = 1 FROM session_features WHERE session = '{session}'")
    assert export(stack, "signals", str(tmp_path / "none")).startswith(
        "nothing yet: there are no signals of days until "
    )
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3)
    for dataset, expected in ((SIGNALS, {"x": [0, 5, 9, 12]}), (FEATURES, {"hand_movements": 1, "events": 1})):
        target = tmp_path / dataset.table
        with source_of(Settings(clickhouse_http_port=stack.clickhouse_port)) as source:
            export_by_day(source, dataset, target, later, lambda done, of: None)
        rows = [row for file in target.rglob("*.parquet") for row in pq.ParquetFile(file).read().to_pylist()]
        (row,) = (row for row in rows if row["session"] == session)
        assert expected.items() <= row.items()


def test_example_reads_the_view_and_its_verdict_is_accepted(stack: RunningStack) -> None:
    """Both ends of the example are here what they are for its readers."""
    session = uuid.uuid4().hex
    event = {"id": session, "type": "key", "ts": NOW_MS, "t_down": [0, 90], "t_up": [60, 140]}
    stack.post({"sent_at": NOW_MS, "session": session, "events": [event]})
    assert stack.wait_until(f"SELECT count() = 1 FROM session_features WHERE session = '{session}'")
    features = features_of(f"http://127.0.0.1:{stack.clickhouse_port}", "dev", 60)
    own = features[features["session"] == session]
    assert own["key_dwell_ms_q90"].tolist() == [59.0]
    verdicts = verdicts_of(own["session"], np.array([0.99]), 0.05, 0.95)
    collector = f"http://127.0.0.1:{stack.http_port}"
    assert post(collector, "dev-server-key", verdicts) == 1
    with pytest.raises(ExampleError, match="the collector refused: 401 "):
        post(collector, "no-such-key", verdicts)
