"""A producer with a spool behind it: what Kafka does not acknowledge in time is written, synced and sent later.

    request ──▶ Kafka, while it answers ──▶ durable
       └── away, silent, or full ──▶ spool ──▶ durable      drain: oldest first, acknowledged before deleted

A deadline is *unknown*, not *failed*: what timed out may still arrive, and is spooled as well, so it may lie on its
topic twice, under the same event ids; the tables' keys make one row of that. Between spooled and new records no order
is kept; among the spooled ones it is, except for what Kafka refuses, which goes to the end.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from ingest.encode.records import Record
from ingest.kafka.producer import NotDurable, Producer
from ingest.limits import SPOOL_SECONDS_MAX
from ingest.spool.file import SpoolError, SpoolFull, SpoolHeld
from ingest.spool.packs import Entry
from ingest.spool.writer import Spool

log = logging.getLogger(__name__)

# Of what is sent to Kafka at once while draining: some ms of the loop, so that new requests do not wait for it.
DRAIN_RECORDS_MAX = 1_000
DRAIN_BYTES_MAX = 524_288
# Nobody waits for it, so that a Kafka slower than a request can wait is no outage without end.
DRAIN_SECONDS_MAX = 30.0
LOOK_SECONDS = 0.2
# Between two chunks while requests have to wait: the drain goes on, and leaves them most of the machine.
YIELD_SECONDS = 0.2
# On their way to the disk; beyond it more had better wait where they can be refused.
CONGESTED_BYTES = 8_388_608
EXPIRE_SECONDS = 1.0
# After so many refusals on end, something else is wrong than a record.
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
        self._producer = producer
        self._answer_seconds_max = produce_seconds_max + SPOOL_SECONDS_MAX
        # Kafka let a request wait in vain: until the drainer sees it answer, nobody else is made to wait.
        self._silent = False
        self._stopping = asyncio.Event()
        self._drainers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Returns soon, reachable brokers or not.

        Raises:
            SpoolHeld: another process spools in the same folder.
        """
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
        return self.others_wait()  # which is set after the drain was made

    async def stop(self, deadline_s: float) -> None:
        """Sends what is on its way, for at most so long; what is spooled stays for the next start."""
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
        """Whether records could be made durable right now, by either."""
        return not self._stopping.is_set() and (self._producer.ready() or self.spool.accepts())

    def congested(self) -> bool:
        """Whether records are made durable, by the one or the other, and later than they should be."""
        if self.reaches_kafka():
            return self._producer.congested()
        return self.spool.pending_bytes > CONGESTED_BYTES

    def reaches_kafka(self) -> bool:
        """Whether requests go to Kafka first."""
        return self._producer.ready() and not (self._silent and self.spool.counts.waiting)

    async def produce(self, records: Sequence[Record], seconds_max: float | None = None) -> None:
        """Returns once every record is acknowledged, or all of them are written and synced.

        Raises:
            NotDurable: neither could be had.
        """
        if not records:
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (seconds_max or self._answer_seconds_max)
        if self.reaches_kafka():
            try:
                await self.send(records)
            except NotDurable:
                pass
            else:
                return
        try:
            await self.spool.append(records, deadline - loop.time())
        except SpoolFull:
            raise NotDurable("spool_full") from None
        except SpoolError:
            raise NotDurable("spool_failed") from None

    async def send(self, records: Sequence[Record], seconds_max: float | None = None) -> None:
        """To Kafka, remembering whether it answers."""
        try:
            await self._producer.produce(records, seconds_max)
        except NotDurable as refusal:
            if refusal.reason in {"timed_out", "no_topic"}:
                self._note(silent=True)
            elif refusal.reason == "failed":
                self._note(silent=False)  # a refusal is an answer
            raise
        self._note(silent=False)

    def _note(self, *, silent: bool) -> None:
        if silent != self._silent:
            self._silent = silent
            log.warning("Kafka %s", "does not acknowledge in time; events are spooled" if silent else "answers again")


class Drain:
    """Sends what is spooled once Kafka is there, and deletes what may live no longer, there or not.

    Args:
        send: returns once the records are acknowledged.
        reachable: whether to try.
        others_wait: whether to go slowly.
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
        self._after = 0  # packs up to here were refused, and get another turn at `_again_at`
        self._again_at = self._rest_until = 0.0
        self._records_max = DRAIN_RECORDS_MAX
        self._refusals = 0
        self._refused_seconds = REFUSED_SECONDS_MIN
        self._expired_at = float("-inf")

    async def run(self, stopping: asyncio.Event) -> None:
        """Returns when it is told to stop."""
        while not stopping.is_set():
            try:
                pause = await self.turn(asyncio.get_running_loop().time())
            except SpoolError:
                pause = LOOK_SECONDS  # the spool has logged it
            if pause:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await stopping.wait()

    async def turn(self, now: float) -> float:
        """One look, or one chunk; gives the seconds until the next one."""
        if now - self._expired_at >= EXPIRE_SECONDS:
            self._expired_at = now
            if not self._spool.works:
                await self._spool.probe()
            if expired := await self._spool.expire():
                log.error("%d spooled records outlived their topic's retention and were deleted", expired)
        if not self._spool.counts.waiting or not self._reachable() or now < self._rest_until:
            return LOOK_SECONDS
        entries = await self._spool.read(self._after, self._records_max, DRAIN_BYTES_MAX)
        if entries:
            return await self._send_off(entries, now)
        if self._after and now >= self._again_at:
            self._after = 0
            return 0.0
        return LOOK_SECONDS

    async def _send_off(self, entries: list[Entry], now: float) -> float:
        try:
            await self._send([record for entry in entries for record in entry.records], DRAIN_SECONDS_MAX)
        except NotDurable as refusal:
            if refusal.reason == "full":
                # So much will never fit beside requests, or below a small bound on bytes in flight.
                self._records_max = max(1, self._records_max // 2)
            if refusal.reason != "failed":
                return LOOK_SECONDS
            await self._narrow(entries, now)
            return 0.0
        self._records_max = min(2 * self._records_max, DRAIN_RECORDS_MAX)
        self._refusals = 0
        self._refused_seconds = REFUSED_SECONDS_MIN
        await self._delete(entries)
        return YIELD_SECONDS if self._others_wait() else 0.0

    async def _delete(self, entries: list[Entry]) -> None:
        """They are acknowledged, so nothing is left to do with them; a disk that fails is waited for."""
        while True:
            try:
                return await self._spool.delete(entries)
            except SpoolError:
                await asyncio.sleep(LOOK_SECONDS)

    async def _narrow(self, entries: list[Entry], now: float) -> None:
        """Kafka refused one of the records: finds it by halves, and leaves it for later."""
        records = sum(len(entry.records) for entry in entries)
        self._records_max = max(1, records // 2)
        if len(entries) > 1:
            return
        self._refusals += 1
        if records > 1:
            await self._spool.split(entries[0])
        else:
            self._after = entries[0].seq
            self._again_at = now + self._refused_seconds
        if self._refusals >= REFUSALS_MAX:
            self._rest_until = now + self._refused_seconds
            self._refusals = 0
        if records == 1 or self._rest_until > now:
            log.error("Kafka refuses spooled records; they stay, and are sent again in %.0f s", self._refused_seconds)
            self._refused_seconds = min(2 * self._refused_seconds, REFUSED_SECONDS_MAX)
