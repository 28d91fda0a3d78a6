"""Pure: from a seed, which fault hits which part in which round, and when.

An environment is a stack with what its faults need: `up` is `unjoin up` as it is; in `proxies` Kafka answers through
a proxy, engine and spool lie on small disks of their own, and a second sink writes to a ClickHouse server; in `clock`
every role reads its time through libfaketime; `server` is `up` in front of a ClickHouse server; `cluster` is three
brokers and several of each role in front of one. A scenario is some rounds after each other on one stack.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from schemas.outcomes import UnjoinError

EnvironmentName = Literal["up", "proxies", "clock", "server", "cluster"]
ONE_MACHINE: tuple[EnvironmentName, ...] = ("up", "proxies", "clock")
SERVER: EnvironmentName = "server"
CLUSTER: EnvironmentName = "cluster"

ROUNDS_OF_A_SCENARIO_MAX = 20
MOMENT_SECONDS = (0.2, 1.5)
CROWDS = (5, 1)


class PlanError(UnjoinError):
    """What was asked for is not in the plan; the text says what is."""


class Kind(msgspec.Struct, frozen=True):
    """A fault of a part.

    Attributes:
        weight: how many of 200 rounds; of 100 in a cluster.
    """

    part: str
    fault: str
    weight: int
    environment: EnvironmentName = "up"

    @property
    def name(self) -> str:
        return f"{self.part}:{self.fault}"


KINDS = (
    *(Kind(part, "SIGKILL", 17) for part in ("collector", "kafka", "processor", "sink")),
    Kind("engine", "SIGKILL", 24),
    *(Kind(part, "SIGTERM", 8) for part in ("collector", "kafka", "processor", "sink")),
    *(Kind(part, "SIGSTOP", 3) for part in ("collector", "kafka", "processor", "sink")),
    *(Kind(part, "storm", 5) for part in ("processor", "sink")),
    *(Kind(part, "reset", 5, "proxies") for part in ("collector", "processor", "sink")),
    *(Kind(part, "lost-replies", 5, "proxies") for part in ("collector", "processor", "sink")),
    *(Kind("server", fault, 5, "proxies") for fault in ("reset", "lost-reply", "SIGKILL")),
    *(Kind(part, "disk-full", 4, "proxies") for part in ("sink", "spool")),
    *(Kind("clock", fault, 3, "clock") for fault in ("ahead", "back")),
)
SERVER_KINDS = tuple(msgspec.structs.replace(kind, environment=SERVER) for kind in KINDS if kind.environment == "up")
CLUSTER_KINDS = (
    *(Kind(part, "SIGKILL", 11, CLUSTER) for part in ("leader", "controller")),
    Kind("minority", "SIGSTOP", 8, CLUSTER),
    *(Kind("majority", fault, 7, CLUSTER) for fault in ("SIGKILL", "SIGSTOP")),
    Kind("brokers", "rolling-restart", 6, CLUSTER),
    Kind("broker", "disk-lost", 10, CLUSTER),
    Kind("topic", "partitions-added", 6, CLUSTER),
    Kind("topic", "made-again", 6, CLUSTER),
    *(Kind(part, "SIGKILL", 7, CLUSTER) for part in ("collector", "processor", "sink", "server")),
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
        """Random numbers for whatever else the fault leaves to chance."""
        return random.Random(f"{self.seed}-{self.number}-fault")


class Scenario(msgspec.Struct, frozen=True):
    """Some rounds on one stack.

    Attributes:
        crowd_min: sessions whose labels leave the door together; 1 for no crowds.
    """

    environment: EnvironmentName
    crowd_min: int
    rounds: tuple[Round, ...]


def plan(
    seed: int, count: int, only: Sequence[str] = (), number: int | None = None, environments: Sequence[str] = ()
) -> tuple[Scenario, ...]:
    """The scenarios of a run.

    Args:
        only: names of kinds, `sink:SIGKILL`; all of them where empty.
        number: of the one round of the whole run to replay.
        environments: those whose faults are wanted and can be made on this machine; of one machine where empty.

    Raises:
        PlanError: there is no such kind or round.
    """
    all_kinds, wanted = (*KINDS, *SERVER_KINDS, *CLUSTER_KINDS), environments or ONE_MACHINE
    known = {kind.name for kind in all_kinds}
    if unknown := sorted(set(only) - known):
        raise PlanError(f"there is no fault {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    kinds = [kind for kind in all_kinds if (not only or kind.name in only) and kind.environment in wanted]
    if not kinds:
        raise PlanError("none of these faults can be made on this machine")
    weights = {kind: 1 if only else kind.weight for kind in kinds}
    scenarios = _numbered(seed, _grouped(random.Random(f"{seed}-plan"), _chosen(random.Random(seed), weights, count)))
    if number is None:
        return scenarios
    for scenario in scenarios:
        for one in scenario.rounds:
            if one.number == number:
                return (Scenario(scenario.environment, scenario.crowd_min, (one,)),)
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


def _grouped(chance: random.Random, chosen: list[Kind]) -> list[tuple[EnvironmentName, int, list[Kind]]]:
    scenarios: list[tuple[EnvironmentName, int, list[Kind]]] = []
    for environment in (*ONE_MACHINE, SERVER, CLUSTER):
        kinds = [kind for kind in chosen if kind.environment == environment]
        chance.shuffle(kinds)
        # Both crowds, even where one scenario could hold them all.
        scenarios_min = 2 if environment in ("up", SERVER) and len(kinds) > 6 else 1
        parts = max(scenarios_min, -(-len(kinds) // ROUNDS_OF_A_SCENARIO_MAX))
        for part in range(parts):
            if mine := kinds[part::parts]:
                # A run of a cluster is often one scenario, and several such runs are to have both.
                crowd = chance.choice(CROWDS) if environment == CLUSTER else CROWDS[len(scenarios) % 2]
                scenarios.append((environment, crowd, mine))
    return scenarios


def _numbered(seed: int, scenarios: list[tuple[EnvironmentName, int, list[Kind]]]) -> tuple[Scenario, ...]:
    numbered, number = [], 0
    for environment, crowd_min, kinds in scenarios:
        rounds = []
        for kind in kinds:
            number += 1
            moment = random.Random(f"{seed}-{number}").uniform(*MOMENT_SECONDS)
            rounds.append(Round(number, kind, seed, moment))
        numbered.append(Scenario(environment, crowd_min, tuple(rounds)))
    return tuple(numbered)
