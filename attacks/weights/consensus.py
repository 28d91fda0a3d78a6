"""How many tasks a consensus gets right, with weights and without, and what is to be had with the voters' ids. Pure.

Source: A. P. Dawid and A. M. Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm",
Applied Statistics 28(1), 1979.
"""

import numpy as np

from attacks.weights.votes import Bools, Floats, Ints, Votes, counts_of

SMOOTHING = 1.0
EM_ROUNDS = 50


def credit(scores: Floats, truth: Ints) -> Floats:
    """(tasks,) 1 where the right answer alone has the highest score; of a tie, or without a vote, its chance by lot.

    Args:
        scores: (tasks, answers)
    """
    is_best = np.isclose(scores, scores.max(axis=1, keepdims=True))
    found: Floats = is_best[np.arange(len(truth)), truth] / is_best.sum(axis=1)
    return found


def plain_majority(votes: Votes, stays: Bools | None = None) -> Floats:
    """(tasks, answers) the votes of those that stay."""
    weight = np.ones(len(votes)) if stays is None else stays.astype(np.float64)
    return counts_of(votes.task, votes.answer, (len(votes.truth), votes.answers), weight)


def weighted_majority(votes: Votes, level: Ints, is_gold: Bools) -> Floats:
    """(tasks, answers) the sums of each level's weight: the logarithm of the odds by which it is right on gold tasks.

    That is the best weight for independent voters with equal errors (Nitzan and Paroush, 1982).

    Args:
        level: (n,) of each label as released; -1 where it never left.
    """
    scores = np.zeros((len(votes.truth), votes.answers))
    for one in np.unique(level[level >= 0]).tolist():
        here = level == one
        known = votes.is_right[here & is_gold[votes.task]]
        right = (known.sum() + SMOOTHING) / (len(known) + SMOOTHING * votes.answers)
        weight = np.log(right * (votes.answers - 1) / (1 - right))
        scores += weight * plain_majority(votes, here)
    return scores


def at_the_door(votes: Votes, estimate: Floats, votes_min: int = 2) -> tuple[Floats, Floats]:
    """What the door could say of each task of a crowd instead of weights: which answer its voters' qualities make win.

    It says nothing where that is the answer with most of the crowd's votes, or where the crowd has fewer than
    `votes_min`. Elsewhere that answer gets the votes that it lacks, and half a vote.

    Returns:
        (tasks, answers) votes with the door's, and (n, 3) whether nothing is said of a label's task, or that the
        label's answer wins, or another.
    """
    quality = np.clip(estimate, 0.01, 0.99)
    weight = np.log(quality * (votes.answers - 1) / (1 - quality))
    place = votes.crowd * len(votes.truth) + votes.task
    of_crowd = (int(votes.crowd.max()) + 1, len(votes.truth), votes.answers)
    flat = (of_crowd[0] * of_crowd[1], votes.answers)
    counted, weighed = (counts_of(place, votes.answer, flat, one) for one in (np.ones(len(votes)), weight))
    winner = weighed.argmax(axis=1)
    rows = np.arange(len(winner))
    ordered = np.sort(counted, axis=1)
    says = (counted[rows, winner] < ordered[:, -1]) | (ordered[:, -1] == ordered[:, -2])
    says &= counted.sum(axis=1) >= votes_min
    counted[rows[says], winner[says]] = ordered[says, -1] + 0.5
    level = np.where(says[place], np.where(votes.answer == winner[place], 1, 2), 0)
    return counted.reshape(of_crowd).sum(axis=0), np.eye(3)[level]


def dawid_skene(votes: Votes, worker: Ints, is_gold: Bools | None = None) -> Floats:
    """(tasks, answers) logarithms of how likely each answer is, by expectation maximisation.

    Args:
        worker: (n,) whose table of errors applies: the voter's, or one of all voters.
        is_gold: (tasks,) whose right answer is known, if any.
    """
    tasks, answers = len(votes.truth), votes.answers
    counted = plain_majority(votes)
    known = np.eye(answers)[votes.truth]
    likely = counted / np.maximum(counted.sum(axis=1, keepdims=True), 1.0)
    scores: Floats = likely
    for _ in range(EM_ROUNDS):
        if is_gold is not None:
            likely = np.where(is_gold[:, None], known, likely)
        share = np.log(likely.sum(axis=0) / likely.sum())
        # (workers, answers given, right answers)
        table = np.full((int(worker.max()) + 1, answers, answers), SMOOTHING / answers)
        np.add.at(table, (worker, votes.answer), likely[votes.task])
        table = np.log(table / table.sum(axis=1, keepdims=True))
        scores = np.tile(share, (tasks, 1))
        np.add.at(scores, votes.task, table[worker, votes.answer])
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        likely = odds / odds.sum(axis=1, keepdims=True)
    return scores


def difference_interval(
    one: Floats, other: Floats, rng: np.random.Generator, rounds: int = 2_000
) -> tuple[float, float]:
    """95 % interval of the mean of `one` less that of `other`, by a bootstrap over tasks.

    Args:
        one, other: (tasks,) credit of the same tasks; NaN where a task does not count.
    """
    difference = (one - other)[~np.isnan(one - other)]
    means = [rng.choice(difference, len(difference)).mean() for _ in range(rounds)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
