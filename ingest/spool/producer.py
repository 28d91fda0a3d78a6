"""A producer with a spool: records that Kafka does not acknowledge in time are written, synced and sent later.

    request ──▶ Kafka, while it answers ──▶ durable
       └── away, silent, or full ──▶ spool ──▶ durable      drain: oldest first, acknowledged before deleted

A request that reaches Kafka's deadline has an *unknown* outcome, not a failed one: its records may still arrive, and
are spooled as well. So an event may lie on its topic twice, under the same id; the tables' keys make one row of both.
Spooled records keep their order, except for those that Kafka refuses, which go to the end. There is no order between
spooled and new records.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from ingest.encode.records import Record, Records
from ingest.kafka.batches import NotDurableReason, Settled
from ingest.kafka.producer import NotDurable, Producer
from ingest.limits import SPOOL_SECONDS_MAX
from ingest.spool.file import SpoolError, SpoolFull, SpoolHeld
from ingest.spool.packs import Entry
from ingest.spool.writer import Spool

log = logging.getLogger(__name__)

# The drain sends at most this much at once: it takes the event loop a few milliseconds, which new requests wait for.
DRAIN_RECORDS_MAX = 1_000
DRAIN_BYTES_MAX = 524_288
# No client waits for the drain, so it may wait longer than a request for a Kafka that acknowledges slowly.
DRAIN_SECONDS_MAX = 30.0
POLL_SECONDS = 0.2
# Pause between two reads while requests have to wait, so that the drain leaves them most of the processor.
YIELD_SECONDS = 0.2
# Bytes that wait for the disk; beyond that, requests should wait in the request queue, where they can be refused.
CONGESTED_BYTES = 8_388_608
EXPIRE_SECONDS = 1.0
# Requests look this often where they are to go: to look costs 3 % of a small one.
LOOK_SECONDS = 0.001
# After this many refusals in a row, something other than a single record is wrong, and the drain pauses.
REFUSALS_MAX = 8
REFUSED_SECONDS_MIN, REFUSED_SECONDS_MAX = 1.0, 300.0


class SpoolingProducer:
    """As the producer it wraps, and durable without it for as long as the spool has room.

    Args:
        producer: told `stop` and `start` here.
        spool: as well.
        produce_seconds_max: the producer's own deadline. `produce` ends `SPOOL_SECONDS_MAX` after it, whatever Kafka
            and the disk do.
        left: spools that nobody writes to any more, to be drained as well.

    Attributes:
        spool: for metrics.
        left: those of them that are nobody else's; known once it started.
        others_wait: whether requests have to wait for the machine, so that draining should go slowly.
        too_few_copies: whether Kafka is known to acknowledge what too few brokers have.
    """

    def __init__(
        self,
        producer: Producer,
        spool: Spool,
        produce_seconds_max: float,
        left: Sequence[Spool] = (),
    ) -> None:
        self.spool = spool
        self.left = list(left)
        self.stats = getattr(producer, "stats", None)
        self.others_wait: Callable[[], bool] = lambda: False
        self.too_few_copies: Callable[[], bool] = lambda: False
        self._producer = producer
        self._answer_seconds_max = produce_seconds_max + SPOOL_SECONDS_MAX
        # A request waited in vain for Kafka. Other requests go to the spool at once, until the drain gets an answer.
        self._unresponsive = False
        self._reaches_kafka = False  # as it was when a request last looked
        self._looks_at = 0.0
        self._stopping = asyncio.Event()
        self._drainers: list[asyncio.Task[None]] = []
        self._late: set[asyncio.Task[None]] = set()  # what Kafka did not acknowledge, on its way to the spool

    async def start(self) -> None:
        """Returns soon, reachable brokers or not.

        Raises:
            SpoolHeld: another process spools in the same folder.
        """
        self._loop = asyncio.get_running_loop()  # each question for it is a system call, until Python 3.12
        await self.spool.start()
        await self._producer.start()
        for spool in list(self.left):
            try:
                await spool.start()
            except SpoolHeld:
                self.left.remove(spool)
        self._drainers = [
            asyncio.create_task(self._drain(spool).run(self._stopping)) for spool in (self.spool, *self.left)
        ]

    def _drain(self, spool: Spool) -> "Drain":
        return Drain(spool, self.send, self._producer.ready, self._others_wait)

    def _others_wait(self) -> bool:
        return self.others_wait()  # read at each call, since it may be set after the drain was made

    async def stop(self, deadline_s: float) -> None:
        """Waits at most `deadline_s` seconds for the records in flight; spooled records stay for the next start."""
        self._stopping.set()
        if self._drainers:
            await asyncio.wait(self._drainers, timeout=deadline_s)
            for drainer in self._drainers:
                drainer.cancel()
            await asyncio.gather(*self._drainers, return_exceptions=True)
            self._drainers = []
        await self._producer.stop(deadline_s)
        for spool in (self.spool, *self.left):
            await spool.stop(deadline_s)

    def ready(self) -> bool:
        """Whether Kafka or the spool could make records durable right now.

        Where Kafka keeps too few copies, the spool takes what comes, and no more should come.
        """
        if self._producer.ready():
            return not self._stopping.is_set()
        return not self._stopping.is_set() and not self.too_few_copies() and self.spool.accepts()

    def congested(self) -> bool:
        """Whether records become durable later than they should, in Kafka or in the spool."""
        if self.spool.pending_bytes > CONGESTED_BYTES and not self.reaches_kafka():
            return True
        return self._producer.congested() and self.reaches_kafka()

    def partitions_of(self, topic: str) -> int | None:
        """How many partitions a topic has, as Kafka last said; None where it said nothing so far."""
        return self._producer.partitions_of(topic)

    def reaches_kafka(self) -> bool:
        """Whether requests go to Kafka first; otherwise they go to the spool at once."""
        return self._producer.ready() and not (self._unresponsive and self.spool.counts.waiting)

    async def produce(self, records: Sequence[Record], seconds_max: float | None = None) -> None:
        """Returns once every record is acknowledged, or all of them are written and synced.

        Raises:
            NotDurable: neither Kafka nor the spool took every record.
        """
        if not records:
            return
        deadline = asyncio.get_running_loop().time() + (seconds_max or self._answer_seconds_max)
        if self.reaches_kafka():
            try:
                await self.send(records)
            except NotDurable:
                pass
            else:
                return
        await self._append(records, deadline)

    def begin(self, records: Records, settled: Settled) -> bool:
        """As `produce`, without a task for as long as Kafka acknowledges; False while it does not."""
        now = self._loop.time()
        if now >= self._looks_at:
            self._looks_at = now + LOOK_SECONDS
            self._reaches_kafka = self.reaches_kafka()
        if not self._reaches_kafka:
            return False
        deadline = now + self._answer_seconds_max

        def sent(failure: "NotDurableReason | None") -> None:
            self._note_answer(failure)
            if failure is None:
                settled(None)
            else:
                late = asyncio.create_task(self._append_late(records, deadline, settled))
                self._late.add(late)
                late.add_done_callback(self._late.discard)

        try:
            return self._producer.begin(records, sent)
        except NotDurable as refusal:
            sent(refusal.reason)
            return True

    async def _append_late(self, records: Records, deadline: float, settled: Settled) -> None:
        try:
            await self._append(records, deadline)
        except NotDurable as refusal:
            settled(refusal.reason)
        else:
            settled(None)

    async def _append(self, records: Sequence[Record], deadline: float) -> None:
        """Returns once the records are written and synced.

        Raises:
            NotDurable: the spool did not take them.
        """
        loop = asyncio.get_running_loop()
        try:
            await self.spool.append(records, deadline - loop.time())
        except SpoolFull:
            raise NotDurable("spool_full") from None
        except SpoolError:
            raise NotDurable("spool_failed") from None

    async def send(self, records: Sequence[Record], seconds_max: float | None = None) -> None:
        """Sends to Kafka, and notes whether Kafka answers."""
        try:
            await self._producer.produce(records, seconds_max)
        except NotDurable as refusal:
            self._note_answer(refusal.reason)
            raise
        self._note_answer(None)

    def _note_answer(self, failure: NotDurableReason | None) -> None:
        if failure in ("timed_out", "no_topic"):
            self._note_unresponsive(True)
        elif failure is None or failure == "failed":  # a refusal is an answer
            self._note_unresponsive(False)

    def _note_unresponsive(self, now: bool) -> None:
        if now != self._unresponsive:
            self._unresponsive = now
            self._looks_at = 0.0
            log.warning("Kafka %s", "does not acknowledge in time; events are spooled" if now else "answers again")


class Drain:
    """Sends spooled records while Kafka is reachable, and deletes those whose retention has ended.

    Args:
        send: returns once the records are acknowledged.
        reachable: whether to send now.
        others_wait: whether requests wait, so that the drain has to go slowly.
    """

    def __init__(
        self,
        spool: Spool,
        send: Callable[[Sequence[Record], float], Awaitable[None]],
        reachable: Callable[[], bool],
        others_wait: Callable[[], bool] = lambda: False,
    ) -> None:
        self._spool = spool
        self._send = send
        self._reachable = reachable
        self._others_wait = others_wait
        self._refused_up_to = 0  # packs up to this number were refused; they are sent again at `_refused_again_at`
        self._refused_again_at = self._paused_until = 0.0
        self._records_max = DRAIN_RECORDS_MAX
        self._refusals = 0
        self._refused_seconds = REFUSED_SECONDS_MIN
        self._expired_at = float("-inf")

    async def run(self, stopping: asyncio.Event) -> None:
        """Drains until `stopping` is set."""
        while not stopping.is_set():
            try:
                pause = await self.step(asyncio.get_running_loop().time())
            except SpoolError:
                pause = POLL_SECONDS  # the spool has logged it
            if pause:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await stopping.wait()

    async def step(self, now: float) -> float:
        """Deletes what has expired, then sends at most one read; returns the seconds to wait until the next step.

        Args:
            now: seconds on the event loop's clock.

        Raises:
            SpoolError: the file cannot take or give records now.
        """
        if now - self._expired_at >= EXPIRE_SECONDS:
            self._expired_at = now
            if not self._spool.works:
                await self._spool.probe()
            if expired := await self._spool.expire():
                log.error("%d spooled records outlived their topic's retention and were deleted", expired)
        if not self._spool.counts.waiting or not self._reachable() or now < self._paused_until:
            return POLL_SECONDS
        entries = await self._spool.read(self._refused_up_to, self._records_max, DRAIN_BYTES_MAX)
        if entries:
            return await self._send_entries(entries, now)
        if self._refused_up_to and now >= self._refused_again_at:
            self._refused_up_to = 0
            return 0.0
        return POLL_SECONDS

    async def _send_entries(self, entries: list[Entry], now: float) -> float:
        try:
            await self._send([record for entry in entries for record in entry.records], DRAIN_SECONDS_MAX)
        except NotDurable as refusal:
            if refusal.reason == "full":
                # This many records may never fit beside requests, or below a small bound on bytes in flight.
                self._records_max = max(1, self._records_max // 2)
            if refusal.reason not in ("failed", "no_partition"):
                return POLL_SECONDS
            await self._isolate_refused(entries, now)
            return 0.0
        self._records_max = min(2 * self._records_max, DRAIN_RECORDS_MAX)
        self._refusals = 0
        self._refused_seconds = REFUSED_SECONDS_MIN
        await self._delete(entries)
        return YIELD_SECONDS if self._others_wait() else 0.0

    async def _delete(self, entries: list[Entry]) -> None:
        """Deletes acknowledged packs; while the disk fails, tries again every `POLL_SECONDS`."""
        while True:
            try:
                return await self._spool.delete(entries)
            except SpoolError:
                await asyncio.sleep(POLL_SECONDS)

    async def _isolate_refused(self, entries: list[Entry], now: float) -> None:
        """Finds the record that Kafka refused by halving what is sent, and postpones it."""
        records = sum(len(entry.records) for entry in entries)
        self._records_max = max(1, records // 2)
        if len(entries) > 1:
            return
        self._refusals += 1
        if records > 1:
            await self._spool.split(entries[0])
        else:
            self._refused_up_to = entries[0].seq
            self._refused_again_at = now + self._refused_seconds
        if self._refusals >= REFUSALS_MAX:
            self._paused_until = now + self._refused_seconds
            self._refusals = 0
        if records == 1 or self._paused_until > now:
            log.error("Kafka refuses spooled records; they stay, and are sent again in %.0f s", self._refused_seconds)
            self._refused_seconds = min(2 * self._refused_seconds, REFUSED_SECONDS_MAX)
