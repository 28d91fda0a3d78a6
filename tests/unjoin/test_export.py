"""From the views to a Parquet file: slices, types, and what a reader of the file gets."""

import datetime
import io
import uuid
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress

from sinks.clickhouse.embedded import Embedded
from testkit.sink_records import label, labels
from unjoin.export import (
    CONSENSUS,
    VOTES,
    Exported,
    ExportError,
    fetch,
    run_export,
    slices_of,
    without_names,
    write_parquet,
)
from unjoin.query import SelectRows
from unjoin.settings import Settings

AWKWARD = ["tab\there", "line\nbreak", "back\\slash", "quote'\"", "", "\\N", "naïve ☕ 日本", "nul\0l", "x" * 32_768]


@pytest.fixture
def source(engine: Embedded) -> SelectRows:
    return lambda sql: engine.select(sql, "TabSeparated")


@pytest.fixture
def progress() -> Progress:
    return Progress(console=Console(file=io.StringIO()))


def store(engine: Embedded, answers: list[tuple[str, str]], votes: int = 2) -> None:
    rows = [
        {**label(0, task, answer), "row_id": str(uuid.UUID(int=number * 1_000 + vote))}
        for number, (task, answer) in enumerate(answers)
        for vote in range(votes)
    ]
    engine.insert(labels(rows))


def rows_of(engine: Embedded, view: Any, text: Path, parquet: Path) -> list[dict[str, Any]]:
    write_parquet(engine, view, text, parquet)
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(parquet).to_pylist()
    return rows


def test_answers_arrive_as_they_are_stored(
    engine: Embedded, source: SelectRows, progress: Progress, tmp_path: Path
) -> None:
    """An answer is any text; what stands between the view and the file must not read it as anything else."""
    store(engine, [(f"t-{number}", answer) for number, answer in enumerate(AWKWARD)])
    for view in (CONSENSUS, VOTES):
        text = tmp_path / "rows.tsv"
        fetch(source, view, 2, text, progress)
        rows = rows_of(engine, view, text, tmp_path / f"{view.name}.parquet")
        assert {row["task"]: row["answer"] for row in rows} == {f"t-{n}": answer for n, answer in enumerate(AWKWARD)}


def test_columns_have_the_types_that_they_mean(
    engine: Embedded, source: SelectRows, progress: Progress, tmp_path: Path
) -> None:
    """A reader's frame has text, numbers, truth values and dates, not bytes or numbers of days."""
    store(engine, [("dogs", "beagle"), ("dogs", "pug"), ("cats", "tabby")])
    fetch(source, CONSENSUS, 2, tmp_path / "c.tsv", progress)
    rows = rows_of(engine, CONSENSUS, tmp_path / "c.tsv", tmp_path / "c.parquet")
    assert all(0 < row.pop("agreement_low") < row["agreement"] <= row.pop("agreement_high") <= 1 for row in rows)
    assert rows == [
        {"kind": "image_label", **row}
        for row in (
            {"task": "cats", "answer": "tabby", "votes": 2, "total": 2, "agreement": 1.0, "tied": False},
            {"task": "dogs", "answer": "beagle", "votes": 2, "total": 4, "agreement": 0.5, "tied": True},
        )
    ]
    fetch(source, VOTES, 2, tmp_path / "v.tsv", progress)
    rows = rows_of(engine, VOTES, tmp_path / "v.tsv", tmp_path / "v.parquet")
    assert len(rows) == 6
    assert rows[0] == {"task": "cats", "kind": "image_label", "answer": "tabby", "day": datetime.date(2026, 9, 21)}


@pytest.mark.parametrize("slice_votes", [1, 7, 1_000])
def test_every_row_is_in_exactly_one_slice(
    engine: Embedded, source: SelectRows, progress: Progress, tmp_path: Path, slice_votes: int
) -> None:
    """Whatever a slice holds, together they are the view."""
    store(engine, [(f"t-{number % 23}", f"a-{number % 3}") for number in range(200)])
    slices = slices_of(source, slice_votes)
    assert (sum(one.tasks for one in slices), sum(one.votes for one in slices)) == (23, 400)
    assert len(slices) == {1: 23, 7: 23, 1_000: 1}[slice_votes]
    for view in (CONSENSUS, VOTES):
        exported = fetch(source, view, 5, tmp_path / "sliced", progress, slice_votes)
        whole = source(f"SELECT * FROM unjoin.{view.name}(k = 5) ORDER BY {view.order}")
        assert (tmp_path / "sliced").read_bytes() == whole
        assert exported.rows == whole.count(b"\n")


