"""Crowds of real answers, and of invented ones whose crowds can be counted by hand."""

import functools
from pathlib import Path
from random import Random

import pytest

from attacks.linkage.crowd_shares import Given, answers_of, crowds_of_answers, orders_of, pairs_below
from testkit.door_config import crowd_rule


def test_crowds_of_equal_workers_can_be_counted_by_hand() -> None:
    """Twenty workers who take turns are one crowd a turn, each with a twentieth of it."""
    answers = [Given(f"t-{turn}", f"w-{worker}", "yes") for turn in range(7) for worker in range(20)]
    found = crowds_of_answers(answers, "in turn", Random(1), crowd_rule(20))
    assert (found.crowds, found.labels_median, found.labels_max) == (7, 20, 20)
    assert found.share_max == found.share_mean == 1 / 20
    assert (found.released, found.held, found.suppressed) == (140, 0, 0)


def test_pairs_count_voters_and_not_answers() -> None:
    """Who says the same twice is one voter."""
    answers = [Given("t", "a", "cat"), Given("t", "a", "cat"), Given("t", "b", "cat"), Given("t", "c", "dog")]
    assert pairs_below(answers, 2) == (1, 2)
    assert pairs_below(answers, 3) == (2, 2)


@functools.cache
def orders_in(file: Path) -> dict[str, list[Given]]:
    return orders_of(answers_of(file), Random(1))


@pytest.mark.datasets
@pytest.mark.parametrize("hours", [0.0, 4.0])
@pytest.mark.parametrize("target", [20, 200])
@pytest.mark.parametrize("order", ["as in the file", "worker by worker", "interleaved"])
@pytest.mark.parametrize(("name", "count"), [("product", 24_945), ("bluebirds", 4_212)])
def test_crowds_of_real_answers_cost_no_majority(
    datasets: Path, name: str, count: int, order: str, target: int, hours: float
) -> None:
    """Two of the 176 workers gave a fifth of all answers: none has more than half of a crowd, and no use is lost."""
    answers = orders_in(datasets / "crowd_labels" / f"{name}_answers.csv")[order]
    found = crowds_of_answers(answers, order, Random(1), crowd_rule(20, crowd_target=target), hours)
    assert found.share_max <= 0.5
    assert found.suppressed == 0
    assert found.released + found.held == len(answers) == count
    # 39 workers in four hours, one after the other, are no crowd an hour: the last one's answers wait for others.
    if target == 200 and (name == "product" or order == "interleaved" or not hours):
        assert (found.held, found.majorities_equal) == (0, found.tasks)
