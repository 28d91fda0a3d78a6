"""From the views to a file: slices, types, and what a reader of the file gets."""

import datetime
import json
import uuid
from pathlib import Path
from typing import Any

import pandas
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.clickhouse.embedded import Embedded
from testkit.sink_records import label, labels
from unjoin.export.files import ExportError, Notes, new_file
from unjoin.export.labels import Exported, Sidecar, export_labels, fetch, now, slices_of, without_names
from unjoin.export.source import ReadTable, table_of
from unjoin.export.views import CONSENSUS, VOTES, View

AWKWARD = ["tab\there", "line\nbreak", "back\\slash", "quote'\"", "", "\\N", "naïve ☕ 日本", "nul\0l", "x" * 32_768]


def quiet(done: int, of: int) -> None:
    assert 0 <= done <= of


def store(engine: Embedded, answers: list[tuple[str, str]], votes: int = 2) -> None:
    rows = [
        {**label(0, task, answer), "row_id": str(uuid.UUID(int=number * 1_000 + vote))}
        for number, (task, answer) in enumerate(answers)
        for vote in range(votes)
    ]
    engine.insert(labels(rows))


def rows_of(source: ReadTable, view: View, k: int, target: Path) -> list[dict[str, Any]]:
    export_labels(source, view, k, target, quiet)
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(target).to_pylist()
    return rows


def fetched(source: ReadTable, view: View, k: int, file: Path, **options: Any) -> Exported:
    with new_file(file, ".parquet", view.schema, Notes(dataset="", query="", made_at=now())) as writer:
        return fetch(source, view, k, writer, quiet, **options)


def test_answers_arrive_as_they_are_stored(engine: Embedded, source: ReadTable, tmp_path: Path) -> None:
    """An answer is any text; what stands between the view and the file must not read it as anything else."""
    store(engine, [(f"t-{number}", answer) for number, answer in enumerate(AWKWARD)])
    stored = {f"t-{n}": answer for n, answer in enumerate(AWKWARD)}
    for view in (CONSENSUS, VOTES):
        rows = rows_of(source, view, 2, tmp_path / "rows.parquet")
        assert {row["task"]: row["answer"] for row in rows} == stored
        export_labels(source, view, 2, tmp_path / "rows.csv", quiet)
        frame = pandas.read_csv(
            tmp_path / "rows.csv", keep_default_na=False, dtype={"answer": str}, lineterminator="\n"
        )
        assert dict(zip(frame["task"], frame["answer"], strict=True)) == stored


def test_columns_have_the_types_that_they_mean(engine: Embedded, source: ReadTable, tmp_path: Path) -> None:
    """A reader's frame has text, numbers, truth values and dates, not bytes or numbers of days."""
    store(engine, [("dogs", "beagle"), ("dogs", "pug"), ("cats", "tabby")])
    rows = rows_of(source, CONSENSUS, 2, tmp_path / "c.parquet")
    assert all(0 < row.pop("agreement_low") < row["agreement"] <= row.pop("agreement_high") <= 1 for row in rows)
    assert rows == [
        {"kind": "image_label", **row}
        for row in (
            {"task": "cats", "answer": "tabby", "votes": 2, "total": 2, "agreement": 1.0, "tied": False},
            {"task": "dogs", "answer": "beagle", "votes": 2, "total": 4, "agreement": 0.5, "tied": True},
        )
    ]
    rows = rows_of(source, VOTES, 2, tmp_path / "v.parquet")
    assert len(rows) == 6
    assert rows[0] == {"task": "cats", "kind": "image_label", "answer": "tabby", "day": datetime.date(2026, 9, 21)}


@pytest.mark.parametrize("slice_votes", [1, 7, 1_000])
def test_every_row_is_in_exactly_one_slice(
    engine: Embedded, source: ReadTable, tmp_path: Path, slice_votes: int
) -> None:
    """Whatever a slice holds, together they are the view."""
    store(engine, [(f"t-{number % 23}", f"a-{number % 3}") for number in range(200)])
    slices = slices_of(source, slice_votes)
    assert (sum(one.tasks for one in slices), sum(one.votes for one in slices)) == (23, 400)
    assert len(slices) == {1: 23, 7: 23, 1_000: 1}[slice_votes]
    for view in (CONSENSUS, VOTES):
        exported = fetched(source, view, 5, tmp_path / "sliced.parquet", slice_votes=slice_votes)
        whole = source(f"SELECT * FROM unjoin.{view.name}(k = 5) ORDER BY {view.order}", view.schema)
        assert pyarrow.parquet.read_table(tmp_path / "sliced.parquet").equals(whole)
        assert exported.rows == whole.num_rows


def test_what_is_left_out_is_counted(engine: Embedded, source: ReadTable, tmp_path: Path) -> None:
    """Whoever trains on the file has to know what is missing."""
    store(engine, [("dogs", "beagle"), ("dogs", "beagle"), ("dogs", "pug"), ("cats", "tabby")])
    assert fetched(source, CONSENSUS, 3, tmp_path / "c") == Exported(rows=1, left_out=1, seen=2)
    assert fetched(source, VOTES, 3, tmp_path / "v") == Exported(rows=4, left_out=4, seen=8)


