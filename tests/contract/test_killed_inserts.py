"""Engines killed at every rename of a part of one insert; `python -m faults.killed_inserts` kills at every call."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.aimed_kill import MISSING, RENAMES, Aim, can_aim
from testkit.clickhouse_server import missing
from testkit.victims import PARTS, Chdb, ChildServer, Experiment, Victim


@pytest.fixture(params=["chdb", pytest.param("server", marks=pytest.mark.server)])
def experiment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Experiment]:
    if not can_aim():
        pytest.skip(MISSING)
    if request.param == "server" and (reason := missing()):
        pytest.skip(reason)
    victim: Victim = Chdb(tmp_path) if request.param == "chdb" else ChildServer(tmp_path)
    made = Experiment(victim, tmp_path)
    yield made
    made.close()


@pytest.mark.slow
def test_killed_at_every_rename_of_a_block_of_several_parts_it_is_repaired_exactly(experiment: Experiment) -> None:
    """None, some or all of its parts are in place; after the repair every row is there once, in a plain MergeTree.

    A part appears by its rename. A deduplication log that is written before it would swallow the repair here.
    """
    stored = []
    for nth in range(1, PARTS + 1):
        killed = experiment.kill_before(Aim(RENAMES, nth))
        assert killed.hit, f"an insert of {PARTS} parts makes fewer than {nth} renames"
        assert (killed.lost, killed.doubled) == (0, 0)
        stored.append(killed.stored)
    assert stored == [0, 100, 200, 300]  # each kill left one more of the four parts: none of them missed its aim
    assert not experiment.kill_before(Aim(RENAMES, PARTS + 1)).hit
