"""Does what requests ask for, round by round, until nothing is left; a crash at any moment only repeats a round.

    what sinks have stored ─▶ look for rows ─▶ next state of each request ─▶ publish it ─▶ delete what was found

A request's state is published before its rows are deleted, so that they are counted; `progress.py` decides, and
`rows.py` asks the engine. Requests that are done are looked for, too, in what came since: they may be sent again.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from schemas.subjects.erasures import TABLES, Erasure, Kind, State
from sinks.erasure import progress
from sinks.erasure.progress import Patience
from sinks.erasure.rows import LeftOnDisk, Rows

ROUND_SECONDS = 10.0
MUTATION_SECONDS = 0.1
T = TypeVar("T")
log = logging.getLogger(__name__)


class Positions(msgspec.Struct, frozen=True):
    """Of the topics that may hold records of one kind of person, by "topic-partition".

    Attributes:
        committed: the offsets below which sinks have stored everything, of every topic that dead letters come from.
        starts: the first offsets of the logs that may hold records of the kind.
        ends: the offsets after the last, of all of these.
        put_back_until_ms: until when records of before may be written once more, Unix milliseconds; 0 for never.
    """

    committed: Mapping[str, int]
    starts: Mapping[str, int]
    ends: Mapping[str, int]
    put_back_until_ms: int = 0

    def passed(self, ends: Mapping[str, int]) -> bool:
        """Whether everything below these offsets is stored; dead letters are never read again."""
        return all(self.committed[one] >= end for one, end in ends.items() if one in self.committed)


class Logs(Protocol):
    """What an eraser needs of Kafka. Any method may raise KafkaError: then try again."""

    async def positions(self, tables: Sequence[str]) -> Positions:
        """Where the topics of these tables are, and their dead letters: what is committed first, then the ends.

        Who puts records back says so before: that is read first of all.
        """

    async def publish(self, erasures: Sequence[Erasure]) -> None:
        """Returns once every in-sync replica has them."""


class Eraser:
    """Works on the requests in `requests`; whoever reads their topic puts them there.

    Args:
        in_thread: runs a function that blocks.
        now_ms: Unix milliseconds.

    Attributes:
        requests: the newest of each, by id.
    """

    def __init__(
        self,
        rows: Rows,
        logs: Logs,
        patience: Patience,
        now_ms: Callable[[], int],
        in_thread: Callable[..., Any] = asyncio.to_thread,
    ) -> None:
        self.requests: dict[str, Erasure] = {}
        self._rows, self._logs, self._patience, self._now_ms = rows, logs, patience, now_ms
        self._in_thread = in_thread
        self._looked_for: set[str] = set()
        self._parts: dict[str, frozenset[str]] = {}

    async def round(self) -> float:
        """One round; returns the seconds until the next one is worth it.

        Raises:
            EngineError, KafkaError: try again.
        """
        kept = [one for one in self.requests.values() if one.digest]
        if not kept:
            return ROUND_SECONDS
        positions = {kind: await self._logs.positions(TABLES[kind]) for kind in {one.kind for one in kept}}
        thorough = [one for one in kept if self._needs_a_whole_look(one, positions[one.kind])]
        whole = {one.id for one in thorough}
        others = [one for one in kept if one.id not in whole]
        # In this order: parts that are known from here on were looked at for all of them.
        new, parts = await self._in_thread(self._rows.find_new, others, self._parts)
        found = {**new, **await self._in_thread(self._rows.find, thorough)}
        left: dict[tuple[Kind, int], LeftOnDisk] = {}
        after = []
        for one in kept:
            if one.state in (State.ROWS_DELETED, State.TOPICS_PAST):
                until = one.kind, one.at_ms[State.ROWS_DELETED] // 1_000 + self._patience.clocks_s
                if until not in left:
                    left[until] = await self._in_thread(self._rows.left_on_disk, one.tables, until[1])
                after.append(self._next(one, found.get(one.id, {}), positions[one.kind], left[until]))
            else:
                after.append(self._next(one, found.get(one.id, {}), positions[one.kind], None))
        await self._keep([new for old, new in zip(kept, after, strict=True) if new != old])
        self._parts |= parts  # not before it is published whose rows were found there
        fresh = [new for new in after if new.id not in self._looked_for]
        pairs = zip(kept, after, strict=True)
        moved = [new for old, new in pairs if (new.state, new.deleted) != (old.state, old.deleted)]
        await self._in_thread(self._rows.note, list({one.id: one for one in [*fresh, *moved]}.values()))
        self._looked_for |= {one.id for one in after}
        if doomed := [new for new in after if new.found]:
            await self._delete(doomed)
            return 0.0
        return 1.0 if any(one.state is State.ACCEPTED for one in after) else ROUND_SECONDS

    def _needs_a_whole_look(self, one: Erasure, at: Positions) -> bool:
        """The others are looked for in new parts alone, for a look at all rows takes seconds for ten million."""
        match one.state:
            case State.ACCEPTED if not one.found and self._may_be_put_back(at):
                due = False
            case State.ACCEPTED if one.ends and not one.found:
                due = at.passed(one.ends)
            case State.TOPICS_PAST:
                due = progress.brokers_are_done(one, self._patience, self._now_ms())
            case state:
                due = state is State.ACCEPTED
        return due or one.id not in self._looked_for

    def _may_be_put_back(self, at: Positions) -> bool:
        return self._now_ms() <= at.put_back_until_ms + self._patience.clocks_s * 1_000

    def _next(self, one: Erasure, rows: Mapping[str, int], at: Positions, left: LeftOnDisk | None) -> Erasure:
        now_ms, patience = self._now_ms(), self._patience
        if one.is_open and at.put_back_until_ms not in (0, one.put_back_until_ms):
            one = progress.put_back(one, at.put_back_until_ms, now_ms)
        if rows:
            return progress.came_back(one, rows, now_ms)
        match one.state:
            case State.ACCEPTED if self._may_be_put_back(at):
                one = progress.waits_for_what_is_put_back(one)
            case State.ACCEPTED:
                theirs = {log: end for log, end in at.ends.items() if log in at.starts}
                one = progress.rows_deleted(one, at.passed(one.ends or at.ends), at.ends, theirs, now_ms)
            case State.ROWS_DELETED if left is not None:
                one = progress.parts_clean(one, left, patience, now_ms)
            case State.PARTS_CLEAN:
                one = progress.topics_past(one, at.starts, now_ms)
            case State.TOPICS_PAST if left is not None:
                one = progress.done(one, left, patience, now_ms)
            case State.DONE:
                one = progress.forgotten(one, patience, now_ms)
        return one

    async def _keep(self, changed: Sequence[Erasure]) -> None:
        if changed:
            await self._logs.publish(changed)
            self.requests |= {one.id: one for one in changed}

    async def _delete(self, doomed: Iterable[Erasure]) -> None:
        """Returns once no mutation is left; one that cannot end is said once."""
        doomed = list(doomed)
        tables = sorted({table for one in doomed for table in one.found})
        log.info("deleting the rows of %d requests from %s", len(doomed), ", ".join(tables))
        await self._in_thread(self._rows.delete, doomed)
        said = ""
        while (state := await self._in_thread(self._rows.mutating, tables)).left:
            if state.failed and state.failed != said:
                log.error("ClickHouse cannot delete rows of %s yet: %s", ", ".join(tables), state.failed)
                said = state.failed
            await asyncio.sleep(MUTATION_SECONDS)
