"""What a weight tells of whose a label is, to somebody who knows how good every session is. Exact, no classifier. Pure.

The attacker knows of every session how many labels it gave (in each crowd, as a watcher), how often it is right, and
how likely its labels leave with each level; he knows the right answer of every task. Of a label he sees the level
and whether it is right. His best guess is the session that gives most labels of that kind; nothing that he could learn
from examples beats it.
"""

import msgspec
import numpy as np

from attacks.weights.votes import Floats, Ints, Votes, counts_of

MARGIN = 0.01


class Leak(msgspec.Struct, frozen=True):
    """What he guesses right.

    Attributes:
        rest, watcher: share of labels, at rest and among the members of the label's crowd.
        rest_share, watcher_share: the best guess without looking at the label.
        worst: the largest success of the watcher on labels of one level, less the share there.
        pairs: area under the curve of "are these two labels of one session?".
    """

    rest: float
    rest_share: float
    watcher: float
    watcher_share: float
    worst: float
    pairs: float

    def gains_over(self, plain: "Leak") -> tuple[float, float, float]:
        """What the rule adds at rest, to the watcher and to pairs: each beside the best guess among what is left."""
        return (
            self.rest - self.rest_share - (plain.rest - plain.rest_share),
            self.watcher - self.watcher_share - (plain.watcher - plain.watcher_share),
            self.pairs - plain.pairs,
        )


def leak(votes: Votes, odds: Floats, *, sees_right: bool) -> Leak:
    """The exact success.

    Args:
        odds: (n, levels) how likely each label leaves with each level; what is missing to 1 never leaves.
        sees_right: whether he knows the right answers too.
    """
    workers = int(votes.worker.max()) + 1
    seen = _seen(votes, odds, workers, sees_right=sees_right)
    crowd_worker = votes.crowd * workers + votes.worker
    crowds = int(votes.crowd.max()) + 1
    in_crowd = _summed(crowd_worker, seen, crowds * workers).reshape(crowds, workers, -1)
    day = in_crowd.sum(axis=0)
    total = day.sum()
    by_level = in_crowd.reshape(crowds, workers, odds.shape[1], -1).sum(axis=3)
    return Leak(
        rest=float(day.max(axis=0).sum() / total),
        rest_share=float(day.sum(axis=1).max() / total),
        watcher=float(in_crowd.max(axis=1).sum() / total),
        watcher_share=float(in_crowd.sum(axis=2).max(axis=1).sum() / total),
        worst=_worst(by_level),
        pairs=pairs_auc(day),
    )


def pairs_auc(given: Floats) -> float:
    """The area under the curve of the best test whether two labels are of one session.

    Args:
        given: (sessions, kinds) labels of each kind that each gave. Pairs of one session are drawn as often as a label
            of it is; of two sessions, any.
    """
    of_session = np.maximum(given.sum(axis=1, keepdims=True), 1e-12)
    same = (given / of_session).T @ given
    both = np.outer(given.sum(axis=0), given.sum(axis=0)) - given.T @ given
    same, differ = same.ravel() / same.sum(), both.ravel() / both.sum()
    order = np.argsort(-same / np.maximum(differ, 1e-300), kind="stable")
    same, differ = same[order], differ[order]
    return float((same * (1 - differ.cumsum() + differ / 2)).sum())


def missing(votes: Votes, odds: Floats) -> tuple[float, float, float]:
    """Of labels that never leave: their share, how often the owner of one is guessed among the crowd's, and pairs.

    The guess is the session of the crowd that misses most; pairs, how often two that a crowd misses are of one session.
    """
    lost = 1 - odds.sum(axis=1).round(12)
    workers, crowds = int(votes.worker.max()) + 1, int(votes.crowd.max()) + 1
    given = counts_of(votes.crowd, votes.worker, (crowds, workers), lost)
    total = given.sum()
    if not total:
        return 0.0, 0.0, 0.0
    of_crowd = np.maximum(given.sum(axis=1, keepdims=True), 1e-12)
    return float(lost.mean()), float(given.max(axis=1).sum() / total), float((given**2 / of_crowd).sum() / total)


def _seen(votes: Votes, odds: Floats, workers: int, *, sees_right: bool) -> Floats:
    """(n, levels * 2) how likely each label is seen with each level, and right or wrong as often as its voter is."""
    if not sees_right:
        return odds
    right = np.bincount(votes.worker, votes.is_right, workers) / np.maximum(np.bincount(votes.worker, None, workers), 1)
    chance = np.stack([1 - right, right], axis=1)[votes.worker]
    return (odds[:, :, None] * chance[:, None, :]).reshape(len(votes), -1)


def _summed(rows: Ints, values: Floats, count: int) -> Floats:
    found = np.zeros((count, values.shape[1]))
    np.add.at(found, rows, values)
    return found


def _worst(by_level: Floats) -> float:
    """How much better a watcher does on the labels of some level than the largest share of their crowds.

    Args:
        by_level: (crowds, sessions, levels)
    """
    of_crowd = by_level.sum(axis=1)
    of_level = of_crowd.sum(axis=0)
    largest = by_level.sum(axis=2).max(axis=1) / of_crowd.sum(axis=1)
    best = by_level.max(axis=1).sum(axis=0)
    seen = of_level > 0
    return float(((best - largest @ of_crowd)[seen] / of_level[seen]).max())
