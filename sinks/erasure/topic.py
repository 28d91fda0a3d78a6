"""Reads `subjects.erasures` as a member of a consumer group of one, and lets an eraser work on what it says.

The topic has one partition, so that of several sinks one works at a time; when it ends, another begins from what the
topic says. Two that overlap for a moment repeat what the other did. The group commits nothing: every owner reads all.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from schemas.kafka_access import KafkaAccess
from schemas.kafka_probe import reason_of
from schemas.subjects import put_back
from schemas.subjects.erasures import Erasure, ErasureError, decoded
from schemas.topics import DEAD_LETTERS, ERASURES, dead_letter_topic
from sinks.engine import EngineError, Table
from sinks.erasure.eraser import Eraser, Positions
from sinks.erasure.progress import Patience
from sinks.erasure.rows import Rows
from sinks.kafka.consumer import SESSION_TIMEOUT_MS, committed, partitions_of
from sinks.outage import Outage

log = logging.getLogger(__name__)

POLL_MS = 200
GATHER_SECONDS = 0.5  # so that requests which are made together are worked on together
ANSWER_SECONDS_MAX = 20.0


class ErasureTopic(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Runs an eraser in one sink.

    Args:
        group_prefix: a table's consumer group is called this and its name; this one's "erasures".
        show: told how many requests are open, while this sink works on them.
        now_ms: Unix milliseconds.
    """

    def __init__(
        self,
        kafka: KafkaAccess,
        rows: Rows,
        tables: Iterable[Table],
        group_prefix: str,
        patience: Patience,
        show: Callable[[int], object],
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._kafka, self._rows, self._prefix = kafka, rows, group_prefix
        self._topics = {table.name: table.topics for table in tables}
        self._patience, self._show, self._now_ms = patience, show, now_ms
        self._where = TopicPartition(ERASURES, 0)
        self._eraser: Eraser | None = None

    async def run(self) -> None:
        """Works until cancelled; an engine or a broker that is away is waited for."""
        jitter = random.Random()  # noqa: S311  # spreads retries
        kafka = Outage("Kafka for erasures", log, time.monotonic, jitter)
        engine = Outage("ClickHouse for erasures", log, time.monotonic, jitter)
        while True:
            try:
                await self._session([kafka, engine])
            except (KafkaError, TimeoutError, OSError) as error:
                await asyncio.sleep(kafka.failed(await reason_of(error, self._kafka)))
            except EngineError as error:
                await asyncio.sleep(engine.failed(str(error)))

    # The group's callbacks.

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Ends the work; what was published is where the next owner begins."""
        del revoked
        self._eraser = None

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begins anew: reading starts where the topic does, for nothing is ever committed."""
        self._eraser = None
        if self._where in set(assigned):
            self._eraser = Eraser(self._rows, self._logs, self._patience, self._now_ms)

    async def _session(self, outages: Sequence[Outage]) -> None:
        consumer = AIOKafkaConsumer(
            **self._kafka.client(),
            group_id=f"{self._prefix}erasures",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=SESSION_TIMEOUT_MS // 4,
        )
        admin = AIOKafkaAdminClient(**self._kafka.client())
        producer = AIOKafkaProducer(**self._kafka.client(), acks="all")
        async with AsyncExitStack() as stack:
            for part, close in ((admin, admin.close), (producer, producer.stop), (consumer, consumer.stop)):
                await stack.enter_async_context(_started(part, close))
            if ERASURES not in await consumer.topics():
                raise UnknownTopicOrPartitionError(f"there is no topic {ERASURES}")
            self._logs = _AiokafkaLogs(consumer, admin, producer, self._topics, self._prefix)
            consumer.subscribe([ERASURES], listener=self)
            await self._work(consumer, outages)

    async def _work(self, consumer: Any, outages: Sequence[Outage]) -> None:
        round_: asyncio.Task[float] | None = None
        worked_by: Eraser | None = None
        again_at = 0.0
        try:
            while True:
                batches = await consumer.getmany(timeout_ms=POLL_MS)
                eraser = self._eraser
                if round_ is not None and (round_.done() or eraser is not worked_by):
                    if eraser is worked_by:
                        again_at = time.monotonic() + round_.result()
                        for outage in outages:
                            outage.over()
                    else:
                        round_.cancel()
                        await asyncio.gather(round_, return_exceptions=True)
                        again_at = 0.0
                    round_ = None
                if eraser is None:
                    self._show(0)
                    continue
                if _take(eraser.requests, batches.get(self._where, ())):
                    again_at = time.monotonic() + GATHER_SECONDS
                self._show(sum(one.is_open for one in eraser.requests.values()))
                if round_ is None and time.monotonic() >= again_at and await self._read_whole(consumer):
                    worked_by = eraser
                    round_ = asyncio.create_task(eraser.round())
        finally:
            if round_ is not None:
                round_.cancel()
                await asyncio.gather(round_, return_exceptions=True)

    async def _read_whole(self, consumer: Any) -> bool:
        if self._where not in consumer.assignment():
            return False
        end = (await consumer.end_offsets([self._where]))[self._where]
        return bool(await consumer.position(self._where) >= end)


class _AiokafkaLogs:
    """`Logs` on aiokafka."""

    def __init__(
        self, consumer: Any, admin: Any, producer: Any, topics: Mapping[str, Sequence[str]], prefix: str
    ) -> None:
        self._consumer, self._admin, self._producer = consumer, admin, producer
        self._topics, self._prefix = topics, prefix

    async def positions(self, tables: Sequence[str]) -> Positions:
        mark = TopicPartition(*put_back.PLACE)
        until_ms = put_back.until_ms_of((await committed(self._admin, put_back.GROUP, [mark]))[mark].metadata)
        stored: dict[TopicPartition, int] = {}
        for table, topics in self._topics.items():
            if DEAD_LETTERS in topics:
                continue  # nothing is set aside of them
            parts = await partitions_of(self._admin, topics)
            commits = await committed(self._admin, f"{self._prefix}{table}", parts)
            stored |= {one: commit.offset or 0 for one, commit in commits.items()}
        dead = {dead_letter_topic(topic) for table in tables for topic in self._topics[table]}
        theirs = {topic for table in tables for topic in self._topics[table]}
        held = [one for one in stored if one.topic in theirs] + await partitions_of(self._admin, dead)
        starts = await self._consumer.beginning_offsets(held)
        ends = await self._consumer.end_offsets(list({*stored, *held}))
        return Positions(_named(stored), _named(starts), _named(ends), until_ms)

    async def publish(self, erasures: Sequence[Erasure]) -> None:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            sent = [await self._producer.send(ERASURES, one.encoded(), key=one.key(), partition=0) for one in erasures]
            await asyncio.gather(*sent)


def _named(offsets: Mapping[TopicPartition, int]) -> dict[str, int]:
    return {f"{one.topic}-{one.partition}": offset for one, offset in offsets.items()}


def _take(requests: dict[str, Erasure], records: Iterable[Any]) -> bool:
    """Takes what the topic says; whether it said anything new."""
    before = dict(requests)
    for record in records:
        try:
            found = decoded(record.value)
        except ErasureError as error:
            log.error("%s; it is passed over", error)
        else:
            requests[found.id] = found
    return requests != before


@asynccontextmanager
async def _started(part: Any, close: Callable[[], Any]) -> AsyncIterator[None]:
    """A client that is closed whatever happens: one that failed to start has connections, too."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            await part.start()
        yield
    finally:
        stop = asyncio.ensure_future(close())
        await asyncio.wait([stop], timeout=3.0)
        stop.cancel()
        await asyncio.gather(stop, return_exceptions=True)
