"""Signals and features in files of days that are over, each row in one of them."""

import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sinks.clickhouse.embedded import Embedded
from testkit.sink_records import signal, signals
from unjoin.export.by_day import Added, export_by_day
from unjoin.export.command import nothing_of_days
from unjoin.export.files import METADATA_KEY, ExportError
from unjoin.export.signal_views import FEATURES, SIGNALS, ByDay, closes_at, last_closed_day
from unjoin.export.source import ReadTable

FIRST = datetime.datetime(2026, 9, 21, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
SITES = ("file", "dev")  # port 8123 refuses the first one in a literal


def store(engine: Embedded, day: int, first_id: int = 0, sessions: int = 7) -> None:
    """Three signals of each session, a millisecond apart."""
    at = round((FIRST + day * DAY).timestamp() * 1_000)
    rows = [
        signal(first_id + n, site=SITES[n % 2], session=f"{day}-{n % sessions}", ts=at + n, received_at=at + n)
        for n in range(3 * sessions)
    ]
    engine.insert(signals(rows))


def exported(source: ReadTable, dataset: ByDay, folder: Path, day: float, **options: Any) -> Added:
    return export_by_day(source, dataset, folder, FIRST + day * DAY, lambda done, of: None, **options)


def rows_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {file.parent.name: pq.ParquetFile(file).read().to_pylist() for file in sorted(folder.rglob("*.parquet"))}


@pytest.mark.parametrize("slice_samples", [1, 200, 1_000_000])
def test_every_signal_is_in_the_file_of_its_day_as_it_is_stored(
    engine: Embedded, source: ReadTable, tmp_path: Path, slice_samples: int
) -> None:
    """Whatever a slice holds; a file that was there is not touched."""
    store(engine, 0)
    store(engine, 2)
    assert exported(source, SIGNALS, tmp_path, 1.0, slice_samples=slice_samples).files == 1
    first = {file: file.read_bytes() for file in tmp_path.rglob("*.parquet")}
    store(engine, 1, first_id=100)
    added = exported(source, SIGNALS, tmp_path, 3.0, slice_samples=slice_samples)
    assert (added.files, added.rows, added.late) == (2, 42, 0)
    found = rows_of(tmp_path)
    assert list(found) == ["day=2026-09-21", "day=2026-09-22", "day=2026-09-23"]
    assert {row["event_id"] for row in found["day=2026-09-22"]} == {f"e-{number:08}" for number in range(100, 121)}
    row = found["day=2026-09-21"][0]
    assert (row["t"], row["y"], row["force"], row["received_at"].date()) == ([0.0, 16.0], [2.0, 3.0], [], FIRST.date())
    assert all(file.read_bytes() == content for file, content in first.items())


def test_a_session_is_in_one_file_of_features_whole_a_day_after_it_began(
    engine: Embedded, source: ReadTable, tmp_path: Path
) -> None:
    """A session that goes on past midnight would else be two people."""
    store(engine, 0)
    at = round((FIRST + DAY).timestamp() * 1_000)
    engine.insert(signals([signal(900, site="dev", session="0-1", ts=at, received_at=at)]))
    assert exported(source, FEATURES, tmp_path, 1.0).files == 0  # it may still go on
    assert exported(source, FEATURES, tmp_path, 1.6).files == 1
    assert exported(source, FEATURES, tmp_path, 9.0).files == 0
    (rows,) = rows_of(tmp_path).values()
    assert len(rows) == 14
    events = {(row["site"], row["session"]): row["events"] for row in rows}
    assert (events["dev", "0-1"], events["dev", "0-3"]) == (3, 2)
    assert rows[0]["hand_straightness_q50"] is None
    notes = pq.read_metadata(next(tmp_path.rglob("*.parquet"))).metadata[METADATA_KEY.encode()]
    assert b'"dataset":"session_features"' in notes
    assert b'"rows":14' in notes


def test_what_comes_late_is_counted_and_in_no_file(engine: Embedded, source: ReadTable, tmp_path: Path) -> None:
    """A file that a reader has seen is never written again."""
    store(engine, 1)
    exported(source, SIGNALS, tmp_path, 3.0)
    store(engine, 1, first_id=500, sessions=2)
    store(engine, 0, first_id=600, sessions=1)
    added = exported(source, SIGNALS, tmp_path, 3.0)
    assert (added.files, added.rows, added.late) == (0, 0, 9)


def test_a_day_can_be_exported_from_the_moment_that_is_said() -> None:
    """Whoever waits for the first file knows until when."""
    for dataset in (SIGNALS, FEATURES):
        at = closes_at(dataset, FIRST.date())
        assert last_closed_day(dataset, at - datetime.timedelta(seconds=1)) < FIRST.date()
        assert last_closed_day(dataset, at) == FIRST.date()


def test_first_day_is_told_from_days_that_are_in_files(engine: Embedded, source: ReadTable, tmp_path: Path) -> None:
    """A folder with a manifest alone holds nothing yet."""
    store(engine, 0)
    added = exported(source, SIGNALS, tmp_path, 0.1)
    said = nothing_of_days(added, SIGNALS, closes_at(SIGNALS, FIRST.date()), tmp_path)
    assert said.startswith("nothing yet: there are no signals of days until 2026-09-20, the last that is over; ")
    assert "today's signals can be exported from 2026-09-22 01:00 UTC on" in said
    exported(source, SIGNALS, tmp_path, 1.0)
    added = exported(source, SIGNALS, tmp_path, 1.0)
    said = nothing_of_days(added, SIGNALS, closes_at(SIGNALS, FIRST.date()), tmp_path)
    assert said.startswith("nothing new: of the days until 2026-09-21, the last that is over, all are in ")


def test_day_that_was_deleted_for_somebody_s_sake_stays_so_and_is_counted(
    engine: Embedded, source: ReadTable, tmp_path: Path
) -> None:
    """The page says to delete the file of a day when somebody of it has to be forgotten."""
    store(engine, 0)
    exported(source, SIGNALS, tmp_path, 1.0)
    next(tmp_path.rglob("*.parquet")).unlink()
    store(engine, 1, first_id=100)
    added = exported(source, SIGNALS, tmp_path, 2.0)
    assert (added.files, added.missing, added.mark) == (1, 1, (FIRST + DAY).date())
    assert list(rows_of(tmp_path)) == ["day=2026-09-22"]


def test_a_folder_of_another_data_set_is_refused(engine: Embedded, source: ReadTable, tmp_path: Path) -> None:
    """Signals among features would be read as such."""
    store(engine, 0)
    exported(source, SIGNALS, tmp_path, 3.0)
    with pytest.raises(ExportError, match="that folder holds signals; name another one for session_features"):
        exported(source, FEATURES, tmp_path, 3.0)
