"""Who is next, and who is refused, when there is more to do than can be done."""

from collections import Counter, defaultdict, deque

from hypothesis import given
from hypothesis import strategies as st

from ingest.overload.fair_queue import ADDRESS_COUNT_MIN, REQUEST_OVERHEAD_BYTES, FairQueue
from tests.ingest.configs import queue_bounds

WAIT, LATE = queue_bounds().wait_seconds_max, queue_bounds().late_seconds

steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 5_000)),
        st.none(),  # serve one
    ),
    max_size=200,
)


@given(steps)
def test_what_was_let_in_comes_out_once_and_in_order_within_its_flow(steps: list[tuple[str, int, int] | None]) -> None:
    """The scheduler hands the queue requests that somebody waits for; one that never came out would hang."""
    queue: FairQueue[tuple[str, int, int]] = FairQueue(queue_bounds())
    waiting: defaultdict[tuple[str, int], deque[int]] = defaultdict(deque)
    for number, step in enumerate([*steps, *[None] * len(steps)]):
        if step is not None:
            key, address, size = step
            assert queue.push(key, address, size, 0.0, (key, address, number))
            waiting[key, address].append(number)
        elif (turn := queue.pop(0.0)) is not None:
            key, address, sent = turn.item
            assert sent == waiting[key, address].popleft()
        else:
            assert not any(waiting.values())
        assert queue.count == sum(map(len, waiting.values()))
    assert (queue.count, queue.bytes) == (0, 0)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 40_000)), max_size=300))
def test_what_waits_never_holds_more_than_twice_the_bound(pushes: list[tuple[str, int]]) -> None:
    """Memory is bounded whoever sends, and no key is refused while it holds less than its share."""
    bounds = queue_bounds(bytes_max=200_000)
    queue: FairQueue[None] = FairQueue(bounds)
    held: Counter[str] = Counter()
    for key, size in pushes:
        cost = size + REQUEST_OVERHEAD_BYTES
        if queue.push(key, 0, size, 0.0, None):
            held[key] += cost
        else:
            assert held[key] + cost > bounds.bytes_max // len({*held, key})
        assert queue.bytes == held.total()
        assert queue.bytes <= 2 * bounds.bytes_max


def test_two_keys_get_the_same_share_whatever_they_send() -> None:
    """In bytes, so that large requests are no advantage; and the one that came late does not catch up on the past."""
    queue: FairQueue[int] = FairQueue(queue_bounds())
    for _ in range(200):
        queue.push("small", 0, 1_000, 0.0, 1_000 + REQUEST_OVERHEAD_BYTES)
    for _ in range(20):
        queue.pop(0.0)
    for _ in range(200):
        queue.push("large", 0, 20_000, 0.0, 20_000 + REQUEST_OVERHEAD_BYTES)
    served: Counter[bool] = Counter()
    for _ in range(100):
        turn = queue.pop(0.0)
        assert turn is not None
        served[turn.item > 10_000] += turn.item
    assert abs(served[True] - served[False]) <= 2 * (20_000 + REQUEST_OVERHEAD_BYTES)


def test_key_that_sends_little_is_served_next_whatever_waits() -> None:
    """One flooding key must not starve the others."""
    queue: FairQueue[str] = FairQueue(queue_bounds())
    for n in range(500):
        queue.push("flood", n % 50, 10_000, 0.0, "flood")
    queue.pop(0.0)
    queue.push("honest", 0, 1_000, 0.0, "honest")
    turns = [queue.pop(0.0) for _ in range(2)]
    assert "honest" in [turn.item for turn in turns if turn is not None]


def test_visitor_is_served_next_whoever_floods_with_the_key_of_the_site() -> None:
    """Browser keys are public: whoever reads a page can flood with its key, and its visitors share that."""
    queue: FairQueue[str] = FairQueue(queue_bounds())
    for _ in range(500):
        queue.push("site", 1, 10_000, 0.0, "flood")
    queue.pop(0.0)
    queue.push("site", 2, 1_000, 0.0, "visitor")
    turns = [queue.pop(0.0) for _ in range(2)]
    assert "visitor" in [turn.item for turn in turns if turn is not None]


def test_nobody_gains_by_coming_and_going() -> None:
    """A flow that was just served and sends again has the debt of what it got, as if it had never left."""
    queue: FairQueue[str] = FairQueue(queue_bounds())
    for _ in range(100):
        queue.push("steady", 0, 10_000, 0.0, "steady")
    served: Counter[str] = Counter()
    for _ in range(40):
        queue.push("hopping", 0, 10_000, 0.0, "hopping")
        turn = queue.pop(0.0)
        assert turn is not None
        served[turn.item] += 1
    assert served["steady"] >= 19


def test_address_whose_oldest_request_waits_too_long_takes_no_more_until_it_has_caught_up() -> None:
    """Refused before the body is read, so that what is let in is also served, and soon."""
    queue: FairQueue[None] = FairQueue(queue_bounds())
    for _ in range(ADDRESS_COUNT_MIN):
        queue.push("site", 1, 100, 0.0, None)
    assert queue.takes("site", 1, WAIT)
    assert not queue.takes("site", 1, WAIT * 1.01)
    assert queue.takes("site", 2, WAIT * 1.01)
    assert queue.takes("other", 1, WAIT * 1.01)
    queue.pop(WAIT * 1.01)
    assert queue.takes("site", 1, WAIT * 1.01)


def test_key_that_floods_from_many_addresses_takes_no_more_from_any() -> None:
    """Each of them waits for the first time; together they are more than their key's share."""
    queue: FairQueue[None] = FairQueue(queue_bounds())
    for address in range(1_000):
        queue.push("site", address, 100, 0.0, None)
    assert not queue.takes("site", 5_000, 2.01 * WAIT)
    assert queue.takes("other", 5_000, 2.01 * WAIT)


def test_what_waited_for_too_long_is_marked_late() -> None:
    """Its client has given up, or soon will: work for it would be lost, and make the next one late, too."""
    queue: FairQueue[None] = FairQueue(queue_bounds())
    queue.push("site", 0, 100, 0.0, None)
    queue.push("site", 0, 100, LATE, None)
    late = [turn.late for turn in (queue.pop(1.01 * LATE), queue.pop(1.01 * LATE)) if turn is not None]
    assert late == [True, False]


def test_turn_costs_the_same_however_many_keys_wait() -> None:
    """A thousand visitors behind one that floods would otherwise make the round that serves them take seconds."""
    looked_at = 0

    class Key(str):
        def __hash__(self) -> int:
            nonlocal looked_at
            looked_at += 1
            return super().__hash__()

    queue: FairQueue[int] = FairQueue(queue_bounds())
    for number in range(1_000):
        queue.push(Key(number), 0, 0, 0.0, number)
    while queue.pop(0.0):
        pass
    assert looked_at < 20 * 1_000
