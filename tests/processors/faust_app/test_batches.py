"""How long a fetch waits for records to go through together."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from processors.faust_app.batches import FETCH_EVERY_S, FETCH_RECORDS_MANY, Pace

ROUNDING_S = 1e-9


def fetches_of(came_s: list[float]) -> list[tuple[float, list[float]]]:
    """When each fetch is taken, and when its records came; as aiokafka fetches: the next one as this one is taken."""
    pace = Pace()
    fetches: list[tuple[float, list[float]]] = []
    asked_s, waiting = 0.0, sorted(came_s)
    while waiting:
        answered_s = max(asked_s, waiting[0])
        brought = [one for one in waiting if one <= answered_s]
        waiting = waiting[len(brought) :]
        asked_s = max(answered_s, asked_s + pace.wait_s(asked_s))
        pace.note(asked_s, len(brought))
        fetches.append((asked_s, brought))
    return fetches


@given(st.lists(st.floats(0, 3), max_size=60))
def test_labels_that_come_one_by_one_go_through_together_and_none_waits_for_more_than_two_fetches(
    came_s: list[float],
) -> None:
    """A fetch has a cost of its own, many times that of a label; what is gained by waiting is bounded as well."""
    fetches = fetches_of(came_s)
    assert sorted(came_s) == [one for _, brought in fetches for one in brought]
    assert all(taken_s - one <= 2 * FETCH_EVERY_S + ROUNDING_S for taken_s, brought in fetches for one in brought)
    taken = [taken_s for taken_s, _ in fetches]
    assert all(later - before >= FETCH_EVERY_S - ROUNDING_S for before, later in itertools.pairwise(taken))


def test_label_that_comes_after_a_pause_waits_for_nothing() -> None:
    """At rest there is nothing to be saved."""
    assert fetches_of([1.0, 2.0]) == [(1.0, [1.0]), (2.0, [2.0])]


def test_nothing_is_waited_for_after_many_records_or_none() -> None:
    """A door that catches up is not made slower, nor one whose broker had nothing to give."""
    pace = Pace()
    pace.note(5.0, FETCH_RECORDS_MANY)
    pace.note(5.0, 0)
    assert pace.wait_s(5.0) == 0.0
