"""Pure: an answer as one byte a character, so that patterns need no Unicode.

Patterns that look for `a@b.c` or for ten digits must also see full-width letters, digits of other scripts, typographic
dashes, no-break spaces and invisible characters between two digits. `fold` brings all of them to ASCII and everything
else to one of a few classes; `Folded.origin` leads back. Folding looks at one character at a time, so it is linear.

Classes besides ASCII itself: `CASED` letters (Latin with accents, Cyrillic, Greek: glued to digits they make a code),
`UNCASED` letters (Han, Kana, Hangul, Arabic, Thai: scripts whose words stand next to numbers without a space),
`CURRENCY` signs, `OTHER`, and `BLANK`, which only the finder writes, over what it has decided on.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

BLANK = 0x00
CASED, UNCASED, CURRENCY, OTHER = "\xe0", "\xf0", "\xa2", "\xa4"

_SIGNS = {
    **dict.fromkeys("。｡․·•・‧∙⋅", "."),
    **dict.fromkeys("⁄∕", "/"),
    **dict.fromkeys("【〔〖「『〈《⟨⟦❨❲❴❬", "["),
    **dict.fromkeys("】〕〗」』〉》⟩⟧❩❳❵❭", "]"),
    **dict.fromkeys("\u2800\u3164\uffa0\u115f\u1160\x00", ""),  # look like nothing, though their category is another
    **dict.fromkeys("\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", "\n"),
    **{sign: sign for sign in "\t\n\r"},
    "\u2212": "-",
}
_CATEGORIES = {"Cc": "", "Cf": "", "Mn": "", "Me": "", "Pd": "-", "Zs": " ", "Sc": CURRENCY}
_CACHED_MAX = 8192
# Han and Hangul, most of all letters there are. Others are cached however many come, so that no choice of letters makes
# each of them cost a normalization.
_UNCASED_RANGES = ((0x3400, 0x9FFF), (0xAC00, 0xD7A3), (0x20000, 0x2A6DF))
_UNASSIGNED = frozenset(("Cn", "Co", "Cs"))
_EXPANSION_MAX = 4


def _fold_character(character: str) -> str:
    """What one character becomes: nothing for an invisible one, up to four characters for a ligature or `№`."""
    if "\x20" <= character <= "\x7e":
        return character
    if character in _SIGNS:
        return _SIGNS[character]
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category in _CATEGORIES:
        return _CATEGORIES[category]
    return _fold_compatible(character, category)


def _fold_compatible(character: str, category: str) -> str:
    """A letter or symbol: its compatibility form where that is short and tells more, else its class."""
    compatible = unicodedata.normalize("NFKC", character)
    if compatible != character and len(compatible) <= _EXPANSION_MAX:
        return "".join(_fold_character(part) for part in compatible)
    match category:
        case "Lu" | "Ll" | "Lt":
            return CASED
        case "Lo" | "Lm" | "Mc" | "Nl":
            return UNCASED
        case _:
            return OTHER


class _Table(dict[int, str]):
    """A translation table that fills itself: at most with every letter and sign that is neither Han nor Hangul."""

    def __missing__(self, codepoint: int) -> str:
        if any(first <= codepoint <= last for first, last in _UNCASED_RANGES):
            folded, many = UNCASED, True
        elif unicodedata.category(chr(codepoint)) in _UNASSIGNED:
            folded, many = OTHER, True
        else:
            folded, many = _fold_character(chr(codepoint)), False
        if not many or len(self) < _CACHED_MAX:
            self[codepoint] = folded
        if len(folded) != 1:
            _MOVING.add(codepoint)
        return folded


_MOVING: set[int] = set()  # of the code points met so far, those that do not become one byte
_TABLE = _Table()


@dataclass(slots=True)
class Folded:
    """An answer, folded. `origin` has one entry a byte, and one more for the end; None where nothing moved."""

    answer: str
    content: bytes
    origin: list[int] | None

    def start(self, at: int) -> int:
        """The character of the answer that byte `at` came from."""
        return at if self.origin is None else self.origin[at]

    def end(self, at: int) -> int:
        """Where the character of the byte before `at` ends, invisible ones that follow it included."""
        if self.origin is None:
            return at
        last = self.origin[at - 1]
        while at < len(self.origin) and self.origin[at] == last:
            at += 1
        return self.origin[at] if at < len(self.origin) else len(self.answer)


def fold_bytes(answer: str) -> bytes:
    """The folded answer without the way back: enough to decide whether to look closer."""
    if answer.isascii() and answer.isprintable():
        return answer.encode("latin-1")
    return answer.translate(_TABLE).encode("latin-1")


def fold(answer: str, content: bytes) -> Folded:
    """Any answer, lone surrogates included, with `content`, what `fold_bytes` made of it, and the way back."""
    if answer.isascii() and answer.isprintable():
        return Folded(answer, content, None)
    moving = {character for character in set(answer) if ord(character) in _MOVING}
    if not moving:
        return Folded(answer, content, None)
    origin: list[int] = []
    at = 0
    for position in [position for position, character in enumerate(answer) if character in moving]:
        origin += range(at, position)
        origin += [position] * len(_TABLE[ord(answer[position])])
        at = position + 1
    origin += range(at, len(answer) + 1)
    return Folded(answer, content, origin)
