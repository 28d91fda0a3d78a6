"""Pure: the slope of a series whose errors follow each other, and how far it can be trusted.

Ordinary least squares, with a standard error that allows for errors that are correlated over time and of uneven size
(Newey and West, 1987, Bartlett kernel), its bandwidth by Andrews' rule for a first-order autoregression (1991), and
critical values for a bandwidth that is a share of the series instead of nothing (Kiefer and Vogelsang, 2005, table 1).
Memory moves in steps and seldom goes down again, so that its samples say much the same as those before them: an
interval that takes them for independent is several times too narrow.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

# Two-sided 95 %, Bartlett: 1.96 for a share of 0, and how it grows with the share.
CRITICAL = (1.9600, 2.9694, 0.4160, -0.5324)
CORRELATION_MAX = 0.97


class Slope(msgspec.Struct, frozen=True):
    """A slope per unit of time.

    Attributes:
        low, high: of the 95 % interval.
        correlation: of each error with the next one.
        bandwidth: samples over which errors are taken to be correlated.
    """

    value: float
    low: float
    high: float
    correlation: float
    bandwidth: int
    samples: int


def slope_of(times: Sequence[float], values: Sequence[float]) -> Slope:
    """The slope of `values` over `times`.

    Args:
        times: evenly spaced, ascending, at least ten.
    """
    x, y = np.asarray(times, float), np.asarray(values, float)
    count = len(x)
    if count < 10:
        raise ValueError("at least ten samples make a slope")
    centred = x - x.mean()
    spread = float(centred @ centred)
    value = float(centred @ y) / spread
    errors = y - y.mean() - value * centred
    power = float(errors[:-1] @ errors[:-1])
    correlation = float(errors[1:] @ errors[:-1]) / power if power else 0.0
    rho = min(max(correlation, -CORRELATION_MAX), CORRELATION_MAX)
    bandwidth = int(np.ceil(1.1447 * (4 * rho**2 / (1 - rho**2) ** 2 * count) ** (1 / 3)))
    bandwidth = min(max(bandwidth, 1), count - 1)
    scores = centred * errors
    variance = float(scores @ scores)
    for lag in range(1, bandwidth):
        variance += 2 * (1 - lag / bandwidth) * float(scores[lag:] @ scores[:-lag])
    error = float(np.sqrt(max(variance, 0.0))) / spread
    share = bandwidth / count
    half = error * sum(factor * share**power for power, factor in enumerate(CRITICAL))
    return Slope(value, value - half, value + half, correlation, bandwidth, count)
