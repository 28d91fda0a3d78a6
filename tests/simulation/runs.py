"""One seeded run of one world, and what came of it."""

import contextlib
import hashlib
import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from tests.simulation.clock import Universe, Violation
from tests.simulation.door_world import DoorWorld
from tests.simulation.edge_processes import simulated_edge
from tests.simulation.edge_world import EdgeWorld
from tests.simulation.pipeline_world import PipelineWorld
from tests.simulation.processes import simulated_kafka
from tests.simulation.replica_world import ReplicaWorld
from tests.simulation.sink_world import SinkWorld

WORLDS: dict[str, Callable[[Universe], Any]] = {
    "sink": SinkWorld,
    "replicas": ReplicaWorld,
    "door": DoorWorld,
    "edge": EdgeWorld,
    "pipeline": PipelineWorld,
}


class Outcome(msgspec.Struct, frozen=True):
    """What came of one run.

    Attributes:
        violation: which promise was broken, empty where none was.
        simulated_s: virtual seconds.
        faults: injected, by kind.
        history: a hash of all that happened, in its order; the same on every replay.
    """

    world: str
    seed: int
    violation: str
    simulated_s: float
    faults: Counter[str]
    history: str


def run_seed(world: str, seed: int, trace: Callable[[str], None] | None = None) -> Outcome:
    """Runs one world once."""
    history = hashlib.sha256()

    def note(line: str) -> None:
        history.update(line.encode())
        if trace is not None:
            trace(line)

    universe = Universe(seed, note)
    violation = ""
    Violation.raised.clear()
    try:
        WORLDS[world](universe).run()
    except Violation as broken:
        violation = str(broken)
    except Exception as error:  # a bug, in the product or in the simulation: as bad as a violation
        violation = f"{type(error).__name__}: {error}"
        if trace is not None:
            trace(traceback.format_exc())
    violation = next(iter(Violation.raised), violation)
    simulated_s = universe.now
    universe.end()
    return Outcome(world, seed, violation, simulated_s, universe.faults, history.hexdigest()[:16])


@contextlib.contextmanager
def simulating() -> Iterator[None]:
    """The product on simulated parts, and silent."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with simulated_kafka(), simulated_edge():
            yield
    finally:
        logging.disable(before)
