"""The spool: keeps records durably on disk, within a bound, while Kafka is away. One thread writes for all requests.

append ──▶ all requests that wait at this moment ──▶ one transaction, one sync ──▶ each of these requests is answered
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
# Bytes that a pack takes in the file beside its data: its row, and half a page that stays empty.
PACK_OVERHEAD_BYTES = 2_200
# How long packs that are set aside are kept when no topic has a retention of its own.
SET_ASIDE_MS_MAX = 7 * 24 * 60 * MINUTE_MS


class SpoolConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where to spool and how much.

    Attributes:
        folder: used by one collector alone.
        bytes_max: of the file; the log needs some megabytes more.
        lives_ms: retention of spooled records by topic, in milliseconds; records of other topics never expire.
    """

    folder: Path
    bytes_max: int
    lives_ms: Mapping[str, int]


class SpoolStats(msgspec.Struct):
    """Counters since the start, for metrics; those of records are in `Spool.counts`, and durable.

    Attributes:
        full: requests refused because the bound was reached, or the disk was full.
        failed: requests refused because the disk failed or was too slow.
        syncs: transactions that wrote records.
        broken: damaged files that were renamed and replaced by new ones.
    """

    full: int = 0
    failed: int = 0
    syncs: int = 0
    broken: int = 0


class Spool:
    """The asynchronous side of a SpoolFile: belongs to one event loop, while the file belongs to a thread of its own.

    Args:
        now_ms: Unix milliseconds.

    Attributes:
        stats: counters since the start.
        works: whether the last call on the file succeeded.
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
        """Durable counts of records, as of the last transaction."""
        return self._file.counts

    async def start(self) -> None:
        """Starts the thread and locks the folder. A failing disk is logged, not raised: Kafka may take the events.

        Raises:
            SpoolHeld: another process has the folder.
        """
        self._thread = threading.Thread(target=self._work, name="spool", daemon=True)
        self._thread.start()
        try:
            await self.probe()
        except SpoolHeld:
            await self.stop(STOP_SECONDS_MAX)
            raise
        except SpoolError:
            log.error("the spool cannot be used now; events are accepted while Kafka takes them")

    async def stop(self, seconds_max: float) -> None:
        """Ends the thread after the writes that wait for it; the file keeps its records for the next start."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join, seconds_max)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        self.works = False

    def accepts(self) -> bool:
        """Whether the last write succeeded, and there is room for a request of 1 MiB."""
        return self.works and self._has_room(1_048_576)

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait for the thread to write them."""
        return self._pending_bytes

    async def append(self, records: Sequence[Record], seconds_max: float) -> None:
        """Returns once every record is written and synced.

        Raises:
            SpoolFull: there is no room.
            SpoolError: the disk failed, or took longer than `seconds_max`; the records may be written all the same.
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
        """Reads the packs whose number is above `after`, oldest first; see `SpoolFile.read`."""
        return await self._call(lambda: self._file.read(after, records_max, bytes_max))

    async def delete(self, entries: Sequence[Entry]) -> None:
        """Deletes packs that were read and acknowledged."""
        await self._call(lambda: self._file.delete(entries))

    async def split(self, entry: Entry) -> None:
        """Replaces a pack by one pack for each of its records."""
        await self._call(lambda: self._file.split(entry))

    async def expire(self) -> int:
        """Deletes the records whose retention has ended; returns their number.

        Not to be called between `read` and `delete` of the same packs.
        """
        return await self._call(self._file.expire)

    async def probe(self) -> None:
        """Finds out whether the disk works, and raises SpoolError if it does not."""
        await self._call(self._file.probe)

    def numbers(self) -> list[tuple[str, str, bool, Callable[[], float]]]:
        """Metrics, each as (name, explanation, whether it is a gauge, value); totals only, without topics."""
        stats = self.stats
        return [
            ("records", "Records that wait in the spool for Kafka.", True, lambda: self.counts.waiting),
            ("bytes", "Bytes of the spool's file in use.", True, lambda: self.counts.used_bytes),
            ("bytes_max", "Bytes that the file may use.", True, lambda: self._config.bytes_max),
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
        # Rounded down to the minute, so that the file holds no exact time of a label.
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
        """Runs on the thread: writes the records of all jobs that wait in one transaction, then does the other jobs."""
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
                self._run_jobs(lambda packs=packs: self._file.append(packs), appends)  # type: ignore[misc]
                self.stats.syncs += 1
            for job in jobs:
                if isinstance(job, _Call):
                    self._run_jobs(job.function, [job])
        self._file.close()

    def _run_jobs(self, change: Callable[[], Any], jobs: Sequence["_Job"]) -> None:
        try:
            if self._lock is None:
                self._lock = _lock_folder(self._config.folder)
            self._file.open()
            result, error = change(), None
        except SpoolError as caught:
            result, error = None, caught
        except Exception as caught:  # a bug must not end the thread, or every later request would wait in vain
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
            job.future.exception()  # retrieved here, in case whoever waited for the job is gone


def _lock_folder(folder: Path) -> int:
    """Locks the folder for this process; returns an open file that holds the lock until it is closed.

    Raises:
        SpoolHeld: another process has the lock.
        SpoolError: the folder or the lock's file cannot be made.
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
