"""What aiokafka's plain producer does, on the simulated broker: for dead letters and released labels."""

import asyncio
from typing import Any

from aiokafka.errors import KafkaError

from tests.simulation.broker import Connection
from tests.simulation.kafka_clients import RETRY_SECONDS, ask_nothing


class SimulatedProducer:
    """As AIOKafkaProducer, without idempotence: what it is not told of it sends again, so a record may lie there twice.

    Attributes:
        deadline_s: until a record that is not acknowledged fails.
    """

    def __init__(self, *, request_timeout_ms: int = 10_000, **_: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = Connection(self._loop)
        self._broker = self._connection.broker
        self.deadline_s = request_timeout_ms / 1_000
        self._order = asyncio.Lock()

    async def start(self) -> None:
        await self._connection.ask(ask_nothing)

    async def stop(self) -> None:
        """Everything that matters is acknowledged."""

    async def partitions_for(self, topic: str) -> set[int]:
        await self._connection.ask(ask_nothing)
        return set(range(len(self._broker.topics[topic])))

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Any = (),
    ) -> "asyncio.Future[Any]":
        assert key is not None or value is not None, "as aiokafka"
        return asyncio.ensure_future(self._deliver(topic, partition or 0, (key, value, timestamp_ms or 0, headers)))

    def create_batch(self) -> "SimulatedBatch":
        return SimulatedBatch()

    async def send_batch(self, batch: "SimulatedBatch", topic: str, *, partition: int) -> "asyncio.Future[Any]":
        return asyncio.ensure_future(self._deliver(topic, partition, *batch.records))

    async def send_and_wait(self, topic: str, **record: Any) -> None:
        await (await self.send(topic, **record))

    async def _deliver(self, topic: str, partition: int, *records: Any) -> None:
        until = self._connection.universe.now + self.deadline_s

        def store(reply: Any) -> None:
            self._broker.topics[topic][partition].append(list(records))
            reply(None)

        async with self._order:
            while True:
                try:
                    return await self._connection.ask(store, seconds_max=self.deadline_s)
                except KafkaError:
                    if self._connection.universe.now >= until:
                        raise
                    await asyncio.sleep(RETRY_SECONDS)


class SimulatedBatch:
    """As aiokafka's builder; full after a few records, so that a crowd is often several batches."""

    ROOM = 7

    def __init__(self) -> None:
        self.records: list[Any] = []

    def append(self, *, key: Any, value: Any, timestamp: int | None, headers: Any) -> object | None:
        if len(self.records) == self.ROOM:
            return None
        self.records.append((key, value, timestamp or 0, headers))
        return object()

    def close(self) -> None:
        """Nothing more comes."""
