"""Pure: an answer without what tells who typed it and changes nothing of what it says.

Keyboards, sites and habits leave marks in text that nobody sees: quote styles, tabs, zero-width characters, decomposed
letters. One of two such forms is enough to find a session's answers again, or to hide a number in them. `canonical`
leaves one form: NFKC (UAX #15), straight quotes, single blanks, no control or default-ignorable character. The one
exception to NFKC is `LONGEST`.

That costs some scripts the joiners that choose a shape: the zero-width non-joiner of Persian, the joiners of emoji
families, flags made of tags, variation selectors. The letters and pictures stay, and what is dropped would be one bit a
place to mark an answer with.
"""

from __future__ import annotations

import unicodedata

# Source: Default_Ignorable_Code_Point of DerivedCoreProperties.txt, Unicode 14.0 to 16.0.
DEFAULT_IGNORABLE = (
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
# Category Cf beyond those: annotations between lines, how hieroglyphs are joined. The rest of Cf is seen, as the sign
# of a year before its digits (Prepended_Concatenation_Mark), and stays.
OTHER_FORMAT = ((0xFFF9, 0xFFFB), (0x13430, 0x1343F))
MARKS_MAX = 30  # in a row; Source: UAX #15, Stream-Safe Text. More would make normalizing quadratic.
FEW_MARKS = 9  # in a row; normalizing makes no more than three of one, and at most two more of a letter before them

# A sign that NFKC would write out in 18 letters, three times as many as any other: an answer of it would cost a door
# three times as much. It is seen, and nobody types it letter by letter by habit.
LONGEST = "\ufdfa"

_BY_QUOTE = {
    "'": "‘’‚‛‹›′‵ʹʻʼʽˈ´\u0374",
    '"': "“”„‟«»″‶〝〞〟ʺ˝",
    "'''": "‴‷",
    "''''": "⁗",
    "'n": "ŉ",
}
_DROPPED = (*DEFAULT_IGNORABLE, *OTHER_FORMAT, (0x00, 0x1F), (0x7F, 0x9F), (0xD800, 0xDFFF))
# What a character becomes before normalizing; no other is touched. White space is left for `split`.
_CHARACTERS: dict[int, str | None] = {
    **{
        codepoint: None
        for first, last in _DROPPED
        for codepoint in range(first, last + 1)
        if not chr(codepoint).isspace()
    },
    **{ord(sign): quote for quote, signs in _BY_QUOTE.items() for sign in signs},
    0x2800: " ",  # a Braille pattern without dots
}
_MARK = "\u0300"
# Marks, and the two signs that become marks: every one stands for any.
_MARKS = {
    codepoint: _MARK
    for first, last in ((0x0300, 0xABFF), (0xFB1E, 0xFF9F), (0x10000, 0x1EFFF))
    for codepoint in range(first, last + 1)
    if unicodedata.category(chr(codepoint)) in ("Mn", "Mc", "Me") or chr(codepoint) in "\uff9e\uff9f"
}


def canonical(answer: str) -> str:
    """The one form of all answers that differ from `answer` in style alone. Any string, never raises; linear.

    `canonical` of what it returns is the same. What consists of nothing else becomes empty, and counts as an empty
    answer: a vote is a vote.
    """
    if not (answer.isascii() and answer.isprintable()):
        answer = answer.translate(_CHARACTERS)
        few = _MARK * FEW_MARKS not in answer.translate(_MARKS)
        answer = _normalized(answer if few else _without_many_marks(answer))
        if not few:
            answer = _without_many_marks(answer)
    return " ".join(answer.split())


def _normalized(answer: str) -> str:
    return LONGEST.join(unicodedata.normalize("NFKC", part) for part in answer.split(LONGEST))


def _without_many_marks(answer: str) -> str:
    kept: list[str] = []
    marks = 0
    for character in answer:
        marks = marks + 1 if ord(character) in _MARKS else 0
        if marks <= MARKS_MAX:
            kept.append(character)
    return "".join(kept)
