"""One table's consumers on a real broker: topics of their own, a producer, and what the group committed."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from schemas.codec import encode
from schemas.kafka_access import KafkaAccess
from sinks.engine import Table
from sinks.kafka.block_planner import BlockLimits, split_expired
from sinks.kafka.commit_marks import split_mark
from sinks.kafka.consumer import TableConsumer
from sinks.kafka.dead_letters import DeadLetterProducer
from sinks.metrics import SinkMetrics
from sinks.rows.tables import SIGNALS, check, reader_of
from testkit import contract_table
from testkit.memory_marks import shared_marks
from testkit.sink_configs import block_limits, consumer_config

LIMITS = block_limits(rows_max=500, bytes_max=1_000_000, ms_max=50)
SECONDS_MAX = 60


def signal_value(number: int) -> bytes:
    """The value of a signal's record, its time stamp the number."""
    return encode(
        "events.signals-value",
        {
            "event_id": f"e{number}",
            "site": "site",
            "session": "session",
            "type": "pointer",
            "ts": number,
            "received_at": number,
            "t": [0.0, 1.0],
            "x": [1.5],
            "y": [2.5],
            "z": [],
            "force": [],
            "t_up": [],
        },
    )


class SinkEnvironment:
    """Topics that exist while in its context, what is produced there, and a table that reads them: signals.

    Attributes:
        produced: numbers of the records that the broker acknowledged, garbage left out.
        marks: of the one database behind its consumers.
    """

    def __init__(self, bootstrap: str, partitions: int = 2) -> None:
        self.bootstrap = bootstrap
        self.topic = f"test.{uuid.uuid4().hex}"
        self.partitions = [TopicPartition(self.topic, number) for number in range(partitions)]
        self.dead_topic = f"{self.topic}.dead"
        self.table: Table = msgspec.structs.replace(SIGNALS, topics=(self.topic,))
        self.group = f"unjoin-sink-{self.topic}"
        self.admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        self.producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5)
        self.dead_letter_producer = DeadLetterProducer(KafkaAccess(bootstrap), lambda _topic: self.dead_topic)
        self.produced: list[int] = []
        self.metrics = SinkMetrics()
        self.marks = shared_marks()

    async def __aenter__(self) -> Self:
        await self.admin.start()
        topics = [NewTopic(self.topic, len(self.partitions), 1), NewTopic(self.dead_topic, 1, 1)]
        await self.admin.create_topics(topics)
        await self.producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.dead_letter_producer.close()
        await self.producer.stop()
        await self.admin.delete_topics([self.topic, self.dead_topic])
        await self.admin.close()

    def value(self, number: int) -> bytes:
        """The value of the record with this number."""
        return signal_value(number)

    async def produce(self, count: int) -> None:
        """Produces the next records, in turns to each partition."""
        start = len(self.produced)
        futures = []
        for number in range(start, start + count):
            partition = number % len(self.partitions)
            futures.append(await self.producer.send(self.topic, self.value(number), partition=partition))
        await asyncio.gather(*futures)
        self.produced += range(start, start + count)

    async def produce_garbage(self, key: bytes | None, value: bytes | None) -> int:
        """Produces one record; gives its offset. As a batch, since `send` refuses one of neither key nor value."""
        batch = self.producer.create_batch()
        batch.append(key=key, value=value, timestamp=None)
        sent = await (await self.producer.send_batch(batch, self.topic, partition=0))
        offset: int = sent.offset
        return offset

    def consumer(self, engine: Any, limits: BlockLimits = LIMITS, **config: Any) -> TableConsumer:
        """A consumer of the table, a member of the one group."""
        return TableConsumer(
            self.table,
            engine,
            consumer_config(self.bootstrap, limits, self.group, **config),
            marks=self.marks,
            datum_of=self.datum_of,
            check=self.check_value,
            dead_letters=self.dead_letter_producer,
            metrics=self.metrics,
        )

    def datum_of(self, record: Any) -> tuple[Any, bytes]:
        """Schema and datum of a record."""
        return reader_of(self.table)(record)

    def check_value(self, value: bytes | None) -> None:
        """Raises what the table's check raises of a value that is not exactly one datum."""
        check(self.table, value)

    async def commits(self) -> dict[int, tuple[int, str]]:
        """Offset and open intent of each partition's commit."""
        try:
            found = await self.admin.list_consumer_group_offsets(self.group, partitions=self.partitions)
        except KafkaError:  # a new broker makes its offsets topic when the first group asks
            return {}
        return {
            partition.partition: (commit.offset, split_expired(split_mark(commit.metadata)[1])[0])
            for partition, commit in found.items()
        }

    async def ends(self) -> dict[int, tuple[int, str]]:
        """The commits of a group that has stored everything."""
        reader = AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
        await reader.start()
        try:
            ends = await reader.end_offsets(self.partitions)
        finally:
            await reader.stop()
        return {partition.partition: (end, "") for partition, end in ends.items()}

    async def dead_letters(self, count: int) -> list[Any]:
        """The first so many dead letters, once they are there."""
        reader = AIOKafkaConsumer(self.dead_topic, bootstrap_servers=self.bootstrap, auto_offset_reset="earliest")
        await reader.start()
        try:
            return [await asyncio.wait_for(reader.getone(), SECONDS_MAX) for _ in range(count)]
        finally:
            await reader.stop()

    async def run_until_drained(self, engine: Any, *consumers: TableConsumer) -> None:
        """Runs them until every partition's commit is the log's end with nothing open, then stops them."""
        ends = await self.ends()
        async with running(*consumers or (self.consumer(engine),)):
            await until(self.commits, lambda commits: commits == ends)

    def check(self, engine: Any) -> None:
        """Every record produced is physically one row of an engine that lists its `rows` by table."""
        stored = Counter(row["ts"] for row in engine.rows.get("signals", []))
        assert stored == Counter(self.produced)


class ContractSinkEnvironment(SinkEnvironment):
    """The table of the engine's contract; the records of its topics are bare datums.

    Attributes:
        refused: numbers whose row a server refuses.
    """

    def __init__(self, bootstrap: str, partitions: int = 2) -> None:
        super().__init__(bootstrap, partitions)
        self.table = msgspec.structs.replace(contract_table.TABLE, topics=(self.topic,))
        self.refused: set[int] = set()

    def value(self, number: int) -> bytes:
        """A bare datum."""
        return contract_table.datum(number, parsed="no number" if number in self.refused else "7")

    def datum_of(self, record: Any) -> tuple[Any, bytes]:
        """Schema and datum of a record."""
        return contract_table.datum_of(record)

    def check_value(self, value: bytes | None) -> None:
        """Every value is exactly one datum."""


async def until(read: Callable[[], Any], good: Callable[[Any], bool]) -> None:
    """Returns once what `read` gives is good.

    Raises:
        TimeoutError: it was not within 60 s.
    """
    async with asyncio.timeout(SECONDS_MAX):
        while not good(await read()):  # noqa: ASYNC110  # a broker's and a thread's state; nobody sets an event
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(*consumers: TableConsumer) -> AsyncIterator[None]:
    """Runs consumers, and stops them at the end."""
    tasks = [asyncio.create_task(consumer.run()) for consumer in consumers]
    try:
        yield
    finally:
        for consumer in consumers:
            consumer.stop()
        await asyncio.wait_for(asyncio.gather(*tasks), SECONDS_MAX)
