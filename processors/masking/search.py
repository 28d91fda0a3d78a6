"""Pure: one search in one answer: what is left to look at, and what was found so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from processors.masking.contexts import CONTEXT_CHARACTERS, Surroundings
from processors.masking.folding import Folded

WORD = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_\xe0")
LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\xe0")
DIGITS = frozenset(b"0123456789")


@dataclass(slots=True)
class Search:
    """`content` is the folded answer with blanks over what is decided. `validations` counts the calls of validators.

    Positions are bytes of `content`; `before` and `after` give 0, a blank, beyond its ends.
    """

    folded: Folded
    content: bytearray
    found: list[tuple[int, int, str]] = field(default_factory=list)
    validations: int = 0

    def claim(self, start: int, end: int, kind: str) -> None:
        self.found.append((start, end, kind))
        self.clear(start, end)

    def clear(self, start: int, end: int) -> None:
        self.content[start:end] = bytes(end - start)

    def matches(self, pattern: Any) -> list[Any]:
        """All matches in what is left now; claims made while going through them do not change the list."""
        return list(pattern.finditer(bytes(self.content)))

    def before(self, at: int) -> int:
        return self.content[at - 1] if at > 0 else 0

    def after(self, at: int) -> int:
        return self.content[at] if at < len(self.content) else 0

    def stands_alone(self, start: int, end: int) -> bool:
        """No letter or digit is glued to it, and no further digits follow or precede with one character between."""
        before, after = self.before(start), self.after(end)
        if before in WORD or after in WORD:
            return False
        if before in b"-./" and self.before(start - 1) in DIGITS:
            return False
        return not (after in b" -./" and self.after(end + 1) in DIGITS)

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
