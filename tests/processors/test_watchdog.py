"""When a worker counts as stuck."""

from processors.watchdog import Seen, Stall

P = ("events.labeled", 0)


def looks(stall: Stall, seen: Seen, until_s: int) -> list[int]:
    """The seconds at which it was called stuck, seen the same way all the time."""
    return [second for second in range(until_s) if stall.stuck(float(second), {P: seen})]


def test_records_that_the_door_has_not_seen_are_a_stall_after_the_limit() -> None:
    """A hung loop, a hung assignment or a lost fetch all look like this from outside."""
    assert looks(Stall(30.0), Seen(end=10, committed=3, undecided=5, committable=3), 40) == list(range(30, 40))
    assert looks(Stall(30.0), Seen(end=10, committed=0, undecided=None, committable=None), 31) == [30]


def test_held_records_are_no_stall() -> None:
    """A small crowd is held for hours; a restart would not make it larger."""
    assert looks(Stall(30.0), Seen(end=10, committed=3, undecided=10, committable=3), 3_600) == []


def test_commit_that_never_arrives_is_a_stall() -> None:
    """Everything was done, and a restart would do it again."""
    assert looks(Stall(30.0), Seen(end=10, committed=3, undecided=10, committable=10), 31) == [30]


def test_idle_partition_is_no_stall() -> None:
    """Nothing to do is no reason to restart."""
    assert looks(Stall(30.0), Seen(end=10, committed=10, undecided=10, committable=10), 3_600) == []


def test_progress_starts_the_clock_again() -> None:
    """Slow is not stuck."""
    stall = Stall(30.0)
    for second in range(0, 600, 20):
        assert not stall.stuck(float(second), {P: Seen(end=1_000, committed=0, undecided=second, committable=0)})
    assert stall.stuck(620.0, {P: Seen(end=1_000, committed=0, undecided=580, committable=0)})


def test_going_round_in_circles_is_a_stall() -> None:
    """Rebalance after rebalance reads the same records again and commits none of them."""
    stall = Stall(30.0)
    seen = [Seen(end=99, committed=0, undecided=second % 5, committable=0) for second in range(60)]
    assert next(second for second in range(60) if stall.stuck(float(second), {P: seen[second]})) == 34


def test_outage_of_kafka_starts_the_clock_again() -> None:
    """While no broker answers nobody can move; the worker gets its full time afterwards."""
    stall = Stall(30.0)
    lagging = Seen(end=10, committed=3, undecided=5, committable=3)
    assert not stall.stuck(0.0, {P: lagging})
    stall.forget()
    assert not stall.stuck(100.0, {P: lagging})
    assert stall.stuck(130.0, {P: lagging})


def test_partition_of_somebody_else_is_not_judged() -> None:
    """Its owner has a watchdog of its own."""
    stall = Stall(30.0)
    lagging = Seen(end=10, committed=3, undecided=5, committable=3)
    stall.stuck(0.0, {P: lagging})
    stall.stuck(20.0, {})
    assert not stall.stuck(40.0, {P: lagging})
