"""Pure: what a run of digits is: a card, a telephone, or something to leave alone.

A run is what `patterns.DIGIT_RUN` finds: digits with at most four characters between two. It may hold several numbers,
so it is taken apart at its separators. All work is linear in its groups; a validator sees at most 19 digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import phonenumbers
from stdnum import luhn

from processors.masking.contexts import (
    Surroundings,
    is_decimal,
    is_dotted_version,
    is_many_small,
    is_progression,
    is_round,
    is_thousands,
    is_years,
)

PHONE_DIGITS_MIN, PHONE_DIGITS_MAX = 7, 15  # the shortest run that is masked; ITU-T E.164, section 6
BOOK_DIGITS_MAX = 13  # ISO 2108
CARD_DIGITS_MIN, CARD_DIGITS_MAX = 12, 19  # ISO/IEC 7812-1: 8 to 19, of which schemes use 12 and more


class Group(NamedTuple):
    """Digits without a separator, where they stand, and what stands before them within the run."""

    start: int
    end: int
    digits: str
    separator: str


def groups_of(run: bytes, offset: int) -> list[Group]:
    """Take a run apart. `offset` is where it starts."""
    text = run.decode("latin-1")
    groups: list[Group] = []
    at, previous = 0, 0
    length = len(text)
    while at < length:
        if not text[at].isdigit():
            at += 1
            continue
        start = at
        while at < length and text[at].isdigit():
            at += 1
        groups.append(Group(offset + start, offset + at, text[start:at], text[previous:start]))
        previous = at
    return groups


def is_card(digits: str) -> bool:
    """A length and first digits that a card scheme uses, and a valid check digit. Of sixteen digits, any: recall wins.

    Source: ISO/IEC 7812-1; ranges as the schemes publish them, 2026. Faker's and older ranges are included.
    """
    if not CARD_DIGITS_MIN <= len(digits) <= CARD_DIGITS_MAX or not _scheme_uses(digits):
        return False
    return bool(luhn.is_valid(digits))


def _scheme_uses(digits: str) -> bool:
    length, two, four = len(digits), digits[:2], digits[:4]
    match length:
        case 13:
            return digits[0] in "456"
        case 14:
            return two in ("30", "36", "38", "39", "50", "56", "57", "58") or digits[0] == "6"
        case 15:
            return two in ("34", "37", "18", "50", "56", "57", "58") or four == "2131" or digits[0] in "16"
        case 16:
            return digits[0] != "0"
        case _:
            return digits[0] in "56" or (digits[0] in "34" and length > 16)


def card_windows(groups: list[Group]) -> Iterator[tuple[int, int]]:
    """Where `groups[first:last]` may be one card: a single group, or fours (or 4-6-5) with one separator throughout."""
    for first, group in enumerate(groups):
        if CARD_DIGITS_MIN <= len(group.digits) <= CARD_DIGITS_MAX:
            yield first, first + 1
        if len(group.digits) != 4:
            continue
        last = first + 1
        while last < min(len(groups), first + 5) and groups[last].separator == groups[first + 1].separator:
            last += 1
            if len(groups[last - 1].digits) != 4 and not (last == first + 2 and len(groups[last - 1].digits) == 6):
                break
        for end in range(last, first + 2, -1):
            yield first, end


def split_runs(groups: list[Group]) -> list[list[Group]]:
    """Cut a run into numbers: at ` - ` or ` / `, before `(`, where a number is full; and around runs of over 15 digits.

    A piece too short for a number goes back to the one before it, so that no part of a telephone is left over.
    """
    pieces: list[list[Group]] = []
    sizes: list[int] = []
    open_parenthesis = False
    for group in groups:
        size, separator = len(group.digits), group.separator
        if not pieces or size > PHONE_DIGITS_MAX or len(pieces[-1][-1].digits) > PHONE_DIGITS_MAX:
            starts = True
        elif ")" in separator and not open_parenthesis and sizes[-1] < 3:
            pieces.pop(), sizes.pop()  # a list marker: `1) `
            starts = True
        else:
            starts = sizes[-1] >= PHONE_DIGITS_MIN and _divides(separator, sizes[-1] + size)
            starts = starts or ("(" in separator and size >= PHONE_DIGITS_MIN)
        if starts:
            pieces.append([])
            sizes.append(0)
        open_parenthesis = (open_parenthesis or "(" in separator) if not starts else "(" in separator
        pieces[-1].append(group)
        sizes[-1] += size
    return _rejoined(pieces, sizes)


def is_apart(groups: list[Group]) -> bool:
    """Is the first group short and set off from the rest by a parenthesis or a wide separator?"""
    return len(groups) > 1 and len(groups[0].digits) < PHONE_DIGITS_MIN and _divides(groups[1].separator, 0)


def _divides(separator: str, digits: int) -> bool:
    """May a new number start here, when one that is long enough stands before and would become `digits` long?"""
    wide = len(separator) > 2 and separator.strip(" ") in ("-", "/")
    return wide or "(" in separator or (digits > PHONE_DIGITS_MAX and " " in separator)


def _rejoined(pieces: list[list[Group]], sizes: list[int]) -> list[list[Group]]:
    joined: list[list[Group]] = []
    size = 0
    for piece, digits in zip(pieces, sizes, strict=True):
        short = digits < PHONE_DIGITS_MIN and joined and len(joined[-1][-1].digits) <= PHONE_DIGITS_MAX
        apart = size > 9 and len(piece[0].separator) > 2 and "(" not in piece[0].separator
        if short and not apart:
            joined[-1].extend(piece)
            size += digits
        else:
            joined.append(piece)
            size = digits
    return joined


def is_surely_not_a_phone(groups: list[Group], plus: bool, surroundings: Surroundings) -> bool:
    """Is this run of seven digits or more cleared by its shape or by what stands directly beside it?"""
    digits = [group.digits for group in groups]
    separators = [group.separator for group in groups[1:]]
    international = 2 if digits[0].startswith("00") else 0  # an exit code stands before up to fifteen digits
    if len(digits) == 1 and len(digits[0]) > PHONE_DIGITS_MAX + international:
        return True
    return not plus and (
        _shape_clears(digits, separators)
        or _words_clear(digits, separators, surroundings)
        or _is_numbered_thing(digits, surroundings)
    )


def _shape_clears(digits: list[str], separators: list[str]) -> bool:
    return (
        is_progression(digits)
        or is_years(digits, separators)
        or is_decimal(digits, separators)
        or is_round(digits)
        or is_many_small(digits)
        or is_dotted_version(digits, separators)
        or _is_refused_card(digits)
    )


def _is_refused_card(digits: list[str]) -> bool:
    """Fours of more than fifteen digits: the shape of a card, whose check digit was wrong."""
    return len(digits) > 3 and sum(map(len, digits)) > PHONE_DIGITS_MAX and {len(group) for group in digits[:-1]} == {4}


def _words_clear(digits: list[str], separators: list[str], surroundings: Surroundings) -> bool:
    if surroundings.book_before() and sum(map(len, digits)) <= BOOK_DIGITS_MAX:
        return True
    if is_thousands(digits, separators) and surroundings.decimals_after():
        return True
    if (is_thousands(digits, separators) or len(digits) == 1) and surroundings.currency_beside():
        return True
    if separators == ["."] and len(digits[0]) <= 3 and surroundings.coordinate_beside():
        return True
    return set(separators) == {"."} and surroundings.version_before()


def _is_numbered_thing(digits: list[str], surroundings: Surroundings) -> bool:
    """An order number: named as one, in one group (or after a year), and without the trunk prefix of a telephone."""
    one = len(digits) == 1 or (len(digits) == 2 and digits[0][:2] in ("19", "20") and len(digits[0]) == 4)
    if not one or digits[0].startswith("0"):
        return False
    return surroundings.hash_before() or surroundings.numbered_thing_before()


def is_dialled_abroad(digits: str) -> bool:
    """Would these digits, with a plus before them, be a number that some country's plan has?"""
    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse("+" + digits)))
    except phonenumbers.NumberParseException:
        return False
