"""Keeps one producer session usable: starts it, asks its brokers for metadata, replaces it once it is spent."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from ingest.kafka.aiokafka_client import REPEAT_SECONDS_MIN, BrokerAccess, ProducerSession, end_tasks
from schemas.kafka_probe import reason_of

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0
BACKOFF_SECONDS_MIN, BACKOFF_SECONDS_MAX = 0.05, 1.0
# aiokafka asks only brokers whose addresses it has learned. If brokers moved, only a new session finds them, since it
# asks the bootstrap addresses again.
UNANSWERED_SECONDS_MAX = 30.0
# Every refused batch costs a session. At most ten new sessions a second, so that a stream of refused batches costs
# other requests little.
RENEWAL_SECONDS_MIN = 0.1


class ProducerLifecycle:
    """Starts producer sessions, one after the other, so that there is a usable one whenever brokers answer.

    Attributes:
        current: the session that gets new batches; None before the first, and after one died.
        answered_at: when a broker last answered, in seconds on `clock`.
        renewals: how many sessions followed the first.
        first_try_done: set once the first try to start a session succeeded or failed.
    """

    def __init__(
        self,
        access: BrokerAccess,
        clock: Callable[[], float],
        *,
        wanted_topics: Iterable[str],
        on_metadata: Callable[[ProducerSession], None],
        drain_seconds_max: float,
    ) -> None:
        """Starts nothing yet.

        Args:
            access: how to reach the brokers.
            clock: seconds, monotonic.
            wanted_topics: named in each metadata request; read anew at each heartbeat.
            on_metadata: called with the session after each of its metadata answers.
            drain_seconds_max: how long a replaced session may wait for its batches in flight.
        """
        self.current: ProducerSession | None = None
        self.answered_at = float("-inf")
        self.renewals = 0
        self.first_try_done = asyncio.Event()
        self._access = access
        self._clock = clock
        self._wanted_topics = wanted_topics
        self._on_metadata = on_metadata
        self._drain_seconds_max = drain_seconds_max
        self._replaced = asyncio.Event()
        self._wake = asyncio.Event()
        self._draining: dict[ProducerSession, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts the first session in the background."""
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(_note_bug)

    def refresh_metadata(self) -> None:
        """Asks the brokers about the wanted topics now instead of at the next heartbeat."""
        self._wake.set()

    def note_broker_answer(self) -> None:
        """Notes that a broker answered just now."""
        self.answered_at = self._clock()

    async def usable_session(self, spent: ProducerSession | None) -> ProducerSession:
        """Waits for a living session other than `spent`, in which a batch of the caller failed."""
        while self.current is None or not self.current.alive or self.current is spent:
            await self._replaced.wait()
        return self.current

    async def close(self) -> None:
        """Abandons every session, without waiting for a broker."""
        draining = dict(self._draining)
        await end_tasks([*draining.values(), *([self._task] if self._task is not None else [])])
        for session in (*draining, self.current):
            if session is not None:
                await session.abandon()
        self.current = None

    async def _run(self) -> None:
        while True:
            session = await self._begin()
            session.spent.add_done_callback(lambda _: self._wake.set())
            self._drain_current()
            self.current = session
            self.note_broker_answer()
            session.on_metadata(lambda of=session: self._on_metadata(of))  # type: ignore[misc]
            replaced, self._replaced = self._replaced, asyncio.Event()
            replaced.set()
            await self._watch(session)
            if not session.alive:
                self._drain_current()
            # Other partitions go on using a spent session that lives, until the next one has started.
            self.renewals += 1
            await asyncio.sleep(RENEWAL_SECONDS_MIN)

    async def _begin(self) -> ProducerSession:
        backoff = BACKOFF_SECONDS_MIN
        said_at = float("-inf")
        while True:
            try:
                session = await ProducerSession.begin(self._access)
            except Exception as error:  # whatever it was: there is no producer without another try
                self.first_try_done.set()
                if self._clock() - said_at >= REPEAT_SECONDS_MIN:
                    said_at = self._clock()
                    why = await reason_of(error, self._access.kafka)
                    log.warning("no Kafka producer yet, trying again: %s", why)
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, BACKOFF_SECONDS_MAX)
            else:
                return session

    async def _watch(self, session: ProducerSession) -> None:
        """Asks for metadata at each heartbeat; returns once the session is spent."""
        while not session.spent.done():
            self._wake.clear()
            if await session.reach(self._wanted_topics, HEARTBEAT_SECONDS):
                self.note_broker_answer()
            elif self._clock() - self.answered_at > UNANSWERED_SECONDS_MAX:
                session.mark_spent()
            self.first_try_done.set()
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _drain_current(self) -> None:
        if self.current is None:
            return
        session, self.current = self.current, None
        task = asyncio.create_task(session.drain(self._drain_seconds_max))
        self._draining[session] = task
        task.add_done_callback(lambda _: self._draining.pop(session, None))


def _note_bug(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("no Kafka producer will be started any more: %s", type(error).__name__)
