"""Traffic of many sessions that look like people, batch by batch, from a seeded generator. Pure.

A few sessions are far more active than most; each task is answered by several of them and has a known truth
(`tasks.truth`). All times lie in the hours before `start_ms`, so that the collector keeps an event's own day.
"""

from bisect import bisect
from collections import deque
from collections.abc import Iterator
from itertools import accumulate
from typing import Literal

import msgspec

from schemas.events import AnyEvent, Verdict
from unjoin.simulator import people
from unjoin.simulator.motion import Hands
from unjoin.simulator.rng import Rng
from unjoin.simulator.tasks import truth
from unjoin.simulator.visitors import DESKTOP, PHONE, STEP_MS, Scripts, TaskPool, Visitor, event_id

__all__ = ["BATCH_EVENTS_MAX", "CATEGORIES", "Plan", "SimulatedBatch", "Traffic", "truth"]

HOUR_MS = 3_600_000
BATCH_EVENTS_MAX = 500
SESSION = "backend"

CATEGORIES = tuple(dict.fromkeys(kind.category for kind in AnyEvent.__args__))

_FORMS = ((3, ("contact",)), (3, ("identity_check",)), (2, ("labeler_application",)))
_SERVER_SHARE = 0.04
_BEACON_SHARE = 0.1
_ANSWERS_A_TASK = 6
_SESSION_HOURS_MAX = 6


def types_of(*categories: str) -> frozenset[str]:
    """The event types of these categories, as events name them in `type`."""
    return frozenset(kind.__struct_config__.tag for kind in AnyEvent.__args__ if kind.category in categories)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What traffic to make.

    Attributes:
        events: how many, exactly.
        start_ms: Unix milliseconds; no event is later, none earlier than 12 h before.
        sessions: among how many; 0 for one per hundred events, at least 40.
        categories: which of `CATEGORIES`.
        batch_events: events of a batch on average, 1 to 500; a batch has half of it to half as many again.
        verdicts: share of sessions that the service judges, 0 to 1.
        bots: share of sessions that are bots; where judged, they are judged not human, and the door drops their labels.
    """

    events: int
    start_ms: int
    sessions: int = 0
    categories: tuple[str, ...] = CATEGORIES
    batch_events: int = 50
    verdicts: float = 0.2
    bots: float = 0.0


class SimulatedBatch(msgspec.Struct, frozen=True):
    """Events of one request.

    Attributes:
        key: the kind of key it is sent with.
        beacon: sent as a page does that is being left: `text/plain`, the key in the URL.
    """

    session: str
    events: list[AnyEvent]
    key: Literal["browser", "server"]
    user_agent: str
    beacon: bool


class Traffic:
    """The traffic of a plan; the same plan and an `rng` in the same state make the same.

    Raises:
        ValueError: no category is wanted, or one that does not exist.
    """

    def __init__(self, plan: Plan, rng: Rng) -> None:
        if not plan.categories or not set(plan.categories) <= set(CATEGORIES):
            raise ValueError(f"categories must be some of {', '.join(CATEGORIES)}")
        self._plan, self._rng, self._random = plan, rng, rng.random
        types = types_of(*plan.categories)
        self._desktop, self._phone, self._forms = (Scripts(kinds, types) for kinds in (DESKTOP, PHONE, _FORMS))
        self._judging = "labeled" in plan.categories
        self._unjudged: deque[Visitor] = deque()
        self._visitors, self._activity = self._visit() if self._desktop else ([], [])

    def batches(self) -> Iterator[SimulatedBatch]:
        """Every batch, in the order in which they are sent: sessions in turns, the busy ones more often."""
        left = self._plan.events
        while left > 0:
            size = max(1, min(int(self._plan.batch_events * (0.5 + self._random())), BATCH_EVENTS_MAX, left))
            batch = self._server_batch(size) if self._is_servers_turn() else self._browser_batch(size)
            left -= len(batch.events)
            yield batch

    def bots(self) -> frozenset[str]:
        """The sessions that are bots."""
        return frozenset(visitor.session for visitor in self._visitors if visitor.bot)

    def _visit(self) -> tuple[list[Visitor], list[float]]:
        """The visitors, and the running totals of how active they are."""
        plan, rng = self._plan, self._rng
        hands = Hands(rng)
        share = (self._desktop.share(types_of("labeled")) + self._phone.share(types_of("labeled"))) / 2
        pool = TaskPool(max(12, int(plan.events * share / _ANSWERS_A_TASK)))
        activity = [rng.lognormvariate(0, 0.9) for _ in range(plan.sessions or max(40, plan.events // 100))]
        total = sum(activity)
        visitors = []
        for own in activity:
            device = people.DEVICES[int(rng.random() * len(people.DEVICES))]
            # A third more than it will take, so that no session reaches the plan's end.
            expected_ms = 1.3 * STEP_MS * max(20.0, plan.events * own / total)
            pace = min(1.0, _SESSION_HOURS_MAX * HOUR_MS / expected_ms)
            visitors.append(
                Visitor(
                    rng, hands, device, self._phone if device.touch else self._desktop, pool,
                    clock=max(0.0, plan.start_ms - expected_ms * pace - rng.random() * HOUR_MS),
                    end_ms=plan.start_ms, pace=pace, bot=rng.random() < plan.bots,
                )
            )  # fmt: skip
        return visitors, list(accumulate(activity))

    def _is_servers_turn(self) -> bool:
        if not self._visitors:
            return True
        return bool(self._forms or self._unjudged) and self._random() < _SERVER_SHARE

    def _browser_batch(self, size: int) -> SimulatedBatch:
        last = len(self._activity) - 1
        visitor = self._visitors[bisect(self._activity, self._random() * self._activity[-1], 0, last)]
        if not visitor.seen:
            visitor.seen = True
            if self._judging and self._random() < self._plan.verdicts:
                self._unjudged.append(visitor)
        events = [visitor.step() for _ in range(size)]
        beacon = self._random() < _BEACON_SHARE
        return SimulatedBatch(visitor.session, events, "browser", visitor.device.user_agent, beacon)

    def _server_batch(self, size: int) -> SimulatedBatch:
        """Forms and verdicts; fewer than `size` where only verdicts are wanted and few are due."""
        events: list[AnyEvent] = []
        while len(events) < size and (self._forms or self._unjudged):
            due = self._unjudged and (not self._forms or self._random() < 0.5)
            events.append(self._verdict(self._unjudged.popleft()) if due else self._form())
        return SimulatedBatch(SESSION, events, "server", "unjoin-backend/1.0", beacon=False)

    def _verdict(self, visitor: Visitor) -> AnyEvent:
        # The session's clock decides, because a verdict holds for its pseudonym of one day.
        ts = visitor.now_ms
        return Verdict(id=event_id(ts, self._rng), ts=ts, session=visitor.session, human=not visitor.bot)

    def _form(self) -> AnyEvent:
        (kind,) = self._forms.draw(self._rng)
        ts = max(0, self._plan.start_ms - int(self._random() * HOUR_MS))
        made: AnyEvent = getattr(people, kind)(self._rng, event_id(ts, self._rng), ts)
        return made
