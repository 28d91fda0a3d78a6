"""Files of new days only, and what somebody learns who holds all of them."""

import datetime
import json
import random
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from sinks.clickhouse.embedded import Embedded
from testkit.sink_records import label, labels
from unjoin.export.command import nothing_of_closed_days
from unjoin.export.days import DAY
from unjoin.export.files import ExportError
from unjoin.export.increments import Increment, export_increment
from unjoin.export.manifest import NAME
from unjoin.export.source import ReadTable
from unjoin.export.views import INCREMENT, Days, query_of

K = 4
FIRST = datetime.date(2026, 9, 21)
MOMENT = datetime.datetime(2026, 9, 25, 7, tzinfo=datetime.UTC)
CLOSED = [FIRST + number * DAY for number in (0, 1, 4, 5)]

Votes = Counter[tuple[str, str, str, datetime.date]]
Counted = Counter[tuple[str, str, str]]


def store(engine: Embedded, votes: Votes, first_id: int = 0) -> None:
    rows: list[dict[str, Any]] = []
    for (task, kind, answer, day), count in sorted(votes.items()):
        for _ in range(count):
            rows.append({**label(0, task, answer), "kind": kind, "day": day})
    for number, row in enumerate(rows):
        row["row_id"] = str(uuid.UUID(int=first_id + number))
    engine.insert(labels(rows))


def exported(source: ReadTable, folder: Path, closed: datetime.date) -> Increment:
    return export_increment(source, K, folder, closed, lambda done, of: None)


def rows_of(folder: Path) -> list[list[dict[str, Any]]]:
    """Of each file, in order."""
    return [pyarrow.parquet.ParquetFile(file).read().to_pylist() for file in sorted(folder.rglob("*.parquet"))]


def random_votes(seed: int) -> Votes:
    rng = random.Random(seed)
    votes: Votes = Counter()
    for _ in range(600):
        cell = (f"t-{rng.randrange(6)}", rng.choice(["image_label"] * 3 + ["text_answer"]), rng.choice("aaabcd"))
        votes[*cell, FIRST + rng.randrange(6) * DAY] += 1
    return votes


def differences(states: list[Counted]) -> set[int]:
    """By how much any answer's votes differ between any two moments."""
    return {later[cell] - earlier[cell] for at, later in enumerate(states) for earlier in states[:at] for cell in later}


@pytest.mark.parametrize("seed", range(2))
def test_no_difference_of_exports_is_of_fewer_than_k_votes(
    engine: Embedded, source: ReadTable, tmp_path: Path, seed: int
) -> None:
    """The attacker holds every file, adds and subtracts. On exports of all that there is, the same attack succeeds."""
    store(engine, random_votes(seed))
    states, whole = [Counted()], [Counted()]
    for closed in CLOSED:
        exported(source, tmp_path / "out", closed)
        files = rows_of(tmp_path / "out")
        states.append(Counted())
        for row in (row for rows in files for row in rows):
            states[-1][row["task"], row["kind"], row["answer"]] += row["votes"]
        everything = source(query_of(INCREMENT, K, Days(None, closed)), INCREMENT.schema).to_pylist()
        whole.append(Counted({(row["task"], row["kind"], row["answer"]): row["votes"] for row in everything}))
    assert len(files) == len(CLOSED)
    assert not differences(states) & set(range(1, K))
    assert differences(whole) & set(range(1, K)), "the attack is blind"


@pytest.mark.parametrize("seed", range(2))
def test_files_are_the_same_whatever_few_say(engine: Embedded, source: ReadTable, tmp_path: Path, seed: int) -> None:
    """Nothing in them depends on an answer that fewer than k gave in the days of its file, in no way at all."""
    votes = random_votes(seed)
    of_file: Counter[tuple[str, str, str, datetime.date]] = Counter()
    file_of = {day: min(closed for closed in CLOSED if day <= closed) for *_, day in votes}
    for (task, kind, answer, day), count in votes.items():
        of_file[task, kind, answer, file_of[day]] += count
    other: Votes = Counter()
    for (task, kind, answer, day), count in votes.items():
        few = of_file[task, kind, answer, file_of[day]] < K
        other[task, kind, f"not {answer}" if few else answer, day] += count
    assert other != votes
    files = []
    for number, stored in enumerate((votes, other)):
        engine.select("TRUNCATE TABLE unjoin.labels", "Null")
        store(engine, stored)
        for closed in CLOSED:
            exported(source, tmp_path / str(number), closed)
        files.append(rows_of(tmp_path / str(number)))
    assert files[0] == files[1]
    assert sum(map(len, files[0])) > 20


