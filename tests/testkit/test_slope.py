"""The interval of the memory bench is as wide as it should be: a slope that is called sure must be."""

import numpy as np
import pytest

from testkit.slope import slope_of

SAMPLES = 300  # fifty minutes, a sample each ten seconds
SERIES = 400


@pytest.mark.parametrize(("correlation", "share_min"), [(0.0, 0.92), (0.6, 0.90), (0.9, 0.85)])
def test_interval_holds_the_true_slope_about_as_often_as_it_says(correlation: float, share_min: float) -> None:
    """Of errors that follow each other as memory's do; one for independent errors holds it in less than half."""
    rng = np.random.default_rng(7)
    hours = np.arange(SAMPLES) * 10 / 3_600
    held = 0
    for _ in range(SERIES):
        noise = rng.normal(size=SAMPLES)
        errors = np.empty(SAMPLES)
        errors[0] = noise[0] / np.sqrt(1 - correlation**2)
        for i in range(1, SAMPLES):
            errors[i] = correlation * errors[i - 1] + noise[i]
        slope = slope_of(hours, 100 + 3.0 * hours + errors)
        held += slope.low <= 3.0 <= slope.high
    assert held / SERIES >= share_min


def test_growth_is_found_and_a_level_series_is_not_called_growth() -> None:
    """What it is for."""
    hours = [i * 10 / 3_600 for i in range(SAMPLES)]
    wave = [float(i % 7) for i in range(SAMPLES)]
    assert slope_of(hours, [60 * hour + step for hour, step in zip(hours, wave, strict=True)]).low > 50
    level = slope_of(hours, wave)
    assert level.low < 0 < level.high


def test_memory_that_never_moves_has_a_slope_of_nothing() -> None:
    """A process that idles."""
    slope = slope_of(list(range(20)), [5.0] * 20)
    assert (slope.value, slope.low, slope.high) == (0.0, 0.0, 0.0)
