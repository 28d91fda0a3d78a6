"""The spool's thread in virtual time, and its disk: what a kill or a power failure leaves of its files.

SQLite is real, so that its own recovery reads a torn log. A kill during a write keeps any prefix of what was added to
the log. A power failure removes what SQLite did not sync; the simulation takes that from SQLite's `synchronous`
setting, not from system calls. It does not simulate a checkpoint that is interrupted half-way in the file itself.
"""

import contextlib
import os
import queue
import shutil
import sqlite3
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ingest.spool.file import SpoolError, SpoolFile
from ingest.spool.packs import Entry
from ingest.spool.writer import Spool, SpoolConfig
from tests.simulation.clock import SimulatedLoop, Universe

NOW_MS = 1_790_000_000_000
SYNCHRONOUS_FULL = 2


class _Idle(BaseException):
    """The spool's thread has nothing to do."""


class _Jobs:
    """The queue of the spool's thread, which is turned by virtual time instead of running by itself."""

    def __init__(self, spool: "SimulatedSpool") -> None:
        self._spool = spool
        self.waiting: deque[Any] = deque()
        self.busy = False

    def put(self, job: Any) -> None:
        self.waiting.append(job)
        if not self.busy:
            self.busy = True
            self._spool.universe.later(self._spool.universe.duration(0.0005, 0.3), self._spool.turn)

    def get(self) -> Any:
        if not self.waiting:
            raise _Idle
        return self.waiting.popleft()

    def get_nowait(self) -> Any:
        if not self.waiting:
            raise queue.Empty
        return self.waiting.popleft()


class SimulatedThread:
    """Stands for the spool's thread: `turn` does what it would."""

    def __init__(self, target: Any, **_: Any) -> None:
        self._spool: SimulatedSpool = target.__self__

    def start(self) -> None:
        """It waits for jobs."""

    def join(self, _seconds_max: float) -> None:
        self._spool.turn()


class Disk:
    """A spool's folder, used by one process after another. Files are real; what a crash leaves of them is simulated.

    Attributes:
        folder: where the living process has its files.
        dead: connections of killed processes, which must not close: that would tidy up.
    """

    def __init__(self, universe: Universe, root: Path) -> None:
        self.universe, self._root = universe, root
        self._lives = 0
        self.folder = root / "0"
        self.folder.mkdir()
        self.fails_until = 0.0
        self.dead: list[Any] = []
        self.spools: list[SimulatedSpool] = []

    def close(self) -> None:
        """Closes the files that killed processes still hold, since they all run in this process."""
        for spool in self.spools:
            if spool._lock is not None:
                os.close(spool._lock)
                spool._lock = None
            spool._file.close()
        shutil.rmtree(self._root, ignore_errors=True)

    def image(self) -> Path:
        """A copy of the files as they are."""
        self._lives += 1
        copy = self._root / str(self._lives)
        copy.mkdir()
        for name in ("spool.sqlite", "spool.sqlite-wal"):
            if (self.folder / name).exists():
                shutil.copyfile(self.folder / name, copy / name)
        return copy

    def crashed(self, file: SpoolFile | None, torn: Path | None = None) -> None:
        """Makes what is left of the files the folder of the next process; after a power failure, what was synced."""
        left = torn or self.image()
        if file is not None:
            self.dead.append(file)
        self.folder = left

    def size(self) -> int:
        """Bytes of the log beside the file."""
        log = self.folder / "spool.sqlite-wal"
        return log.stat().st_size if log.exists() else 0


class SimulatedFile(SpoolFile):
    """`SpoolFile` on a disk that fails now and then."""

    disk: Disk

    def append(self, packs: Any) -> None:
        universe = self.disk.universe
        if self.disk.fails_until > universe.now or universe.odds("spool disk fails", 0.01):
            raise SpoolError("input/output error")
        super().append(packs)


class SimulatedSpool(Spool):
    """`Spool`, whose thread takes virtual time and dies with its process, in the middle of a write if it comes so."""

    def __init__(self, config: SpoolConfig, disk: Disk, ledger: Any, loop: SimulatedLoop) -> None:
        universe = disk.universe
        super().__init__(config, lambda: NOW_MS + int(universe.now * 1_000))
        self.universe, self._disk, self._ledger, self._process = universe, disk, ledger, loop
        self._jobs: Any = _Jobs(self)
        file = SimulatedFile(
            config.folder / "spool.sqlite",
            config.bytes_max,
            min(config.lives_ms.values()),
            lambda: NOW_MS + int(universe.now * 1_000),
        )
        file.disk = disk
        self._file = file
        self._synced_size = disk.size()
        disk.spools.append(self)

    def turn(self) -> None:
        """Does what the thread does between two waits for jobs."""
        self._jobs.busy = False
        if not self._process.alive:
            return
        if self._process.paused_until > self.universe.now:
            self._jobs.busy = True
            self.universe.later(self._process.paused_until - self.universe.now + 0.001, self.turn)
            return
        dies = bool(self._jobs.waiting) and self.universe.odds("killed in a spool write", self._ledger.spool_kills)
        before, size = (self._disk.image() if dies else None), self._disk.size()
        with contextlib.suppress(_Idle):
            self._work()
        self._note_synced(size)
        if before is not None:
            self._die(before, size)

    def _note_synced(self, size: int) -> None:
        """SQLite syncs its log at each commit where `synchronous` is FULL, in WAL mode (its pragma's documentation)."""
        connection: sqlite3.Connection | None = self._file._connection
        full = connection is None or connection.execute("PRAGMA synchronous").fetchone()[0] >= SYNCHRONOUS_FULL
        if full or self._disk.size() < size:
            self._synced_size = self._disk.size()

    def _die(self, before: Path, size: int) -> None:
        """Kills the process before or after the write, or at any byte that it added to the log."""
        after = self._disk.image()
        log = after / "spool.sqlite-wal"
        grown = log.exists() and log.stat().st_size > size
        if grown and _content(after / "spool.sqlite") == _content(before / "spool.sqlite"):
            with log.open("r+b") as file:
                file.truncate(self.universe.random.randint(size, log.stat().st_size))
            torn = after
        else:
            torn = self.universe.random.choice([before, after])
        self._disk.crashed(self._file, torn)
        self.universe.kill(self._process)

    def lose_power(self) -> None:
        """Removes what was not synced, as when the machine loses power."""
        left = self._disk.image()
        log = left / "spool.sqlite-wal"
        if log.exists() and log.stat().st_size > self._synced_size:
            with log.open("r+b") as file:
                file.truncate(self._synced_size)
        self._disk.crashed(self._file, left)

    async def delete(self, entries: Sequence[Entry]) -> None:
        self._ledger.check_deleted(entries)
        await super().delete(entries)


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
