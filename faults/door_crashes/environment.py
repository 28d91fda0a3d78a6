"""Makes faults to doors on a broker while labels flow."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from random import Random

from faults.door_crashes.broker import Feed, Node, Offsets, Watch
from faults.door_crashes.faults import Fault, Moment
from faults.door_crashes.workers import CrashError, Worker

SESSION_S = 1.5
MOMENT_S_MAX = 150.0
PAUSE_S = (0.5 * SESSION_S, 4 * SESSION_S)


class Environment:
    """What a fault needs: the broker, its doors, and what is seen of them.

    Args:
        watch: reads the released topic.
        offsets: what the doors' group has committed.
        feed: counts the labels that were written.
        flowing: writes them; without it nothing would ever happen.
    """

    def __init__(
        self, node: Node, doors: Sequence[Worker], watch: Watch, offsets: Offsets, feed: Feed,
        flowing: "asyncio.Task[None]",
    ) -> None:  # fmt: skip
        self._feed = feed
        self._flowing = flowing
        self._node = node
        self._doors = doors
        self._watch = watch
        self._offsets = offsets

    async def do(self, fault: Fault, moment: Moment, rng: Random) -> None:
        """Waits for the moment, and does it to one of the doors; returns once that door runs again.

        Raises:
            CrashError: a door ended on its own, or nothing goes on.
        """
        door = rng.choice(self._doors)
        chance, other_chance = rng.random(), rng.random()
        await self._wait_for(moment, chance)
        match fault:
            case Fault.KILL:
                door.die()
                door.start()
            case Fault.STOP:
                await self.until(door.is_started, MOMENT_S_MAX, "a door that listens")
                await asyncio.to_thread(door.stop)
                door.start()
            case Fault.PAUSE:
                door.pause()
                try:
                    # Mostly beyond the session: then it is a zombie that finds its partitions with others.
                    await asyncio.sleep(PAUSE_S[0] + other_chance * (PAUSE_S[1] - PAUSE_S[0]))
                finally:
                    door.resume()
            case Fault.HANG:
                ended = door.ended_by_watchdog
                await self.until(door.is_ready, MOMENT_S_MAX, "a door that can hang")
                door.hang()
                await self.until(lambda: _holds(door.ended_by_watchdog > ended), MOMENT_S_MAX, "a watchdog")
            case Fault.LEAVE:
                await self.until(door.is_started, MOMENT_S_MAX, "a door that listens")
                await asyncio.to_thread(door.stop)
                if len(self._doors) > 1:
                    await self._progress()
                door.start()
                await self.until(door.is_ready, MOMENT_S_MAX, "a door that joins again")
            case Fault.BROKER:
                await self._node.end(signal.SIGKILL if other_chance < 0.5 else signal.SIGTERM)
                await asyncio.sleep(chance * SESSION_S)
                await self._node.start()

    async def until(self, condition: Callable[[], Awaitable[bool]], seconds_max: float, what: str) -> None:
        """Returns once it is true; starts again what its watchdog ended.

        Raises:
            CrashError: not in time, or a door ended on its own.
        """
        deadline, written = time.monotonic() + seconds_max, self._feed.written
        while not await condition():
            for door in self._doors:
                door.supervise()
            if self._flowing.done():
                self._flowing.result()
            if time.monotonic() > deadline:
                meanwhile = f"{self._feed.written - written} labels were written meanwhile"
                raise CrashError(f"not within {seconds_max:.0f} s: {what}; {meanwhile}")
            await asyncio.sleep(0.01)

    async def _wait_for(self, moment: Moment, chance: float) -> None:
        """Waits for a moment, and then up to a second or some milliseconds, as `chance` of 0 to 1 says."""
        if moment is not Moment.STARTING:
            await self._progress()
        match moment:
            case Moment.STARTING | Moment.WORKING:
                await asyncio.sleep(chance)
            case Moment.RELEASING:
                self._watch.came.clear()
                await asyncio.wait_for(self._watch.came.wait(), MOMENT_S_MAX)
                await asyncio.sleep(chance**4 * 0.05)
            case Moment.COMMITTING:
                await self._progress()
                await asyncio.sleep(chance * 0.02)

    async def _progress(self) -> None:
        """Returns once the group has committed something new."""
        before = await self._offsets.committed()

        async def moved() -> bool:
            return await self._offsets.committed() != before

        await self.until(moved, MOMENT_S_MAX, "a commit")


async def _holds(condition: bool) -> bool:
    return condition
