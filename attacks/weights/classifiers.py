"""The linkage attacks' classifiers on real answers, given the weight as one more field and the right answers. Pure."""

from collections.abc import Mapping, Sequence
from random import Random

import msgspec
import numpy as np

from attacks.linkage import attackers
from attacks.linkage.bounds import Share
from attacks.linkage.crowd_shares import Given
from attacks.linkage.evaluation import MARGIN, largest_shares, success
from attacks.linkage.in_process import record_in_process
from attacks.linkage.recording import Recording
from attacks.linkage.traffic import Answer, Post
from attacks.linkage.views import View, at_rest, crowds_of, watched
from attacks.weights.quality import estimates
from attacks.weights.rules import Rule, drawn, odds_of
from attacks.weights.votes import Floats, Votes

PAIRS = 100_000

Fields = Mapping[tuple[str, str], tuple[float, float]]
"""Session and task -> the level that the label left with, and whether its answer is right; none if it never left."""


class Attacked(msgspec.Struct, frozen=True):
    """What the classifiers found with one rule, or with none.

    Attributes:
        rest, watcher: of the labels that they had to guess.
        rest_share, watcher_share: the best guess without looking at a label.
        pairs: area under the curve of "same session?".
    """

    rest: Share
    rest_share: float
    watcher: Share
    watcher_share: float
    pairs: float

    @property
    def holds(self) -> bool:
        """Whether every bar is held, by the upper 99 % bounds."""
        of_rest, of_watcher = self.rest.upper - self.rest_share, self.watcher.upper - self.watcher_share
        return max(of_rest, of_watcher, abs(self.pairs - 0.5)) <= MARGIN


def recorded(given: Sequence[Given], rng: Random, crowd_target: int) -> Recording:
    """A day on which real workers gave their answers in any order, with a signal beside each."""
    posts = [
        Post(one.worker, (Answer(one.worker, one.task, one.answer, "image_label"),))
        for one in rng.sample(list(given), len(given))
    ]
    return record_in_process(posts, rng, crowd_target=crowd_target)


def votes_of(recording: Recording, given: Sequence[Given], truth: Mapping[str, str]) -> Votes:
    """The recorded day, in numbers."""
    answer_of = {(one.worker, one.task): one.answer for one in given}
    owner_of = recording.truth.owner_of_vote
    rows = [
        (number, owner_of[vote], vote.partition(" ")[2])
        for number, crowd in enumerate(recording.truth.crowds)
        for vote in crowd.votes
    ]
    tasks = {name: number for number, name in enumerate(sorted(truth))}
    workers = {name: number for number, name in enumerate(sorted({owner for _, owner, _ in rows}))}
    answers = {name: number for number, name in enumerate(sorted({*answer_of.values(), *truth.values()}))}
    return Votes(
        worker=np.array([workers[owner] for _, owner, _ in rows]),
        task=np.array([tasks[task] for _, _, task in rows]),
        answer=np.array([answers[answer_of[(owner, task)]] for _, owner, task in rows]),
        crowd=np.array([number for number, _, _ in rows]),
        truth=np.array([answers[truth[name]] for name in tasks]),
        names=[(owner, task) for _, owner, task in rows],
    )


def fields_of(votes: Votes, rule: Rule | None, gold_share: float, rng: np.random.Generator) -> Fields:
    """What each label leaves with."""
    levels = np.zeros(len(votes), dtype=np.int64)
    if rule is not None:
        is_gold = rng.random(len(votes.truth)) < gold_share
        levels = drawn(odds_of(rule, votes, estimates(votes, is_gold, rule.source, rule.memory)), rng)
    seen = zip(votes.names, levels.tolist(), votes.is_right.tolist(), strict=True)
    return {name: (float(level), float(is_right)) for name, level, is_right in seen if level >= 0}


def with_fields(view: View, fields: Fields) -> View:
    """The labels that leave, with both fields."""
    names = list(zip(view.owner, view.task, strict=True))
    stays = [place for place, name in enumerate(names) if name in fields]
    added: Floats = np.array([fields[names[place]] for place in stays])
    return View(
        owner=[view.owner[place] for place in stays],
        task=[view.task[place] for place in stays],
        pseudonym=[view.pseudonym[place] for place in stays],
        at=view.at[stays],
        place=view.place[stays],
        log=view.log[stays],
        features=np.hstack([view.features[stays], added]),
        crowd=view.crowd[stays],
    )


def attacked(recording: Recording, fields: Fields, seed: int) -> Attacked:
    """Half of the labels are told at rest, and half of the crowds to the watcher; the others are guessed."""
    rest, watch, crowds = (
        with_fields(at_rest(recording), fields),
        with_fields(watched(recording), fields),
        crowds_of(recording),
    )
    rng = np.random.default_rng(seed)
    told = rng.permutation(len(rest)) % 2 == 0
    told_crowds = rng.permutation(len(crowds.members)) % 2 == 0
    told_watch = told_crowds[watch.crowd]
    busiest = attackers.best_guess_without_labels(rest, told)
    pairs, _ = attackers.same_session_auc(rest, rng, PAIRS)
    return Attacked(
        rest=success(rest, ~told, attackers.Forest(rest, told, seed).guess()),
        rest_share=success(rest, ~told, busiest).value,
        watcher=success(watch, ~told_watch, attackers.Forest(watch, told_watch, seed).guess_among(crowds)),
        watcher_share=float(largest_shares(watch)[~told_watch].mean()),
        pairs=pairs,
    )
