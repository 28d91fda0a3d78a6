"""What is done to the doors and their broker, and when: all of it decided by the seed. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from random import Random


class Fault(StrEnum):
    """What is done."""

    KILL = "killed"  # SIGKILL, and started again at once
    STOP = "stopped"  # SIGTERM, which has to end with 0, and started again at once
    PAUSE = "paused"  # SIGSTOP until its session is over and others have its partitions, then SIGCONT: a zombie
    HANG = "hung"  # its loop stops for good while its heartbeats go on: only its watchdog can end it
    LEAVE = "away"  # SIGTERM; the others go on without it, then it joins again
    BROKER = "broker restarted"  # SIGKILL or SIGTERM of the broker under all of them


class Moment(StrEnum):
    """When it is done."""

    STARTING = "while it starts"
    WORKING = "at any time while it works"
    RELEASING = "as a release arrives"
    COMMITTING = "as a commit arrives"


def schedule(counts: Mapping[Fault, int], rng: Random) -> list[tuple[Fault, Moment]]:
    """Every fault as often as asked, shuffled, each with its moment; what starts is only killed."""
    faults = [fault for fault in Fault for _ in range(counts.get(fault, 0))]
    rng.shuffle(faults)
    return [(fault, _moment(fault, rng)) for fault in faults]


def _moment(fault: Fault, rng: Random) -> Moment:
    weights = (1 if fault is Fault.KILL else 0, 2, 4, 2)
    return rng.choices(list(Moment), weights=weights)[0]
