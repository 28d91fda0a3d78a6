"""Kafka record batches shared by requests; a request's `produce` ends only when its records are acknowledged.

    request ──▶ open batch of each partition ──▶ one batch in flight ──▶ all in-sync replicas ──▶ every waiting request

UnjoinError
└── NotDurable      503: nobody knows that the records are durable; send them again under the same ids

While a batch is in flight, records gather in the next one; the acknowledgement sends it off (group commit), so that
batches grow with the load by themselves. A deadline is *unknown*, not *failed*: it cancels nothing, the records may
still arrive.

When any batch fails, its producer id is spent (`Incarnation.condemn`): a new incarnation takes over while the old one
ends what it has on its way. A dead sender is replaced the same way, but what it held fails at once.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Literal, Protocol

import msgspec
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

from ingest.encode.records import Record, Run, runs_of
from ingest.kafka.aiokafka_client import BrokerAccess, Incarnation, end_tasks, quiet_aiokafka
from ingest.kafka.batches import Batch, Lane, Reason, TopicLanes, Waiter, codec_of, size_of
from ingest.kafka.congestion import WINDOW_BYTES_MIN, AckWindow
from ingest.kafka.partitioner import positive_hash
from ingest.kafka.producer_lifecycle import HEARTBEAT_SECONDS, Keeper
from schemas.outcomes import UnjoinError

log = logging.getLogger(__name__)

# A broker counts as reachable for three heartbeats after it answered.
REACHED_SECONDS_MAX = 3 * HEARTBEAT_SECONDS
RETRY_AFTER_SECONDS: dict[Reason, int] = {
    **{"full": 2, "timed_out": 5, "failed": 1, "no_topic": 5, "stopped": 2},
    **{"spool_full": 30, "spool_failed": 5},
}


class NotDurable(UnjoinError):
    """Nobody knows that every record is durable, some may be: send all of them again, under the same ids.

    Args:
        reason: for counters. After `timed_out`, `failed` and a late `stopped` the records may be stored or not.

    Attributes:
        retry_after_s: whole seconds, for Retry-After.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"the records are not known to be durable: {reason}")
        self.reason = reason
        self.retry_after_s = RETRY_AFTER_SECONDS[reason]


class ProducerConfig(msgspec.Struct, frozen=True):
    """How to produce.

    Attributes:
        bootstrap: brokers as host:port, separated by commas.
        produce_seconds_max: until a request is told that its records are not known to be durable.
        in_flight_bytes_max: of records that are not settled, those of requests that gave up included.
        batch_bytes_max: uncompressed; a batch that reaches it is closed.
        linger_ms: how long an idle partition waits for company for its first record; 0 is one turn of the loop.
        request_ms_max: until a request to a broker is sent again on a new connection.
        topics: asked for at the start and needed to be ready; others are found when they are first produced to.
    """

    bootstrap: str
    produce_seconds_max: float
    in_flight_bytes_max: int
    compression: Literal["zstd", "snappy", "gzip", "none"] = "zstd"
    batch_bytes_max: int = 131_072
    linger_ms: float = 0.0
    request_ms_max: int = 10_000
    topics: tuple[str, ...] = ()


