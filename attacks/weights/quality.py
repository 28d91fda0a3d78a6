"""What the door can tell of a voter's quality on a day, by gold tasks and by agreement. Pure.

Only what the door has seen by the release of a crowd counts for the labels of that crowd: those that left before cannot
be called back.
"""

from enum import StrEnum

import numpy as np

from attacks.weights.votes import Bools, Floats, Votes, counts_of

PRIOR_VOTES = 4.0
"""A voter of whom little is known is taken to be like the others: so many votes of the average are added to its own."""


class Source(StrEnum):
    """What a voter's answers are held against."""

    GOLD = "gold"
    AGREEMENT = "agreement"
    BOTH = "gold and agreement"


class Memory(StrEnum):
    """How long the door remembers how a voter did."""

    CROWD = "the crowd"
    DAY = "the day"


def estimates(votes: Votes, is_gold: Bools, source: Source, memory: Memory = Memory.DAY) -> Floats:
    """(n,) how often the voter of each vote is right, as the door takes it to be when the vote's crowd leaves, 0 to 1.

    Args:
        is_gold: (tasks,) whose right answer the door knows.
    """
    estimate = np.empty(len(votes))
    workers = int(votes.worker.max()) + 1
    for crowd in range(int(votes.crowd.max()) + 1):
        here = votes.crowd == crowd
        seen = votes.crowd <= crowd if memory is Memory.DAY else here
        right, judged = np.zeros(workers), np.zeros(workers)
        for is_right, counts in _judgements(votes, seen, is_gold, source):
            right += np.bincount(votes.worker[seen], counts & is_right, workers)
            judged += np.bincount(votes.worker[seen], counts, workers)
        mean = right.sum() / max(judged.sum(), 1.0)
        quality = (right + PRIOR_VOTES * mean) / (judged + PRIOR_VOTES)
        estimate[here] = quality[votes.worker[here]]
    return estimate


def _judgements(votes: Votes, seen: Bools, is_gold: Bools, source: Source) -> list[tuple[Bools, Bools]]:
    """Of the votes seen, whether each was right, and whether that can be told; once for every source."""
    found = []
    if source is not Source.AGREEMENT:
        found.append((votes.is_right[seen], is_gold[votes.task[seen]]))
    if source is not Source.GOLD:
        is_agreed, is_judged = _agreement(votes, seen)
        found.append((is_agreed, is_judged & ~is_gold[votes.task[seen]] if source is Source.BOTH else is_judged))
    return found


def _agreement(votes: Votes, seen: Bools) -> tuple[Bools, Bools]:
    """Whether each vote is what most others on its task say, and whether most others say one thing."""
    task, answer = votes.task[seen], votes.answer[seen]
    others = counts_of(task, answer, (len(votes.truth), votes.answers))[task]
    others[np.arange(len(task)), answer] -= 1
    most = others.max(axis=1)
    is_judged = (most > 0) & ((others == most[:, None]).sum(axis=1) == 1)
    return others.argmax(axis=1) == answer, is_judged
