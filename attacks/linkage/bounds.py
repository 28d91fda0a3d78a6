"""Exact bounds for a share of successes. Source: Clopper and Pearson, Biometrika 26 (1934)."""

import msgspec
from scipy import stats


class Share(msgspec.Struct, frozen=True):
    """How often something succeeded.

    Attributes:
        upper: of the one-sided interval at 99 %.
        lower: likewise.
    """

    successes: int
    tries: int
    value: float
    lower: float
    upper: float


def share(successes: int, tries: int, confidence: float = 0.99) -> Share:
    """The share and its exact one-sided bounds."""
    assert 0 <= successes <= tries
    assert tries > 0
    miss = 1 - confidence
    lower = float(stats.beta.ppf(miss, successes, tries - successes + 1)) if successes else 0.0
    upper = float(stats.beta.ppf(confidence, successes + 1, tries - successes)) if successes < tries else 1.0
    return Share(successes, tries, successes / tries, lower, upper)
