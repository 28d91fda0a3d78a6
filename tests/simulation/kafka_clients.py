"""What aiokafka's consumer and admin client do as `sinks/` sees them, on the simulated broker.

The consumer keeps aiokafka 0.14's order of things: `on_partitions_revoked` returns before it joins again, nothing is
delivered while it joins, the generation is known before `on_partitions_assigned`, and a commit names the generation
that the member has when its request is built. tests/sinks/kafka/test_consumer.py shows the same protocol on the real
ones.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, ClassVar

from aiokafka import TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from aiokafka.structs import OffsetAndMetadata

from tests.simulation.broker import Broker, Connection, Stored

RETRY_SECONDS = 0.1


async def type_of_error(error: BaseException, _access: Any) -> str:
    """Instead of `schemas.kafka_probe.reason_of`, which would connect."""
    return type(error).__name__


class _Nothing:
    """Stands for the fetcher and the client of a consumer that was given up."""

    _pending_tasks: ClassVar[set[Any]] = set()

    async def close(self) -> None:
        """Connections of nobody."""


class Coordinator:
    """The private part of aiokafka's consumer that `sinks.kafka.consumer` touches."""

    def __init__(self, consumer: "SimulatedConsumer") -> None:
        self._consumer = consumer
        self.generation = -1
        self.member_id = ""
        self.rejoin = asyncio.Event()
        self._coordination_task: Any = None
        self._heartbeat_task: Any = None
        self._commit_refresh_task: Any = None

    async def ensure_coordinator_known(self) -> None:
        """It is known."""

    def reset(self) -> None:
        self.generation, self.member_id = -1, ""
        self.rejoin.set()

    async def _do_commit_offsets(self, _assignment: Any, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        """One request under the generation of this moment."""
        consumer = self._consumer
        asked = consumer.connection.ask(consumer.group.commit, self.member_id, self.generation, offsets)
        try:
            await asked
        except (UnknownMemberIdError, IllegalGenerationError):
            self.reset()
            raise
        except RebalanceInProgressError:
            self.rejoin.set()
            raise


class SimulatedConsumer:
    """As AIOKafkaConsumer with a group."""

    def __init__(self, *, group_id: str, session_timeout_ms: int, heartbeat_interval_ms: int, **_: Any) -> None:
        self.connection = Connection(asyncio.get_running_loop())
        self._fetching = Connection(asyncio.get_running_loop())
        self.universe = self.connection.universe
        self.broker: Broker = self.connection.broker
        self.group = self.broker.group(group_id)
        self._session_s, self._beat_s = session_timeout_ms / 1_000, heartbeat_interval_ms / 1_000
        self._coordinator = Coordinator(self)
        self._fetcher = self._client = _Nothing()
        self._positions: dict[TopicPartition, int | None] = {}
        self._paused: set[TopicPartition] = set()
        self._highwater: dict[TopicPartition, int] = {}
        self._joining = True
        self._closing = asyncio.Event()
        self._topics: tuple[str, ...] = ()
        self._listener: Any = None

    async def start(self) -> None:
        await self.connection.ask(ask_nothing)

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(range(len(self.broker.topics.get(topic, ()))))

    async def topics(self) -> set[str]:
        await self.connection.ask(ask_nothing)
        return set(self.broker.topics)

    def subscribe(self, topics: Iterable[str], listener: Any) -> None:
        self._topics, self._listener = tuple(topics), listener
        self._coordinator._coordination_task = asyncio.create_task(self._coordinate())

    async def stop(self) -> None:
        if self._closing.is_set():
            return
        self._closing.set()
        coordinator = self._coordinator
        if coordinator._coordination_task is not None:
            await coordinator._coordination_task
        await self._stop_beating()
        if coordinator.generation > 0:
            with contextlib.suppress(KafkaError):
                await self.connection.ask(self.group.leave, coordinator.member_id)
            coordinator.generation = -1

    # The group.

    async def _coordinate(self) -> None:
        coordinator, prepared, closing = self._coordinator, False, asyncio.create_task(self._closing.wait())
        coordinator.rejoin.set()
        while not closing.done():
            if coordinator.rejoin.is_set():
                if not prepared:
                    self._joining = True
                    await self._listener.on_partitions_revoked(list(self._positions))
                    prepared = True
                await self._stop_beating()
                joined = await self._join()
                if joined is None:
                    await asyncio.wait([closing], timeout=RETRY_SECONDS)
                    continue
                prepared = False
                self._positions = dict.fromkeys(joined)
                self._paused.clear()
                self._joining = False
                coordinator._commit_refresh_task = asyncio.create_task(self._find_positions())
                await self._listener.on_partitions_assigned(list(joined))
                coordinator._heartbeat_task = asyncio.create_task(self._beat())
            rejoin = asyncio.create_task(coordinator.rejoin.wait())
            await asyncio.wait([closing, rejoin], return_when=asyncio.FIRST_COMPLETED)
            rejoin.cancel()

    async def _join(self) -> list[TopicPartition] | None:
        coordinator, group = self._coordinator, self.group
        coordinator.rejoin.clear()
        try:
            joined = self.connection.ask(
                group.join, coordinator.member_id, self._session_s, self._topics, seconds_max=60.0
            )
            coordinator.member_id, coordinator.generation = await joined
            found: list[TopicPartition] = await self.connection.ask(
                group.sync, coordinator.member_id, coordinator.generation
            )
        except (UnknownMemberIdError, IllegalGenerationError):
            coordinator.reset()
        except KafkaError:
            coordinator.rejoin.set()
        else:
            return found
        return None

    async def _beat(self) -> None:
        coordinator = self._coordinator
        while coordinator.member_id:
            await asyncio.sleep(self._beat_s)
            try:
                await self.connection.ask(self.group.heartbeat, coordinator.member_id, coordinator.generation)
            except RebalanceInProgressError:
                coordinator.rejoin.set()
            except (UnknownMemberIdError, IllegalGenerationError):
                coordinator.reset()
            except KafkaError:
                await asyncio.sleep(RETRY_SECONDS)

    async def _stop_beating(self) -> None:
        coordinator = self._coordinator
        tasks = [task for task in (coordinator._heartbeat_task, coordinator._commit_refresh_task) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        coordinator._heartbeat_task = coordinator._commit_refresh_task = None

    async def _find_positions(self) -> None:
        """Where nobody has sought: the committed offset, or the log's first."""
        for partition in list(self._positions):
            while True:
                try:
                    offset, _ = await self.connection.ask(self.group.fetch, partition)
                except KafkaError:
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    break
            if self._positions.get(partition, 0) is None:
                self._positions[partition] = offset if offset >= 0 else self.broker.log(partition).start

    async def commit(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        """As aiokafka: tries again, under whatever generation the member has by then."""
        while True:
            try:
                return await asyncio.shield(self._coordinator._do_commit_offsets(None, offsets))
            except (UnknownMemberIdError, IllegalGenerationError, RebalanceInProgressError):
                raise CommitFailedError from None
            except KafkaError:
                await asyncio.sleep(RETRY_SECONDS)

    # Reading.

    def assignment(self) -> set[TopicPartition]:
        return set(self._positions)

    def paused(self) -> set[TopicPartition]:
        return set(self._paused)

    def pause(self, partition: TopicPartition) -> None:
        self._paused.add(partition)

    def resume(self, partition: TopicPartition) -> None:
        self._paused.discard(partition)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if partition not in self._positions:
            raise IllegalStateError(f"{partition} is not assigned")
        self._positions[partition] = offset

    def highwater(self, partition: TopicPartition) -> int | None:
        return self._highwater.get(partition)

    async def position(self, partition: TopicPartition) -> int:
        while self._positions.get(partition, 0) is None:  # noqa: ASYNC110  # set in many places
            await asyncio.sleep(0.01)
        if partition not in self._positions:
            raise IllegalStateError(f"{partition} is not assigned")
        return self._positions[partition] or 0

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        await self._fetching.ask(ask_nothing)
        return {partition: self.broker.log(partition).start for partition in partitions}

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        await self._fetching.ask(ask_nothing)
        return {partition: self.broker.log(partition).end for partition in partitions}

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Stored]]:
        until = self.universe.now + timeout_ms / 1_000
        while (left := until - self.universe.now) > 1e-6:
            wanted = {
                partition: position
                for partition, position in self._positions.items()
                if position is not None and partition not in self._paused and not self._joining
            }
            got = await self._fetch(wanted, max_records, left) if wanted else await asyncio.sleep(min(left, 0.05))
            if found := self._taken(wanted, got or {}):
                return found
        return {}

    def _taken(
        self, wanted: dict[TopicPartition, int], got: dict[TopicPartition, tuple[list[Stored], int, int]]
    ) -> dict[TopicPartition, list[Stored]]:
        found = {}
        for partition, (records, end, position) in got.items():
            if self._joining or self._positions.get(partition) != wanted[partition] or partition in self._paused:
                continue
            self._highwater[partition] = end
            self._positions[partition] = position
            if records:
                found[partition] = records
        return found

    async def _fetch(self, wanted: dict[TopicPartition, int], records_max: int, seconds_max: float) -> dict[Any, Any]:
        """Waits for records, as a long poll does, and then asks for some: seldom all that there are."""
        random = self.universe.random

        def fetch(reply: Any) -> None:
            got = {}
            for partition, position in wanted.items():
                log = self.broker.log(partition)
                first = max(position, log.start)
                records = log.read(first, random.randint(1, min(records_max, 12)))
                after = records[-1].offset + 1 if records else first
                # Behind the last record there may be offsets of markers, which aiokafka passes.
                got[partition] = (records, log.end, after if log.read(after, 1) else log.end)
            reply(got)

        if not await self._have_records(wanted, seconds_max):
            return {}
        try:
            answer: dict[Any, Any] = await self._fetching.ask(fetch, seconds_max=1.0)
        except KafkaError:
            await asyncio.sleep(min(seconds_max, RETRY_SECONDS))
            return {}
        return answer

    async def _have_records(self, wanted: dict[TopicPartition, int], seconds_max: float) -> bool:
        logs = [(self.broker.log(one), position) for one, position in wanted.items()]
        if not any(log.end > position for log, position in logs):
            come: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            for log, _ in logs:
                log.waiting.append(lambda: None if come.done() else come.set_result(None))
            await asyncio.wait([come], timeout=seconds_max)
        return any(log.end > position for log, position in logs)


class SimulatedAdmin:
    """As AIOKafkaAdminClient, for committed offsets."""

    def __init__(self, **_: Any) -> None:
        self._connection = Connection(asyncio.get_running_loop())

    async def start(self) -> None:
        await self._connection.ask(ask_nothing)

    async def close(self) -> None:
        """Nothing is held."""

    async def list_consumer_group_offsets(
        self, group: str, partitions: list[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        of = self._connection.broker.group(group)
        return {one: OffsetAndMetadata(*await self._connection.ask(of.fetch, one)) for one in partitions}

    async def describe_topics(self, topics: list[str]) -> list[dict[str, Any]]:
        await self._connection.ask(ask_nothing)
        there = self._connection.broker.topics
        return [
            {"topic": topic, "partitions": [{"partition": number} for number in range(len(there[topic]))]}
            for topic in topics
        ]


def ask_nothing(reply: Any) -> None:
    """Whether the broker answers at all."""
    reply(None)
