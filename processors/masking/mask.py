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
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from processors.masking import patterns
from processors.masking.addresses import disguised_emails, emails, ipv4, ipv6, urls
from processors.masking.digit_runs import digit_runs
from processors.masking.folding import fold, fold_bytes
from processors.masking.identities import coordinates, dates, hexadecimal, ibans, lettered_ids, numeric_ids, uuids
from processors.masking.patterns import KINDS
from processors.masking.search import Search

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
    if not patterns.TRIGGER.search(fold_bytes(answer)):
        return []
    return _spans(search(answer))


def mask(answer: str) -> str:
    """`answer` with each personal span replaced by its kind in brackets.

    Masking what is masked changes nothing. What a replacement leaves beside it may look like something in itself, so
    the search is repeated; should it still find something in the last round, what stands between two placeholders goes
    whole.
    """
    for _ in range(_PASSES_MAX):
        spans = find(answer)
        if not spans:
            return answer
        answer = _replaced(answer, spans)
    return _without_restless_parts(answer)


def _replaced(answer: str, spans: list[Span]) -> str:
    parts: list[str] = []
    at = 0
    for start, end, kind in spans:
        parts += (answer[at:start], f"[{kind}]")
        at = end
    parts.append(answer[at:])
    return "".join(parts)


def _without_restless_parts(answer: str) -> str:
    """Replace, between placeholders, every part in which something is still found by its first kind.

    No detector looks across a placeholder, so what `find` says of a part it says of it within the whole.
    """
    spans = find(answer)
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


def search(answer: str) -> Search:
    """Run every detector over `answer`; what they found is in its folded positions."""
    folded = fold(answer)
    state = Search(folded, bytearray(folded.content))
    _clear_placeholders(state)
    for detect in _DETECTORS:
        detect(state)
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


def _clear_placeholders(state: Search) -> None:
    if b"[" not in state.content:
        return
    answer, origin = state.folded.answer, state.folded.origin
    if origin is None:
        for start, end in _placeholders(answer):
            state.clear(start, end)
        return
    at = 0
    for start, end in _placeholders(answer):
        while origin[at] < start:
            at += 1
        first = at
        while at < len(origin) and origin[at] < end:
            at += 1
        state.clear(first, at)
