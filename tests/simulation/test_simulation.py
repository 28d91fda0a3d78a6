"""A short selection of seeds; `python -m tests.simulation --seeds 10000` runs the long one."""

import os
import subprocess
import sys

import pytest

from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.runs import WORLDS, run_seed, simulating

SEEDS = {"sink": 25, "replicas": 25, "door": 25, "edge": 10, "pipeline": 6}
MUTANT_SEEDS = 30
FIRST_SEED = {
    "retries_a_commit_without_an_answer": 40,  # rare: one seed of fifty
    "drains_in_chunks_that_never_fit": 6,  # whoever never comes to rest is waited for; here the shortest
}


@pytest.mark.parametrize("world", WORLDS)
def test_faults_anywhere_lose_nothing_and_double_nothing(world: str) -> None:
    """Kills, pauses, lost and late requests, full disks; each run ends at rest with every event accounted for."""
    with simulating():
        broken = [outcome for seed in range(SEEDS[world]) if (outcome := run_seed(world, seed)).violation]
    shown = [f"python -m tests.simulation --world {one.world} --seed {one.seed}: {one.violation}" for one in broken]
    assert not shown


def test_foreign_commit_that_was_read_from_is_read_again() -> None:
    """Records from its offset on came while the worker had not begun; a worker that went back must not take them."""
    with simulating():
        assert not run_seed("sink", 105).violation


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "mutation"), [(world, mutation) for world, some in MUTATIONS.items() for mutation in some]
)
def test_each_broken_guard_is_found(world: str, mutation: Mutation) -> None:
    """A simulation that a broken product passes proves nothing."""
    with simulating(), mutation():
        first = FIRST_SEED.get(mutation.__name__, 0)
        assert any(run_seed(world, seed).violation for seed in range(first, first + MUTANT_SEEDS))


@pytest.mark.slow
def test_seed_replays_to_the_same_history() -> None:
    """In another process, whose sets have another order: a failure that cannot be repeated cannot be mended."""
    histories = set()
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-m", "tests.simulation", "--seed", "7"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        histories.add(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    assert len(histories) == 1
