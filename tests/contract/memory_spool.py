"""A spool in memory that keeps the same contract as the one on disk, for tests of what stands on it."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from ingest.encode.records import Record
from ingest.spool.file import SpoolCounts, SpoolError, SpoolFull
from ingest.spool.packs import Entry
from ingest.spool.writer import MINUTE_MS, SpoolConfig, SpoolStats


class MemorySpool:
    """Stands for `ingest.spool.writer.Spool`; its disk fails while `failing` is set."""

    def __init__(self, config: SpoolConfig, now_ms: Callable[[], int]) -> None:
        self.stats = SpoolStats()
        self.counts = SpoolCounts()
        self.works = False
        self.pending_bytes = 0
        self.failing = False
        self.entries: list[Entry] = []
        self._config = config
        self._now_ms = now_ms
        self._running = False
        self._seq = 0

    async def start(self) -> None:
        self._running = self.works = True

    async def stop(self, seconds_max: float) -> None:
        self._running = self.works = False

    def accepts(self) -> bool:
        return self.works and self._has_room(1_048_576)

    async def append(self, records: Sequence[Record], seconds_max: float) -> None:
        try:
            async with asyncio.timeout(seconds_max):
                await asyncio.sleep(0)  # as the one on disk, which always waits for its thread
        except TimeoutError:
            self.stats.failed += 1
            raise SpoolError("the disk took too long") from None
        self._check()
        if not self._has_room(_size(records)):
            self.stats.full += 1
            raise SpoolFull("the spool is full")
        by_life: dict[int | None, list[Record]] = {}
        for record in records:
            by_life.setdefault(self._config.lives_ms.get(record.topic), []).append(record)
        for life, some in by_life.items():
            self._add(None if life is None else (self._now_ms() + life) // MINUTE_MS * MINUTE_MS, some)
        self._count(spooled=len(records))

    async def read(self, after: int, records_max: int, bytes_max: int) -> list[Entry]:
        self._check()
        found: list[Entry] = []
        for entry in self.entries:
            if sum(len(one.records) for one in found) >= records_max:
                break
            if entry.seq > after:
                found.append(entry)
        return found

    async def delete(self, entries: Sequence[Entry]) -> None:
        self._check()
        gone = {entry.seq for entry in entries} & {entry.seq for entry in self.entries}
        self._count(drained=sum(len(entry.records) for entry in entries if entry.seq in gone))
        self._remove(gone)

    async def split(self, entry: Entry) -> None:
        self._check()
        self._remove({entry.seq})
        for record in entry.records:
            self._add(entry.expires_ms, [record])

    async def expire(self) -> int:
        self._check()
        gone = [entry for entry in self.entries if entry.expires_ms is not None and entry.expires_ms <= self._now_ms()]
        expired = sum(len(entry.records) for entry in gone)
        self._count(expired=expired)
        self._remove({entry.seq for entry in gone})
        return expired

    async def probe(self) -> None:
        self._check()

    def _check(self) -> None:
        self.works = self._running and not self.failing
        if not self.works:
            raise SpoolError("the spool failed")

    def _has_room(self, size: int) -> bool:
        return sum(_size(entry.records) for entry in self.entries) + size <= self._config.bytes_max

    def _add(self, expires_ms: int | None, records: list[Record]) -> None:
        self._seq += 1
        self.entries.append(Entry(self._seq, expires_ms, records))

    def _remove(self, gone: set[int]) -> None:
        self.entries = [entry for entry in self.entries if entry.seq not in gone]

    def _count(self, **more: int) -> None:
        counted = {name: getattr(self.counts, name) + records for name, records in more.items()}
        self.counts = msgspec.structs.replace(self.counts, **counted)


def _size(records: Sequence[Record]) -> int:
    return sum(len(record.value) + len(record.key or b"") + 64 for record in records)
