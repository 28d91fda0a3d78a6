"""Lists on a command line, with commas between their parts, and whose turn it is in a list."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def numbers(text: str) -> list[int]:
    """1,10 → [1, 10]"""
    return [int(part) for part in text.split(",")]


def words(text: str) -> list[str]:
    """small,realistic → ["small", "realistic"]"""
    return text.split(",")


def rotated(contenders: Sequence[T], number: int) -> list[T]:
    """The contenders in another order each round, so that none is always the first on a cooler machine."""
    first = number % len(contenders)
    return [*contenders[first:], *contenders[:first]]
