"""Pure: the detector that judges every run of digits that is left: cards, then telephones."""

from __future__ import annotations

from stdnum import isbn

from processors.masking import numbers, patterns
from processors.masking.contexts import GLUED_PHONE_WORDS
from processors.masking.search import DIGITS, LETTERS, WORD, Search

STEPS_OF_A_PHONE, STEPS_OF_DIALLING = 12, 30


def digit_runs(search: Search) -> None:
    """Cards and telephones in what is left."""
    for match in search.matches(patterns.DIGIT_RUN, 2):
        start, end = match.span()
        if end - start > numbers.CARD_DIGITS_MAX and search.content[start:end].isdigit():
            continue  # longer than any number
        if end - start >= numbers.PHONE_DIGITS_MIN:
            _digit_run(search, start, end)


def _digit_run(search: Search, start: int, end: int) -> None:
    search.steps.spend((end - start) // 3)
    groups = numbers.groups_of(bytes(search.content[start:end]), start)
    if search.before(start) == 0x2C and search.before(start - 1) in DIGITS and numbers.is_apart(groups):
        groups = groups[1:]  # the end of 12,345,678 or of 478,706,930,1445
    first = groups[0].start
    if search.before(first) in LETTERS and _is_code(search, first, -1):
        # `#220c55 (230) 512-0325`, `v20.12.10 34612342770`: only what stands before a blank is glued to letters
        groups = groups[next((n for n, group in enumerate(groups[1:], 1) if " " in group.separator), 0) :]
    if sum(len(group.digits) for group in groups) < numbers.PHONE_DIGITS_MIN:
        return
    for rest in _without_cards(search, groups):
        for piece in numbers.split_runs(rest):
            _phone(search, piece, start)


def _without_cards(search: Search, groups: list[numbers.Group]) -> list[list[numbers.Group]]:
    """Claim the cards in a run; what stands between them is left."""
    rests: list[list[numbers.Group]] = []
    at = 0
    for first, last in numbers.card_windows(groups):
        digits = "".join(group.digits for group in groups[first:last])
        if first < at or not numbers.CARD_DIGITS_MIN <= len(digits) <= numbers.CARD_DIGITS_MAX:
            continue
        search.steps.spend(4)
        if _is_card_here(search, groups[first].start, groups[last - 1].end, digits):
            rests.append(groups[at:first])
            search.claim(groups[first].start, groups[last - 1].end, "card")
            at = last
    digits = "".join(group.digits for group in groups) if at == 0 and len(groups) <= numbers.CARD_DIGITS_MAX else ""
    if numbers.is_card(digits) and len(digits) > numbers.PHONE_DIGITS_MAX:
        search.claim(groups[0].start, groups[-1].end, "card")  # grouped as no card is, but the check digit says so
        return []
    rests.append(groups[at:])
    return [rest for rest in rests if rest]


def _is_card_here(search: Search, start: int, end: int, digits: str) -> bool:
    if search.before(start) == 0x2B:
        return False
    if search.before(start) in LETTERS or search.after(end) in LETTERS or not numbers.is_card(digits):
        return False
    if end - start != len(digits) or len(digits) != numbers.CARD_DIGITS_MIN:
        return True
    search.steps.spend(STEPS_OF_DIALLING)
    return not numbers.is_dialled_abroad(digits)


def _phone(search: Search, groups: list[numbers.Group], run_start: int) -> None:
    """Claim a telephone, from a plus or parenthesis before it to an extension after it, or leave it."""
    if sum(len(group.digits) for group in groups) < numbers.PHONE_DIGITS_MIN:
        return
    search.steps.spend(STEPS_OF_A_PHONE + len(groups))
    start, end = groups[0].start, groups[-1].end
    while (start > run_start and search.content[start - 1] in b"+(") or (
        start > run_start + 1 and search.content[start - 1] == 0x20 and search.content[start - 2] == 0x2B
    ):
        start -= 1
    plus = 0x2B in search.content[start : groups[0].start]
    surroundings = search.surroundings(start, end)
    if numbers.is_surely_not_a_phone(groups, plus, surroundings):
        return
    if not plus and _isbn(groups):
        return
    extension = patterns.EXTENSION.match(bytes(search.content[end : end + 24]))
    if extension is not None and search.after(end + extension.end()) not in WORD:
        end += extension.end()
    elif search.after(end) in LETTERS and _is_code(search, end, +1):
        # `80304262410 4.34e20`: only what stands behind the last blank is glued to letters
        apart = [number for number, group in enumerate(groups) if number and " " in group.separator]
        if apart:
            _phone(search, groups[: apart[-1]], run_start)
        return
    if not plus and _is_glued_before(search, start, groups):
        return
    search.claim(start, end, "phone")


def _isbn(groups: list[numbers.Group]) -> bool:
    digits = "".join(group.digits for group in groups)
    return len(digits) == 13 and digits.startswith(("978", "979")) and bool(isbn.is_valid(digits))


def _is_glued_before(search: Search, start: int, groups: list[numbers.Group]) -> bool:
    """Letters directly before, or capitals and a dash (`ORD-6744942`), make it a code, unless they say telephone."""
    if search.before(start) in LETTERS:
        return _is_code(search, start, -1)
    if search.before(start) not in b"-_":
        return False
    word = _letters(search, start - 1, -1)
    return 2 <= len(word) <= 5 and word.isupper() and word.lower() not in GLUED_PHONE_WORDS and len(groups) == 1


def _is_code(search: Search, at: int, step: int) -> bool:
    """Are the letters glued to digits part of a code? A word of three letters or more in lower case is not."""
    word = _letters(search, at, step)
    if word.lower() in GLUED_PHONE_WORDS:
        return False
    return not (len(word) > 2 and not word[1:].isupper() and any(letter not in "abcdef" for letter in word.lower()))


def _letters(search: Search, at: int, step: int) -> str:
    """Up to 16 letters that end before `at` (step -1) or start at it (step 1)."""
    if step < 0:
        low = at
        while low > max(0, at - 16) and search.content[low - 1] in LETTERS:
            low -= 1
        return search.content[low:at].decode("latin-1")
    high = at
    while high < min(len(search.content), at + 16) and search.content[high] in LETTERS:
        high += 1
    return search.content[at:high].decode("latin-1")
