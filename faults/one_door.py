"""A broker, one door that is started again when it ends, and what comes out of it: for the runs that attack a door."""

import asyncio
import datetime
import os
import time
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from faults.door_crashes.broker import Feed, Watch, broker, log_of
from faults.door_crashes.workers import Worker
from processors.door.deidentify import row_id
from schemas.events import IdentifiedLabel, IdentifiedVerdict
from schemas.outcomes import UnjoinError
from schemas.topics import VERDICTS
from testkit.seals import unsealed_value
from unjoin.host.kafka import free_port
from unjoin.keys.keyring import Keyring

RELEASED_PARTITIONS = 2
LOOK_S = 0.1
QUIET_S = 5.0
WRITE_RECORDS_MAX = 500


class OneDoor:
    """What runs.

    Attributes:
        arrived_at: row_id -> when it was first seen on the released topic, seconds of the monotonic clock.
        peak_bytes: of the door's resident memory, the largest of all its lives.
    """

    def __init__(self, bootstrap: str, worker: Worker, feed: Feed, watch: Watch, epoch: Keyring, port: int) -> None:
        self.bootstrap = bootstrap
        self.worker = worker
        self.arrived_at: dict[str, float] = {}
        self.peak_bytes = 0
        self._feed, self._watch, self._epoch, self._port = feed, watch, epoch, port
        self._cpu_s: dict[int, float] = {}
        self.day = datetime.datetime.now(datetime.UTC).date()

    @property
    def restarts(self) -> int:
        """Times that its watchdog ended it."""
        return self.worker.ended_by_watchdog

    @property
    def cpu_s(self) -> float:
        """Seconds of processor time, of all its lives."""
        return sum(self._cpu_s.values())

    def row_id_of(self, label: IdentifiedLabel) -> str:
        """The row that it becomes."""
        return str(row_id(label.voter, label.task, self._epoch.key_of(label.day)))

    async def write(self, records: Sequence[IdentifiedLabel | IdentifiedVerdict]) -> None:
        """Returns once they are durable."""
        for start in range(0, len(records), WRITE_RECORDS_MAX):
            await self._feed.write([(0, _value_of(one)) for one in records[start : start + WRITE_RECORDS_MAX]])

    async def watch(self) -> None:
        """Looks, until it is cancelled."""
        while True:
            self.worker.supervise()
            now_s = time.monotonic()
            for new in self._watch.row_ids - self.arrived_at.keys():
                self.arrived_at[new] = now_s
            self._measure()
            await asyncio.sleep(LOOK_S)

    async def metrics(self) -> dict[str, float]:
        """The door's counts by name; what it has not shown is not among them."""

        def read() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=10) as answer:
                text: str = answer.read().decode()
            return text

        lines = [line for line in (await asyncio.to_thread(read)).splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    async def until(self, condition: Any, seconds_max: float, what: str) -> None:
        """Returns once a coroutine function gives a true value.

        Raises:
            UnjoinError: not in time.
        """
        deadline = time.monotonic() + seconds_max
        while time.monotonic() < deadline:
            with suppress(OSError):  # it is being started again
                if await condition():
                    return
            await asyncio.sleep(LOOK_S)
        raise UnjoinError(f"not within {seconds_max:.0f} s: {what}")

    async def passed_all(self) -> bool:
        """Whether the door has seen every record."""
        return (await self.metrics())["unjoin_door_lag_records"] == 0

    async def settled(self, seconds_max: float) -> None:
        """Returns once the door has seen every record and nothing has come out of it for a while.

        Raises:
            UnjoinError: not in time.
        """
        deadline = time.monotonic() + seconds_max
        while True:
            before = len(self.arrived_at)
            await asyncio.sleep(QUIET_S)
            await self.until(self.passed_all, seconds_max, "every record passed")
            if len(self.arrived_at) == before:
                return
            if time.monotonic() > deadline:
                raise UnjoinError(f"not within {seconds_max:.0f} s: a door at rest")

    async def stored_verdicts(self) -> int:
        """Records on the door's own topic."""
        return len(await log_of(self.bootstrap, VERDICTS))

    def _measure(self) -> None:
        with suppress(OSError):
            stat = Path(f"/proc/{self.worker.pid}/stat").read_text().rpartition(")")[2].split()
            self._cpu_s[self.worker.pid] = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
            status = Path(f"/proc/{self.worker.pid}/status").read_text()
            (peak,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
            self.peak_bytes = max(self.peak_bytes, int(peak) * 1_024)


@asynccontextmanager
async def one_door(kafka_home: Path, folder: Path, **config: Any) -> AsyncIterator[OneDoor]:
    """It runs while the context lasts.

    Args:
        config: of `testkit.door_config`.
    """
    port = free_port()
    keys = folder / "keys" / "epoch"
    async with (
        broker(kafka_home, folder / "kafka", 1, RELEASED_PARTITIONS) as node,
        Feed(node.bootstrap) as feed,
        Watch(node.bootstrap, RELEASED_PARTITIONS) as watch,
    ):
        given = {"bootstrap": node.bootstrap, "epoch_keys_dir": str(keys), "metrics_port": port, **config}
        worker = Worker(0, given, folder)
        worker.start()
        door = OneDoor(node.bootstrap, worker, feed, watch, Keyring(keys), port)
        watching = asyncio.create_task(door.watch())
        try:
            await door.until(worker.is_ready, 60.0, "a door that is ready")
            yield door
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            worker.end()


def _value_of(record: IdentifiedLabel | IdentifiedVerdict) -> bytes:
    act: Any = ("unjoin.Verdict", {"human": record.human}) if isinstance(record, IdentifiedVerdict) else (
        "unjoin.Answer", {"kind": record.kind, "task": record.task, "answer": record.answer}
    )  # fmt: skip
    return unsealed_value({"voter": record.voter, "day": record.day, "act": act})
