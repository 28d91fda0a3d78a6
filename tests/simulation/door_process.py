"""The processor: the door of `processors/`, with a driver that stands for Faust."""

import asyncio
import contextlib
import datetime
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from processors.door.crowd import Crowd, CrowdRule
from processors.door.records import stored_verdict_of
from processors.door.release import Door
from processors.faust_app.batch_handler import BatchHandler, HandlerTopics, StartingPoint
from processors.faust_app.batches import FetchedBatch
from processors.faust_app.commits import Commits
from processors.faust_app.metrics import DoorMetrics
from processors.faust_app.producer import AcknowledgedProducer
from processors.faust_app.watchdog import Seen, StallDetector
from schemas.seal import Opener
from schemas.topics import DEIDENTIFIED, LABELED, LABELED_DEAD_LETTERS, VERDICTS
from testkit.door_config import crowd_rule
from testkit.unmasked import unmasked
from tests.simulation.clock import Universe
from tests.simulation.kafka_clients import SimulatedAdmin, SimulatedConsumer
from tests.simulation.kafka_producer import SimulatedProducer
from tests.simulation.processes import universe_loop

METRICS = DoorMetrics(crowd_rule(20))
DOOR_GROUP = "unjoin-door"
STALL_SECONDS = 30.0


class DoorProcess:
    """The door of `processors/` in a driver that stands for Faust: what was fetched waits in a queue, an agent takes
    batches through `BatchHandler`, and every second what `Commits` allows is committed.

    Faust itself is not in here, nor its own bookkeeping of what is acknowledged: `processors/faust_app/commits.py`
    replaces that part, and its tests and `faults.door_crashes` run it on a real broker.
    """

    def __init__(self, universe: Universe, *, rule: CrowdRule, partitions: int) -> None:
        self.name = "door"
        self.universe, self._rule, self._partitions = universe, rule, partitions
        self.halted: Exception | None = None
        self._stopping = asyncio.Event()
        self._queue: deque[Any] = deque()
        self._filled = asyncio.Event()
        self._last: dict[Any, int] = {}
        self._generation = -1
        self.commits = Commits()

    async def main(self) -> None:
        self.consumer = SimulatedConsumer(group_id=DOOR_GROUP, session_timeout_ms=10_000, heartbeat_interval_ms=2_000)
        self._producer = SimulatedProducer(request_timeout_ms=10_000)
        self._admin = SimulatedAdmin()
        halted: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self.batches = BatchHandler(
            open_door=lambda partition, first_offset, committed, judged: Door(
                epoch_key_of, unmasked, Crowd(self._rule), partition=partition[1], judged=judged
            ),
            opener=Opener(epoch_key_of),
            producer=AcknowledgedProducer(self),
            commits=self.commits,
            metrics=METRICS,
            topics=HandlerTopics(DEIDENTIFIED, VERDICTS, LABELED_DEAD_LETTERS),
            dead_letter_share_max=0.5,
            halt=lambda error: None if halted.done() else halted.set_result(error),
            starting_points=self._starting_points,
        )
        await self._retried(self.consumer.start)
        self.consumer.subscribe([LABELED], self)
        loops = [
            asyncio.create_task(one())
            for one in (
                self._fetch,
                self._pass_labels,
                self._offer_at_whole_minutes,
                self._commit_regularly,
                self._watch,
            )
        ]
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([*loops, halted, stop], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        loops[0].cancel()
        if not halted.done():
            await asyncio.wait([asyncio.create_task(self.batches.close())], timeout=3.0)
        self.commits.offer()
        await asyncio.wait([asyncio.create_task(self._commit())], timeout=2.0)
        for one in loops:
            one.cancel()
        await asyncio.wait([asyncio.create_task(self.consumer.stop())], timeout=2.0)
        if halted.done():
            raise halted.result()
        for one in loops:
            if one.done() and not one.cancelled() and (error := one.exception()):
                raise error

    def stop(self) -> None:
        self._stopping.set()

    # The group.

    async def on_partitions_revoked(self, _revoked: Any) -> None:
        self.commits.offer()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._commit(), 3.0)
        self.commits.revoke()
        self._queue.clear()
        self._last.clear()

    async def on_partitions_assigned(self, assigned: Any) -> None:
        self._generation = self.consumer._coordinator.generation
        self.commits.assign(assigned)

    # The loops.

    async def _fetch(self) -> None:
        while True:
            batches = await self.consumer.getmany(timeout_ms=500, max_records=500)
            generation = self._generation  # Faust's: of the last assignment, also when the group has moved on
            for partition, records in batches.items():
                self.commits.deliver(partition, generation, [record.offset for record in records])
                while records:
                    count = self.universe.random.randint(1, 20)
                    self._queue.append(FetchedBatch(TP(*partition), generation, records[:count]))
                    records = records[count:]  # noqa: PLW2901
            self._filled.set()

    async def _pass_labels(self) -> None:
        while True:
            self._filled.clear()
            if not self._queue:
                await self._filled.wait()
                continue
            await self.batches.handle(self._queue.popleft())

    async def _commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            await self._commit()

    async def _offer_at_whole_minutes(self) -> None:
        """Minutes in the time of a simulation."""
        while True:
            await asyncio.sleep(self.universe.random.expovariate(0.2))
            await self.batches.store_verdicts()
            self.commits.offer()

    async def _watch(self) -> None:
        """The watchdog's look and decision: a commit that a late one took back is made good by a restart."""
        stall = StallDetector(STALL_SECONDS)
        while True:
            await asyncio.sleep(1.0)
            assigned = [TopicPartition(*one) for one in self.commits.assignment or ()]
            try:
                ends = await self.consumer.end_offsets(assigned)
                committed = await self._admin.list_consumer_group_offsets(DOOR_GROUP, assigned)
            except KafkaError:
                stall.forget()
                continue
            seen = {
                (one.topic, one.partition): Seen(
                    end=ends[one],
                    committed=max(0, committed[one].offset),
                    undecided=self.commits.undecided((one.topic, one.partition)),
                    committable=self.commits.committable((one.topic, one.partition)),
                    progress=self.commits.progress[one.topic, one.partition],
                )
                for one in assigned
            }
            if stall.stuck(self.universe.now, seen):
                self.universe.say("stuck")
                self.universe.kill(universe_loop())

    async def _commit(self) -> None:
        wanted = {}
        for partition in self.commits.delivered():
            offset = self.commits.committable(partition)
            if offset is not None and offset != self._last.get(partition):
                metadata = self.commits.metadata_of(partition, offset)
                wanted[TopicPartition(*partition)] = OffsetAndMetadata(offset, metadata)
        if not wanted:
            return
        with contextlib.suppress(CommitFailedError):
            await self.consumer.commit(wanted)
            self._last.update({tuple(one): commit.offset for one, commit in wanted.items()})

    async def _starting_points(self, partitions: Any) -> dict[Any, StartingPoint]:
        """The verdicts are read at one moment, after the commits: what lies on their topic by then was acknowledged."""
        commits = {one: await self._committed(one) for one in partitions}
        stored = [stored_verdict_of(one.value) for one in self.universe.broker.topics[VERDICTS][0].records]  # type: ignore[attr-defined]
        return {one: StartingPoint(*commit, stored) for one, commit in commits.items()}

    async def _committed(self, partition: Any) -> tuple[int | None, str]:
        one = TopicPartition(*partition)

        async def ask() -> tuple[int | None, str]:
            commit = (await self._admin.list_consumer_group_offsets(DOOR_GROUP, [one]))[one]
            return (None, "") if commit.offset < 0 else (commit.offset, commit.metadata)

        return await self._retried(ask)

    async def _retried(self, attempt: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        while True:
            try:
                return await attempt()
            except KafkaError:
                await asyncio.sleep(0.5)

    # What `AcknowledgedProducer` uses of a Faust app.

    @property
    def producer(self) -> Any:
        return self

    async def send(self, topic: str, key: Any, value: Any, partition: Any, timestamp_s: Any, headers: Any) -> Any:
        stamp = None if timestamp_s is None else int(timestamp_s * 1_000)
        return await self._producer.send(topic, value, key, partition, stamp, headers)

    def _ensure_producer(self) -> SimulatedProducer:
        return self._producer


def epoch_key_of(day: datetime.date) -> bytes:
    """The keyring of a run."""
    return day.toordinal().to_bytes(32, "big")
