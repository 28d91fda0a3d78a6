"""One measured size of what grows, and how a cost grew over several."""

import math
from collections.abc import Sequence

import msgspec

from testkit.machine import spread


class Point(msgspec.Struct, frozen=True):
    """One size.

    Attributes:
        what: grows.
        cost: what was measured, with its unit.
        rounds: a value each.
    """

    what: str
    size: int
    cost: str
    rounds: list[float]

    @property
    def median(self) -> float:
        return spread(self.rounds).median


def exponent(points: Sequence[Point]) -> float:
    """How the cost of one grows with the size: 0 not at all, 1 as the size does, so that all together grow squared.

    It is the slope of the logarithms by least squares, of at least two sizes.
    """
    xs, ys = [math.log(point.size) for point in points], [math.log(point.median) for point in points]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)
