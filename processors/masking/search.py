"""Pure: one search in one answer: what is left to look at, and what was found so far."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from processors.masking.contexts import CONTEXT_CHARACTERS, Surroundings
from processors.masking.folding import Folded

WORD = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_\xe0")
LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\xe0")
DIGITS = frozenset(b"0123456789")


STEPS_OF_ANY_ANSWER = 352
BYTES_A_STEP = 6


class StepsSpent(Exception):
    """The answer holds more candidates than it may have examined one by one."""


@dataclass(slots=True)
class Steps:
    """What may still be spent on an answer. A step is about a microsecond of one core of 2023."""

    left: int

    @classmethod
    def of(cls, answer: str) -> Steps:
        """Enough for what people write, and for the rest about a sixth of a microsecond a byte.

        Only ASCII counts: normalizing makes many letters of one, and pays for no digits with them.
        """
        return cls(STEPS_OF_ANY_ANSWER + len(answer.encode("ascii", "ignore")) // BYTES_A_STEP)

    @property
    def spent(self) -> bool:
        """Was more asked for than there was?"""
        return self.left < 0

    def spend(self, steps: int) -> None:
        """Count `steps`.

        Raises:
            StepsSpent: there were not as many left.
        """
        self.left -= steps
        if self.left < 0:
            raise StepsSpent


@dataclass(slots=True)
class Search:
    """`content` is the folded answer with blanks over what is decided.

    Positions are bytes of `content`; `before` and `after` give 0, a blank, beyond its ends.
    """

    folded: Folded
    content: bytearray
    steps: Steps
    found: list[tuple[int, int, str]] = field(default_factory=list)

    def claim(self, start: int, end: int, kind: str) -> None:
        """Decide that `content[start:end]` is personal."""
        self.found.append((start, end, kind))
        self.clear(start, end)

    def clear(self, start: int, end: int) -> None:
        """Decide that `content[start:end]` is nothing personal, or none any more."""
        self.content[start:end] = bytes(end - start)

    def matches(self, pattern: Any, steps: int) -> list[Any]:
        """All matches in what is left now; claims made while going through them do not change the list.

        Args:
            steps: what a look at one match costs.

        Raises:
            StepsSpent: there are more than may be looked at.
        """
        found = list(islice(self.iterate(pattern), self.steps.left // steps + 1))
        self.steps.spend(steps * len(found))
        return found

    def iterate(self, pattern: Any) -> Iterator[Any]:
        """Matches in what is left now, at no cost."""
        matches: Iterator[Any] = pattern.finditer(bytes(self.content))
        return matches

    def before(self, at: int) -> int:
        """The byte before `at`."""
        return self.content[at - 1] if at > 0 else 0

    def after(self, at: int) -> int:
        """The byte at `at`."""
        return self.content[at] if at < len(self.content) else 0

    def stands_alone(self, start: int, end: int) -> bool:
        """No letter or digit is glued to it, and no further digits follow or precede with one character between.

        After a letter at its end a blank is no such character.
        """
        before, after = self.before(start), self.after(end)
        if before in WORD or after in WORD:
            return False
        if before in b"-./" and self.before(start - 1) in DIGITS:
            return False
        dividing = b"-./" if self.content[end - 1] in LETTERS else b" -./"
        return not (after in dividing and self.after(end + 1) in DIGITS)

    def surroundings(self, start: int, end: int) -> Surroundings:
        """What the answer says beside bytes `start` to `end`, up to the nearest blank."""
        low, high = max(0, start - CONTEXT_CHARACTERS), min(len(self.content), end + CONTEXT_CHARACTERS)
        low = max(low, self.content.rfind(0, low, start) + 1)
        blank = self.content.find(0, end, high)
        high = high if blank < 0 else blank
        answer, origin = self.folded.answer, self.folded
        return Surroundings(
            answer[origin.start(low) : origin.start(start)].lower(),
            answer[origin.end(end) if end else 0 : origin.start(high)].lower(),
        )
