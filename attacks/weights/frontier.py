"""Each rule on real answers: what it adds to the consensus, and what to the attacks. Pure.

A run draws the order of arrival, the gold tasks and the noise anew. Tasks that are gold in a run do not count in it.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random

import msgspec
import numpy as np

from attacks.linkage.crowd_shares import Given
from attacks.weights.consensus import (
    at_the_door,
    credit,
    dawid_skene,
    difference_interval,
    plain_majority,
    weighted_majority,
)
from attacks.weights.leaks import MARGIN, Leak, leak, missing
from attacks.weights.quality import Memory, Source, estimates
from attacks.weights.rules import CROWD_MIN, Rule, drawn, odds_of
from attacks.weights.votes import Bools, Floats, Votes, released_votes
from processors.door.crowd import CrowdRule

GOLD_SHARE = 0.1
PAIRS_MAX = 0.5 + MARGIN

LEVELS = {2: (0.7,), 3: (0.6, 0.8), 4: (0.5, 0.7, 0.85)}
EPSILONS = (4.0, 2.0, 1.0, 0.5, 0.25)
CUTS = (0.5, 0.6, 0.7)
FAILING_MAX = 0.25
MISSING_MAX = (0.3, 0.2, 0.1)
DOOR_VOTES_MIN = (2, 5)


Leaks = tuple[Leak, Leak, tuple[float, float, float]]
"""To an attacker who does not know the right answers, to one who does, and what `missing` gives."""


class Arrival(msgspec.Struct, frozen=True):
    """How the answers of a data set come, and by which rule they leave.

    Attributes:
        hours: within which they come, evenly.
    """

    crowd: CrowdRule
    hours: float


class Figure(msgspec.Struct, frozen=True):
    """What came of one rule, or of one consensus without a rule, averaged over runs.

    Attributes:
        accuracy: share of tasks that are right.
        gain: over the plain majority of all labels; low and high are those of its 95 % interval.
        right: leaks to an attacker who knows the right answers; bare: to one who does not. Without a rule, of plain
            labels.
        gains: what the weight adds at rest, to the watcher and to pairs, of the attacker whom it helps more.
        missing: share of labels that never leave, how often the owner of one is guessed, and how often two are of one.
    """

    name: str
    source: str
    accuracy: float
    gain: float
    low: float
    high: float
    bare: Leak | None = None
    right: Leak | None = None
    gains: tuple[float, float, float] = (0.0, 0.0, 0.0)
    missing: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def is_safe(self) -> bool:
        """Whether no attack gains more than a point by it, on labels that leave and on those that are missing."""
        owner = self.missing[1] <= self.bare.watcher_share + MARGIN if self.missing[0] and self.bare else True
        return max(self.gains) <= MARGIN and owner

    @property
    def is_useful(self) -> bool:
        """Whether the consensus is better, by an interval without 0."""
        return self.low > 0


def rules() -> list[Rule]:
    """Every rule that is tried."""
    found = []
    for source in Source:
        for cuts in LEVELS.values():
            found += [Rule(source=source, cuts=cuts, memory=memory) for memory in Memory]
            found.append(Rule(source=source, cuts=cuts, voters_min=CROWD_MIN))
            found += [Rule(source=source, cuts=cuts, epsilon=epsilon) for epsilon in EPSILONS]
        found += [Rule(source=source, cuts=(cut,), suppressed=1.0) for cut in CUTS]
        for memory in Memory:
            few = Rule(source=source, cuts=(0.7,), memory=memory, suppressed=1.0, failing_max=FAILING_MAX)
            found.append(few)
            found += [msgspec.structs.replace(few, missing_max=share) for share in MISSING_MAX]
            found.append(msgspec.structs.replace(few, failing_min=CROWD_MIN, missing_max=MISSING_MAX[-1]))
    return found


def frontier(
    given: Sequence[Given],
    truth: Mapping[str, str],
    arrival: Arrival,
    *,
    runs: int,
    seed: int,
    gold_share: float = GOLD_SHARE,
    tried: Sequence[Rule] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Figure]:
    """Plain majority, what ids would give, pooled tables of errors, and every rule."""
    wanted = rules() if tried is None else tried
    credits: dict[str, list[Floats]] = {}
    leaks: dict[str, list[Leaks]] = {}
    plain_leaks: list[Leaks] = []
    for run in range(runs):
        say(f"run {run + 1} of {runs}")
        rng, noise = Random(seed + run), np.random.default_rng(seed + run)
        votes = released_votes(rng.sample(list(given), len(given)), truth, rng, arrival.crowd, arrival.hours)
        is_gold = noise.random(len(votes.truth)) < gold_share

        def keep(name: str, scores: Floats, votes: Votes = votes, is_gold: Bools = is_gold) -> None:
            credits.setdefault(name, []).append(np.where(is_gold, np.nan, credit(scores, votes.truth)))

        plain = np.ones((len(votes), 1))
        plain_leaks.append(_leaks_of(votes, plain))
        keep("plain majority", plain_majority(votes))
        keep("Dawid-Skene with ids", dawid_skene(votes, votes.worker, is_gold))
        one_table = np.zeros_like(votes.worker)
        keep("one table of errors for all, with gold", dawid_skene(votes, one_table, is_gold))
        keep("one table of errors for all, without gold", dawid_skene(votes, one_table))
        estimate_of = {
            (source, memory): estimates(votes, is_gold, source, memory)
            for source, memory in {(rule.source, rule.memory) for rule in wanted}
        }
        for (source, memory), estimate in estimate_of.items():
            for votes_min in DOOR_VOTES_MIN:
                name = f"{source}|{memory}|the door's answer to tasks of {votes_min} votes"
                scores, said = at_the_door(votes, estimate, votes_min)
                keep(name, scores)
                leaks.setdefault(name, []).append(_leaks_of(votes, _rates(votes, said)))
        for rule in wanted:
            name = f"{rule.source}|{rule.memory}|{rule.name}"
            odds = odds_of(rule, votes, estimate_of[(rule.source, rule.memory)])
            level = drawn(odds, noise)
            keep(
                name, plain_majority(votes, level >= 0) if rule.suppressed else weighted_majority(votes, level, is_gold)
            )
            leaks.setdefault(name, []).append(_leaks_of(votes, odds))
    return _figures(credits, leaks, plain_leaks, np.random.default_rng(seed))


def _figures(
    credits: Mapping[str, Sequence[Floats]],
    leaks: Mapping[str, Sequence[Leaks]],
    plain_leaks: Sequence[Leaks],
    rng: np.random.Generator,
) -> list[Figure]:
    mean = {name: _mean_of_runs(np.array(all_runs)) for name, all_runs in credits.items()}
    plain = mean["plain majority"]
    base = [_mean_leak([(found[0], found[1])[side] for found in plain_leaks]) for side in (0, 1)]
    figures = []
    for name, one in mean.items():
        low, high = difference_interval(one, plain, rng)
        source, _, what = name.rpartition("|")
        of_rule = leaks.get(name, plain_leaks)
        bare, right = (_mean_leak([(found[0], found[1])[side] for found in of_rule]) for side in (0, 1))
        gains = [found.gains_over(without) for found, without in zip((bare, right), base, strict=True)]
        lost = np.array([found[2] for found in of_rule]).mean(axis=0)
        figures.append(
            Figure(
                name=what,
                source=source.replace("|", ", memory of "),
                accuracy=float(np.nanmean(one)),
                gain=float(np.nanmean(one - plain)),
                low=low,
                high=high,
                bare=bare,
                right=right,
                gains=(max(g[0] for g in gains), max(g[1] for g in gains), max(g[2] for g in gains)),
                missing=(float(lost[0]), float(lost[1]), float(lost[2])),
            )
        )
    return figures


def _mean_of_runs(credits: Floats) -> Floats:
    """(tasks,) over the runs in which a task counts; NaN where it never does."""
    counts = (~np.isnan(credits)).sum(axis=0)
    mean: Floats = np.where(counts > 0, np.nansum(credits, axis=0) / np.maximum(counts, 1), np.nan)
    return mean


def _leaks_of(votes: Votes, odds: Floats) -> Leaks:
    return leak(votes, odds, sees_right=False), leak(votes, odds, sees_right=True), missing(votes, odds)


def _rates(votes: Votes, seen: Floats) -> Floats:
    """(n, levels) how often a voter's labels are seen with each level, over its day."""
    workers = int(votes.worker.max()) + 1
    summed = np.zeros((workers, seen.shape[1]))
    np.add.at(summed, votes.worker, seen)
    rates: Floats = summed / np.maximum(summed.sum(axis=1, keepdims=True), 1.0)
    return rates[votes.worker]


def _mean_leak(leaks: Sequence[Leak]) -> Leak:
    values = np.array([msgspec.structs.astuple(one) for one in leaks]).mean(axis=0)
    return Leak(*(float(value) for value in values))
