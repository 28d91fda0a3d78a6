"""Pure: find and mask personal data in an answer.

`mask` puts a kind in brackets where something personal stood: `[email]`, `[phone]`, `[card]`, `[iban]`, `[ip]`,
`[url]` (a URL with a user part, whole), `[ssn]` (of the US) and `[national_id]`. Recall wins over precision. What is
decided, and where:

- a phone-shaped run of 7 to 15 digits is masked unless it is surely something else (`numbers.py`, `contexts.py`);
- four octets are an address, unless a word for a version stands before them;
- a longer run of digits is a card, an account or a national id with valid check digits, or it stays;
- `name at example dot com` is an address where its last label is a top-level domain; `meet at example.com` is not;
- names, street addresses, numbers spelled out in words, and homoglyphs in domain names are not found.

Several detectors (`addresses.py`, `identities.py`, `digit_runs.py`) look at the folded answer (`folding.py`) in turn.
Each writes blanks over what it decides on, be it personal or cleared, and no pattern matches a blank: so a decision is
final, and the work is the sum of linear passes.

What a candidate costs is many times what its bytes cost, and a stranger chooses how many there are. So an answer has a
number of steps (`search.py`) that grows with its length, for all rounds together; where they are spent, every word that
might be part of something personal is masked unexamined (`dense`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import NamedTuple

from processors.masking import national_ids, patterns
from processors.masking.addresses import disguised_emails, emails, ipv4, ipv6, urls
from processors.masking.digit_runs import digit_runs
from processors.masking.folding import Folded, fold, fold_bytes
from processors.masking.identities import coordinates, dates, hexadecimal, ibans, lettered_ids, numeric_ids, uuids
from processors.masking.patterns import KINDS
from processors.masking.search import Search, Steps, StepsSpent

_PASSES_MAX = 3

# In order: what an earlier one decides on, a later one does not see.
_DETECTORS: tuple[Callable[[Search], None], ...] = (
    urls, emails, disguised_emails, uuids, ipv6, ibans, lettered_ids, numeric_ids, ipv4, dates, coordinates,
    hexadecimal, digit_runs,
)  # fmt: skip

__all__ = ("KINDS", "Span", "find", "mask", "search")


class Span(NamedTuple):
    """`answer[start:end]` is of `kind`, one of `patterns.KINDS`. Counts characters."""

    start: int
    end: int
    kind: str


def find(answer: str) -> list[Span]:
    """Where personal data stands in `answer`: spans in order that do not overlap. Any string, never raises."""
    return _find(answer, Steps.of(answer))


def mask(answer: str) -> str:
    """`answer` with each personal span replaced by its kind in brackets.

    Masking what is masked changes nothing. What a replacement leaves beside it may look like something in itself, so
    the search is repeated; should it still find something in the last round, what stands between two placeholders goes
    whole.
    """
    steps = Steps.of(answer)
    for _ in range(_PASSES_MAX):
        spans = _find(answer, steps)
        if not spans:
            return answer
        answer = _replaced(answer, spans)
        if steps.spent:
            return answer
    return _without_restless_parts(answer, steps)


def _find(answer: str, steps: Steps) -> list[Span]:
    content = fold_bytes(answer)
    if not patterns.TRIGGER.search(content):
        return []
    folded = fold(answer, content)
    left = _without_placeholders(folded)
    try:
        return _spans(search(folded, left, steps))
    except StepsSpent:
        return _spans(dense(folded, left))


def _replaced(answer: str, spans: list[Span]) -> str:
    parts: list[str] = []
    at = 0
    for start, end, kind in spans:
        parts += (answer[at:start], f"[{kind}]")
        at = end
    parts.append(answer[at:])
    return "".join(parts)


def _without_restless_parts(answer: str, steps: Steps) -> str:
    """Replace, between placeholders, every part in which something is still found by its first kind.

    No detector looks across a placeholder, so what `find` says of a part it says of it within the whole.
    """
    spans = _find(answer, steps)
    if not spans:
        return answer
    edges = [0]
    for placeholder in _placeholders(answer):
        edges += placeholder
    edges.append(len(answer))
    whole: list[Span] = []
    at = 0
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        while at < len(spans) and spans[at].end <= start:
            at += 1
        if at < len(spans) and spans[at].start < end:
            whole.append(Span(start, end, spans[at].kind))
    return _replaced(answer, whole)


def _placeholders(answer: str) -> list[tuple[int, int]]:
    """Placeholders as they are written, so that a full-width one is no placeholder."""
    content = answer.encode("latin-1", "replace")  # one byte a character
    return [match.span() for match in patterns.PLACEHOLDER.finditer(content)]


def search(folded: Folded, left: bytearray, steps: Steps) -> Search:
    """Run every detector over an answer; what they found is in its folded positions.

    Args:
        left: the folded answer with blanks over its placeholders.

    Raises:
        StepsSpent: before they were through.
    """
    steps.spend(len(folded.content) // 16 if folded.origin else 0)
    state = Search(folded, bytearray(left), steps)
    for detect in _DETECTORS:
        detect(state)
    return state


def dense(folded: Folded, left: bytearray) -> Search:
    """Claim every word of an answer in which something might be, in passes that examine nothing.

    What remains has no digit, no `@`, no two colons in a word and nothing like a disguised address or an id of letters
    alone, so that no detector finds anything in it.
    """
    state = Search(folded, left, Steps(0))
    for match in state.iterate(patterns.DENSE):
        start, end = match.span()
        state.claim(start, end, "phone" if left.find(b"@", start, end) < 0 else "email")
    for pattern, kind in ((patterns.DISGUISED_DENSE, "email"), (national_ids.LETTERED, "national_id")):
        for match in state.iterate(pattern):
            start, end = match.span()
            state.claim(start, end, kind)
    return state


def _spans(state: Search) -> list[Span]:
    """Findings as spans of the answer. A character that folded to several may be in two: the first keeps it."""
    spans: list[Span] = []
    at = 0
    for start, end, kind in sorted(state.found):
        first, last = max(at, state.folded.start(start)), state.folded.end(end)
        if first < last:
            spans.append(Span(first, last, kind))
            at = last
    return spans


def _without_placeholders(folded: Folded) -> bytearray:
    """The folded answer with blanks over its placeholders."""
    left = bytearray(folded.content)
    if b"[" not in left:
        return left
    for start, end in _placeholders(folded.answer):
        if folded.origin is not None:
            start, end = bisect_left(folded.origin, start), bisect_left(folded.origin, end)  # noqa: PLW2901
        left[start:end] = bytes(end - start)
    return left
