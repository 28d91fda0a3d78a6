"""Bounded, durable, on disk: where batches wait while Kafka is away. One thread writes for all who wait.

append ──▶ those who wait at this moment ──▶ one transaction, one sync ──▶ every one of them
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ingest.encode.records import Record
from ingest.spool.file import SpoolCounts, SpoolError, SpoolFile, SpoolFull, SpoolHeld
from ingest.spool.packs import Entry, Pack, pack_of

log = logging.getLogger(__name__)

T = TypeVar("T")

STOP_SECONDS_MAX = 5.0
MINUTE_MS = 60_000
# A pack in the file, beside its data: its row and half a page that cannot be filled.
PACK_OVERHEAD_BYTES = 2_200
# Of those set aside where no topic has a life of its own.
SET_ASIDE_MS_MAX = 7 * 24 * 60 * MINUTE_MS


class SpoolConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where to spool and how much.

    Attributes:
        folder: one collector's alone.
        bytes_max: of the file; its log comes on top, some megabytes.
        lives_ms: by topic, how long its records may lie here; as long as it takes where a topic is not named.
    """

    folder: Path
    bytes_max: int
    lives_ms: Mapping[str, int]


class SpoolStats(msgspec.Struct):
    """For metrics; the counts of records are in `Spool.counts`, and durable.

    Attributes:
        full: requests refused because the bound, or the disk's, was reached.
        failed: requests refused because the disk failed or was too slow.
        syncs: transactions that requests shared.
        broken: files that were no database any more and were put aside, whole.
    """

    full: int = 0
    failed: int = 0
    syncs: int = 0
    broken: int = 0


