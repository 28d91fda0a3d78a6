"""Kafka record batches shared by requests; a request's `produce` ends only when its records are acknowledged.

    request ──▶ open batch of each partition ──▶ one batch in flight ──▶ all in-sync replicas ──▶ every waiting request

UnjoinError
└── NotDurable      503: nobody knows that the records are durable; send them again under the same ids

While a batch is in flight, new records go to the next batch; the acknowledgement of the first sends the next (group
commit), so batches grow with the load. The next one is handed to aiokafka open, and closed when its broker has time.
A request that reaches its deadline has an *unknown* outcome, not a failed one: the deadline cancels nothing, and the
records may still arrive.

When a batch fails, its session's producer id cannot be used any more (`ProducerSession.mark_spent`). A new session
takes the next batches while the old one waits for its batches in flight. A session whose sender died is replaced in the
same way, but its batches fail at once.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from typing import Literal, Protocol

import msgspec
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

from ingest.encode.records import Record, Records, Run, runs_of
from ingest.kafka.aiokafka_client import (
    BrokerAccess,
    ProducerSession,
    end_tasks,
    keep_zstd_context,
    limit_aiokafka_logs,
)
from ingest.kafka.batches import (
    Deadlines,
    NotDurableReason,
    PartitionQueue,
    RecordBatch,
    Settled,
    TopicQueues,
    Waiter,
    codec_of,
    size_of,
)
from ingest.kafka.congestion import WINDOW_BYTES_MIN, CongestionWindow
from ingest.kafka.copies import InSyncCopies
from ingest.kafka.partitioner import positive_hash
from ingest.kafka.producer_lifecycle import HEARTBEAT_SECONDS, ProducerLifecycle
from schemas.kafka_access import RIGHTS, KafkaAccess, refusal_of
from schemas.outcomes import UnjoinError

log = logging.getLogger(__name__)

# Brokers count as reachable for three heartbeats after one of them answered.
ANSWER_AGE_SECONDS_MAX = 3 * HEARTBEAT_SECONDS
RETRY_AFTER_SECONDS: dict[NotDurableReason, int] = {
    **{"full": 2, "timed_out": 5, "failed": 1, "no_topic": 5, "no_partition": 5, "stopped": 2},
    **{"spool_full": 30, "spool_failed": 5},
}


class NotDurable(UnjoinError):
    """Nobody knows that every record is durable, some may be: send all of them again, under the same ids.

    Args:
        reason: counted. After `timed_out`, `failed` and a late `stopped` the records may be stored or not.

    Attributes:
        retry_after_s: whole seconds, for Retry-After.
    """

    def __init__(self, reason: NotDurableReason) -> None:
        super().__init__(f"the records are not known to be durable: {reason}")
        self.reason = reason
        self.retry_after_s = RETRY_AFTER_SECONDS[reason]


class ProducerConfig(msgspec.Struct, frozen=True):
    """How to produce.

    Attributes:
        kafka: the brokers, and as whom they are asked.
        produce_seconds_max: how long a request waits until its outcome counts as unknown.
        in_flight_bytes_max: bytes of records that are not settled, including records whose request waits no longer.
        batch_bytes_max: uncompressed bytes; a batch that reaches them is closed.
        linger_ms: how long an idle partition waits for more records after the first; 0 is one turn of the event loop.
        request_ms_max: how long until a request to a broker is sent again on a new connection.
        topics: looked up at the start; the producer is not ready without them. Others are looked up on first use.
        insync_min: the least `min.insync.replicas` of these topics; with 1 it is not looked at.
    """

    kafka: KafkaAccess
    produce_seconds_max: float
    in_flight_bytes_max: int
    compression: Literal["zstd", "snappy", "gzip", "none"] = "zstd"
    batch_bytes_max: int = 131_072
    linger_ms: float = 0.0
    request_ms_max: int = 10_000
    topics: tuple[str, ...] = ()
    insync_min: int = 1


class ProducerStats(msgspec.Struct):
    """Counters since the start, for metrics.

    Attributes:
        batches: acknowledged by all in-sync replicas.
        records: in those batches.
        batches_failed: settled with an error.
        records_failed: in those batches.
        bytes_in_flight: bytes of records that are not settled; a gauge.
        shed: requests refused at once, because the bound on bytes in flight was reached.
        unknown: requests that ended with `timed_out` or `failed`.
        rebuilds: sessions that replaced a spent or dead one.
    """

    batches: int = 0
    records: int = 0
    batches_failed: int = 0
    records_failed: int = 0
    bytes_in_flight: int = 0
    shed: int = 0
    unknown: int = 0
    rebuilds: int = 0


class Producer(Protocol):
    """Makes records durable: Kafka, memory in a test, or either of them with a spool."""

    async def start(self) -> None:
        """Returns within a few seconds, whether brokers are reachable or not."""

    async def stop(self, deadline_s: float) -> None:
        """Sends the records it holds for at most `deadline_s` seconds, then gives up the rest."""

    def ready(self) -> bool:
        """Whether records could be made durable right now."""

    def congested(self) -> bool:
        """Whether records become durable later than they should, so that new ones should wait elsewhere."""

    def partitions_of(self, topic: str) -> int | None:
        """How many partitions a topic has, as Kafka last said; None where it said nothing so far."""

    async def produce(self, records: Sequence[Record], seconds_max: float | None = None) -> None:
        """Returns once every record is durable.

        Args:
            seconds_max: how long to wait; None for as long as a client's request waits.

        Raises:
            NotDurable: at least one of them is not known to be durable.
        """

    def begin(self, records: Records, settled: Settled) -> bool:
        """As `produce`, without a task: hands the records over, and tells `settled` what became of them, once.

        False where something has to be awaited first; then nothing was handed over.

        Raises:
            NotDurable: at once, and then `settled` is told nothing.
        """


class KafkaProducer:
    """Idempotent, acks=all, deadlines on every wait, bounded bytes in flight. Belongs to one event loop.

    Raises:
        CompressionMissing: the configured compression's library is not installed.
    """

    def __init__(self, config: ProducerConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self.stats = ProducerStats()
        self._config = config
        self._clock = clock
        self._codec = codec_of(config.compression)
        keep_zstd_context()
        self._topics: dict[str, TopicQueues] = {}
        self._wanted_topics = set(config.topics)
        self._topics_learned = asyncio.Event()
        self._refused_topics: frozenset[str] | set[str] = frozenset()
        self._topics_missing = len(set(config.topics))
        self._in_flight_since: dict[PartitionQueue, float] = {}  # oldest first
        # Records without a key: all of one request go to one partition, those of the next request to the next one.
        self._keyless_turn = 0
        self._sending: list[asyncio.Task[None]] = []
        self._window = CongestionWindow(config.produce_seconds_max)
        self._deadlines = Deadlines(lambda: (batch for queue in self._queues() for batch in queue.unsettled()))
        self._stopping = False
        self._settled_all = asyncio.Event()
        self._lifecycle = ProducerLifecycle(
            BrokerAccess(config.kafka, config.compression, config.request_ms_max),
            clock,
            wanted_topics=self._wanted_topics,
            on_metadata=self._open_queues,
            drain_seconds_max=config.produce_seconds_max,
        )
        self.copies = InSyncCopies(config.topics, config.insync_min, lambda: self._lifecycle.usable_session(None))

    async def start(self) -> None:
        """Returns once the first try to reach a broker has ended, and after `produce_seconds_max` at the latest."""
        self._loop = asyncio.get_running_loop()
        limit_aiokafka_logs()
        self._lifecycle.start()
        self._sending.append(asyncio.create_task(self.copies.watch()))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._config.produce_seconds_max):
                await self._lifecycle.first_try_done.wait()

    def ready(self) -> bool:
        """Whether records could be made durable right now.

        A sender is alive, a broker answered within the last seconds, the configured topics are known and keep enough
        copies, the bytes in flight are below their bound, and no batch has been in flight for longer than a request
        waits.
        """
        now = self._clock()
        session = self._lifecycle.current
        return (
            not self._stopping
            and session is not None
            and session.alive
            and now - self._lifecycle.answered_at <= ANSWER_AGE_SECONDS_MAX
            and self.stats.bytes_in_flight < self._config.in_flight_bytes_max
            and self._topics_missing == 0
            and self.copies.enough()
            # Copied in one step: `/metrics` calls this on another thread, which may not iterate over a changing dict.
            and now - next(iter(tuple(self._in_flight_since.values())), now) <= self._config.produce_seconds_max
        )

    def partitions_of(self, topic: str) -> int | None:
        """How many partitions a topic has, as Kafka last said; None where it said nothing so far."""
        known = self._topics.get(topic)
        return len(known.queues) if known is not None and known.queues else None

    def congested(self) -> bool:
        """Whether Kafka acknowledges, and the bytes in flight fill the congestion window.

        A Kafka that acknowledges nothing is away, not congested.
        """
        if self.stats.bytes_in_flight < WINDOW_BYTES_MIN:
            return False
        now = self._clock()
        return self._window.acknowledging(now) and self.stats.bytes_in_flight >= self._window.bytes_max(now)

    async def produce(self, records: Sequence[Record], seconds_max: float | None = None) -> None:
        """Returns once all in-sync replicas acknowledged every record. A cancelled call takes none of them back.

        Raises:
            NotDurable: after `seconds_max`, by default `produce_seconds_max`; at once when the bytes in flight would
                pass their bound.
        """
        if not records:
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (seconds_max or self._config.produce_seconds_max)
        runs = runs_of(records)
        names = {run.topic for run in runs}
        if not names <= self._topics.keys():
            size = sum([size_of(run) for run in runs])
            self._admit(size)
            await self._find_topics(names, size, deadline)
        future: asyncio.Future[NotDurableReason | None] = loop.create_future()

        def settled(failure: "NotDurableReason | None") -> None:
            if not future.done():  # as a cancelled one is
                future.set_result(failure)

        waiter = self._begin(runs, settled, math.inf)
        timer = loop.call_at(deadline, waiter.give_up, "timed_out")
        try:
            failure = await future
        finally:
            timer.cancel()
        if failure is not None:
            raise NotDurable(failure)

    def begin(self, records: Records, settled: Settled) -> bool:
        """As `produce`, without a task: `settled` is told the outcome, once; False where something has to be awaited.

        Raises:
            NotDurable: at once, and then `settled` is told nothing.
        """
        topics = self._topics
        for run in records.runs:
            if run.topic not in topics:
                return False
        deadline = self._loop.time() + self._config.produce_seconds_max
        self._begin(records.runs, settled, deadline)
        self._deadlines.watch(deadline, self._loop)
        return True

    def _begin(self, runs: Sequence[Run], settled: Settled, deadline: float) -> Waiter:
        """Adds the records to the open batches of their partitions; the topics are known. The hot path has no await."""
        self._keyless_turn += 1
        total = 0
        placed = []
        for run in runs:
            size = size_of(run)
            total += size
            placed.append((self._queue_of(run), run, size))
        self._admit(total)
        self.stats.bytes_in_flight += total
        waiter = Waiter(settled, deadline, self._count_unknown)
        touched: Collection[RecordBatch] = ()
        for queue, run, size in placed:
            batches = queue.extend(run, size)
            touched = {*touched, *batches} if touched else batches
        waiter.batches_left = len(touched)
        for batch in touched:
            batch.waiters.append(waiter)
        return waiter

    def _queue_of(self, run: Run) -> PartitionQueue:
        queues = self._topics[run.topic].queues
        if run.partition is None:
            return queues[(self._keyless_turn if run.key is None else positive_hash(run.key)) % len(queues)]
        if run.partition >= len(queues):
            self._lifecycle.refresh_metadata()
            raise NotDurable("no_partition")
        return queues[run.partition]

    def _count_unknown(self) -> None:
        self.stats.unknown += 1

    async def stop(self, deadline_s: float) -> None:
        """Takes no more records, and waits at most `deadline_s` seconds until those in flight are acknowledged.

        After that, requests that still wait get NotDurable.
        """
        if self._stopping:
            return
        self._stopping = True
        self._topics_learned.set()
        self._note_settled()
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                await self._settled_all.wait()
        await end_tasks(self._sending)
        for queue in self._queues():
            for batch in queue.drop_all():
                self._settle(batch, "stopped")
        await self._lifecycle.close()

    def _admit(self, size: int) -> None:
        if self._stopping:
            raise NotDurable("stopped")
        if self.stats.bytes_in_flight + size > self._config.in_flight_bytes_max:
            self.stats.shed += 1
            raise NotDurable("full")

    async def _send_batches(self, queue: PartitionQueue) -> None:
        """Sends the batches of one partition, one at a time, until it is cancelled."""
        spent: ProducerSession | None = None
        while True:
            if not queue.filled.is_set():
                await queue.filled.wait()
                if self._config.linger_ms:
                    await asyncio.sleep(self._config.linger_ms / 1_000)
            session = await self._lifecycle.usable_session(spent)
            batch = queue.take()
            self._in_flight_since[queue] = self._clock()
            try:
                acknowledged = await session.submit(batch.builder, queue.topic.name, queue.partition)
                try:
                    await acknowledged
                except Exception:
                    session.mark_spent()
                    spent = session
                    raise
            except Exception as error:  # whatever it was, the partition goes on with the next batch
                records = batch.records
                log.warning(
                    "a batch of %d records for %s[%d] failed: %s",
                    records, queue.topic.name, queue.partition, refusal_of(error) or type(error).__name__,
                )  # fmt: skip
                if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
                    queue.topic.shrink_batches(batch.bytes, records)
                failure: NotDurableReason | None = "failed"
                self.stats.batches_failed += 1
                self.stats.records_failed += records
            else:
                failure = None
                self._lifecycle.note_broker_answer()
                self._window.note_acknowledged(batch.bytes, self._clock())
                self.stats.batches += 1
                self.stats.records += batch.records
            queue.forget()
            del self._in_flight_since[queue]
            self._settle(batch, failure)

    def _settle(self, batch: RecordBatch, failure: NotDurableReason | None) -> None:
        self.stats.bytes_in_flight -= batch.bytes
        batch.settle(failure)
        if self._stopping:
            self._note_settled()

    def _note_settled(self) -> None:
        if not any(queue.in_flight or queue.full or queue.open for queue in self._queues()):
            self._settled_all.set()

    def _queues(self) -> Iterator[PartitionQueue]:
        return (queue for topic in self._topics.values() for queue in topic.queues)

    def _open_queues(self, session: ProducerSession) -> None:
        """Makes a queue, and a task that sends from it, for every partition that is new in the brokers' metadata."""
        self.stats.rebuilds = self._lifecycle.renewals
        for name in self._wanted_topics:
            partitions = session.partitions(name)
            if partitions is None:
                continue
            topic = self._topics.setdefault(name, TopicQueues(name, self._codec, self._config.batch_bytes_max))
            self._sending += [asyncio.create_task(self._send_batches(queue)) for queue in topic.grow(partitions)]
        if (refused := session.refused_topics & self._wanted_topics) != self._refused_topics:
            self._refused_topics = refused
            if refused:
                log.error("not ready: the user may not write to %s; %s", ", ".join(sorted(refused)), RIGHTS)
        self._topics_missing = len(set(self._config.topics) - self._topics.keys())
        learned, self._topics_learned = self._topics_learned, asyncio.Event()
        learned.set()

    async def _find_topics(self, names: set[str], size: int, deadline: float) -> None:
        """Returns once the topics' partitions are known; until then `size` counts as bytes in flight."""
        self._wanted_topics |= names
        self._lifecycle.refresh_metadata()
        self.stats.bytes_in_flight += size
        try:
            async with asyncio.timeout_at(deadline):
                while not names <= self._topics.keys() and not self._stopping:
                    await self._topics_learned.wait()
        except TimeoutError:
            raise NotDurable("no_topic") from None
        finally:
            self.stats.bytes_in_flight -= size
        if self._stopping:
            raise NotDurable("stopped")
