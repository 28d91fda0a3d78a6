"""What no door can hide, measured: two ways of running a labeling service that give away who answered what.

Neither is a bar. They show what whoever hands out tasks has to know (docs/privacy.md, limits), and that the attacks do
find a leak that is outside of the pipeline.
"""

from random import Random

import msgspec
import numpy as np

from attacks.linkage import attackers
from attacks.linkage.bounds import Share, share
from attacks.linkage.evaluation import largest_shares, success
from attacks.linkage.in_process import record_in_process
from attacks.linkage.traffic import closing_posts, day_of_posts
from attacks.linkage.views import activity_of, at_rest, crowds_of, watched

CHANGED = 0.05


class Limit(msgspec.Struct, frozen=True):
    """One practice, and what it costs.

    Attributes:
        practice: of the service, in words.
        adversary: who profits.
        found: success of the best attack on the labels concerned.
        chance: what is guessed right without it.
    """

    practice: str
    adversary: str
    found: Share
    chance: float


def measured_limits(seed: int, *, sessions: int, answers: int, tasks: int) -> list[Limit]:
    """Records two days in process, and attacks them."""
    return [
        _changed_answers(seed, sessions=sessions, answers=answers, tasks=tasks),
        _tasks_in_turn(seed, sessions=sessions, answers=answers, tasks=tasks),
    ]


def _changed_answers(seed: int, *, sessions: int, answers: int, tasks: int) -> Limit:
    rng = Random(seed)
    posts = day_of_posts(rng, sessions=sessions, answers=answers, tasks=tasks, changed=CHANGED)
    recording = record_in_process([*posts, *closing_posts(40, 4)], rng)
    view, crowds = watched(recording), crowds_of(recording)
    guesses = attackers.by_both_crowds(view, activity_of(recording), crowds)
    right = sum(view.owner[index] == guess for index, guess in guesses.items())
    return Limit(
        "a session changes an answer, and it leaves again in a later crowd",
        "watcher",
        share(right, len(guesses)),
        float(largest_shares(view)[list(guesses)].mean()),
    )


def _tasks_in_turn(seed: int, *, sessions: int, answers: int, tasks: int) -> Limit:
    rng = Random(seed)
    posts = day_of_posts(rng, sessions=sessions, answers=answers, tasks=tasks, in_turn=True)
    recording = record_in_process([*posts, *closing_posts(40, 4)], rng)
    view = at_rest(recording)
    told = np.random.default_rng(seed).permutation(len(view)) % 2 == 0
    found = max(
        (
            success(view, ~told, guesses)
            for guesses in (attackers.by_neighbour(view, told), attackers.Forest(view, told, seed).guess())
        ),
        key=lambda one: one.value,
    )
    chance = success(view, ~told, attackers.best_guess_without_labels(view, told))
    return Limit("tasks are handed out in the order of their names", "at rest", found, chance.value)