def test_what_is_left_out_is_counted(engine: Embedded, source: SelectRows, progress: Progress, tmp_path: Path) -> None:
    """Whoever trains on the file has to know what is missing."""
    store(engine, [("dogs", "beagle"), ("dogs", "beagle"), ("dogs", "pug"), ("cats", "tabby")])
    assert fetch(source, CONSENSUS, 3, tmp_path / "c", progress) == Exported(rows=1, left_out=1)
    assert fetch(source, VOTES, 3, tmp_path / "v", progress) == Exported(rows=4, left_out=4)


def test_task_counts_once_for_each_kind(
    engine: Embedded, source: SelectRows, progress: Progress, tmp_path: Path
) -> None:
    """It has an answer in each, of which one may be left out and the other not."""
    store(engine, [("dogs", "beagle")])
    engine.insert(labels([{**label(9, "dogs", "a beagle"), "kind": "text_answer"}]))
    assert fetch(source, CONSENSUS, 2, tmp_path / "c", progress) == Exported(rows=1, left_out=1)


def test_answers_that_name_a_person_are_left_out_and_counted(
    engine: Embedded, source: SelectRows, progress: Progress, tmp_path: Path
) -> None:
    """Whoever asks for no names gets the other votes whole, and learns how many are missing for which reason."""
    rows = [
        {**label(0, task, answer), "kind": kind, "row_id": str(uuid.UUID(int=number))}
        for number, (task, kind, answer) in enumerate(
            [
                ("signs", "text_answer", "Anna Karenina"),
                ("signs", "text_answer", "stop"),
                ("dogs", "image_label", "Anna"),
            ]
            * 3
            + [("few", "text_answer", "stop")]
        )
    ]
    engine.insert(labels(rows))
    asked: list[str] = []
    exported = fetch(
        source, VOTES, 2, tmp_path / "v", progress, names=lambda answer: asked.append(answer) or "Anna" in answer
    )
    assert exported == Exported(rows=6, left_out=1, named=3)
    assert b"Karenina" not in (tmp_path / "v").read_bytes()
    assert set(asked) == {"Anna Karenina", "stop"}


@given(answer=st.text(max_size=40).filter(lambda text: not any("\ud800" <= letter <= "\udfff" for letter in text)))
@settings(deadline=None)
def test_finder_of_names_is_asked_for_the_answer_itself(embedded: Embedded, answer: str) -> None:
    """What ClickHouse escapes on the way would split a name in two."""
    votes = embedded.select(f"SELECT 't', 'text_answer', unhex('{answer.encode().hex()}'), NULL", "TSV")
    asked: list[str] = []
    assert without_names(votes, lambda text: bool(asked.append(text))) == votes
    assert asked == [answer]


def test_nothing_to_export_is_a_file_without_rows(
    engine: Embedded, source: SelectRows, progress: Progress, tmp_path: Path
) -> None:
    """A job that runs every night must not fail on the first one."""
    assert fetch(source, CONSENSUS, 2, tmp_path / "c.tsv", progress) == Exported(0, 0)
    assert rows_of(engine, CONSENSUS, tmp_path / "c.tsv", tmp_path / "c.parquet") == []


@given(answer=st.text(max_size=40).filter(lambda text: not any("\ud800" <= letter <= "\udfff" for letter in text)))
def test_any_answer_comes_through(embedded: Embedded, tmp_path_factory: pytest.TempPathFactory, answer: str) -> None:
    """No text is so odd that it would shift a column."""
    folder = tmp_path_factory.mktemp("any")
    (folder / "rows.tsv").write_bytes(
        embedded.select(f"SELECT 't', 'k', unhex('{answer.encode().hex()}'), CAST(NULL, 'Nullable(Date)')", "TSV")
    )
    rows = rows_of(embedded, VOTES, folder / "rows.tsv", folder / "rows.parquet")
    assert rows == [{"task": "t", "kind": "k", "answer": answer, "day": None}]


def test_a_target_that_cannot_be_written_is_said_before_anything_is_read(tmp_path: Path) -> None:
    """Not after minutes."""
    for target in (tmp_path, tmp_path / "missing" / "labels.parquet"):
        with pytest.raises(ExportError, match="cannot be written"):
            run_export(Settings(), CONSENSUS, 5, target, Console(quiet=True))
    with pytest.raises(ExportError, match="k must be at least 1"):
        run_export(Settings(), CONSENSUS, 0, tmp_path / "labels.parquet", Console(quiet=True))
