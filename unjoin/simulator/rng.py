"""Randomness as an argument: what pure code needs of `random.Random`, so that it need not import it."""

from typing import Protocol


class Rng(Protocol):
    """The part of `random.Random` that the simulation draws from; seeded by whoever runs it."""

    def random(self) -> float:
        """0 up to, but not, 1."""

    def uniform(self, a: float, b: float, /) -> float:
        """`a` to `b`, each as likely."""

    def randrange(self, start: int, stop: int, /) -> int:
        """`start` up to, but not, `stop`."""

    def getrandbits(self, k: int, /) -> int:
        """`k` bits."""

    def gauss(self, mu: float, sigma: float, /) -> float:
        """Normal."""

    def lognormvariate(self, mu: float, sigma: float, /) -> float:
        """Log-normal; `mu` is the logarithm of the median."""

    def betavariate(self, alpha: float, beta: float, /) -> float:
        """Beta, 0 to 1."""
