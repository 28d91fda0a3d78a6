"""The canonical form: what it levels, what it keeps, and that both hold for any string."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.masking import canonical as module
from processors.masking.canonical import DEFAULT_IGNORABLE, LONGEST, MARKS_MAX, OTHER_FORMAT, canonical
from processors.masking.mask import mask

# DerivedCoreProperties.txt says how it comes about; of that, these are what Python's tables do not have.
OTHER_DEFAULT_IGNORABLE = {
    0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2065, 0x3164, 0xFFA0, *range(0xFFF0, 0xFFF9), 0xE0000,
    *range(0xE0002, 0xE0020), *range(0xE0080, 0xE0100), *range(0xE01F0, 0xE1000),
}  # fmt: skip
VARIATION_SELECTORS = {*range(0x180B, 0x180E), 0x180F, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}
PREPENDED_CONCATENATION_MARKS = {*range(0x0600, 0x0606), 0x06DD, 0x070F, 0x0890, 0x0891, 0x08E2, 0x110BD, 0x110CD}

PIECES = (
    "é", "e\u0301", "e", "\u0301", "\u0344", "\u0345", "\u0334", "\u200b", "\u034f", "\u00ad", "\ufe0f", "\u3164",
    "“", "’", "'", '"', "´", "ŉ", "‴", "`", " ", "\t", "\n", "\u00a0", "\u2003", "\u2028", "\u2800", "¨", "ﾞ", "カ", "ﷺ",
    "①", "5", "a@b.co", "[email]", "\ud800", "\x00", "\x1f", "\x85", "가", "ᄀ", "ᅡ", "\u1160", "👩\u200d👧", "ﬁ", "a",
    "\u0344" * 40, "\u0345\u0334" * 20,
)  # fmt: skip
ANSWERS = st.one_of(
    st.text(st.characters(blacklist_categories=())),
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=2)), max_size=14).map("".join),
)


def in_ranges(codepoint: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= codepoint <= last for first, last in ranges)


def test_table_is_what_unicode_derives() -> None:
    """The property is derived from others; Python has most of them, so that a slip in the table shows."""
    derived = {
        codepoint
        for codepoint in range(0x110000)
        if unicodedata.category(chr(codepoint)) == "Cf"
        and not in_ranges(codepoint, OTHER_FORMAT)
        and codepoint not in PREPENDED_CONCATENATION_MARKS
    }
    listed = {codepoint for first, last in DEFAULT_IGNORABLE for codepoint in range(first, last + 1)}
    assert listed == derived | OTHER_DEFAULT_IGNORABLE | VARIATION_SELECTORS


def is_normalized(answer: str) -> bool:
    """In NFKC but for the sign that would become 18 letters."""
    return all(unicodedata.is_normalized("NFKC", part) for part in answer.split(LONGEST))


@pytest.mark.slow
def test_no_character_survives_that_nobody_sees() -> None:
    """One bit a place is a watermark. So every code point is tried inside a word; of unassigned ones some."""
    for codepoint in range(0x110000):
        character = chr(codepoint)
        unassigned = unicodedata.category(character) in ("Cn", "Co")
        if unassigned and codepoint % 64 and not in_ranges(codepoint, DEFAULT_IGNORABLE):
            continue
        left = canonical(f"a{character}b")
        assert canonical(left) == left
        assert is_normalized(left)
        if in_ranges(codepoint, DEFAULT_IGNORABLE + OTHER_FORMAT) or unicodedata.category(character) in ("Cc", "Cs"):
            assert left == ("a b" if character.isspace() else "ab")
        assert not any(in_ranges(ord(seen), DEFAULT_IGNORABLE) or unicodedata.category(seen) == "Cc" for seen in left)
        assert not any(seen.isspace() and seen != " " for seen in left)


@pytest.mark.slow
@given(ANSWERS)
@settings(max_examples=600, deadline=None)
def test_canonical_form_of_a_canonical_form_is_itself(answer: str) -> None:
    """A replayed label takes the way of the first; two forms of one answer would be two versions of a row."""
    once = canonical(answer)
    assert canonical(once) == once
    assert is_normalized(once)
    assert once == once.strip()
    assert "  " not in once


@given(ANSWERS)
@settings(max_examples=300, deadline=None)
def test_masking_leaves_a_canonical_answer_canonical(answer: str) -> None:
    """Placeholders are plain text; what stands beside them is not torn apart."""
    left = mask(canonical(answer))
    assert canonical(left) == left


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ("\tbrown  beagle \r\n", "brown beagle"),
        ("bro\u200bwn\u200c be\u200dag\u2060le\ufeff", "brown beagle"),
        ("cafe\u0301", "café"),
        ("“it’s” ‘fine’ «so» „ja“ ″x″", '"it\'s" \'fine\' "so" "ja" "x"'),
        ("it´s ‛n", "it's 'n"),
        ("❤\ufe0f 葛\U000e0100", "❤ 葛"),
        ("🏴\U000e0067\U000e0062\U000e007f", "🏴"),
        ("\u202edog\u202c \u2066cat\u2069", "dog cat"),
        ("a\u00a0b\u2003c\u3000d\u2028e\u1680f\u2800g", "a b c d e f g"),
        ("be\u00adag\u034fle", "beagle"),
        ("\u3164dog\uffa0\u115f", "dog"),
        ("dog\ufff9cat\ufffabird\ufffb", "dogcatbird"),
        ("ｂｅａｇｌｅ ①② ﬁne", "beagle 12 fine"),
        ("👩\u200d👩\u200d👧", "👩👩👧"),
        ("می\u200cخواهم", "میخواهم"),
        ("\u0600۱۲", "\u0600۱۲"),
        ("[email]", "[email]"),
        ("ﷺ\u0301ﷺﷻ", "ﷺ\u0301ﷺجل جلاله"),
        ("\u200b \t\u3164", ""),
        ("", ""),
    ],
)
def test_style_is_levelled_and_text_stays(answer: str, form: str) -> None:
    """Joiners go though Persian and emoji families are written with them: the letters and pictures stay."""
    assert canonical(answer) == form


def test_long_run_of_marks_is_cut_and_never_sorted() -> None:
    """Normalizing sorts marks in a row, in quadratic time: 6 ms for 4 KiB. No language has more than a few."""
    cut = canonical("a" + "\u0345" * 2000 + "\u0334" * 2000 + "b")
    assert len(cut) == MARKS_MAX + 2
    assert canonical("e\u0302\u0301") == "ế"


def test_normalizing_sees_no_longer_run_of_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound has to hold before the library sorts, not after."""
    seen: list[str] = []

    class Watched:
        @staticmethod
        def normalize(form: str, text: str) -> str:
            seen.append(text)
            return unicodedata.normalize(form, text)

    monkeypatch.setattr(module, "unicodedata", Watched)
    for marks in ("\u0345\u0334", "ﾞ\u0334", "\u0344", "\u0345\u200b"):
        canonical("a" + marks * 1000)
    assert max(map(len, seen)) <= MARKS_MAX + 1
