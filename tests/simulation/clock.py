"""Virtual time: an event loop for each simulated process, all of them driven in the order of one seeded clock.

A process is a loop, so a kill is a loop that is never turned again (not even its `finally` runs), and a pause is one
that is turned late, as SIGSTOP would have it. Threads are queues: what a process gives to an executor happens in one
moment of virtual time, one call after the other per executor. Callbacks keep their order, as asyncio promises; the
seed decides how long everything takes.
"""

import asyncio
import heapq
import random
from asyncio import events
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

TURNS_MAX = 400_000  # of all loops in one run: a run that needs more spins without time passing
ASK_SECONDS = 0.25  # between two questions whether a run is over
TURN_SECONDS = 2e-6  # nothing takes no time, or a wait for less than a clock's tick would never end


class Violation(AssertionError):
    """A promise was broken.

    Attributes:
        raised: all since it was last cleared, since the product may catch what is raised within it.
    """

    raised: ClassVar[list[str]] = []

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.raised.append(what)


class SimulatedLoop(asyncio.BaseEventLoop):
    """One process. `alive` is false once it was killed."""

    def __init__(self, universe: "Universe", name: str) -> None:
        super().__init__()
        self.universe, self.name = universe, name
        self.alive = True
        self.paused_until = 0.0
        self.tasks: list[asyncio.Task[Any]] = []
        self.bugs: list[str] = []
        self.on_death: Callable[[], None] = lambda: None
        self._threads: defaultdict[int, deque[tuple[Callable[[], Any], asyncio.Future[Any]]]] = defaultdict(deque)
        self.set_task_factory(self._task)  # type: ignore[arg-type]
        self.set_exception_handler(self._note_bug)

    def time(self) -> float:
        return self.universe.now

    def next_at(self) -> float:
        """When it has something to do; infinity where never."""
        if not self.alive:
            return float("inf")
        scheduled = self._scheduled  # type: ignore[attr-defined]
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        at = self.universe.now if self._ready else scheduled[0]._when if scheduled else float("inf")  # type: ignore[attr-defined]
        return max(at, self.paused_until)

    def turn(self) -> None:
        """Runs what is ready, as one iteration of an event loop."""
        ready, scheduled = self._ready, self._scheduled  # type: ignore[attr-defined]
        while scheduled and (scheduled[0]._cancelled or scheduled[0]._when <= self.universe.now):
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        events._set_running_loop(self)
        try:
            for _ in range(len(ready)):
                handle = ready.popleft()
                if not handle._cancelled:
                    handle._run()
                if not self.alive:
                    return
        finally:
            events._set_running_loop(None)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":  # type: ignore[override]
        """One call after the other; each takes a seeded time until it happens and until its result is known."""
        future = self.create_future()
        queue = self._threads[id(executor)]
        queue.append((lambda: func(*args), future))
        if len(queue) == 1:
            self._call_next(queue)
        return future

    def _call_next(self, queue: Any) -> None:
        self.universe.later(self.universe.duration(0.0005, 0.05), self._perform, queue)

    def _perform(self, queue: Any) -> None:
        """In the thread. A killed process's threads do nothing; a paused one's stand still, too."""
        if not self.alive:
            return
        if self.paused_until > self.universe.now:
            self.universe.later(self.paused_until - self.universe.now + 0.001, self._perform, queue)
            return
        call, future = queue.popleft()
        try:
            result, error = call(), None
        except Exception as caught:
            result, error = None, caught
        if queue:
            self._call_next(queue)
        self.universe.later(self.universe.duration(0.0002, 0.02), self._settle, future, result, error)

    def _settle(self, future: Any, result: Any, error: Exception | None) -> None:
        if self.alive:
            self.call_soon(_settle, future, result, error)

    def _task(self, loop: Any, coro: Coroutine[Any, Any, Any], **options: Any) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        self.tasks.append(task)
        return task

    def _note_bug(self, _loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if self.alive and isinstance(error, Exception):
            self.bugs.append(f"{self.name}: {context['message']}: {type(error).__name__}: {error}")

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There is none."""


class Universe:
    """One seeded run.

    Attributes:
        now: virtual seconds.
        random: decides everything.
        faults: how often each kind was injected.
        calm: no more faults from now on.
        trace: told what happens, where somebody wants to see it.
    """

    def __init__(self, seed: int, trace: Callable[[str], None] | None = None) -> None:
        self.seed, self.random = seed, random.Random(seed)
        self.now = 0.0
        self.faults: Counter[str] = Counter()
        self.calm = self.over = False
        self.loops: list[SimulatedLoop] = []
        self._alive: list[SimulatedLoop] = []
        self.turns = 0
        self._trace = trace
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0

    def say(self, *what: Any) -> None:
        if self._trace is not None and not self.over:
            self._trace(f"{self.now:10.4f} {' '.join(map(str, what))}")

    def later(self, seconds: float, call: Callable[..., None], *args: Any) -> None:
        """Something outside every process: the network, a broker, a disk, the hand that kills."""
        self._number += 1
        heapq.heappush(self._events, (self.now + seconds, self._number, call, args))

    def duration(self, usual: float, slow: float) -> float:
        """Seconds that something takes: mostly about `usual`, sometimes up to `slow`."""
        chance = self.random.random()
        if chance < 0.9:
            return usual * (0.5 + chance)
        return usual + (slow - usual) * self.random.random()

    def odds(self, kind: str, share: float) -> bool:
        """Whether a fault of this kind happens now; counted."""
        if self.calm or share <= 0 or self.random.random() >= share:
            return False
        self.faults[kind] += 1
        self.say("fault:", kind)
        return True

    def process(self, name: str, main: Callable[[], Coroutine[Any, Any, Any]]) -> SimulatedLoop:
        """Starts a process."""
        loop = SimulatedLoop(self, name)
        self.loops.append(loop)
        self._alive.append(loop)
        self.say("start", name)
        loop.call_soon(lambda: loop.create_task(main()))
        return loop

    def kill(self, loop: SimulatedLoop) -> None:
        """SIGKILL."""
        self.say("kill", loop.name)
        self.bury(loop)

    def bury(self, loop: SimulatedLoop) -> None:
        """It does nothing any more."""
        if loop.alive:
            loop.alive = False
            self._alive.remove(loop)
            loop.on_death()

    def pause(self, loop: SimulatedLoop, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after some seconds."""
        self.say("pause", loop.name, f"{seconds:.1f} s")
        loop.paused_until = max(loop.paused_until, self.now + seconds)

    def come_to_rest(self, chaos_s: float, at_rest: Callable[[], bool], seconds_max: float) -> bool:
        """Lets the blows fall until they cease, and then everything rest; False where it does not in time."""
        self.run(lambda: self.now >= chaos_s, chaos_s + 1)
        self.calm = True
        return self.run(at_rest, seconds_max)

    def run(self, done: Callable[[], bool], seconds_max: float) -> bool:
        """Lets time pass until `done`, which is asked now and then; False where it never was."""
        end, ask_at = self.now + seconds_max, self.now
        while self.now <= end:
            if self.now >= ask_at:
                if done():
                    return True
                ask_at = self.now + ASK_SECONDS
            first, first_at = None, self._events[0][0] if self._events else float("inf")
            for loop in self._alive:
                if (loop_at := loop.next_at()) < first_at:
                    first, first_at = loop, loop_at
            if first_at == float("inf"):
                return done()
            self.now = max(self.now, min(first_at, end + 1))
            if self.now > end:
                break
            self.turns += 1
            if self.turns > TURNS_MAX:
                raise Violation("it spins: no virtual time passes any more")
            if first is None:
                _, _, call, args = heapq.heappop(self._events)
                call(*args)
            else:
                first.turn()
                self.now += TURN_SECONDS
        return done()

    def end(self) -> None:
        """Takes everything down without letting it do anything."""
        self.calm = self.over = True
        for loop in self.loops:
            loop.alive = False
            for task in loop.tasks:
                _close(task)
            loop._ready.clear()  # type: ignore[attr-defined]
            loop._scheduled.clear()  # type: ignore[attr-defined]
            loop.close()
        self.loops.clear()
        self._alive.clear()
        self._events.clear()

    def bugs(self) -> list[str]:
        """Exceptions that nobody caught in a process that was alive."""
        return [bug for loop in self.loops for bug in loop.bugs]


def _settle(future: "asyncio.Future[Any]", result: Any, error: Exception | None) -> None:
    if not future.done():
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def _close(task: "asyncio.Task[Any]") -> None:
    """Ends a coroutine that will never go on; one that waits in a `finally` has to be told more than once."""
    if task.done():
        return
    events._set_running_loop(task.get_loop())
    try:
        for _ in range(20):
            try:
                task.get_coro().close()  # type: ignore[union-attr]
            except (RuntimeError, asyncio.CancelledError):
                continue
            except Exception:
                break
            break
    finally:
        events._set_running_loop(None)