def test_task_counts_once_for_each_kind(engine: Embedded, source: ReadTable, tmp_path: Path) -> None:
    """It has an answer in each, of which one may be left out and the other not."""
    store(engine, [("dogs", "beagle")])
    engine.insert(labels([{**label(9, "dogs", "a beagle"), "kind": "text_answer"}]))
    assert fetched(source, CONSENSUS, 2, tmp_path / "c") == Exported(rows=1, left_out=1, seen=2)


def test_a_file_says_what_it_is(engine: Embedded, source: ReadTable, tmp_path: Path) -> None:
    """Whoever gets it alone, a year later, has to know which rule it was made by and what is missing."""
    store(engine, [("dogs", "beagle"), ("dogs", "beagle"), ("dogs", "pug"), ("cats", "tabby")])
    export_labels(source, CONSENSUS, 3, tmp_path / "l.parquet", quiet, names=None)
    notes = json.loads(pyarrow.parquet.read_metadata(tmp_path / "l.parquet").metadata[b"unjoin"])
    assert notes.keys() == set(Notes.__struct_fields__)
    assert (notes["rows"], notes["k"], notes["left_out"]) == (1, 3, {"fewer than 3 votes": 1})
    assert engine.select(notes["query"], "TSV").startswith(b"dogs\timage_label\tbeagle\t4\t6")
    export_labels(source, CONSENSUS, 3, tmp_path / "l.csv", quiet)
    beside = json.loads((tmp_path / "l.csv.json").read_bytes())
    assert {**beside["notes"], "made_at": 0} == {**notes, "made_at": 0}
    assert len(beside["sha256"]) == 64
    assert beside.keys() == set(Sidecar.__struct_fields__)


def test_answers_that_name_a_person_are_left_out_and_counted(
    engine: Embedded, source: ReadTable, tmp_path: Path
) -> None:
    """Whoever asks for no names gets the other votes whole, and learns how many are missing for which reason."""
    said = [
        ("signs", "text_answer", "Anna Karenina"),
        ("signs", "text_answer", "stop"),
        ("dogs", "image_label", "Anna"),
    ]
    rows = [
        {**label(0, task, answer), "kind": kind, "row_id": str(uuid.UUID(int=number))}
        for number, (task, kind, answer) in enumerate([*said * 3, ("few", "text_answer", "stop")])
    ]
    engine.insert(labels(rows))
    asked: list[str] = []
    exported = fetched(
        source, VOTES, 2, tmp_path / "v", names=lambda answer: bool(asked.append(answer)) or "Anna" in answer
    )
    assert exported == Exported(rows=6, left_out=1, named=3, seen=10)
    assert "Anna Karenina" not in pyarrow.parquet.read_table(tmp_path / "v")["answer"].to_pylist()
    assert set(asked) == {"Anna Karenina", "stop"}


@given(answer=st.text(max_size=40).filter(lambda text: not any("\ud800" <= letter <= "\udfff" for letter in text)))
@settings(deadline=None)
def test_any_answer_comes_through_and_is_what_the_finder_of_names_is_asked(embedded: Embedded, answer: str) -> None:
    """No text is so odd that it would shift a column, or that a name in it would be split in two."""
    sql = f"SELECT 't' AS task, 'text_answer' AS kind, unhex('{answer.encode().hex()}') AS answer, toDate(NULL) AS day"
    votes = table_of(embedded.select(sql, "ArrowStream"), VOTES.schema)
    asked: list[str] = []
    assert without_names(votes, lambda text: bool(asked.append(text))).equals(votes)
    assert asked == [answer]
    assert votes.to_pylist() == [{"task": "t", "kind": "text_answer", "answer": answer, "day": None}]


@pytest.mark.usefixtures("engine")
def test_nothing_to_export_is_a_file_without_rows(source: ReadTable, tmp_path: Path) -> None:
    """A job that runs every night must not fail on the first one."""
    assert rows_of(source, CONSENSUS, 2, tmp_path / "c.parquet") == []
    export_labels(source, CONSENSUS, 2, tmp_path / "c.csv", quiet)
    assert pandas.read_csv(tmp_path / "c.csv").columns.tolist() == CONSENSUS.schema.names
    told = json.loads(pyarrow.parquet.read_metadata(tmp_path / "c.parquet").metadata[b"unjoin"])
    beside = json.loads((tmp_path / "c.csv.json").read_bytes())["notes"]
    for notes in (told, beside):
        assert (notes["rows"], notes["left_out"]) == (0, {"fewer than 2 votes": 0})
        assert notes.keys() == set(Notes.__struct_fields__)


def test_a_target_that_cannot_be_written_is_said_before_anything_is_read(tmp_path: Path) -> None:
    """Not after minutes; and a name that says another format than the file's misleads whoever opens it."""

    def untouched(*_: object) -> Any:
        raise AssertionError

    (tmp_path / "is.parquet").mkdir()
    for name in ("is.parquet", "missing/labels.parquet"):
        with pytest.raises(ExportError, match="cannot be written"):
            export_labels(untouched, CONSENSUS, 5, tmp_path / name, quiet)
    for name in ("labels", "labels.txt", "labels.parquet.gz"):
        with pytest.raises(ExportError, match=r"name it \.parquet or \.csv"):
            export_labels(untouched, CONSENSUS, 5, tmp_path / name, quiet)
    with pytest.raises(ExportError, match="k must be at least 1"):
        export_labels(untouched, CONSENSUS, 0, tmp_path / "labels.parquet", quiet)
