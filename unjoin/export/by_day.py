"""Signals or their features into a folder: a file for each day that is over, and none twice.

days there are ─▶ those after the folder's mark ─▶ of each, slices of whole sessions ─▶ one file and its record
"""

import datetime
from pathlib import Path

import msgspec
import pyarrow as pa

from unjoin.export.files import Notes, Writer
from unjoin.export.folder import Folder, opened
from unjoin.export.labels import Advance, now
from unjoin.export.signal_views import (
    BY_DAY,
    COLUMNS,
    SLICE_SAMPLES,
    SLICES,
    ByDay,
    by_day_query,
    columns_query,
    last_closed_day,
    rows_query,
    schema_of,
    slices_of,
    slices_query,
)
from unjoin.export.source import ReadTable


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """What a call has added.

    Attributes:
        files, rows: new ones.
        closed: the last day that is over.
        late: rows or sessions of days that are in files, or had none, which came since; they are in no file.
        mark: the last day that is in a file; None before the first.
        missing: files that were deleted, as after an erasure; their days are in no other file.
    """

    files: int
    rows: int
    closed: datetime.date
    late: int
    mark: datetime.date | None
    missing: int


def export_by_day(
    source: ReadTable,
    dataset: ByDay,
    target: Path,
    moment: datetime.datetime,
    advance: Advance,
    slice_samples: int = SLICE_SAMPLES,
) -> Added:
    """Adds the days since the mark that are over.

    Args:
        moment: now, UTC.

    Raises:
        ExportError, QueryError: it cannot be written, or ClickHouse does not answer; whole days may be added already.
    """
    closed = last_closed_day(dataset, moment)
    with opened(target, dataset.table, may_miss=True) as folder:
        schema = schema_of(source(columns_query(dataset), COLUMNS))
        by_day = {row["day"]: row["units"] for row in source(by_day_query(dataset), BY_DAY).to_pylist()}
        mark = folder.manifest.mark
        late = _count_late(folder, by_day)
        days = [day for day in sorted(by_day) if day <= closed and (mark is None or day > mark)]
        rows = 0
        for number, day in enumerate(days):
            rows += _add(folder, source, dataset, schema, day, by_day[day], slice_samples)
            advance(number + 1, len(days))
        folder.save()
        return Added(
            files=len(days),
            rows=rows,
            closed=closed,
            late=late,
            mark=folder.manifest.mark,
            missing=len(folder.missing),
        )


def _count_late(folder: Folder, by_day: dict[datetime.date, int]) -> int:
    """Of each file, how much more its day holds by now; days without a file count whole."""
    parts = {part.notes.last_day: part for part in folder.manifest.parts}
    late = 0
    for day, units in by_day.items():
        if folder.manifest.mark is not None and day <= folder.manifest.mark:
            part = parts.get(day)
            more = max(0, units - (part.seen if part else 0))
            late += more
            if part:
                part.late = more
    return late


def _add(
    folder: Folder,
    source: ReadTable,
    dataset: ByDay,
    schema: pa.Schema,
    day: datetime.date,
    units: int,
    slice_samples: int,
) -> int:
    query = rows_query(dataset, schema, day, "1")
    notes = Notes(dataset=dataset.table, query=query, first_day=day, last_day=day, made_at=now())

    def write(file: Writer) -> int:
        for one in slices_of(source(slices_query(dataset, day, slice_samples), SLICES)):
            table = source(rows_query(dataset, schema, day, one.condition), schema)
            file.write_table(table)
            notes.rows += table.num_rows
        return units

    folder.add(f"day={day}/{dataset.table}.parquet", day, schema, notes, write)
    return notes.rows
