"""Ways for the door to tell analysts what it knows of voters, each as odds of what a label leaves with. Pure."""

import math

import msgspec
import numpy as np

from attacks.weights.quality import Memory, Source
from attacks.weights.votes import Floats, Ints, Votes

EXACT = math.inf
CROWD_MIN = 20


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One way.

    Attributes:
        cuts: estimated qualities between two levels, ascending; no cut is no weight.
        epsilon: of randomised response, for each label anew: the true level is e**epsilon times as likely as another.
        voters_min: of a level in a crowd; a level with fewer is merged with the one above it, the highest with the one
            below.
        suppressed: instead of a weight, this share of the labels of the lowest level, drawn by lot, never leaves.
        failing_min: voters of a crowd; are fewer at the lowest level, all labels leave. As many as the door wants of a
            crowd always stay.
        failing_max: share of a crowd's voters whose labels may be suppressed: of more, those with the lowest estimates.
        missing_max: share of a crowd's suppressed labels that may be of one voter; its other labels leave.
    """

    source: Source
    cuts: tuple[float, ...] = ()
    memory: Memory = Memory.DAY
    epsilon: float = EXACT
    voters_min: int = 1
    suppressed: float = 0.0
    failing_min: int = 1
    failing_max: float = 1.0
    missing_max: float = 1.0

    @property
    def name(self) -> str:
        """In words."""
        if self.suppressed:
            words = [
                f"{self.suppressed:.0%} of labels below {self.cuts[0]:g} suppressed",
                f"of {self.failing_min} voters at least" if self.failing_min > 1 else "",
                f"of {self.failing_max:.0%} of voters at most" if self.failing_max < 1 else "",
                f"{self.missing_max:.0%} of them one voter's at most" if self.missing_max < 1 else "",
            ]
        else:
            words = [
                f"{len(self.cuts) + 1} levels",
                "" if self.epsilon == EXACT else f"epsilon {self.epsilon:g}",
                f"{self.voters_min} voters a level" if self.voters_min > 1 else "",
            ]
        return ", ".join(word for word in words if word)


def odds_of(rule: Rule, votes: Votes, estimate: Floats) -> Floats:
    """(n, levels) how likely each label leaves with each level; what a row lacks to 1 is how likely it never leaves."""
    levels = np.searchsorted(np.array(rule.cuts), estimate, side="right")
    if rule.suppressed:
        return 1.0 - rule.suppressed * _missing(rule, votes, estimate, levels)[:, None]
    if rule.voters_min > 1:
        levels = _merged(votes, levels, rule.voters_min)
    count = len(rule.cuts) + 1
    true = 1.0 if rule.epsilon == EXACT else math.exp(rule.epsilon) / (math.exp(rule.epsilon) + count - 1)
    other = (1.0 - true) / max(count - 1, 1)
    return np.where(np.arange(count)[None, :] == levels[:, None], true, other)


def drawn(odds: Floats, rng: np.random.Generator) -> Ints:
    """(n,) the level that each label leaves with, -1 where it never leaves."""
    place = (rng.random(len(odds))[:, None] >= odds.cumsum(axis=1).round(12)).sum(axis=1)
    return np.where(place == odds.shape[1], -1, place)


def _merged(votes: Votes, levels: Ints, voters_min: int) -> Ints:
    """The levels, where each is held by enough voters of the crowd, or by all of them."""
    merged = levels.copy()
    for crowd in range(int(votes.crowd.max()) + 1):
        here = np.flatnonzero(votes.crowd == crowd)
        while len(held := np.unique(merged[here])) > 1:
            voters = [len(np.unique(votes.worker[here[merged[here] == level]])) for level in held]
            small = next((place for place, count in enumerate(voters) if count < voters_min), None)
            if small is None:
                break
            other = small + 1 if small + 1 < len(held) else small - 1
            merged[here[merged[here] == held[small]]] = held[other]
    return merged


def _missing(rule: Rule, votes: Votes, estimate: Floats, levels: Ints) -> Floats:
    """(n,) which share of a voter's labels in a crowd the crowd may do without."""
    missing = np.zeros(len(votes))
    for crowd in range(int(votes.crowd.max()) + 1):
        here = np.flatnonzero(votes.crowd == crowd)
        voters, first, of_voter, given = np.unique(
            votes.worker[here], return_index=True, return_inverse=True, return_counts=True
        )
        most = min(int(rule.failing_max * len(voters)), max(len(voters) - CROWD_MIN, 0))
        lowest = np.argsort(estimate[here[first]], kind="stable")
        failing = lowest[levels[here[first]][lowest] == 0][:most]
        if len(failing) >= rule.failing_min:
            share = np.zeros(len(voters))
            share[failing] = np.minimum(given[failing], most_of_one(given[failing], rule.missing_max)) / given[failing]
            missing[here] = share[of_voter]
    return missing


def most_of_one(given: Ints, share_max: float) -> int:
    """How many labels of one voter may be missing, so that nobody has more than a share of all that are.

    Args:
        given: labels of each voter, at least one voter.
    """
    allowed = [most for most in range(int(given.max()) + 1) if most <= share_max * np.minimum(given, most).sum() + 1e-9]
    return allowed[-1]
