"""Which batches share a request, and who waits for whom."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ingest.kafka import send_rounds
from ingest.kafka.send_rounds import GATHER_RECORDS_MIN, SendRounds

TURNS = 10  # of the event loop: whoever may go has gone


class Queue:
    """A partition with records."""

    def __init__(self, records: int) -> None:
        self.records = records


class World:
    """Rounds, and the queues that had their turn, in order; timers fire when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("GATHER_SECONDS", "HELD_SECONDS_MAX"):
            monkeypatch.setattr(send_rounds, name, 3_600.0)
        self.rounds = SendRounds()
        self.gone: list[Queue] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def joins(self, *queues: Queue) -> None:
        for queue in queues:
            self._tasks.append(asyncio.create_task(self._turn(queue)))
        await self.settle()

    async def settle(self) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def acknowledged(self, batches: int = 1) -> None:
        for _ in range(batches):
            self.rounds.settled()
        await self.settle()

    async def _turn(self, queue: Queue) -> None:
        await self.rounds.turn(queue)
        self.gone.append(queue)
        self.rounds.sent(queue.records)


@pytest.fixture(name="of")
def _of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[World], Awaitable[None]]], None]:
    async def run(test: Callable[[World], Awaitable[None]]) -> None:
        await test(World(monkeypatch))

    return lambda test: asyncio.run(run(test))


Of = Callable[[Callable[[World], Awaitable[None]]], None]


def test_first_batch_waits_for_nothing(of: Of) -> None:
    async def test(world: World) -> None:
        await world.joins(queue := Queue(1))
        assert world.gone == [queue]

    of(test)


def test_partitions_of_a_broker_go_together_once_nothing_is_on_its_way(of: Of) -> None:
    async def test(world: World) -> None:
        first, second, third = Queue(20), Queue(30), Queue(40)
        await world.joins(first)
        await world.joins(second, third)
        assert world.gone == [first]
        await world.acknowledged()
        assert world.gone == [first, second, third]

    of(test)


def test_next_round_begins_when_all_of_the_last_is_settled(of: Of) -> None:
    async def test(world: World) -> None:
        await world.joins(Queue(20))
        await world.joins(Queue(20), Queue(20))
        await world.acknowledged()
        await world.joins(late := Queue(40))
        await world.acknowledged()
        assert late not in world.gone
        await world.acknowledged()
        assert world.gone[-1] is late

    of(test)


@pytest.mark.parametrize(
    ("before", "now", "gathers"), [(20, 9, True), (20, 10, False), (GATHER_RECORDS_MIN - 1, 1, False)]
)
def test_few_records_wait_for_those_that_come_back(of: Of, before: int, now: int, gathers: bool) -> None:
    """Clients that were answered together send again together."""

    async def test(world: World) -> None:
        await world.joins(Queue(before))
        await world.acknowledged()
        await world.joins(queue := Queue(now))
        assert (queue not in world.gone) is gathers

    of(test)


def test_what_waits_while_another_is_under_way_gathers_too(of: Of) -> None:
    async def test(world: World) -> None:
        await world.joins(Queue(20))
        await world.joins(queue := Queue(2))
        await world.acknowledged()
        assert queue not in world.gone
        world.rounds._begin()  # its timer
        await world.settle()
        assert queue in world.gone

    of(test)


@pytest.mark.parametrize("name", ["GATHER_SECONDS", "HELD_SECONDS_MAX"])
def test_nobody_waits_without_end(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Neither for records that do not come back, nor for a broker that does not answer any more."""

    async def test() -> None:
        world = World(monkeypatch)
        monkeypatch.setattr(send_rounds, name, 0.0)
        await world.joins(Queue(20))
        if name == "GATHER_SECONDS":
            await world.acknowledged()
        async with asyncio.timeout(60):
            await world.rounds.turn(Queue(1))

    asyncio.run(test())
