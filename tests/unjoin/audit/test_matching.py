"""What a log and a table have in common, next to a model that looks at each row on its own."""

from collections import Counter
from typing import NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st

from unjoin.audit.matching import LogEntry, Matched, OffsetSet, TableEntry, match

EVER = -(1 << 63)


class Sent(NamedTuple):
    """A record: which row it makes, whether the position has passed it, and what of it lies in the table."""

    key: int
    version: int
    must: bool
    rows: int


SENT = st.lists(st.builds(Sent, st.integers(0, 5), st.integers(0, 4), st.booleans(), st.integers(0, 2)), max_size=30)


def name(key: int) -> bytes:
    return bytes([key]) * 16


def log_of(sent: list[Sent]) -> list[LogEntry]:
    return [LogEntry(name(one.key), one.version, offset, 0, one.must) for offset, one in enumerate(sent)]


def table_of(rows: Counter[tuple[int, int]], time_ms: int = 100) -> list[TableEntry]:
    return [TableEntry(name(key), version, time_ms, count) for (key, version), count in rows.items() if count]


@given(SENT)
@example([Sent(1, 1, True, 0), Sent(1, 0, True, 1)])
def test_every_lost_doubled_and_forged_row_is_found_and_nothing_else(sent: list[Sent]) -> None:
    """One that is lost must not be made up for by another that is too many."""
    rows: Counter[tuple[int, int]] = Counter()
    for one in sent:
        rows[one.key, one.version] += one.rows
    found = match(log_of(sent), table_of(rows), EVER)
    copies = Counter((one.key, one.version) for one in sent)
    doubled = sum(max(0, count - copies[row]) for row, count in rows.items() if copies[row])
    must = [one for one in sent if one.must]
    newest = {one.key: max(other.version for other in must if other.key == one.key) for one in must}
    there = {key for key, version in newest.items() if any(rows[key, v] for v in range(version, 5))}
    assert found.records == sum(one.must for one in sent)
    assert (found.distinct, found.stored) == (len(newest), len(there))
    assert {sent[offset].key for _, offset in found.lost} == newest.keys() - there
    assert all(sent[offset].must for _, offset in found.lost)
    assert (found.doubled, found.forged, found.older) == (doubled, 0, 0)
    assert (found.readable, found.versions) == (len(sent), len(copies))


@given(SENT)
def test_rows_as_a_sink_stores_and_merges_them_leave_no_difference(sent: list[Sent]) -> None:
    """Merges take replaced rows away at any time; a record beyond the position may have its row or not."""
    passed = [one for one in sent if one.must or one.rows]
    unmerged = Counter((one.key, one.version) for one in passed)
    newest = {key: max(version for k, version in unmerged if k == key) for key, _ in unmerged}
    merged = Counter((key, version) for key, version in newest.items())
    for rows in (unmerged, merged):
        found = match(log_of(sent), table_of(rows), EVER)
        assert (found.lost, found.doubled, found.forged) == ([], 0, 0)
        assert found.stored == found.distinct
        assert found.stored + (found.records - found.distinct) == sum(one.must for one in sent)


@given(st.integers(1, 3), st.booleans())
def test_row_without_a_record_is_forged_unless_its_record_has_left_the_log(rows: int, old: bool) -> None:
    """Retention takes records, never rows; whoever inserts a row by hand gives it a time of today."""
    found = match([], [TableEntry(name(1), 1, 99 if old else 100, rows)], 100)
    assert (found.older, found.forged) == ((rows, 0) if old else (0, rows))


def test_buckets_add_up() -> None:
    """Equal keys share a bucket, so that the whole is the sum."""
    sent = [Sent(key, key % 3, True, key % 2) for key in range(6)]
    rows = Counter({(one.key, one.version): one.rows for one in sent})
    whole, parts = match(log_of(sent), table_of(rows), EVER), Matched()
    for bucket in range(2):
        log = [entry for entry in log_of(sent) if entry.hash[0] % 2 == bucket]
        parts.add(match(log, [entry for entry in table_of(rows) if entry.hash[0] % 2 == bucket], EVER))
    whole.lost.sort()
    parts.lost.sort()
    assert parts == whole


@given(st.integers(0, 50), st.integers(0, 3_000), st.sets(st.integers(0, 3_100)), st.integers(0, 3_100))
def test_marks_are_a_set_of_offsets_in_a_range(first: int, length: int, offsets: set[int], below: int) -> None:
    """A bit each, and nothing for what is not marked: a log that goes on for years costs what was set aside."""
    marks = OffsetSet(first, first + length)
    for offset in [*offsets, *offsets]:
        marks.add(offset)
    inside = {offset for offset in offsets if first <= offset < first + length}
    assert {offset for offset in range(3_200) if offset in marks} == inside
    assert marks.below(below) == sum(offset < below for offset in inside)
