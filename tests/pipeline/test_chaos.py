"""A few rounds of `make chaos`: real stack, real load, real kills; docs/faults.md says how they are judged."""

from pathlib import Path

import pytest

from bench.chaos.__main__ import execute
from bench.chaos.plan import plan
from bench.chaos.results import Run

pytestmark = pytest.mark.kafka

SEED = 7
KINDS = ("collector:SIGKILL", "engine:SIGKILL", "kafka:SIGKILL", "processor:SIGTERM")


def test_nothing_acknowledged_is_lost_or_doubled_whatever_part_dies(tmp_path: Path) -> None:
    """Every part ends once, the engine inside an insert, while clients go on posting and crowds gather."""
    run = Run(seed=SEED, rounds_asked=len(KINDS), stop_seconds=0, rate=250)
    said: list[str] = []
    execute(run, plan(SEED, len(KINDS), KINDS), tmp_path, said.append)
    print("\n".join(said))
    assert run.findings == []
    assert run.failures == []
    assert run.merged_parts == 0
    assert {f"{one.part}:{one.fault}" for one in run.rounds} == set(KINDS)
    assert all(one.acknowledged == one.stored > 0 for one in run.rounds)
    assert any(one.note.startswith("inside an insert") for one in run.rounds)
