"""Real answers as the door releases them, in numbers. Pure but for `truth_of`."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import msgspec
import numpy as np
from numpy.typing import NDArray

from attacks.linkage.crowd_shares import Given, released_crowds
from processors.door.crowd import CrowdRule

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Votes(msgspec.Struct, frozen=True):
    """n answers of one day, crowd by crowd.

    Attributes:
        worker: (n,) from 0. No attacker and no analyst has it; the door knows it as a pseudonym of the day.
        task, answer, crowd: (n,) from 0; crowds in the order of their release.
        truth: (tasks,) the right answer of each task.
        names: (n,) whose each is and the task, as the data set calls them.
    """

    worker: Ints
    task: Ints
    answer: Ints
    crowd: Ints
    truth: Ints
    names: Sequence[tuple[str, str]] = ()

    def __len__(self) -> int:
        return len(self.worker)

    @property
    def answers(self) -> int:
        """How many answers there are to choose from."""
        return int(max(self.answer.max(), self.truth.max())) + 1

    @property
    def is_right(self) -> Bools:
        """(n,)"""
        right: Bools = self.answer == self.truth[self.task]
        return right


def truth_of(file: Path) -> dict[str, str]:
    """The right answer of each task, from a CSV file with the columns question and truth.

    Raises:
        OSError: it cannot be read.
    """
    with file.open(newline="") as lines:
        return {row["question"]: row["truth"] for row in csv.DictReader(lines)}


def released_votes(
    given: Sequence[Given], truth: Mapping[str, str], rng: Random, rule: CrowdRule, hours: float
) -> Votes:
    """What leaves the door of answers that come evenly within `hours`; what it holds at their end is left out."""
    tasks = {name: number for number, name in enumerate(sorted(truth))}
    workers = {name: number for number, name in enumerate(sorted({one.worker for one in given}))}
    answers = {name: number for number, name in enumerate(sorted({one.answer for one in given} | set(truth.values())))}
    left = released_crowds(given, rng, rule, hours).crowds
    flat = [one for crowd in left for one in crowd]
    return Votes(
        worker=np.array([workers[one.worker] for one in flat]),
        task=np.array([tasks[one.task] for one in flat]),
        answer=np.array([answers[one.answer] for one in flat]),
        crowd=np.repeat(np.arange(len(left)), [len(crowd) for crowd in left]),
        truth=np.array([answers[truth[name]] for name in tasks]),
        names=[(one.worker, one.task) for one in flat],
    )


def counts_of(rows: Ints, columns: Ints, shape: tuple[int, int], weight: Floats | None = None) -> Floats:
    """How often, or with which weight, each pair of a row and a column comes."""
    flat = np.bincount(rows * shape[1] + columns, weight, shape[0] * shape[1])
    return flat.reshape(shape).astype(np.float64)