class ProducerStats(msgspec.Struct):
    """Counters since the start, for metrics.

    Attributes:
        batches, records: acknowledged by all in-sync replicas.
        batches_failed: settled with an error; `records_failed` were in them.
        bytes_in_flight: of records that are not settled; a gauge.
        shed: requests refused at once, since the bound on bytes in flight was reached.
        unknown: requests that were told `timed_out` or `failed`.
        rebuilds: how often a new incarnation replaced a dead or spent one.
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
    """What makes records durable: Kafka, a test's memory, a spool in front of either."""

    async def start(self) -> None:
        """Returns soon, reachable brokers or not."""

    async def stop(self, deadline_s: float) -> None:
        """Sends what it holds, for at most so long, and lets go of the rest."""

    def ready(self) -> bool:
        """Whether records could be made durable right now."""

    def congested(self) -> bool:
        """Whether records are made durable, and later than they should be: new ones had better wait elsewhere."""

    async def produce(self, records: Sequence[Record], seconds_max: float | None = None) -> None:
        """Returns once every record is durable.

        Args:
            seconds_max: how long to wait, for who has no client waiting; None for as long as a request does.

        Raises:
            NotDurable: not known to be, for at least one of them.
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
        self._topics: dict[str, TopicLanes] = {}
        self._wanted_topics = set(config.topics)
        self._topics_learned = asyncio.Event()
        self._topics_missing = len(set(config.topics))
        self._in_flight: dict[Lane, float] = {}  # since when, oldest first
        self._turn = 0  # records without a key: those of one request stay together, and requests go round
        self._pumps: list[asyncio.Task[None]] = []
        self._window = AckWindow(config.produce_seconds_max)
        self._stopping = False
        self._settled_all = asyncio.Event()
        self._keeper = Keeper(
            BrokerAccess(config.bootstrap, config.compression, config.request_ms_max),
            clock,
            wanted_topics=self._wanted_topics,
            on_metadata=self._learn_topics,
            retire_seconds_max=config.produce_seconds_max,
        )

    async def start(self) -> None:
        """Returns once a broker was found, or was not at the first try, and after `produce_seconds_max` anyway."""
        quiet_aiokafka()
        self._keeper.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._config.produce_seconds_max):
                await self._keeper.tried.wait()

    def ready(self) -> bool:
        """Whether records could be made durable right now.

        A sender is alive, a broker answered within the last seconds, the configured topics are known, the bytes in
        flight are below their bound, and no batch has been in flight for longer than a request waits.
        """
        now = self._clock()
        incarnation = self._keeper.current
        return (
            not self._stopping
            and incarnation is not None
            and incarnation.alive
            and now - self._keeper.reached_at <= REACHED_SECONDS_MAX
            and self.stats.bytes_in_flight < self._config.in_flight_bytes_max
            and self._topics_missing == 0
            and now - next(iter(self._in_flight.values()), now) <= self._config.produce_seconds_max
        )

    def congested(self) -> bool:
        """Whether Kafka acknowledges, and has as much on its way to it as it acknowledges in time.

        A Kafka that does not acknowledge is away, not congested.
        """
        if self.stats.bytes_in_flight < WINDOW_BYTES_MIN:
            return False
        now = self._clock()
        return self._window.acknowledging(now) and self.stats.bytes_in_flight >= self._window.bytes_max(now)

    async def produce(self, records: Sequence[Record], seconds_max: float | None = None) -> None:
        """Returns once all in-sync replicas acknowledged every record. A cancelled call takes none of them back.

        Raises:
            NotDurable: within `seconds_max`, or `produce_seconds_max`; at once when the bytes in flight would pass
                their bound.
        """
        if not records:
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (seconds_max or self._config.produce_seconds_max)
        runs = runs_of(records)
        size = sum([size_of(run) for run in runs])
        self._admit(size)
        names = {run.topic for run in runs}
        if not names <= self._topics.keys():
            await self._find_topics(names, size, deadline)
        waiter = Waiter(loop.create_future())
        self.stats.bytes_in_flight += size
        self._append(runs, waiter)
        timer = loop.call_at(deadline, waiter.give_up, "timed_out")
        try:
            failure = await waiter.future
        finally:
            timer.cancel()
        if failure is not None:
            self.stats.unknown += 1
            raise NotDurable(failure)

    async def stop(self, deadline_s: float) -> None:
        """Takes no more records, sends what it holds for at most so long, and lets go of the rest.

        Requests that still wait then are told that nobody knows.
        """
        if self._stopping:
            return
        self._stopping = True
        self._topics_learned.set()
        self._note_settled()
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                await self._settled_all.wait()
        await end_tasks(self._pumps)
        for lane in self._lanes():
            for batch in lane.drop_all():
                self._settle(batch, "stopped")
        await self._keeper.close()

    def _admit(self, size: int) -> None:
        if self._stopping:
            raise NotDurable("stopped")
        if self.stats.bytes_in_flight + size > self._config.in_flight_bytes_max:
            self.stats.shed += 1
            raise NotDurable("full")

    def _append(self, runs: Sequence[Run], waiter: Waiter) -> None:
        """Adds the records to the open batches of their partitions: the hot path, with no await in it."""
        touched: set[Batch] = set()
        self._turn += 1
        for run in runs:
            lanes = self._topics[run.topic].lanes
            lane = lanes[(self._turn if run.key is None else positive_hash(run.key)) % len(lanes)]
            touched.update(lane.extend(run))
        waiter.batches_left = len(touched)
        for batch in touched:
            batch.waiters.append(waiter)

    async def _pump(self, lane: Lane) -> None:
        """Sends one partition's batches, one at a time."""
        spent: Incarnation | None = None
        while True:
            if not lane.filled.is_set():
                await lane.filled.wait()
                if self._config.linger_ms:
                    await asyncio.sleep(self._config.linger_ms / 1_000)
            incarnation = await self._keeper.in_service(spent)
            batch = lane.take(self._clock())
            self._in_flight[lane] = lane.in_flight_since
            records = batch.records
            try:
                acknowledged = await incarnation.submit(batch.builder, lane.topic.name, lane.partition)
                try:
                    await acknowledged
                except Exception:
                    incarnation.condemn()
                    spent = incarnation
                    raise
            except Exception as error:  # whatever it was, the partition goes on with the next batch
                log.warning(
                    "a batch of %d records for %s[%d] failed: %s",
                    records, lane.topic.name, lane.partition, type(error).__name__,
                )  # fmt: skip
                if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
                    lane.topic.shrink_batches(batch.bytes, records)
                failure: Reason | None = "failed"
                self.stats.batches_failed += 1
                self.stats.records_failed += records
            else:
                failure = None
                self._keeper.note_answer()
                self._window.note(batch.bytes, self._clock())
                self.stats.batches += 1
                self.stats.records += records
            lane.in_flight = None
            del self._in_flight[lane]
            self._settle(batch, failure)

    def _settle(self, batch: Batch, failure: Reason | None) -> None:
        self.stats.bytes_in_flight -= batch.bytes
        batch.settle(failure)
        if self._stopping:
            self._note_settled()

    def _note_settled(self) -> None:
        if not any(lane.in_flight or lane.full or lane.open for lane in self._lanes()):
            self._settled_all.set()

    def _lanes(self) -> Iterator[Lane]:
        return (lane for topic in self._topics.values() for lane in topic.lanes)

    def _learn_topics(self, incarnation: Incarnation) -> None:
        """Opens a lane for every partition that the brokers name for the first time."""
        self.stats.rebuilds = self._keeper.renewals
        for name in self._wanted_topics:
            partitions = incarnation.partitions(name)
            if partitions is None:
                continue
            topic = self._topics.setdefault(name, TopicLanes(name, self._codec, self._config.batch_bytes_max))
            self._pumps += [asyncio.create_task(self._pump(lane)) for lane in topic.grow(partitions)]
        self._topics_missing = len(set(self._config.topics) - self._topics.keys())
        learned, self._topics_learned = self._topics_learned, asyncio.Event()
        learned.set()

    async def _find_topics(self, names: set[str], size: int, deadline: float) -> None:
        """Returns once the topics' partitions are known; meanwhile the records' size counts as in flight."""
        self._wanted_topics |= names
        self._keeper.poke()
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
