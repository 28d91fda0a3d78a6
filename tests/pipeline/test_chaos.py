"""A few rounds of `make chaos`: real stack, real load, real kills; and that its judge sees what it must see."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from faults.chaos.__main__ import execute
from faults.chaos.environment import run_rows
from faults.chaos.joined import joined
from faults.chaos.judge import doubled, lost, unstored
from faults.chaos.plan import CLUSTER, CLUSTER_KINDS, KINDS, SERVER, PlanError, plan
from faults.chaos.report import markdown, publish, read_run, write_run
from faults.chaos.results import RoundResult, Run, rows_of
from faults.chaos.rows import counts_of

SEED = 7
SELECTION = ("engine:SIGKILL", "kafka:SIGKILL")

SAME_BLOCK_TWICE = """
import sys
from collections import Counter
from pathlib import Path
from sinks.clickhouse.embedded import Embedded
from testkit.sink_records import signal, signals
engine = Embedded(Path(sys.argv[1]))
for first in (0, 0, 2, 4):
    engine.insert(signals([signal(row) for row in range(first, first + 2)]))
engine.select("OPTIMIZE TABLE unjoin.signals", "Null")
engine.close()
"""


@pytest.mark.kafka
def test_nothing_acknowledged_is_lost_or_doubled_whatever_part_dies(tmp_path: Path) -> None:
    """The engine inside an insert, and Kafka, while clients go on posting and crowds gather; roles: test_audit.py."""
    run = Run(seed=SEED, rounds_asked=len(SELECTION), stop_seconds=0, rate=100)
    said: list[str] = []
    execute(run, plan(SEED, len(SELECTION), SELECTION), tmp_path, said.append)
    print("\n".join(said))
    assert run.findings == []
    assert run.failures == []
    assert run.merged_parts == 0
    assert {f"{one.part}:{one.fault}" for one in run.rounds} == set(SELECTION)
    assert all(one.acknowledged == one.stored > 0 for one in run.rounds)


@pytest.mark.slow
def test_second_insert_stays_visible_where_merges_are_held_still(tmp_path: Path) -> None:
    """Neither a merge that is asked for nor the engine's own collapses it: else the judge would be blind."""
    run_rows("still", str(tmp_path / "clickhouse"))
    subprocess.run([sys.executable, "-c", SAME_BLOCK_TWICE, str(tmp_path / "clickhouse")], check=True)
    run_rows("dump", str(tmp_path / "clickhouse"), str(tmp_path / "rows.tsv"))
    merged, *lines = (tmp_path / "rows.tsv").read_text().splitlines()
    assert merged == "0"
    counts = counts_of(lines)["signals"]
    assert sorted(number for copies in counts.values() for number in copies.values()) == [1, 1, 1, 1, 2, 2]


def test_judge_tells_lost_doubled_and_collapsed_apart() -> None:
    """A batch that was sent again is two records of an event; one row of them is right, and so are two, one of each."""
    log = {"a": {"1000": [(0, 1)], "2000": [(0, 9)]}, "b": {"1000": [(0, 2), (0, 3)]}, "c": {"1000": [(0, 4)]}}
    rows = {"a": {"2000": 1}, "b": {"1000": 2}, "c": {"1000": 1}}
    assert (lost("abc", rows), unstored(log, rows), doubled(log, rows)) == ([], [], [])
    assert doubled(log, {**rows, "c": {"1000": 2}}) == [("c", "1000")]
    log_made_again = {"c": {"1000": [(0, 4), (0, 4)]}}
    assert doubled(log_made_again, {"c": {"1000": 2}}) == [], "a place on a topic that was made again is another place"
    assert doubled(log, {**rows, "d": {"1000": 1}}) == [("d", "1000")], "a row that no record explains"
    assert unstored(log, {**rows, "a": {"1000": 1}}) == [("a", "2000")], "the newer one is what an analyst must see"
    del rows["c"]
    assert (lost("abc", rows), unstored(log, rows)) == (["c"], [("c", "1000")])


def test_any_round_of_a_plan_can_be_played_alone() -> None:
    """What a run prints is the seed and the number; the same fault, part, crowd and moment come of it."""
    scenarios = plan(SEED, 200)
    assert plan(SEED, 200) == scenarios
    assert plan(SEED + 1, 200) != scenarios
    assert {one.kind for scenario in scenarios for one in scenario.rounds} == set(KINDS)
    assert {scenario.crowd_min for scenario in scenarios if scenario.environment == "up"} == {1, 5}
    for scenario in scenarios:
        for one in scenario.rounds:
            (alone,) = plan(SEED, 200, number=one.number)
            assert (alone.environment, alone.crowd_min, alone.rounds) == (
                scenario.environment,
                scenario.crowd_min,
                (one,),
            )
    with pytest.raises(PlanError, match="201"):
        plan(SEED, 200, number=201)
    with pytest.raises(PlanError, match="sink:SIGKILL"):
        plan(SEED, 200, ["sink:SIGKIL"])


