"""Two engines to be killed within an insert: chdb in a process of its own, and a server."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple, Protocol

from sinks.clickhouse.address import address_of
from sinks.clickhouse.server import Server
from sinks.engine import Unknown
from testkit.aimed_kill import Aim, AimedKill
from testkit.clickhouse_server import ClickHouseServer
from testkit.contract_table import PLAIN, ServerTable, block

ROOT = Path(__file__).parents[1]
PARTS = 4  # of a block


class Victim(Protocol):
    """An engine that starts again on the same data; rows are numbers."""

    @property
    def pid(self) -> int: ...

    def start(self) -> None: ...
    def stop(self) -> None: ...

    def insert(self, first: int, end: int) -> bool:
        """Inserts rows; gives whether they were stored. If not, the engine is dead."""

    def repair(self, first: int, end: int) -> int:
        """Inserts those of the rows that are missing; gives their number."""

    def counts(self) -> tuple[int, int]:
        """Rows, and different rows."""


class Chdb:
    """`commanded_engine` as a process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        command = [sys.executable, "-m", "testkit.commanded_engine", str(self._folder / "data")]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._answer() == "ready"

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()

    def insert(self, first: int, end: int) -> bool:
        self._say(f"insert {first} {end}")
        if self._answer() == "stored":
            return True
        self.stop()
        return False

    def repair(self, first: int, end: int) -> int:
        self._say(f"repair {first} {end}")
        return int(self._answer())

    def counts(self) -> tuple[int, int]:
        self._say("count")
        rows, different, _ = map(int, self._answer().split())
        return rows, different

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


class ChildServer:
    """A server; blocks of the contract's table, partitioned by day."""

    def __init__(self, folder: Path) -> None:
        self._server = ClickHouseServer(folder)
        self._made = False

    @property
    def pid(self) -> int:
        return self._server.pid

    def start(self) -> None:
        self._server.start()
        self._table = ServerTable(self._server)
        self._engine = Server(address_of(self._server.url))
        if not self._made:
            self._table.create(PLAIN.format(by="day"))
            self._made = True
        self._table.stop_merges()
        self._table.stored()  # what the first query of a server loads is loaded

    def stop(self) -> None:
        self._engine.close()
        self._table.close()
        self._server.kill()

    def insert(self, first: int, end: int) -> bool:
        try:
            self._engine.insert(block(first, end))
        except Unknown:
            self.stop()
            return False
        return True

    def repair(self, first: int, end: int) -> int:
        return self._engine.insert_missing(block(first, end))

    def counts(self) -> tuple[int, int]:
        stored = self._table.stored()
        return stored.total(), len(stored)


class Killed(NamedTuple):
    """One insert that a kill was aimed at.

    Attributes:
        hit: the engine died before that call; False where the insert makes fewer of them.
        stored: rows of the block that were there afterwards.
        lost, doubled: rows after the repair.
    """

    hit: bool
    stored: int
    lost: int
    doubled: int


class Experiment:
    """Blocks one after the other into one engine, each killed where it is aimed at, then repaired."""

    def __init__(self, victim: Victim, folder: Path, rows: int = 400) -> None:
        self._victim, self._log, self._block_rows = victim, folder / "strace.log", rows
        self._next = 0
        victim.start()
        self.insert_undisturbed()

    def insert_undisturbed(self) -> None:
        """One block, so that nothing of the aimed one is the first of its kind."""
        assert self._victim.insert(self._next, self._next + self._block_rows)
        self._next += self._block_rows

    def kill_before(self, aim: Aim) -> Killed:
        """One block, killed at a system call, looked at, repaired, and looked at again."""
        aimed = AimedKill(self._victim.pid, aim, self._log)
        survived = self._victim.insert(self._next, self._next + self._block_rows)
        aimed.detach()
        return self._repaired(survived)

    def kill_after(self, seconds: float) -> Killed:
        """Kills as `kill_before` does, at a moment instead of a call; for comparison."""
        timer = threading.Timer(seconds, os.kill, (self._victim.pid, signal.SIGKILL))
        timer.start()
        survived = self._victim.insert(self._next, self._next + self._block_rows)
        timer.cancel()
        timer.join()
        if survived:
            # The moment may have come right after the answer; either way the next one starts on a fresh engine.
            self._victim.stop()
            self._victim.start()
        return self._repaired(survived)

    def close(self) -> None:
        """Ends the engine."""
        self._victim.stop()

    def _repaired(self, survived: bool) -> Killed:
        first, end = self._next, self._next + self._block_rows
        if not survived:
            self._victim.start()
        stored = self._victim.counts()[0] - first
        self._victim.repair(first, end)
        self._next = end
        rows, different = self._victim.counts()
        return Killed(not survived, stored, end - different, rows - different)
