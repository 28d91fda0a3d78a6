"""Pure: from a seed, which fault hits which part in which round, and when.

A scene is a stack with what its faults need: `up` is `unjoin up` as it is; in `wires` Kafka answers through a proxy,
engine and spool lie on small disks of their own, and a second sink writes to a ClickHouse server; in `clock` every
role reads its time through libfaketime. Rounds of a scene follow each other on one stack.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from schemas.outcomes import UnjoinError

Scene = Literal["up", "wires", "clock"]

ROUNDS_OF_A_STAGE_MAX = 20
MOMENT_SECONDS = (0.2, 1.5)
CROWDS = (5, 1)


class PlanError(UnjoinError):
    """What was asked for is not in the plan; the text says what is."""


class Kind(msgspec.Struct, frozen=True):
    """A fault of a part.

    Attributes:
        weight: how many of 200 rounds.
    """

    part: str
    fault: str
    weight: int
    scene: Scene = "up"

    @property
    def name(self) -> str:
        return f"{self.part}:{self.fault}"


KINDS = (
    *(Kind(part, "SIGKILL", 17) for part in ("collector", "kafka", "processor", "sink")),
    Kind("engine", "SIGKILL", 24),
    *(Kind(part, "SIGTERM", 8) for part in ("collector", "kafka", "processor", "sink")),
    *(Kind(part, "SIGSTOP", 3) for part in ("collector", "kafka", "processor", "sink")),
    *(Kind(part, "storm", 5) for part in ("processor", "sink")),
    *(Kind(part, "reset", 5, "wires") for part in ("collector", "processor", "sink")),
    *(Kind(part, "lost-replies", 5, "wires") for part in ("collector", "processor", "sink")),
    *(Kind("server", fault, 5, "wires") for fault in ("reset", "lost-reply", "SIGKILL")),
    *(Kind(part, "disk-full", 4, "wires") for part in ("sink", "spool")),
    *(Kind("clock", fault, 3, "clock") for fault in ("ahead", "back")),
)


class Round(msgspec.Struct, frozen=True):
    """One round.

    Attributes:
        number: from 1; the same in a replay.
        moment_s: from the round's begin to the fault.
    """

    number: int
    kind: Kind
    seed: int
    moment_s: float

    def chance(self) -> random.Random:
        """Whatever else the fault leaves to chance."""
        return random.Random(f"{self.seed}-{self.number}-fault")


class Stage(msgspec.Struct, frozen=True):
    """Rounds on one stack.

    Attributes:
        crowd_min: sessions whose labels leave the door together; 1 for no crowds.
    """

    scene: Scene
    crowd_min: int
    rounds: tuple[Round, ...]


def plan(
    seed: int, count: int, only: Sequence[str] = (), number: int | None = None, scenes: Sequence[str] = ()
) -> tuple[Stage, ...]:
    """The stages of a run.

    Args:
        only: names of kinds, `sink:SIGKILL`; all of them where empty.
        number: of the one round of the whole run to replay.
        scenes: those whose faults this machine can make; all of them where empty.

    Raises:
        PlanError: there is no such kind or round.
    """
    known = {kind.name for kind in KINDS}
    if unknown := sorted(set(only) - known):
        raise PlanError(f"there is no fault {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    kinds = [kind for kind in KINDS if (not only or kind.name in only) and (not scenes or kind.scene in scenes)]
    if not kinds:
        raise PlanError("none of these faults can be made on this machine")
    weights = {kind: 1 if only else kind.weight for kind in kinds}
    stages = _numbered(seed, _staged(random.Random(f"{seed}-plan"), _chosen(random.Random(seed), weights, count)))
    if number is None:
        return stages
    for stage in stages:
        for one in stage.rounds:
            if one.number == number:
                return (Stage(stage.scene, stage.crowd_min, (one,)),)
    raise PlanError(f"round {number} is not among the {count} of this plan; give --rounds as in the run to replay")


def _chosen(chance: random.Random, weights: Mapping[Kind, int], count: int) -> list[Kind]:
    """Each kind by its weight, as evenly as can be for any count; which of equals comes first is chance's."""
    total = sum(weights.values())
    taken = dict.fromkeys(weights, 0)
    chosen = []
    for turn in range(1, count + 1):
        behind = {kind: weight * turn / total - taken[kind] for kind, weight in weights.items()}
        most = max(behind.values())
        kind = chance.choice([one for one in weights if behind[one] > most - 0.05])
        taken[kind] += 1
        chosen.append(kind)
    return chosen


def _staged(chance: random.Random, chosen: list[Kind]) -> list[tuple[Scene, int, list[Kind]]]:
    stages: list[tuple[Scene, int, list[Kind]]] = []
    scenes: tuple[Scene, ...] = ("up", "wires", "clock")
    for scene in scenes:
        kinds = [kind for kind in chosen if kind.scene == scene]
        chance.shuffle(kinds)
        # Both crowds, even where one stage could hold them all.
        stages_min = 2 if scene == "up" and len(kinds) > 6 else 1
        parts = max(stages_min, -(-len(kinds) // ROUNDS_OF_A_STAGE_MAX))
        for part in range(parts):
            if mine := kinds[part::parts]:
                stages.append((scene, CROWDS[len(stages) % 2], mine))
    return stages


def _numbered(seed: int, stages: list[tuple[Scene, int, list[Kind]]]) -> tuple[Stage, ...]:
    numbered, number = [], 0
    for scene, crowd_min, kinds in stages:
        rounds = []
        for kind in kinds:
            number += 1
            moment = random.Random(f"{seed}-{number}").uniform(*MOMENT_SECONDS)
            rounds.append(Round(number, kind, seed, moment))
        numbered.append(Stage(scene, crowd_min, tuple(rounds)))
    return tuple(numbered)