def test_cluster_has_a_plan_of_its_own() -> None:
    """Its parts have the names of one machine's: a round of one must never be played on the other."""
    scenarios = plan(SEED, 100, environments=[CLUSTER])
    played = [one.kind for scenario in scenarios for one in scenario.rounds]
    assert {scenario.environment for scenario in scenarios} == {CLUSTER}
    assert Counter(played) == {kind: kind.weight for kind in CLUSTER_KINDS}
    (alone,) = plan(SEED, 100, number=42, environments=[CLUSTER])
    assert alone.rounds[0] in [one for scenario in scenarios for one in scenario.rounds]
    for environments, expected in ((), "up"), ([SERVER], SERVER), ([CLUSTER], CLUSTER):
        (scenario,) = plan(SEED, 1, ["sink:SIGKILL"], environments=environments)
        assert [one.kind.environment for one in scenario.rounds] == [expected]


def test_every_kind_gets_its_share_of_two_hundred_rounds() -> None:
    """Rare ones are not left to chance."""
    played = Counter(one.kind for scenario in plan(SEED, 200) for one in scenario.rounds)
    whole = sum(kind.weight for kind in KINDS)
    assert all(abs(played[kind] - kind.weight * 200 / whole) <= 1 for kind in KINDS)


def test_written_run_is_read_back_with_the_same_table(tmp_path: Path) -> None:
    """A line a round is all that is kept, and joining runs must not change a figure of theirs."""
    rounds = [
        RoundResult(
            seed=SEED, number=number, part="sink", fault="SIGKILL", environment="up", crowd_min=5, note="a, b",
            acknowledged=100, stored=100, seconds_to_recover=None if number == 2 else 1.25 * number,
            end_to_end_s=[0.4, 0.4, 0.1 * number],
        )
        for number in range(1, 6)
    ]  # fmt: skip
    run = Run(seed=SEED, rounds_asked=5, stop_seconds=30.0, rate=250.0, rounds=rounds, audits=["difference 0"])
    write_run(run, tmp_path)
    assert len((tmp_path / "chaos.csv").read_text().splitlines()) == 1 + len(rounds)
    again = read_run(tmp_path)
    assert markdown(again) == markdown(run)
    assert markdown(joined([again, again])) == markdown(joined([run, run]))


def test_run_of_a_cluster_is_published_in_its_own_place(tmp_path: Path) -> None:
    """It would else take the place of the figures of one machine, which stand beside it."""
    (tmp_path / "figures").mkdir()
    marks = "<!-- {0}: generated by a test -->\n{0} of before\n<!-- /{0} -->\n"
    (tmp_path / "faults.md").write_text(marks.format("chaos") + marks.format("chaos-cluster"))
    killed = RoundResult(seed=SEED, number=1, part="leader", fault="SIGKILL", environment=CLUSTER, crowd_min=5)
    run = Run(seed=SEED, rounds_asked=1, stop_seconds=30.0, rate=250.0, rounds=[killed])
    write_run(run, tmp_path)
    publish(run, tmp_path, tmp_path)
    page = (tmp_path / "faults.md").read_text()
    assert "chaos of before" in page
    assert "chaos-cluster of before" not in page
    assert "| leader | SIGKILL | 1 |" in page
    assert {file.name for file in (tmp_path / "figures").iterdir()} == {
        "chaos-cluster.csv", "chaos-cluster-run.json", "chaos-cluster.svg",
    }  # fmt: skip


def test_share_of_rounds_that_may_lose_something_is_left_out_where_it_says_nothing() -> None:
    """At most 100 % of rounds is no figure."""
    rounds = [
        RoundResult(seed=SEED, number=number, part=part, fault="SIGKILL", environment="up", crowd_min=1)
        for part, count in (("kafka", 1), ("sink", 3), ("collector", 4))
        for number in range(count)
    ]
    rows = rows_of(Run(seed=SEED, rounds_asked=8, stop_seconds=0, rate=1, rounds=rounds))
    assert {row.part: row.bound for row in rows} == {"kafka": None, "sink": None, "collector": 0.75, "all": 0.375}


def test_run_without_a_finished_round_is_written_and_read(tmp_path: Path) -> None:
    """Every scenario broke off: what went wrong is still on record."""
    run = Run(seed=SEED, rounds_asked=5, stop_seconds=30.0, rate=250.0, failures=["scenario 1 broke off"])
    write_run(run, tmp_path)
    assert read_run(tmp_path) == run
