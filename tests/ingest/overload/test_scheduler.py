"""Turns of requests, on a clock that the work itself moves."""

import asyncio
from collections.abc import Callable

import pytest

from ingest.errors import Rejection
from ingest.overload.fair_queue import ADDRESS_COUNT_MIN
from ingest.overload.scheduler import ROUND_SECONDS_MIN, RequestScheduler
from schemas.outcomes import RequestError
from testkit.clean_loop import run, until
from tests.ingest.configs import queue_bounds


class Clock:
    """Stands still but for the work."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float, log: list[str], name: str) -> Callable[[], str]:
        def done() -> str:
            self.now += seconds
            log.append(name)
            return name

        return done


async def requested(scheduler: RequestScheduler, key: str, address: int, work: Callable[[], str]) -> str:
    """As the collector does a request's work."""
    with await scheduler.turn(key, address, 100):
        return work()


def test_what_a_round_can_do_is_done_at_once() -> None:
    """The hot path: no future, no wait, where nothing waits."""

    async def main() -> None:
        clock, log = Clock(), list[str]()
        scheduler = RequestScheduler(queue_bounds(), clock)
        running = requested(scheduler, "a", 1, clock.work(0.0001, log, "done"))
        with pytest.raises(StopIteration) as ended:
            running.send(None)  # ended without giving the loop a turn
        assert ended.value.value == "done"
        assert (scheduler.stats.waited, scheduler.queue.count) == (0, 0)
        await asyncio.sleep(0)

    run(main())


def test_flood_waits_for_its_turns_and_the_honest_key_does_not() -> None:
    """A hundred requests in one turn of the loop, each worth half a turn, and then one of somebody else."""

    async def main() -> None:
        clock, log = Clock(), list[str]()
        scheduler = RequestScheduler(queue_bounds(wait_seconds_max=60), clock)
        await requested(scheduler, "flood", 1, clock.work(1.0, log, "first"))
        flood = [
            asyncio.create_task(requested(scheduler, "flood", 1, clock.work(ROUND_SECONDS_MIN / 2, log, "flood")))
            for _ in range(100)
        ]
        await asyncio.sleep(0)
        assert scheduler.queue.count > 90
        assert scheduler.busy()
        assert await requested(scheduler, "honest", 2, clock.work(ROUND_SECONDS_MIN / 2, log, "honest")) == "honest"
        assert log.index("honest") < 10
        assert await asyncio.gather(*flood) == ["flood"] * 100

    run(main())


def test_round_of_the_loop_works_no_longer_than_its_time() -> None:
    """Between two rounds the loop reads, refuses and hears from Kafka; a longer round would keep it from that."""

    async def main() -> None:
        clock, log = Clock(), list[str]()
        scheduler = RequestScheduler(queue_bounds(wait_seconds_max=60), clock)
        await requested(scheduler, "flood", 1, clock.work(1.0, log, "first"))
        flood = asyncio.gather(
            *(requested(scheduler, "flood", 1, clock.work(ROUND_SECONDS_MIN / 2, log, "flood")) for _ in range(100))
        )
        most = 0
        while not flood.done():
            before = len(log)
            await asyncio.sleep(0)  # one round
            most = max(most, len(log) - before)
        assert len(await flood) == 100
        assert most <= 3

    run(main())


def test_nothing_is_handed_on_while_kafka_is_behind_and_all_of_it_after() -> None:
    """What waits here can be refused; what waits in the producer cannot."""

    async def main() -> None:
        clock, log = Clock(), list[str]()
        behind = True
        scheduler = RequestScheduler(queue_bounds(), clock, lambda: behind)
        calls = [
            asyncio.create_task(requested(scheduler, "a", 1, clock.work(0.0, log, "done")))
            for _ in range(ADDRESS_COUNT_MIN)
        ]
        await until(lambda: scheduler.queue.count == ADDRESS_COUNT_MIN)
        clock.now += 0.11
        assert not scheduler.takes("a", 1)
        refusal = scheduler.refusal(early=True)
        assert (refusal.status, refusal.error) == (503, RequestError.OVERLOADED)
        assert refusal.retry_after_s is not None
        assert 1 <= refusal.retry_after_s <= 4
        assert not log
        behind = False
        assert await asyncio.gather(*calls) == ["done"] * ADDRESS_COUNT_MIN
        assert scheduler.takes("a", 1)

    run(main())


def test_late_and_cancelled_requests_are_not_worked_on() -> None:
    """Their clients have given up."""

    async def main() -> None:
        clock, log = Clock(), list[str]()
        behind = True
        scheduler = RequestScheduler(queue_bounds(), clock, lambda: behind)
        late = asyncio.create_task(requested(scheduler, "a", 1, clock.work(0.0, log, "late")))
        gone = asyncio.create_task(requested(scheduler, "a", 2, clock.work(0.0, log, "gone")))
        await until(lambda: scheduler.queue.count == 2)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        clock.now += queue_bounds().late_seconds + 0.1
        behind = False
        with pytest.raises(Rejection) as refused:
            await late
        assert refused.value.error == RequestError.OVERLOADED
        assert not log
        assert scheduler.stats.shed_late == 1

    run(main())


def test_error_of_the_work_reaches_its_own_request_alone() -> None:
    """One bad body among those that wait."""

    async def main() -> None:
        clock, log = Clock(), list[str]()
        behind = True
        scheduler = RequestScheduler(queue_bounds(), clock, lambda: behind)

        def bad() -> str:
            raise Rejection(400, RequestError.NOT_A_BATCH)

        calls = [
            asyncio.create_task(requested(scheduler, "a", 1, work)) for work in (bad, clock.work(0.0, log, "good"))
        ]
        await until(lambda: scheduler.queue.count == 2)
        behind = False
        first, second = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(first, Rejection)
        assert second == "good"

    run(main())