class Spool:
    """Belongs to one event loop; its file belongs to a thread.

    Args:
        now_ms: Unix milliseconds.

    Attributes:
        counts: of records, durable.
        works: whether the last call succeeded.
    """

    def __init__(self, config: SpoolConfig, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self.stats = SpoolStats()
        self._config = config
        self._now_ms = now_ms
        self._file = SpoolFile(
            config.folder / "spool.sqlite",
            config.bytes_max,
            min(config.lives_ms.values(), default=SET_ASIDE_MS_MAX),
            now_ms,
        )
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock: int | None = None
        self._pending_bytes = 0
        self.works = False

    @property
    def counts(self) -> SpoolCounts:
        """As of the last transaction."""
        return self._file.counts

    async def start(self) -> None:
        """Takes the folder. A disk that fails is no reason not to start: Kafka may be there.

        Raises:
            SpoolHeld: another process has it.
        """
        self._thread = threading.Thread(target=self._work, name="spool", daemon=True)
        self._thread.start()
        try:
            await self.probe()
        except SpoolHeld:
            await self.stop(STOP_SECONDS_MAX)
            raise
        except SpoolError:
            log.error("there is no spool for now; events are accepted while Kafka takes them")

    async def stop(self, seconds_max: float) -> None:
        """Ends the thread once it wrote what it has; what is in the file stays for the next start."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join, seconds_max)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        self.works = False

    def accepts(self) -> bool:
        """Whether it wrote last time, and has room for a request as large as they come."""
        return self.works and self._has_room(1_048_576)

    @property
    def pending_bytes(self) -> int:
        """Of what was handed over and is not written yet."""
        return self._pending_bytes

    async def append(self, records: Sequence[Record], seconds_max: float) -> None:
        """Returns once every record is written and synced.

        Raises:
            SpoolFull: there is no room.
            SpoolError: the disk failed, or took longer; some may be written all the same.
        """
        packs = self._packs_of(records)
        size = sum(len(pack.data) + PACK_OVERHEAD_BYTES for pack in packs)
        if self._thread is None:
            raise SpoolError("the spool is not running")
        if not self._has_room(size):
            self.stats.full += 1
            raise SpoolFull("the spool is full")
        job = _Append(packs, asyncio.get_running_loop())
        self._pending_bytes += size
        job.future.add_done_callback(lambda _: self._note_settled(size))
        self._jobs.put(job)
        try:
            async with asyncio.timeout(seconds_max):
                await asyncio.shield(job.future)
        except TimeoutError:
            self.stats.failed += 1
            raise SpoolError("the disk took too long") from None
        except SpoolFull:
            self.stats.full += 1
            raise
        except SpoolError:
            self.stats.failed += 1
            raise

    async def read(self, after: int, records_max: int, bytes_max: int) -> list[Entry]:
        """The packs that follow `after`, oldest first; see `SpoolFile.read`."""
        return await self._call(lambda: self._file.read(after, records_max, bytes_max))

    async def delete(self, entries: Sequence[Entry]) -> None:
        """Deletes what was read and acknowledged."""
        await self._call(lambda: self._file.delete(entries))

    async def split(self, entry: Entry) -> None:
        """Makes a pack of each record of this one."""
        await self._call(lambda: self._file.split(entry))

    async def expire(self) -> int:
        """Deletes what may live no longer; how many records. Not while something that was read is being produced."""
        return await self._call(self._file.expire)

    async def probe(self) -> None:
        """Finds out whether it works again."""
        await self._call(self._file.probe)

    def numbers(self) -> list[tuple[str, str, bool, Callable[[], float]]]:
        """For metrics: name, explanation, whether it is a gauge, value. Totals only, no topic among them."""
        stats = self.stats
        return [
            ("records", "Records that wait in the spool for Kafka.", True, lambda: self.counts.waiting),
            ("bytes", "Bytes of the spool's file in use.", True, lambda: self.counts.used_bytes),
            ("works", "1 while the spool's disk takes writes.", True, lambda: float(self.works)),
            ("spooled", "Records ever spooled, over restarts.", False, lambda: self.counts.spooled),
            ("drained", "Spooled records acknowledged by Kafka, over restarts.", False, lambda: self.counts.drained),
            ("expired", "Spooled records past their retention, over restarts.", False, lambda: self.counts.expired),
            ("set_aside", "Spooled records with a wrong checksum.", False, lambda: self.counts.set_aside),
            ("full", "Requests refused because the spool was full.", False, lambda: stats.full),
            ("failed", "Requests refused because the spool's disk failed or was slow.", False, lambda: stats.failed),
            ("syncs", "Transactions that spooled requests shared.", False, lambda: stats.syncs),
            ("broken", "Spool files that were no database any more.", False, lambda: stats.broken),
        ]

    def _packs_of(self, records: Sequence[Record]) -> list[Pack]:
        by_life: dict[int | None, list[Record]] = {}
        for record in records:
            by_life.setdefault(self._config.lives_ms.get(record.topic), []).append(record)
        now_ms = self._now_ms()
        # To the minute: the file holds no exact time of a label.
        return [
            pack_of(some, None if life is None else (now_ms + life) // MINUTE_MS * MINUTE_MS)
            for life, some in by_life.items()
        ]

    def _has_room(self, size: int) -> bool:
        return self.counts.used_bytes + self._pending_bytes + size <= self._config.bytes_max

    def _note_settled(self, size: int) -> None:
        self._pending_bytes -= size

    async def _call(self, function: Callable[[], T]) -> T:
        if self._thread is None:
            raise SpoolError("the spool is not running")
        job = _Call(function, asyncio.get_running_loop())
        self._jobs.put(job)
        result: T = await asyncio.shield(job.future)
        return result

    def _work(self) -> None:
        """The thread."""
        running = True
        while running:
            jobs = [self._jobs.get()]
            with contextlib.suppress(queue.Empty):
                while True:
                    jobs.append(self._jobs.get_nowait())
            running = None not in jobs
            appends = [job for job in jobs if isinstance(job, _Append)]
            if appends:
                packs = [pack for job in appends for pack in job.packs]
                self._do(lambda packs=packs: self._file.append(packs), appends)  # type: ignore[misc]
                self.stats.syncs += 1
            for job in jobs:
                if isinstance(job, _Call):
                    self._do(job.function, [job])
        self._file.close()

    def _do(self, change: Callable[[], Any], jobs: Sequence["_Job"]) -> None:
        try:
            if self._lock is None:
                self._lock = _lock_of(self._config.folder)
            self._file.open()
            result, error = change(), None
        except SpoolError as caught:
            result, error = None, caught
        except Exception as caught:  # a bug must not end the thread, or everybody would wait for ever
            log.error("the spool's thread failed: %s", type(caught).__name__)
            result, error = None, SpoolError("the spool failed")
        works = error is None
        if works != self.works:
            log.log(logging.INFO if works else logging.ERROR, "%s", error or "the spool can be written")
        self.works = works
        self.stats.broken = self._file.broken
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            jobs[0].loop.call_soon_threadsafe(_settle, jobs, result, error)


class _Job:
    __slots__ = ("future", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()


class _Append(_Job):
    __slots__ = ("packs",)

    def __init__(self, packs: list[Pack], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.packs = packs


class _Call(_Job):
    __slots__ = ("function",)

    def __init__(self, function: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.function = function


def _settle(jobs: Sequence[_Job], result: Any, error: SpoolError | None) -> None:
    for job in jobs:
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(type(error)(*error.args))
            job.future.exception()  # somebody looks at it, even where who waited has gone


def _lock_of(folder: Path) -> int:
    """Takes the folder for this process: an open file, until it is closed or the process ends.

    Raises:
        SpoolHeld: another process has it.
        SpoolError: it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SpoolError(f"the spool's folder cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise SpoolHeld(f"another collector spools in {folder}; give this one its own with UNJOIN_SPOOL_DIR") from None
    return descriptor
