"""When a worker counts as stuck."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from processors.faust_app.commits import Commits
from processors.faust_app.watchdog import READY_STALL_S, LoopDetector, Seen, StallDetector, Watchdog
from schemas.kafka_access import KafkaAccess

P = ("events.labeled", 0)


def looks(stall: StallDetector, seen: Seen, until_s: int) -> list[int]:
    """The seconds at which it was called stuck, seen the same way all the time."""
    return [second for second in range(until_s) if stall.stuck(float(second), {P: seen})]


def test_records_that_the_door_has_not_seen_are_a_stall_after_the_limit() -> None:
    """A hung loop, a hung assignment or a lost fetch all look like this from outside."""
    assert looks(StallDetector(30.0), Seen(end=10, committed=3, undecided=5, committable=3, progress=0), 40) == list(
        range(30, 40)
    )
    assert looks(StallDetector(30.0), Seen(end=10, committed=0, undecided=None, committable=None, progress=0), 31) == [
        30
    ]


def test_held_records_are_no_stall() -> None:
    """A small crowd is held for hours; a restart would not make it larger."""
    assert looks(StallDetector(30.0), Seen(end=10, committed=3, undecided=10, committable=3, progress=0), 3_600) == []


def test_commit_that_never_arrives_is_a_stall() -> None:
    """Everything was done, and a restart would do it again."""
    assert looks(StallDetector(30.0), Seen(end=10, committed=3, undecided=10, committable=10, progress=0), 31) == [30]


def test_time_spent_in_one_batch_is_progress() -> None:
    """Five hundred hostile answers may take a minute, and a restart would only begin them again."""
    stall = StallDetector(30.0)
    for second in range(600):
        seen = Seen(end=500, committed=0, undecided=0, committable=0, progress=second // 20)
        assert not stall.stuck(float(second), {P: seen})
    hung = Seen(end=500, committed=0, undecided=0, committable=0, progress=29)
    assert not stall.stuck(609.0, {P: hung})
    assert stall.stalled_s(609.0) == 29.0
    assert stall.stuck(610.0, {P: hung})


def test_idle_partition_is_no_stall() -> None:
    """Nothing to do is no reason to restart."""
    assert looks(StallDetector(30.0), Seen(end=10, committed=10, undecided=10, committable=10, progress=0), 3_600) == []


def test_progress_starts_the_clock_again() -> None:
    """Slow is not stuck."""
    stall = StallDetector(30.0)
    for second in range(0, 600, 20):
        assert not stall.stuck(
            float(second), {P: Seen(end=1_000, committed=0, undecided=second, committable=0, progress=0)}
        )
    assert stall.stuck(620.0, {P: Seen(end=1_000, committed=0, undecided=580, committable=0, progress=0)})


def test_going_round_in_circles_is_a_stall() -> None:
    """Rebalance after rebalance reads the same records again and commits none of them."""
    stall = StallDetector(30.0)
    seen = [Seen(end=99, committed=0, undecided=second % 5, committable=0, progress=0) for second in range(60)]
    assert next(second for second in range(60) if stall.stuck(float(second), {P: seen[second]})) == 34


def test_outage_of_kafka_starts_the_clock_again() -> None:
    """While no broker answers nobody can move; the worker gets its full time afterwards."""
    stall = StallDetector(30.0)
    lagging = Seen(end=10, committed=3, undecided=5, committable=3, progress=0)
    assert not stall.stuck(0.0, {P: lagging})
    stall.forget()
    assert not stall.stuck(100.0, {P: lagging})
    assert stall.stuck(130.0, {P: lagging})


def test_partition_of_somebody_else_is_not_judged() -> None:
    """Its owner has a watchdog of its own."""
    stall = StallDetector(30.0)
    lagging = Seen(end=10, committed=3, undecided=5, committable=3, progress=0)
    stall.stuck(0.0, {P: lagging})
    stall.stuck(20.0, {})
    assert not stall.stuck(40.0, {P: lagging})


def watchdog_of(commits: Commits) -> Watchdog:
    return Watchdog(
        kafka=KafkaAccess("127.0.0.1:1"), group_id="g", topic=P[0], stall_s=30.0, commits=commits,
        loop=asyncio.get_running_loop(), end_process=lambda: None,
    )  # fmt: skip


def test_door_is_ready_while_it_makes_progress_and_says_so_before_the_watchdog_ends_it() -> None:
    """Whoever operates it sees a stall long before a restart; a stand-by without partitions is no failure."""

    async def scenario() -> None:
        commits = Commits()
        watchdog = watchdog_of(commits)
        assert not watchdog.makes_progress(), "nobody has looked yet"
        behind = Seen(end=10, committed=3, undecided=5, committable=3, progress=0)
        watchdog._judge(0.0, {P: behind})
        assert not watchdog.makes_progress(), "between two assignments nobody knows"
        commits.assign([P])
        assert watchdog.makes_progress()
        assert watchdog.lag == 5
        assert not watchdog._judge(READY_STALL_S, {P: behind})
        assert not watchdog.makes_progress()
        watchdog._judge(READY_STALL_S + 1.0, {P: Seen(end=10, committed=3, undecided=5, committable=3, progress=1)})
        assert watchdog.makes_progress()
        commits.assign([])
        watchdog._judge(99.0, {})
        assert watchdog.makes_progress()
        assert watchdog.lag == 0
        watchdog._away = True
        assert not watchdog.makes_progress()

    asyncio.run(scenario())


async def nothing_committed(*_: Any, **__: Any) -> dict[Any, Any]:
    """What aiokafka gives while the coordinator loads the group."""
    return {}


async def no_error_code(*_: Any, **__: Any) -> dict[Any, Any]:
    """What aiokafka 0.14 does with an error in the answer."""
    raise AttributeError("error_code")


@pytest.mark.parametrize("answer", [nothing_committed, no_error_code])
def test_coordinator_that_cannot_tell_is_away_and_does_not_end_the_watchdog(answer: Callable[..., Any]) -> None:
    """Seen after a broker was stopped and started: the thread died, and nobody watched the worker any more."""

    async def ends(partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 10)

    commits = Commits()
    commits.assign([P])
    admin: Any = SimpleNamespace(list_consumer_group_offsets=answer)
    reader: Any = SimpleNamespace(end_offsets=ends)

    async def look() -> None:
        await watchdog_of(commits)._look(admin, reader)

    with pytest.raises(KafkaError):
        asyncio.run(look())


def test_loop_that_does_not_turn_is_found_after_the_limit() -> None:
    """Once others have its partitions, a worker that hangs shows nowhere in the offsets."""
    asked: list[Callable[[], None]] = []
    detector = LoopDetector(30.0, asked.append)
    for second in range(100):
        assert not detector.stopped(float(second))
        asked.pop()()
    assert next(second for second in range(100, 200) if detector.stopped(float(second))) == 130
    assert len(asked) == 1, "one question is enough"


def test_process_that_was_paused_gets_the_time_to_answer() -> None:
    """Its watchdog may run before its loop does; the pause says nothing about either."""
    asked: list[Callable[[], None]] = []
    detector = LoopDetector(30.0, asked.append)
    assert not detector.stopped(0.0)
    assert not detector.stopped(3_600.0)
    asked.pop()()
    assert not detector.stopped(3_601.0)