def test_answer_that_crosses_k_over_two_files_is_in_neither(
    engine: Embedded, source: ReadTable, tmp_path: Path
) -> None:
    """In the second it would say what the votes in between were; in one file of both days it says nothing."""
    kind = "image_label"
    store(engine, Counter({("t", kind, "pug", FIRST): K - 1, ("t", kind, "pug", FIRST + DAY): 1}))
    for closed in (FIRST, FIRST + DAY):
        assert exported(source, tmp_path / "often", closed).exported.rows == 0
    exported(source, tmp_path / "seldom", FIRST + DAY)
    row = {"task": "t", "kind": kind, "answer": "pug", "votes": K, "total": K}
    assert rows_of(tmp_path / "often") == [[], []]
    assert rows_of(tmp_path / "seldom") == [[row]]


def test_what_comes_late_is_counted_and_never_exported(engine: Embedded, source: ReadTable, tmp_path: Path) -> None:
    """A vote more in a file that was seen would be told by the difference."""
    cell = ("t", "image_label", "pug", FIRST)
    store(engine, Counter({cell: K}))
    added = exported(source, tmp_path, FIRST)
    assert (added.path, added.late, added.mark) == (f"through={FIRST}/labels.parquet", 0, FIRST)
    before = rows_of(tmp_path)
    store(engine, Counter({cell: 2}), first_id=1_000)
    for closed, path in ((FIRST, None), (FIRST + DAY, f"through={FIRST + DAY}/labels.parquet")):
        again = exported(source, tmp_path, closed)
        assert (again.path, again.late) == (path, 2)
    assert rows_of(tmp_path) == [*before, []]


@pytest.mark.usefixtures("engine")
def test_no_closed_day_yet_is_no_file_and_no_error(source: ReadTable, tmp_path: Path) -> None:
    """A job that runs every night must not fail on the first one."""
    added = exported(source, tmp_path, FIRST)
    assert (added.path, added.mark, rows_of(tmp_path)) == (None, None, [])
    said = nothing_of_closed_days(added, FIRST, MOMENT, tmp_path)
    assert said.startswith(f"nothing yet: there are no votes of days until {FIRST}, the last that is closed")
    assert said.endswith("; today's votes can be exported from 2026-09-25 07:00 UTC on")


def test_increment_that_adds_nothing_says_why(engine: Embedded, source: ReadTable, tmp_path: Path) -> None:
    """That all votes are in files is good news, that none are stored is not."""
    store(engine, Counter({("t", "image_label", "pug", FIRST): K}))
    exported(source, tmp_path, FIRST)
    said = nothing_of_closed_days(exported(source, tmp_path, FIRST), FIRST, MOMENT, tmp_path)
    assert said == f"nothing new: of the days until {FIRST}, the last that is closed, all are in {tmp_path}"
    engine.select("TRUNCATE TABLE unjoin.labels", "Null")
    said = nothing_of_closed_days(exported(source, tmp_path, FIRST + DAY), FIRST + DAY, MOMENT, tmp_path)
    assert "are stored any more; those until 2026-09-21 are in" in said


def test_increment_over_days_of_which_nothing_leaves_says_so(
    engine: Embedded, source: ReadTable, tmp_path: Path
) -> None:
    """A reader who asks the notes for their rows gets 0 and no error."""
    store(engine, Counter({("t", "image_label", "pug", FIRST): 1}))
    exported(source, tmp_path, FIRST)
    (part,) = json.loads((tmp_path / NAME).read_bytes())["parts"]
    assert part["notes"]["rows"] == 0
    (file,) = tmp_path.rglob("*.parquet")
    assert json.loads(pyarrow.parquet.read_metadata(file).metadata[b"unjoin"])["rows"] == 0


def test_file_that_is_missing_is_named(engine: Embedded, source: ReadTable, tmp_path: Path) -> None:
    """What is read together must not lack days without a word."""
    store(engine, Counter({("t", "image_label", "pug", FIRST): K}))
    exported(source, tmp_path, FIRST)
    (file,) = tmp_path.rglob("*.parquet")
    file.unlink()
    with pytest.raises(ExportError, match=rf"{file} is missing, and {NAME} lists it"):
        exported(source, tmp_path, FIRST)
