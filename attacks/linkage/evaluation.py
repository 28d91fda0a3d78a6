"""Runs every attack on both sides of the door, and judges it by the bars of docs/privacy.md."""

from collections import Counter
from collections.abc import Callable
from typing import Literal

import msgspec
import numpy as np

from attacks.linkage import attackers
from attacks.linkage.attackers import Bools, Guesses
from attacks.linkage.bounds import Share, share
from attacks.linkage.recording import Recording
from attacks.linkage.views import Crowds, View, activity_of, at_rest, before_the_door, crowds_of, watched

CONTROL_MIN = 0.9
MARGIN = 0.01
TRIES_MIN = 20_000
PAIRS = 200_000
PAIRS_BEFORE = 40_000  # a control needs no tight bound

Say = Callable[[str], None]
"""Told what is being done, for a progress bar."""


class Result(msgspec.Struct, frozen=True):
    """What came of one attack.

    Attributes:
        adversary: who attacks.
        before: success on the stream before the door, the positive control.
        after: success on what left the door.
        chance: what is guessed right without looking at a label.
        bar: what `after` may reach at most.
    """

    adversary: Literal["at rest", "watcher"]
    attack: str
    before: Share
    after: Share
    chance: float
    bar: float

    @property
    def sees(self) -> bool:
        """Whether the control is good enough for the attack to prove anything."""
        return self.before.value >= CONTROL_MIN

    @property
    def holds(self) -> bool:
        """Whether the pipeline withstood it: by the upper 99 % bound, not by luck."""
        return self.after.upper <= self.bar


class PairResult(msgspec.Struct, frozen=True):
    """How well "same session?" was told.

    Attributes:
        before, after: areas under the curve.
        pairs: scored on each side.
    """

    before: float
    after: float
    pairs: int

    @property
    def sees(self) -> bool:
        return self.before >= CONTROL_MIN

    @property
    def holds(self) -> bool:
        return abs(self.after - 0.5) <= MARGIN


class CrowdShares(msgspec.Struct, frozen=True):
    """The crowds of the day.

    Attributes:
        crowds: how many were complete.
        members: their least number.
        labels: of the smallest, the median and the largest crowd.
        share_mean: of the largest voter, averaged over labels: what a watcher guesses by knowing the members' shares.
        share_max: of any crowd.
        as_the_rule_says: whether the crowds released are those that the rule makes of the labeled topic.
    """

    crowds: int
    members: int
    labels: tuple[int, int, int]
    share_mean: float
    share_max: float
    as_the_rule_says: bool


class Report(msgspec.Struct, frozen=True):
    """Everything that one run of the attacks found."""

    source: str
    sessions: int
    labels: int
    results: list[Result]
    pairs: PairResult
    crowds: CrowdShares

    @property
    def holds(self) -> bool:
        """Whether every attack could see before the door and none after it, in tries enough to tell."""
        attacks = all(one.sees and one.holds and one.after.tries >= TRIES_MIN for one in self.results)
        return self.crowds.as_the_rule_says and attacks and self.pairs.sees and self.pairs.holds


class _Efforts(msgspec.Struct, frozen=True):
    seed: int
    trees: int
    rounds: int


def evaluate(
    recording: Recording,
    seed: int = 1,
    *,
    pairs: int = PAIRS,
    trees: int = 100,
    rounds: int = 100,
    say: Say = lambda _: None,
) -> Report:
    """Attacks a recorded day.

    Args:
        pairs: for "same session?".
        trees, rounds: effort of the classifiers.
    """
    efforts = _Efforts(seed, trees, rounds)
    say("reading the recording")
    before, rest, watch = before_the_door(recording), at_rest(recording), watched(recording)
    crowds = crowds_of(recording)
    results = [
        *_at_rest(recording, before, rest, efforts, say),
        *_watcher(recording, before, watch, crowds, efforts, say),
    ]
    say("at rest: same session?")
    aucs = [
        attackers.same_session_auc(view, np.random.default_rng(seed), count, rounds)
        for view, count in ((before, min(pairs, PAIRS_BEFORE)), (rest, pairs))
    ]
    return Report(
        source=recording.source,
        sessions=len(set(rest.owner)),
        labels=len(rest),
        results=results,
        pairs=PairResult(aucs[0][0], aucs[1][0], pairs),
        crowds=_shares(recording, watch),
    )


