"""Pure: detectors of numbers with check digits or a form of their own: accounts, national ids; and of look-alikes.

The look-alikes (UUIDs, hashes, dates, coordinates) are cleared before runs of digits are judged.
"""

from __future__ import annotations

from typing import Any

from processors.masking import national_ids, numbers, patterns
from processors.masking.accounts import iban_end
from processors.masking.search import DIGITS, WORD, Search


def uuids(search: Search) -> None:
    """Cleared."""
    if search.content.count(b"-") < 4:
        return
    for match in search.matches(patterns.UUID, 3):
        start, end = match.span()
        if search.before(start) not in WORD and search.after(end) not in WORD:
            search.clear(start, end)


def ibans(search: Search) -> None:
    """Accounts with valid check digits."""
    for match in search.matches(patterns.IBAN_START, 10):
        start = match.start(1)
        end = iban_end(search.content, start)
        if end is not None and search.before(match.start()) not in WORD and search.after(end) not in WORD:
            search.claim(start, end, "iban")


def lettered_ids(search: Search) -> None:
    """National ids of letters and digits."""
    for match in search.matches(national_ids.LETTERED, 5):
        start, end = match.span()
        if search.stands_alone(start, end) and _validates(search, match):
            search.claim(start, end, "national_id")


def _validates(search: Search, match: Any) -> bool:
    search.steps.spend(national_ids.STEPS_OF_PLAIN if _form(match) == "plain" else national_ids.STEPS_OF_ONE)
    return bool(national_ids.VALIDATORS[_form(match)](match.group().decode("latin-1")))


def _form(match: Any) -> str:
    """The name of the alternative that matched."""
    name = match.lastgroup
    return name.decode("ascii") if isinstance(name, bytes) else str(name)


def numeric_ids(search: Search) -> None:
    """National ids of digits alone."""
    for match in search.matches(national_ids.NUMERIC, 8):
        start, end = match.span()
        if search.before(start) == 0x2B or not search.stands_alone(start, end):
            continue
        if search.before(start) == 0x20 and search.before(start - 1) in DIGITS:
            continue  # the end of a longer number: +992 372 12 0414
        digits = bytes(byte for byte in match.group() if byte in DIGITS).decode("ascii")
        kind = _id_kind(search, match, digits)
        if kind is not None:
            search.claim(start, end, kind)


def _id_kind(search: Search, match: Any, digits: str) -> str | None:
    """`ssn`, `national_id` or None. A card wins over the weaker forms; a dated number of card length over a card."""
    form = _form(match)
    beside = search.surroundings(*match.span())
    if form == "ssn" or (len(digits) == 9 and beside.says("ssn", "social security")):
        if national_ids.is_ssn(digits):
            return "ssn"
        return "national_id" if national_ids.is_itin(digits) else None
    if (len(digits) in (13, 15, 18) or not numbers.is_card(digits)) and _validates(search, match):
        return "national_id"
    if len(digits) <= 12 and beside.says(*national_ids.WEAK_WORDS):
        search.steps.spend(national_ids.STEPS_OF_WEAK)
        return "national_id" if national_ids.weak_is_valid(digits) else None
    return None


def dates(search: Search) -> None:
    """Cleared, clock times too."""
    for match in search.matches(patterns.DATE, 12):
        start, end = match.span()
        if search.before(start) in b"0123456789./-+:":
            continue
        after, further = search.after(end), search.after(end + 1)
        if after in DIGITS or (after in b"./-" and further in DIGITS):
            continue
        if _is_date(match) and (match.group(6) is None or len(match.group(6)) == 4 or not _digits_follow(search, end)):
            search.clear(start, end)


def _digits_follow(search: Search, end: int) -> bool:
    return search.after(end) == 0x20 and search.after(end + 1) in DIGITS


def _is_date(match: Any) -> bool:
    """Month and day in range, in either order; a time alone is one too."""
    parts = [int(match.group(number)) for number in range(1, 7) if match.group(number) is not None]
    if not parts:
        return True
    first, second = (parts[1], parts[2]) if match.group(1) is not None else (parts[0], parts[1])
    return 1 <= min(first, second) <= 12 and 1 <= max(first, second) <= 31


def coordinates(search: Search) -> None:
    """Cleared: latitude and longitude."""
    for match in search.matches(patterns.COORDINATES, 6):
        start, end = match.span()
        if search.before(start) in DIGITS or search.after(end) in DIGITS or search.before(start) == 0x2E:
            continue
        if abs(float(match.group(1))) <= 180 and abs(float(match.group(2))) <= 180:
            search.clear(start, end)


def hexadecimal(search: Search) -> None:
    """Hashes and colours: a word of hexadecimal digits with letters among them."""
    for match in search.matches(patterns.HEX_WORD, 3):
        start, end = match.span()
        word = match.group()
        if search.before(start) in WORD or search.after(end) in WORD or word.isdigit():
            continue
        search.clear(start, end)
