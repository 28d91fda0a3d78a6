"""The request scheduler: what one round of the event loop may spend on requests, and who waits for the next one.

    body read ──▶ turn ──▶ decode, judge, encode ──▶ produce
                   └── more than a round's worth, or Kafka is behind: wait in a fair queue, or 503 with Retry-After

Decoding and encoding cost most of a request and never wait for anything. Without turns, one round of the loop would do
it for every request that came in, the flood's before the honest client's, and no round would end in time.

Two things make requests wait:

- **CPU**: a round spends as long on them as the rest of the loop took, at least `ROUND_SECONDS_MIN`, at most
  `ROUND_SECONDS_MAX`. So reading and refusing never starve working, nor the other way round.
- **Kafka**: while it has as much on its way to it as it acknowledges in time (`Producer.congested`), nothing more is
  handed to it. A Kafka that does not acknowledge at all is away; then the spool takes the records.

UnjoinError
└── Rejection    503 `overloaded`
"""

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any, Protocol, Self

import msgspec

from ingest.errors import Rejection
from ingest.overload.fair_queue import FairQueue, QueueBounds
from schemas.outcomes import RequestError

ROUND_SECONDS_MIN, ROUND_SECONDS_MAX = 0.002, 0.02
# How often to look whether Kafka has caught up: it sends no notice.
CONGESTED_LOOK_SECONDS = 0.002
# For this long after a request had to wait, background work (the spool's drain) leaves the machine to requests.
BUSY_SECONDS = 1.0
RETRY_AFTER_SECONDS_MIN, RETRY_AFTER_SECONDS_MAX = 1, 4


class SchedulerStats(msgspec.Struct):
    """For metrics.

    Attributes:
        waited: requests that had to wait for their turn.
        shed_early: refused before their body was read.
        shed_late: refused after that: no room to wait, or waited for too long.
        round_seconds: from the end of one round's work to the start of the next, the last time there was work. A gauge.
    """

    waited: int = 0
    shed_early: int = 0
    shed_late: int = 0
    round_seconds: float = 0.0


class Waiting(asyncio.Future[None]):
    """A request that waits for its turn.

    `grant` resumes its task inside the call, up to the task's next wait, so that the scheduler can measure what the
    turn cost. An ordinary future would resume it in the loop's next round, together with all others that were granted.
    """

    def add_done_callback(self, fn: Callable[[Self], object], /, *, context: contextvars.Context | None = None) -> None:
        """Keeps the step that resumes the waiting task; a task registers exactly one."""
        self._step: Any = fn
        self._context = context
        super().add_done_callback(fn, context=context)

    def grant(self) -> None:
        """Runs the waiting task now."""
        self.remove_done_callback(self._step)
        self.set_result(None)
        assert self._context is not None
        self._context.run(self._step, self)


class Turn(Protocol):
    """What waits for its turn: `Waiting`, or what needs no task."""

    def grant(self) -> None:
        """Does the work now."""

    def done(self) -> bool:
        """Whether nobody wants the turn any more."""

    def set_exception(self, exception: Rejection) -> None:
        """Told in place of a turn: there is none."""


class RequestScheduler:
    """Belongs to one event loop.

    Args:
        clock: seconds, monotonic.
        congested: whether what takes the results is behind.

    Attributes:
        queue: what waits.
    """

    def __init__(
        self, bounds: QueueBounds, clock: Callable[[], float], congested: Callable[[], bool] = lambda: False
    ) -> None:
        self.stats = SchedulerStats()
        self.queue: FairQueue[Turn] = FairQueue(bounds)
        self._clock = clock
        self._congested = congested
        self._in_round = False
        self._round_ends = 0.0  # while `_in_round`
        self._worked_at = float("-inf")  # when the last work ended
        self._waited_at = float("-inf")
        self._refusals = 0

    def busy(self) -> bool:
        """Whether a request waits, or had to within the last second."""
        return self.queue.count > 0 or self._clock() - self._waited_at < BUSY_SECONDS

    def takes(self, key: str, address: int) -> bool:
        """Whether to read the body of a request; where not, it is to be answered with `refusal`."""
        return not self.queue.count or self.queue.takes(key, address, self._clock())

    def refusal(self, *, early: bool) -> Rejection:
        """What to answer; the times to come back differ, or all would come back at once."""
        self._refusals += 1
        if early:
            self.stats.shed_early += 1
        else:
            self.stats.shed_late += 1
        spread = RETRY_AFTER_SECONDS_MAX - RETRY_AFTER_SECONDS_MIN + 1
        return Rejection(503, RequestError.OVERLOADED, retry_after_s=RETRY_AFTER_SECONDS_MIN + self._refusals % spread)

    async def turn(self, key: str, address: int, size: int) -> "RequestScheduler":
        """Returns at once where the round has time left, else when it is the request's turn.

        The CPU work of the request goes into `with await scheduler.turn(…):`, and nothing that waits.

        Args:
            key, address: whose share it is.
            size: bytes of the body.

        Raises:
            Rejection: 503.
        """
        if not self.free():
            waiting = Waiting(loop=asyncio.get_running_loop())
            self.wait(key, address, size, waiting)
            await waiting
        return self

    def free(self) -> bool:
        """Whether a request may work at once, as `with scheduler:`; else it has to wait."""
        now = self._clock()
        if not self._in_round:
            self._begin_round(now)
        return not self.queue.count and now < self._round_ends and not self._congested()

    def wait(self, key: str, address: int, size: int, waiting: Turn) -> None:
        """Grants a turn later. Arguments and errors as of `turn`."""
        now = self._clock()
        if not self.queue.push(key, address, size, now, waiting):
            raise self.refusal(early=False)
        self._waited_at = now
        self.stats.waited += 1

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._worked_at = self._clock()

    def _begin_round(self, now: float) -> None:
        """A round ends with the first callback of the loop's next one."""
        since_work = now - self._worked_at
        self._round_ends = now + min(max(since_work, ROUND_SECONDS_MIN), ROUND_SECONDS_MAX)
        self._in_round = True
        asyncio.get_running_loop().call_soon(self._next_round)

    def _next_round(self) -> None:
        self._in_round = False
        if not self.queue.count:
            return
        now = self._clock()
        if self._congested():
            self._in_round = True  # and over: requests that come now wait
            self._round_ends = now
            asyncio.get_running_loop().call_later(CONGESTED_LOOK_SECONDS, self._next_round)
            return
        self.stats.round_seconds = now - self._worked_at
        self._begin_round(now)
        self._grant_turns(now)
        self._worked_at = self._clock()

    def _grant_turns(self, now: float) -> None:
        """Whoever is next, until the round's time is spent."""
        while now < self._round_ends and not self._congested() and (next_in_line := self.queue.pop(now)) is not None:
            waiting = next_in_line.item
            if waiting.done():
                continue  # it was cancelled
            if next_in_line.late:
                waiting.set_exception(self.refusal(early=False))
                continue
            waiting.grant()
            now = self._clock()
        self._waited_at = now
