"""The crowds that real answers make: how many, and the largest share of one voter; pure but for `answers_of`.

Source of the answers: Zheng et al., "Truth Inference in Crowdsourcing: Is the Problem Solved?", PVLDB 10(5), 2017.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

import msgspec

from attacks.linkage.in_process import SITE, START_MS
from ingest.encode.pseudonym import day_of_event, voter_of
from processors.door.crowd import Crowd, CrowdRule, Held
from processors.door.deidentify import deidentify, rank
from processors.masking.mask import mask
from schemas.events import IdentifiedLabel

HOUR_MS = 3_600_000


class Given(msgspec.Struct, frozen=True):
    """One answer of a data set."""

    task: str
    worker: str
    answer: str


class ReleasedCrowds(msgspec.Struct, frozen=True):
    """Answers as they leave the door.

    Attributes:
        crowds: the answers of each crowd, in the order of their release.
        largest_shares: of each crowd, that of the worker who gave most of it.
        held: still waiting when the last answer was in and its wait over.
        suppressed: that never leave.
    """

    crowds: list[list[Given]]
    largest_shares: list[float]
    held: int
    suppressed: int


class CrowdsOfAnswers(msgspec.Struct, frozen=True):
    """What the door makes of some answers.

    Attributes:
        order: in which they came, in words.
        share_mean: of the largest voter of a crowd, averaged over released labels.
        share_max: of any crowd.
        labels_median: of a crowd.
        held: still waiting when the last answer was in and its wait over.
        majorities_equal: of `tasks`; the answer with most votes is the same behind the door, and of a tie the first.
    """

    order: str
    crowds: int
    share_mean: float
    share_max: float
    labels_median: int
    labels_max: int
    released: int
    held: int
    suppressed: int
    tasks: int
    majorities_equal: int


def answers_of(file: Path) -> list[Given]:
    """The answers of a CSV file with the columns question, worker and answer.

    Raises:
        OSError: it cannot be read.
    """
    with file.open(newline="") as lines:
        return [Given(row["question"], row["worker"], row["answer"]) for row in csv.DictReader(lines)]


def orders_of(answers: Sequence[Given], rng: Random) -> dict[str, list[Given]]:
    """The same answers as they may come: one worker after the other, or all at the same time."""
    by_worker = sorted(answers, key=lambda given: given.worker)  # stable: a worker's own order stays
    return {
        "as in the file": list(answers),
        "worker by worker": by_worker,
        "interleaved": rng.sample(list(answers), len(answers)),
    }


def released_crowds(answers: Sequence[Given], rng: Random, rule: CrowdRule, hours: float = 0.0) -> ReleasedCrowds:
    """Sends the answers, as one labeled event each, through the edge's and the door's pure code.

    Args:
        hours: in which they come, evenly; a last record, of nobody among them, comes when the wait of all is over.
    """
    edge_key, epoch_key = rng.randbytes(32), rng.randbytes(32)
    day = day_of_event(START_MS, START_MS)
    crowd = Crowd(rule)
    given_of: dict[str, Given] = {}
    left: list[list[Given]] = []
    shares: list[float] = []

    def leave() -> None:
        release = crowd.release()
        left.append([given_of[label.row_id] for label in release.labels])
        shares.append(release.largest_share)

    for number, given in enumerate(answers):
        voter = voter_of(SITE, given.worker, edge_key)
        label = deidentify(
            IdentifiedLabel(voter=voter, day=day, kind="image_label", task=given.task, answer=given.answer),
            epoch_key,
            mask,
        )
        given_of[label.row_id] = given
        at_ms = START_MS + round(number * hours * HOUR_MS / len(answers))
        crowd.add(voter, given.task, Held(at_ms, label, rank(voter, given.task, epoch_key)))
        if crowd.complete():
            leave()
    crowd.pass_time(START_MS + round(hours * HOUR_MS) + rule.wait_ms)
    if crowd.complete():
        leave()
    return ReleasedCrowds(left, shares, crowd.labels, crowd.suppressed.total())


def crowds_of_answers(
    answers: Sequence[Given], order: str, rng: Random, rule: CrowdRule, hours: float = 0.0
) -> CrowdsOfAnswers:
    """What `released_crowds` makes of the answers, in figures."""
    left = released_crowds(answers, rng, rule, hours)
    sizes = [len(crowd) for crowd in left.crowds]
    votes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for given in (given for crowd in left.crowds for given in crowd):
        votes[given.task][given.answer] += 1
    released = sum(sizes)
    weighted = sum(size * one for size, one in zip(sizes, left.largest_shares, strict=True))
    return CrowdsOfAnswers(
        order=order,
        crowds=len(sizes),
        share_mean=weighted / released if released else 0.0,
        share_max=max(left.largest_shares, default=0.0),
        labels_median=sorted(sizes)[len(sizes) // 2] if sizes else 0,
        labels_max=max(sizes, default=0),
        released=released,
        held=left.held,
        suppressed=left.suppressed,
        tasks=len(before := majorities_of((given.task, given.answer) for given in answers)),
        majorities_equal=sum(_majority(votes[task]) == answer for task, answer in before.items()),
    )


def majorities_of(answers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """(task, answer) pairs -> each task's answer with most votes, of a tie the first by name."""
    votes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for task, answer in answers:
        votes[task][answer] += 1
    return {task: _majority(counted) for task, counted in votes.items()}


def _majority(votes: Counter[str]) -> str:
    return min(votes, key=lambda answer: (-votes[answer], answer), default="")


def pairs_below(answers: Iterable[Given], k: int) -> tuple[int, int]:
    """How many (task, answer) pairs fewer than `k` voters gave, and how many pairs there are."""
    voters: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for given in answers:
        voters[(given.task, given.answer)].add(given.worker)
    counted = Counter(len(who) for who in voters.values())
    return sum(pairs for number, pairs in counted.items() if number < k), counted.total()
