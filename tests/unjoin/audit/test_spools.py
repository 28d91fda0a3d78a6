"""What lies at the edge is counted in the file, not taken from its counters."""

import sqlite3
from pathlib import Path

from ingest.encode.records import Record
from ingest.spool.file import SpoolFile
from ingest.spool.packs import pack_of
from schemas.topics import LABELED, SIGNALS
from unjoin.audit.spools import read_spools

HOUR_MS = 3_600_000


def spool_in(folder: Path) -> SpoolFile:
    """Three signals and two labels that wait, a label that expired, a signal that was drained."""
    clock_ms = [1_000]
    file = SpoolFile(folder / "spool.sqlite", 1_000_000, HOUR_MS, lambda: clock_ms[0])
    file.open()
    signal, label = Record(SIGNALS, b"k", b"v", 1), Record(LABELED, b"k", b"v", 1)
    file.append([pack_of([signal], None), pack_of([label], 2_000)])
    file.delete(file.read(0, 1, 1))
    clock_ms[0] = 3_000
    assert file.expire() == 1
    file.append([pack_of([signal, signal, signal], None), pack_of([label, label], 9_000)])
    return file


def test_records_that_wait_are_counted_by_topic_while_the_collector_has_the_file(tmp_path: Path) -> None:
    """Each is accepted and held; what expired there never was on Kafka."""
    file = spool_in(tmp_path)
    found = read_spools([tmp_path], named=True)
    assert (found.waiting, found.expired) == ({SIGNALS: 3, LABELED: 2}, {LABELED: 1})
    assert (found.findings, found.doubts, found.notes) == ([], [], [])
    file.close()


def test_spools_of_further_workers_are_counted(tmp_path: Path) -> None:
    """Each worker of a collector has one of its own, below the first one's folder."""
    (tmp_path / "worker-2").mkdir()
    files = [spool_in(tmp_path), spool_in(tmp_path / "worker-2")]
    found = read_spools([tmp_path], named=False)
    assert (found.waiting, found.expired, found.notes) == ({SIGNALS: 6, LABELED: 4}, {LABELED: 2}, [])
    for file in files:
        file.close()


def test_pack_that_is_gone_from_the_file_is_found(tmp_path: Path) -> None:
    """Derived from the counters alone, what waits would always be right."""
    spool_in(tmp_path).close()
    with sqlite3.connect(tmp_path / "spool.sqlite") as connection:
        connection.execute("DELETE FROM spooled WHERE records = 3")
    connection.close()
    (finding,) = read_spools([tmp_path], named=True).findings
    assert "3 records" in finding.what


def test_spool_that_is_not_there_or_broken_is_a_doubt_where_somebody_named_it(tmp_path: Path) -> None:
    """On a machine without a collector there is none, and that is no fault."""
    assert read_spools([tmp_path], named=True).doubts
    unnamed = read_spools([tmp_path], named=False)
    assert not unnamed.doubts
    assert unnamed.notes
    (tmp_path / "spool.sqlite").write_bytes(b"no database" * 1_000)
    (tmp_path / "spool.sqlite.broken-17").touch()
    assert len(read_spools([tmp_path], named=False).doubts) == 2
