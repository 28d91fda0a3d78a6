"""Scratch files: entries in buckets by hash, so that matching needs the memory of one bucket."""

import struct
from collections.abc import Iterator
from pathlib import Path

from unjoin.audit.matching import LogEntry, TableEntry

LOG = struct.Struct("<16sQqHB")
TABLE = struct.Struct("<16sQqI")
FLUSH_BYTES = 65_536
BUCKET_ENTRIES = 50_000
BUCKETS_MAX = 256


class Buckets:
    """Entries of one kind.

    Args:
        count: a power of two, up to 256.
    """

    def __init__(self, folder: Path, name: str, entry: struct.Struct, count: int) -> None:
        self._paths = [folder / f"{name}-{number}" for number in range(count)]
        self._waiting = [bytearray() for _ in range(count)]
        self._mask = count - 1
        self._entry = entry

    def add(self, name: bytes, *fields: int) -> None:
        """Adds an entry by its hash."""
        number = name[0] & self._mask
        waiting = self._waiting[number]
        waiting += self._entry.pack(name, *fields)
        if len(waiting) >= FLUSH_BYTES:
            self._flush(number)

    def bucket(self, number: int) -> Iterator[tuple[int | bytes, ...]]:
        """The entries of one bucket."""
        self._flush(number)
        path = self._paths[number]
        yield from self._entry.iter_unpack(path.read_bytes() if path.exists() else b"")

    def _flush(self, number: int) -> None:
        if self._waiting[number]:
            with self._paths[number].open("ab") as file:
                file.write(self._waiting[number])
            self._waiting[number].clear()


def log_entries(buckets: Buckets, number: int) -> Iterator[LogEntry]:
    """The entries of one bucket."""
    return (LogEntry(*entry) for entry in buckets.bucket(number))  # type: ignore[arg-type]


def table_entries(buckets: Buckets, number: int) -> Iterator[TableEntry]:
    """The entries of one bucket."""
    return (TableEntry(*entry) for entry in buckets.bucket(number))  # type: ignore[arg-type]


def bucket_count(entries: int) -> int:
    """How many buckets keep each to some `BUCKET_ENTRIES`."""
    count = 1
    while count < BUCKETS_MAX and count * BUCKET_ENTRIES < entries:
        count *= 2
    return count