def _at_rest(recording: Recording, before: View, after: View, efforts: _Efforts, say: Say) -> list[Result]:
    """Half of the labels are told, at random; the other half is guessed."""
    activity = activity_of(recording)
    sides: list[tuple[View, Bools, Guesses]] = []
    for view in (before, after):
        told = np.random.default_rng(efforts.seed).permutation(len(view)) % 2 == 0
        sides.append((view, told, attackers.best_guess_without_labels(view, told)))
    view, told, guesses = sides[1]
    chance = success(view, ~told, guesses).value
    attacks: dict[str, Callable[[View, Bools], Guesses]] = {
        "time or order": lambda view, _: attackers.by_time(view, activity),
        "adjacency in order": attackers.by_neighbour,
        "adjacency of row_id": attackers.by_pseudonym_neighbour,
        "one vote a task": attackers.by_elimination,
        "classifier, every field": lambda view, told: attackers.Forest(view, told, efforts.seed, efforts.trees).guess(),
    }
    results = []
    for name, attack in attacks.items():
        say(f"at rest: {name}")
        found = [success(view, ~told, attack(view, told)) for view, told, _ in sides]
        results.append(Result("at rest", name, found[0], found[1], chance, chance + MARGIN))
    return results


def _watcher(
    recording: Recording, before: View, after: View, crowds: Crowds, efforts: _Efforts, say: Say
) -> list[Result]:
    """Half of the crowds are told, at random; the labels of the others are guessed."""
    activity = activity_of(recording)
    told_crowds = np.random.default_rng(efforts.seed).permutation(len(crowds.members)) % 2 == 0
    sides = [(view, told_crowds[view.crowd]) for view in (before, after)]
    chance = float(largest_shares(after)[~sides[1][1]].mean())
    attacks: dict[str, Callable[[View, Bools], Guesses]] = {
        "time of release": lambda view, _: attackers.by_time_among(view, activity, crowds),
        "order of release": lambda view, _: attackers.by_order_among(view, activity, crowds),
        "classifier, every field": lambda view, told: attackers.Forest(
            view, told, efforts.seed, efforts.trees
        ).guess_among(crowds),
        "classifier of members": lambda view, told: attackers.by_member(
            view, told, activity, crowds, efforts.seed, efforts.rounds
        ),
    }
    results = []
    for name, attack in attacks.items():
        say(f"watcher: {name}")
        found = [success(view, ~told, attack(view, told)) for view, told in sides]
        results.append(Result("watcher", name, found[0], found[1], chance, chance + MARGIN))
    return results


def success(view: View, hidden: Bools, guesses: Guesses) -> Share:
    """How many of the hidden labels were guessed right."""
    right = sum(view.owner[index] == guesses[index] for index in np.flatnonzero(hidden).tolist())
    return share(int(right), int(hidden.sum()))


def largest_shares(view: View) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Gives for each label the share of its crowd's labels that the crowd's largest voter gave."""
    counts: dict[int, Counter[str]] = {}
    for number, owner in zip(view.crowd.tolist(), view.owner, strict=True):
        counts.setdefault(number, Counter())[owner] += 1
    largest = {number: max(counted.values()) / counted.total() for number, counted in counts.items()}
    return np.array([largest[number] for number in view.crowd.tolist()])


def _shares(recording: Recording, view: View) -> CrowdShares:
    shares = largest_shares(view)
    sizes = sorted(len(crowd.votes) for crowd in recording.truth.crowds)
    return CrowdShares(
        crowds=len(sizes),
        members=min(len(crowd.members) for crowd in recording.truth.crowds),
        labels=(sizes[0], sizes[len(sizes) // 2], sizes[-1]),
        share_mean=float(shares.mean()),
        share_max=float(shares.max()),
        as_the_rule_says=_as_the_rule_says(recording),
    )


def _as_the_rule_says(recording: Recording) -> bool:
    """Whether each partition of the released topic holds the crowds of the rule, in turn, sorted by row_id."""
    partitions = {one.partition for one in recording.released}
    for partition in partitions:
        released = [one for one in recording.released if one.partition == partition]
        released.sort(key=lambda one: one.offset)
        here = {one.row.vote for one in released}
        expected = [vote for crowd in recording.truth.crowds for vote in crowd.votes if vote in here]
        if [one.row.vote for one in released] != expected:
            return False
    return sum(len(crowd.votes) for crowd in recording.truth.crowds) == len(recording.released)
