"""The spool's file: what was written is there, what was deleted is gone, and what rots is noticed."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.encode.records import Record
from ingest.spool.file import ERASE_MS, SpoolError, SpoolFile, SpoolFull, waiting_by_topic
from ingest.spool.packs import Pack, pack_of, records_in

NOW_MS = 1_790_000_000_000
HOUR_MS = 3_600_000
ALL = (10_000, 10_000_000)


class Clock:
    """Unix milliseconds, set by the test."""

    def __init__(self) -> None:
        self.ms = NOW_MS

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path, clock: Clock) -> Iterator[SpoolFile]:
    file = SpoolFile(tmp_path / "spool.sqlite", 10_000_000, HOUR_MS, clock)
    file.open()
    yield file
    file.close()


def records(first: int, count: int = 3, value: bytes = b"") -> list[Record]:
    return [Record("events.signals", b"key", value or b"value-%d" % i, NOW_MS + i) for i in range(first, first + count)]


def bytes_beside(folder: Path) -> bytes:
    """Everything that lies in the spool's folder."""
    return b"".join(file.read_bytes() for file in folder.iterdir())


@given(
    rows=st.lists(
        st.tuples(
            st.text(max_size=20), st.none() | st.binary(max_size=40), st.binary(max_size=200), st.integers(0, 2**53)
        )
    ),
    expires_ms=st.none() | st.integers(0, 2**53),
)
def test_any_records_come_back_as_they_were(rows: list[tuple[str, bytes | None, bytes, int]], expires_ms: int) -> None:
    """What Kafka gets later must be what it would have got at once."""
    wanted = [Record(*row) for row in rows]
    pack = pack_of(wanted, expires_ms)
    assert records_in(pack, pack.checksum) == wanted
    assert records_in(pack, pack.checksum ^ 1) is None


def test_pack_keeps_the_partition_of_its_records(file: SpoolFile) -> None:
    """A label is sealed to it."""
    given = [Record("events.labeled", None, b"v%d" % number, NOW_MS, number) for number in range(3)]
    given += records(0, 1)
    file.append([pack_of(given, None)])
    (entry,) = file.read(0, *ALL)
    assert entry.records == given


def test_pack_of_the_version_before_labels_had_partitions_is_read(file: SpoolFile) -> None:
    """An upgrade during an outage finds what was acknowledged before it."""
    rows = [("events.labeled", b"voter", b"plain", NOW_MS), ("events.signals", b"key", b"value", NOW_MS)]
    file.append([Pack(None, 2, msgspec.msgpack.encode(rows))])
    (entry,) = file.read(0, *ALL)
    assert entry.records == [Record(*row) for row in rows]


def test_packs_come_back_in_the_order_they_were_written_within_the_bounds(file: SpoolFile) -> None:
    """A session is a sequence; a consumer must not have to sort it."""
    for start in range(0, 12, 3):
        file.append([pack_of(records(start), None)])
    first = file.read(0, 4, 10_000_000)
    assert [r for entry in first for r in entry.records] == records(0, 6)
    assert [r for entry in file.read(first[-1].seq, *ALL) for r in entry.records] == records(6, 6)
    assert len(file.read(0, 10_000, 1)) == 1


def test_what_was_written_is_there_after_a_reopen_and_counts_go_on(
    file: SpoolFile, clock: Clock, tmp_path: Path
) -> None:
    """The counts are what conservation is computed from, so they outlive the process."""
    file.append([pack_of(records(0), None), pack_of(records(3), NOW_MS + HOUR_MS)])
    file.delete(file.read(0, 1, 1))
    file.close()
    again = SpoolFile(tmp_path / "spool.sqlite", 10_000_000, HOUR_MS, clock)
    again.open()
    assert (again.counts.spooled, again.counts.drained, again.counts.waiting) == (6, 3, 3)
    assert [r for entry in again.read(0, *ALL) for r in entry.records] == records(3)
    again.close()


def test_pack_that_was_deleted_once_is_counted_once(file: SpoolFile) -> None:
    """Deleting is tried again after an error whose outcome nobody knows."""
    file.append([pack_of(records(0), None)])
    entries = file.read(0, *ALL)
    file.delete(entries)
    file.append([pack_of(records(3), None)])
    file.delete(entries)
    assert (file.counts.drained, file.counts.waiting) == (3, 3)
    assert file.read(0, *ALL)[0].seq > entries[-1].seq  # a number is never given twice


def test_what_is_past_its_life_is_deleted_and_counted_and_the_rest_stays(file: SpoolFile, clock: Clock) -> None:
    """A label may live here no longer than on its topic."""
    file.append([pack_of(records(0), NOW_MS + HOUR_MS), pack_of(records(3), None)])
    assert file.expire() == 0
    clock.ms += HOUR_MS
    assert file.expire() == 3
    assert (file.counts.expired, file.counts.waiting) == (3, 3)
    assert [r for entry in file.read(0, *ALL) for r in entry.records] == records(3)


def test_what_expired_or_was_drained_is_no_longer_on_disk(file: SpoolFile, clock: Clock, tmp_path: Path) -> None:
    """SQLite would leave deleted rows in free pages, and older versions of pages in the log."""
    file.append(
        [pack_of(records(0, 1, b"stays-"), None), pack_of(records(0, 1, b"expires-" * 2_000), NOW_MS + HOUR_MS)]
    )
    file.append([pack_of(records(0, 1, b"drained-" * 2_000), None)])
    assert b"expires-" in bytes_beside(tmp_path)
    clock.ms += HOUR_MS
    file.expire()
    assert b"expires-" not in bytes_beside(tmp_path)
    file.delete(file.read(1, *ALL))
    clock.ms += ERASE_MS
    file.expire()
    assert b"drained-" not in bytes_beside(tmp_path)
    file.delete(file.read(0, *ALL))
    assert b"stays-" not in bytes_beside(tmp_path)


