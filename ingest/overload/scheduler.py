"""The gate before parsing: what a turn of the event loop may spend on requests, and who waits for the next one.

    body read ──▶ gate ──▶ parse, judge, encode ──▶ produce
                   └── more than a turn's worth, or Kafka is behind: wait in a fair queue, or 503 with Retry-After

Parsing and encoding cost most of a request and never wait for anything, so that without a gate one turn of the loop
would do it for every request that came in, the flood's before the honest client's, and no turn would end in time.

Two things make requests wait. **CPU**: a turn spends as long on them as the rest of the loop took, and at least
`TURN_SECONDS_MIN`, so that reading and refusing never starve working, nor the other way round. **Kafka**: while it
has as much on its way to it as it acknowledges in time (`Producer.congested`), nothing more is handed to it. A Kafka
that does not acknowledge at all is away, and that is the spool's business, not the gate's.

UnjoinError
└── Rejection    503 `overloaded`
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec

from ingest.errors import Rejection
from ingest.overload.fair_queue import FairQueue, QueueBounds
from schemas.outcomes import RequestError

T = TypeVar("T")

TURN_SECONDS_MIN, TURN_SECONDS_MAX = 0.002, 0.02
# How often to look whether Kafka has caught up: nothing tells.
CONGESTED_LOOK_SECONDS = 0.002
# For so long after somebody had to wait, whoever can (the spool's drain) leaves the machine to requests.
BUSY_SECONDS = 1.0
RETRY_AFTER_SECONDS_MIN, RETRY_AFTER_SECONDS_MAX = 1, 4


class GateStats(msgspec.Struct):
    """For metrics.

    Attributes:
        waited: requests that had to wait for their turn.
        shed_early: refused before their body was read.
        shed_late: refused after that: no room to wait, or waited for too long.
        turn_seconds: between two turns of the gate, the last time there was work; what the loop lags. A gauge.
    """

    waited: int = 0
    shed_early: int = 0
    shed_late: int = 0
    turn_seconds: float = 0.0


class Gate:
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
        self.stats = GateStats()
        self.queue: FairQueue[tuple[asyncio.Future[Any], Callable[[], Any]]] = FairQueue(bounds)
        self._clock = clock
        self._congested = congested
        self._in_turn = False
        self._turn_ends = 0.0  # while `_in_turn`
        self._ended_at = float("-inf")  # when the last turn had done its work
        self._waited_at = float("-inf")
        self._refusals = 0

    def busy(self) -> bool:
        """Whether somebody waits, or had to within the last second."""
        return self.queue.count > 0 or self._clock() - self._waited_at < BUSY_SECONDS

    def takes(self, key: str, address: int) -> bool:
        """Whether to read the body of a request; who is told False is to be answered with `refusal`."""
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

    async def run(self, key: str, address: int, size: int, work: Callable[[], T]) -> T:
        """Calls `work` in this turn of the loop or, when it is the request's turn, in a later one.

        Args:
            key, address: whose share it is.
            size: bytes of the body.

        Raises:
            Rejection: 503; and whatever `work` raises.
        """
        now = self._clock()
        if not self._in_turn:
            self._begin_turn(now)
        if not self.queue.count and now < self._turn_ends and not self._congested():
            result = work()
            self._ended_at = self._clock()
            return result
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if not self.queue.push(key, address, size, now, (future, work)):
            raise self.refusal(early=False)
        self._waited_at = now
        self.stats.waited += 1
        return cast(T, await future)

    def _begin_turn(self, now: float) -> None:
        """A turn ends with the first callback of the loop's next one."""
        gap = now - self._ended_at
        self._turn_ends = now + min(max(gap, TURN_SECONDS_MIN), TURN_SECONDS_MAX)
        self._in_turn = True
        asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._in_turn = False
        if not self.queue.count:
            return
        now = self._clock()
        if self._congested():
            self._in_turn = True  # and over: whoever comes waits
            self._turn_ends = now
            asyncio.get_running_loop().call_later(CONGESTED_LOOK_SECONDS, self._next_turn)
            return
        self.stats.turn_seconds = now - self._ended_at
        self._begin_turn(now)
        self._serve(now)
        self._ended_at = self._clock()

    def _serve(self, now: float) -> None:
        """Whoever is next, until the turn's time is spent."""
        while now < self._turn_ends and not self._congested() and (turn := self.queue.pop(now)) is not None:
            future, work = turn.item
            if future.done():
                continue  # it was cancelled
            if turn.late:
                future.set_exception(self.refusal(early=False))
                continue
            try:
                result = work()
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            now = self._clock()
        self._waited_at = now
