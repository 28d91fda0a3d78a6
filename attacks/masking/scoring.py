"""Recall and precision of a finder on marked sentences, with exact intervals.

A personal value counts as found when every letter and digit of it lies within findings, whatever they are called:
masking hides it then. It counts as named when a finding of its own kind touches it. A finding counts as right when it
touches a value of its own kind; touching a value marked `other` counts neither way.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from .corpus import Marked, Sentence


class Found(NamedTuple):
    start: int
    end: int
    kind: str


@dataclass(slots=True)
class Tally:
    values: int = 0
    found: int = 0
    named: int = 0
    findings: int = 0
    right: int = 0


@dataclass(slots=True)
class Scores:
    tallies: dict[str, Tally] = field(default_factory=dict)
    missed: Counter[tuple[str, str]] = field(default_factory=Counter)
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    misnamed: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def of(self, kind: str) -> Tally:
        return self.tallies.setdefault(kind, Tally())

    def note(self, kind: str, category: str, hit: bool, text: str) -> None:
        """One more of a category; `hit` says it was treated as it should be."""
        self.seen[kind, category] += 1
        if not hit:
            self.missed[kind, category] += 1
            self.examples.setdefault((kind, category), []).append(text)


def score(sentences: Iterable[Sentence], find: Callable[[str], Iterable[Found]]) -> Scores:
    scores = Scores()
    for sentence in sentences:
        findings = [Found(*finding) for finding in find(sentence.text)]
        for marked in sentence.marked:
            _score_value(scores, sentence.text, marked, findings)
        for finding in findings:
            touched = [marked.kind for marked in sentence.marked if _touch(marked, finding)]
            if "other" in touched and finding.kind not in touched:
                continue
            tally = scores.of(finding.kind)
            tally.findings += 1
            tally.right += finding.kind in touched
    return scores


def _score_value(scores: Scores, text: str, marked: Marked, findings: list[Found]) -> None:
    touching = [finding for finding in findings if _touch(marked, finding)]
    if marked.kind is None:
        scores.note("look-alike", marked.category, not touching, text)
        return
    if marked.kind == "other":
        return
    covered = {at for finding in touching for at in range(finding.start, finding.end)}
    hit = all(at in covered for at in range(marked.start, marked.end) if text[at].isalnum())
    tally = scores.of(marked.kind)
    tally.values += 1
    tally.found += hit
    named = any(finding.kind == marked.kind for finding in touching)
    tally.named += named
    if touching and not named:
        scores.misnamed[marked.kind, marked.category, touching[0].kind] += 1
    scores.note(marked.kind, marked.category, hit, text)


def _touch(marked: Marked, finding: Found) -> bool:
    return finding.start < marked.end and marked.start < finding.end


def clopper_pearson(hits: int, tries: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share. Source: Clopper and Pearson, Biometrika 26 (1934)."""
    if tries == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else _bisect(lambda p: 1 - _at_most(hits - 1, tries, p) < tail)
    high = 1.0 if hits == tries else _bisect(lambda p: _at_most(hits, tries, p) > tail)
    return low, high


def _bisect(below: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return low


def _at_most(hits: int, tries: int, p: float) -> float:
    """P(X <= hits) of a binomial, summed from its logarithms."""
    if p <= 0 or p >= 1:
        return 1.0 if p <= 0 or hits >= tries else 0.0
    whole = math.lgamma(tries + 1)
    return math.fsum(
        math.exp(
            whole - math.lgamma(k + 1) - math.lgamma(tries - k + 1) + k * math.log(p) + (tries - k) * math.log1p(-p)
        )
        for k in range(hits + 1)
    )