def test_file_shrinks_to_nothing_once_it_is_empty(file: SpoolFile, tmp_path: Path) -> None:
    """An outage must not hold its disk for ever."""
    for _ in range(50):
        file.append([pack_of(records(0, 1, bytes(50_000)), None)])
    file.delete(file.read(0, *ALL))
    assert sum(entry.stat().st_size for entry in tmp_path.iterdir()) < 100_000
    assert file.counts.used_bytes < 50_000


def test_rotten_pack_is_set_aside_and_counted_and_its_neighbours_come_through(
    file: SpoolFile, clock: Clock, tmp_path: Path
) -> None:
    """SQLite checks its log, not its pages: a flipped bit would become a row that nobody sent."""
    file.append([pack_of(records(0, 3, b"first"), None), pack_of(records(0, 3, b"rotten"), None)])
    file.append([pack_of(records(0, 3, b"third"), None)])
    file.close()
    path = tmp_path / "spool.sqlite"
    path.write_bytes(path.read_bytes().replace(b"rotten", b"rottem", 1))
    file.open()
    assert [r.value for entry in file.read(0, *ALL) for r in entry.records] == [b"first"] * 3 + [b"third"] * 3
    assert (file.counts.set_aside, file.counts.waiting) == (3, 6)
    assert file.read(0, *ALL)[0].seq == 1
    assert b"rottem" in bytes_beside(tmp_path)
    clock.ms += HOUR_MS  # nobody knows whether it was a label
    file.expire()
    assert b"rottem" not in bytes_beside(tmp_path)
    assert file.counts.set_aside == 3


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_damage_is_an_error_or_noticed_but_never_a_record_that_nobody_sent(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Wherever the disk goes wrong, the spool works again afterwards."""
    path = tmp_path_factory.mktemp("spool") / "spool.sqlite"
    file = SpoolFile(path, 10_000_000, HOUR_MS, Clock())
    file.open()
    sent = [record for n in range(30) for record in records(n, 1, b"%d," % n * 100)]
    for record in sent:
        file.append([pack_of([record], None)])
    file.close()
    damaged = bytearray(path.read_bytes())
    start = data.draw(st.integers(0, len(damaged) - 1))
    damaged[start : start + 64] = data.draw(st.binary(min_size=64, max_size=64))[: len(damaged) - start]
    path.write_bytes(damaged)
    try:
        file.open()
        found = [record for entry in file.read(0, *ALL) for record in entry.records]
        assert all(record in sent for record in found)
    except SpoolError:
        pass
    for _ in range(3):
        try:
            file.open()
            file.append([pack_of(records(90), None)])
            break
        except SpoolError:
            continue
    last = file.counts.waiting and file.read(0, *ALL)
    assert last
    assert last[-1].records == records(90)
    file.close()


def test_file_that_is_no_database_is_kept_for_a_while_and_a_new_one_made(tmp_path: Path, clock: Clock) -> None:
    """The collector must come up; an operator may still get something out of the old one."""
    (tmp_path / "spool.sqlite").write_bytes(b"not a database, " * 1_000)
    file = SpoolFile(tmp_path / "spool.sqlite", 10_000_000, HOUR_MS, clock)
    with pytest.raises(SpoolError):
        file.open()
    file.open()
    file.append([pack_of(records(0), None)])
    assert file.broken == 1
    assert b"not a database" in bytes_beside(tmp_path)
    clock.ms += HOUR_MS
    file.expire()
    assert b"not a database" not in bytes_beside(tmp_path)
    file.close()


def test_bound_on_the_disk_is_never_passed_and_what_was_written_can_still_be_drained(
    tmp_path: Path, clock: Clock
) -> None:
    """The disk belongs to others, too."""
    file = SpoolFile(tmp_path / "spool.sqlite", 1_000_000, HOUR_MS, clock)
    file.open()
    written = 0
    with pytest.raises(SpoolFull):  # noqa: PT012
        while True:
            file.append([pack_of(records(0, 1, bytes(20_000)), None)])
            written += 1
    file.open()
    assert (tmp_path / "spool.sqlite").stat().st_size < 1_400_000
    assert file.counts.waiting == written >= 40
    while entries := file.read(0, 5, 10_000_000):
        file.delete(entries)
    file.append([pack_of(records(0), None)])
    file.close()


def test_every_commit_is_synced_and_only_the_collector_may_read_it(file: SpoolFile, tmp_path: Path) -> None:
    """A 200 survives a power failure; and the file holds what its topics hold."""
    file.append([pack_of(records(0), None)])
    connection = file._connection
    assert connection is not None
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA secure_delete").fetchone() == (1,)
    modes = {entry.name: entry.stat().st_mode & 0o777 for entry in tmp_path.iterdir()}
    assert modes == {"spool.sqlite": 0o600, "spool.sqlite-wal": 0o600, "spool.sqlite-shm": 0o600}


def test_counts_can_be_read_while_a_collector_runs_and_when_none_does(file: SpoolFile, tmp_path: Path) -> None:
    """Who audits is another process."""
    path = tmp_path / "spool.sqlite"
    file.append([pack_of(records(0), None)])
    counts, _ = waiting_by_topic(path)
    assert (counts.spooled, counts.waiting) == (3, 3)
    file.append([pack_of(records(3), None)])
    file.close()
    assert waiting_by_topic(path)[0].waiting == 6
    with pytest.raises(SpoolError):
        waiting_by_topic(tmp_path / "none.sqlite")
