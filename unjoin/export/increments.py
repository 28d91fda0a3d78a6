"""Labels in increments: each file counts the votes of whole closed days that no other file counts.

The rule: a row is an answer that at least k votes *of these days* gave. So a file is a function of its own days' votes
alone, and files share no vote: whoever holds all of them, in whatever order they came, can add and subtract only
groups of at least k votes. An answer that crosses k over several files is in none of them: that one file more would
say who crossed it. Days are few or many as calls are often or rare; longer files leave out less.
"""

import datetime
from pathlib import Path

import msgspec
import pyarrow as pa

from unjoin.export.days import DAY
from unjoin.export.files import Notes, Writer
from unjoin.export.folder import Folder, opened
from unjoin.export.labels import Advance, Exported, Names, check_k, fetch, note, now
from unjoin.export.source import ReadTable
from unjoin.export.views import COUNT, INCREMENT, Days, query_of

_BY_DAY = pa.schema([pa.field("day", pa.date32()), pa.field("votes", COUNT)])


class Increment(msgspec.Struct, frozen=True, kw_only=True):
    """What a call has added.

    Attributes:
        path: of the file in the folder; None where no day has closed since the mark.
        mark: all days until here are in files; None where no day has closed yet.
        rows_of_all: rows of all files.
        late: votes of earlier files' days that came since; they are in no file.
    """

    path: str | None
    exported: Exported
    mark: datetime.date | None
    rows_of_all: int
    late: int


def export_increment(
    source: ReadTable, k: int, target: Path, closed: datetime.date, advance: Advance, names: Names | None = None
) -> Increment:
    """Adds the days since the mark that are closed, if there are any.

    Args:
        closed: the last closed day.

    Raises:
        ExportError, QueryError: it cannot be written, or ClickHouse does not answer; the folder is as it was.
    """
    check_k(k)
    with opened(target, INCREMENT.name) as folder:
        by_day = {row["day"]: row["votes"] for row in source(_votes_by_day(closed), _BY_DAY).to_pylist()}
        _count_late(folder, by_day)
        mark = folder.manifest.mark
        path, exported = None, Exported(0, 0)
        if by_day and (mark is None or mark < closed):
            days = Days(min(by_day) if mark is None else mark + DAY, closed)
            path, exported = _add(folder, source, k, days, advance, names)
        else:
            folder.save()
        late = sum(part.late for part in folder.manifest.parts)
        return Increment(
            path=path, exported=exported, mark=folder.manifest.mark, rows_of_all=folder.manifest.rows, late=late
        )


def _votes_by_day(closed: datetime.date) -> str:
    where = Days(None, closed).condition
    return f"SELECT day, count() AS votes FROM unjoin.labels FINAL WHERE {where} GROUP BY day ORDER BY day"  # noqa: S608


def _count_late(folder: Folder, by_day: dict[datetime.date, int]) -> None:
    since = datetime.date.min
    for part in folder.manifest.parts:
        last = part.notes.last_day or since
        there = sum(votes for day, votes in by_day.items() if since < day <= last)
        part.late, since = max(0, there - part.seen), last


def _add(
    folder: Folder, source: ReadTable, k: int, days: Days, advance: Advance, names: Names | None
) -> tuple[str, Exported]:
    exported = Exported(0, 0)
    query = query_of(INCREMENT, k, days)
    notes = Notes(dataset=INCREMENT.name, query=query, k=k, first_day=days.first, last_day=days.last, made_at=now())

    def write(file: Writer) -> int:
        nonlocal exported
        exported = fetch(source, INCREMENT, k, file, advance, names=names, days=days)
        note(notes, exported, k, names)
        return exported.seen

    path = f"through={days.last}/{INCREMENT.name}.parquet"
    folder.add(path, days.last, INCREMENT.schema, notes, write)
    return path, exported
