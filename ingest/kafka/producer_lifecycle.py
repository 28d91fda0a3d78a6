"""Keeps one incarnation of the producer in service: begins it, asks after its brokers, replaces it when it is over."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from ingest.kafka.aiokafka_client import BrokerAccess, Incarnation, end_tasks

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0
BACKOFF_SECONDS_MIN, BACKOFF_SECONDS_MAX = 0.05, 1.0
# aiokafka asks only brokers whose addresses it learned; if they moved, only a new one finds them, by the bootstrap's.
UNREACHED_SECONDS_MAX = 30.0
# Every refused batch costs an incarnation; at most ten a second, so that a stream of them costs others little.
RENEWAL_SECONDS_MIN = 0.1


class Keeper:
    """Always tries to have a living incarnation.

    Attributes:
        current: the one in service; None before the first and after one died.
        reached_at: when a broker last answered, on `clock`.
        renewals: how many incarnations followed the first.
        tried: set once a first try succeeded or failed.
    """

    def __init__(
        self,
        access: BrokerAccess,
        clock: Callable[[], float],
        *,
        wanted_topics: Iterable[str],
        on_metadata: Callable[[Incarnation], None],
        retire_seconds_max: float,
    ) -> None:
        """Args:
        wanted_topics: to ask the brokers about; read anew at each heartbeat.
        on_metadata: called with the incarnation whose brokers answered about topics.
        retire_seconds_max: what a spent incarnation gets to end what is on its way.
        """
        self.current: Incarnation | None = None
        self.reached_at = float("-inf")
        self.renewals = 0
        self.tried = asyncio.Event()
        self._access = access
        self._clock = clock
        self._wanted_topics = wanted_topics
        self._on_metadata = on_metadata
        self._retire_seconds_max = retire_seconds_max
        self._replaced = asyncio.Event()
        self._wake = asyncio.Event()
        self._retiring: dict[Incarnation, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look for brokers in the background."""
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(_note_bug)

    def poke(self) -> None:
        """Asks the brokers about the wanted topics now instead of at the next heartbeat."""
        self._wake.set()

    def note_answer(self) -> None:
        """A broker answered."""
        self.reached_at = self._clock()

    async def in_service(self, spent: Incarnation | None) -> Incarnation:
        """The living incarnation, once there is one that is not `spent`."""
        while self.current is None or not self.current.alive or self.current is spent:
            await self._replaced.wait()
        return self.current

    async def close(self) -> None:
        """Abandons every incarnation, now."""
        retiring = dict(self._retiring)
        await end_tasks([*retiring.values(), *([self._task] if self._task is not None else [])])
        for incarnation in (*retiring, self.current):
            if incarnation is not None:
                await incarnation.abandon()
        self.current = None

    async def _run(self) -> None:
        while True:
            incarnation = await self._begin()
            incarnation.over.add_done_callback(lambda _: self._wake.set())
            self._take_out_of_service()
            self.current = incarnation
            self.note_answer()
            incarnation.on_metadata(lambda of=incarnation: self._on_metadata(of))  # type: ignore[misc]
            replaced, self._replaced = self._replaced, asyncio.Event()
            replaced.set()
            await self._watch(incarnation)
            if not incarnation.alive:
                self._take_out_of_service()
            # A spent one stays in service for the other partitions until its successor is there.
            self.renewals += 1
            await asyncio.sleep(RENEWAL_SECONDS_MIN)

    async def _begin(self) -> Incarnation:
        backoff = BACKOFF_SECONDS_MIN
        while True:
            try:
                incarnation = await Incarnation.begin(self._access)
            except Exception as error:  # whatever it was, without a producer there is nothing better to do than to try
                log.warning("no Kafka producer yet, trying again: %s", type(error).__name__)
                self.tried.set()
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, BACKOFF_SECONDS_MAX)
            else:
                return incarnation

    async def _watch(self, incarnation: Incarnation) -> None:
        """Returns when it is over."""
        while not incarnation.over.done():
            self._wake.clear()
            if await incarnation.reach(self._wanted_topics, HEARTBEAT_SECONDS):
                self.note_answer()
            elif self._clock() - self.reached_at > UNREACHED_SECONDS_MAX:
                incarnation.condemn()
            self.tried.set()
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _take_out_of_service(self) -> None:
        if self.current is None:
            return
        incarnation, self.current = self.current, None
        task = asyncio.create_task(incarnation.retire(self._retire_seconds_max))
        self._retiring[incarnation] = task
        task.add_done_callback(lambda _: self._retiring.pop(incarnation, None))


def _note_bug(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("nobody looks after the Kafka producer any more: %s", type(error).__name__)
