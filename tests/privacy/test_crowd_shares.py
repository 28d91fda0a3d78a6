"""Crowds of real answers, and of invented ones whose crowds can be counted by hand."""

from pathlib import Path
from random import Random

import pytest

from attacks.linkage.crowd_shares import Given, answers_of, crowds_of_answers, orders_of, pairs_below


def test_crowds_of_equal_workers_can_be_counted_by_hand() -> None:
    """Twenty workers who take turns are one crowd a turn, each with a twentieth of it."""
    answers = [Given(f"t-{turn}", f"w-{worker}", "yes") for turn in range(7) for worker in range(20)]
    found = crowds_of_answers(answers, "in turn", Random(1))
    assert (found.crowds, found.labels_median, found.labels_max) == (7, 20, 20)
    assert found.share_max == found.share_mean == 1 / 20
    assert (found.released, found.held, found.suppressed) == (140, 0, 0)


def test_pairs_count_voters_and_not_answers() -> None:
    """Who says the same twice is one voter."""
    answers = [Given("t", "a", "cat"), Given("t", "a", "cat"), Given("t", "b", "cat"), Given("t", "c", "dog")]
    assert pairs_below(answers, 2) == (1, 2)
    assert pairs_below(answers, 3) == (2, 2)


@pytest.mark.datasets
@pytest.mark.parametrize("order", ["as in the file", "worker by worker", "interleaved"])
def test_no_voter_has_more_than_half_of_a_crowd_of_real_answers(datasets: Path, order: str) -> None:
    """Two of the 176 workers gave a fifth of all answers: without the bound, a crowd could be one of theirs alone."""
    answers = orders_of(answers_of(datasets / "crowd_labels" / "product_answers.csv"), Random(1))[order]
    found = crowds_of_answers(answers, order, Random(1))
    assert found.crowds >= 5
    assert found.share_max <= 0.5
    assert found.suppressed == 0
    assert found.released + found.held == len(answers) == 24_945
