"""Exact bounds, against published values."""

import pytest

from attacks.linkage.bounds import share


@pytest.mark.parametrize(
    ("successes", "lower", "upper"),
    [(0, 0.0, 0.3085), (1, 0.0025, 0.4450), (5, 0.1871, 0.8129), (10, 0.6915, 1.0)],
)
def test_bounds_of_ten_tries_are_those_of_the_published_tables(successes: int, lower: float, upper: float) -> None:
    """Two-sided 95 % limits of Clopper and Pearson for n = 10, as in Geigy's Scientific Tables: 97.5 % on each side."""
    found = share(successes, 10, confidence=0.975)
    assert found.lower == pytest.approx(lower, abs=5e-5)
    assert found.upper == pytest.approx(upper, abs=5e-5)


def test_no_success_at_all_is_bounded_in_closed_form() -> None:
    """With none of n, the upper bound p solves (1 - p)^n = 1 %: no library is needed to check that one."""
    found = share(0, 20_000)
    assert found.upper == pytest.approx(1 - 0.01 ** (1 / 20_000))
    assert found.lower == 0


def test_bounds_enclose_the_share_and_narrow_with_more_tries() -> None:
    """A bar is judged by the upper bound, so that luck in a few tries cannot pass."""
    few, many = share(5, 100), share(1_000, 20_000)
    assert few.lower < few.value < few.upper
    assert many.value == few.value
    assert many.upper < few.upper
