"""Pure: the keys of a log against the keys of a table.

A record below the position must have its row; one beyond it may have one. A table holds no row twice for one record,
and none without a record. Both sides are multisets of (hash, version), cut into buckets by hash, so that one bucket
fits in memory however many there are. Merges take replaced rows away at any time, so that fewer is no fault.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

PAGE_OFFSETS = 1_024


class LogEntry(NamedTuple):
    """A readable record.

    Attributes:
        version: unsigned, of several rows of one hash the largest stays.
        place: an index into the list of partitions.
        must: below the position and not set aside.
    """

    hash: bytes
    version: int
    offset: int
    place: int
    must: bool


class TableEntry(NamedTuple):
    """Equal rows that lie in the table.

    Attributes:
        time_ms: Unix milliseconds.
        rows: how many, not yet merged.
    """

    hash: bytes
    version: int
    time_ms: int
    rows: int


class Matched(msgspec.Struct):
    """What was found; adds up over buckets.

    Attributes:
        records: that must have their row.
        distinct: rows that they make, since equal keys are one row.
        stored: rows among `distinct` that are there.
        lost: (place, offset) of the newest record of each that is not.
        forged: rows that no record explains.
        doubled: rows that lie there more often than their record.
        older: rows from before the log begins; nobody can say any more what they were made of.
        readable: records, also those that need no row (yet).
        versions: different ones among `readable`.
    """

    records: int = 0
    distinct: int = 0
    stored: int = 0
    lost: list[tuple[int, int]] = []
    forged: int = 0
    doubled: int = 0
    older: int = 0
    readable: int = 0
    versions: int = 0

    def add(self, other: "Matched") -> None:
        """Adds another bucket."""
        self.records += other.records
        self.distinct += other.distinct
        self.stored += other.stored
        self.lost += other.lost
        self.forged += other.forged
        self.doubled += other.doubled
        self.older += other.older
        self.readable += other.readable
        self.versions += other.versions


def match(log: Iterable[LogEntry], table: Iterable[TableEntry], horizon_ms: int) -> Matched:
    """Matches one bucket.

    Args:
        horizon_ms: every row of this time or later has its record in the log, if it ever had one.
    """
    found = Matched()
    copies: dict[tuple[bytes, int], int] = {}
    newest: dict[bytes, tuple[int, int, int]] = {}
    for entry in log:
        key = (entry.hash, entry.version)
        copies[key] = copies.get(key, 0) + 1
        if entry.must:
            found.records += 1
            before = newest.get(entry.hash)
            if before is None or before[0] <= entry.version:
                newest[entry.hash] = (entry.version, entry.place, entry.offset)
        found.readable += 1
    found.versions = len(copies)
    stored: dict[bytes, int] = {}
    for row in table:
        stored[row.hash] = max(row.version, stored.get(row.hash, -1))
        explained = copies.get((row.hash, row.version), 0)
        if row.rows <= explained:
            continue
        if row.time_ms < horizon_ms:
            found.older += row.rows - explained
        elif explained:
            found.doubled += row.rows - explained
        else:
            found.forged += row.rows
    found.distinct = len(newest)
    for name, (version, place, offset) in newest.items():
        if stored.get(name, -1) >= version:
            found.stored += 1
        else:
            found.lost.append((place, offset))
    return found


class OffsetSet:
    """Which offsets of a range are marked: a bit each, in pages that are made when something in them is.

    Args:
        first, end: the range; marks outside are ignored.
    """

    def __init__(self, first: int, end: int) -> None:
        self.first, self.end = first, end
        self._pages: dict[int, int] = {}

    def add(self, offset: int) -> None:
        """OffsetSet an offset; again changes nothing."""
        if self.first <= offset < self.end:
            page, bit = divmod(offset, PAGE_OFFSETS)
            self._pages[page] = self._pages.get(page, 0) | 1 << bit

    def __contains__(self, offset: int) -> bool:
        page, bit = divmod(offset, PAGE_OFFSETS)
        return bool(self._pages.get(page, 0) >> bit & 1)

    def below(self, offset: int) -> int:
        """How many offsets below this one are marked."""
        last, bits = divmod(max(0, offset), PAGE_OFFSETS)
        marked = sum(marks.bit_count() for page, marks in self._pages.items() if page < last)
        return marked + (self._pages.get(last, 0) & ((1 << bits) - 1)).bit_count()
