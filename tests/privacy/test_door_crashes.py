"""The door is killed while labels flow: no release may be smaller than a crowd, or differ from the one before it."""

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from faults.door_crashes.commits import CommitFindings, Sample, commit_findings_of
from faults.door_crashes.crowds import (
    Expected,
    ExpectedCrowd,
    Logged,
    any_order,
    expected_of,
    findings_of,
    is_crowd,
    several_writers,
)
from processors.door.records import released_partition
from schemas.events import DeidentifiedLabel
from testkit.door_config import crowd_rule
from testkit.seals import unsealed_value
from testkit.unmasked import unmasked

ROOT = Path(__file__).parents[2]
DAY = datetime.date(2026, 11, 24)
KEY = b"k" * 32
PARTITIONS = 2
FAULTS = "--kills 3 --pauses 1 --leaves 1 --broker-restarts 1 --processors 3 --seed 45"


@pytest.mark.kafka
def test_door_releases_whole_crowds_the_same_again_and_every_vote_once(kafka_home: Path, tmp_path: Path) -> None:
    """Killed as it starts, works, releases and commits; paused until others have its partitions, and back as a zombie;
    leaving and joining again, with a rebalance after each; and the broker restarted under all of them."""
    out = tmp_path / "report.json"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UNJOIN_")}
    environment["UNJOIN_KAFKA_HOME"] = str(kafka_home)
    done = subprocess.run(
        [sys.executable, "-m", "faults.door_crashes", *FAULTS.split(), "--out", str(out)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    report = json.loads(out.read_text())
    assert sum(report["moments"].values()) == sum(report["faults"].values()) == 6
    assert report["findings"]["crowds"] > 1, "too few crowds to tell anything"
    assert report["commits"]["samples"] > 1, "too few commits to tell anything"


def label(voter: int, task: str) -> Logged:
    act = {"kind": "text_answer", "task": task, "answer": "yes"}
    return logged({"voter": bytes([voter]) * 32, "day": DAY, "act": act})


def verdict(voter: int, human: bool = False) -> Logged:
    return logged({"voter": bytes([voter]) * 32, "day": DAY, "act": ("unjoin.Verdict", {"human": human})})


def logged(datum: object) -> Logged:
    return Logged(0, 0, 1_800_000_000_000, unsealed_value(datum))  # type: ignore[arg-type]


def log_of(*records: Logged) -> list[Logged]:
    return [Logged(0, offset, one.appended_at_ms, one.value) for offset, one in enumerate(records)]


def expected_from(log: list[Logged]) -> Expected:
    return expected_of(log, lambda day: KEY, unmasked, crowd_rule(3, crowd_labels_max=100))


def released_as(*crowds: Sequence[DeidentifiedLabel]) -> dict[int, list[DeidentifiedLabel]]:
    released: dict[int, list[DeidentifiedLabel]] = {number: [] for number in range(PARTITIONS)}
    for one in (one for crowd in crowds for one in crowd):
        released[released_partition(one, PARTITIONS)].append(one)
    return released


def two_crowds() -> tuple[Expected, ExpectedCrowd, ExpectedCrowd]:
    labels = [label(voter, f"{task}-{voter}") for task in ("a", "b") for voter in range(1, 4)]
    expected = expected_from(log_of(*labels, label(9, "held")))
    first, second = expected.crowds
    return expected, first, second


def test_crowds_cut_and_repeated_whole_are_the_same_crowds() -> None:
    """What a kill between release and commit looks like is no finding."""
    expected, first, second = two_crowds()
    for cut in range(len(second.labels)):
        released = released_as(first.labels, second.labels[:cut], first.labels, second.labels)
        findings = findings_of(expected, released, 3)
        assert findings.holds
        assert findings.votes == 6
    assert (expected.held, expected.open_from) == (1, {0: 6})


def test_every_kind_of_damage_is_found() -> None:
    """An examination that nothing fails proves nothing."""
    expected, first, second = two_crowds()
    whole, rest = list(first.labels), list(second.labels)
    held = expected_from(log_of(label(9, "held"), label(8, "x"), label(7, "y"))).crowds[0].labels
    stranger = [one for one in held if one.task == "held"]
    for damage, finding in (
        ([whole, rest, stranger], "incomplete"),
        ([whole], "lost"),
        ([whole, rest[:-1]], "unfinished"),
        ([whole, rest[1:], rest], "differing"),
        ([whole[::-1], rest], "differing"),
        ([whole, rest, whole], "unfinished"),
    ):
        findings = findings_of(expected, released_as(*damage), 3)
        assert not findings.holds
        assert getattr(findings, finding) > 0, finding


def test_zombie_that_finishes_its_crowd_beside_the_new_owner_is_no_finding() -> None:
    """It wrote a part of the crowd before it was paused; the rest comes while the new owner writes the whole."""
    expected, first, second = two_crowds()
    for cut in range(1, len(first.labels)):
        begun, rest = first.labels[:cut], first.labels[cut:]
        for mixed in (
            (begun, first.labels, rest, second.labels),
            (begun, first.labels, second.labels, rest),
            (begun, first.labels[:1], rest, first.labels[1:], second.labels),
        ):
            assert findings_of(expected, released_as(*mixed), 3, several_writers).holds


def test_damage_is_found_however_many_write() -> None:
    """A crowd of which a part never left, a part on its own, and a label of nobody's."""
    expected, first, second = two_crowds()
    whole, rest = list(first.labels), list(second.labels)
    for damage in ([whole, rest[1:]], [whole, rest[:-1]], [rest], [whole, rest[1:], rest]):
        assert not findings_of(expected, released_as(*damage), 3, several_writers).holds
    assert findings_of(expected, released_as(rest[::-1], whole[1:], whole[:1]), 3, any_order).holds
    for damage in ([whole, rest[1:]], [rest]):
        assert not findings_of(expected, released_as(*damage), 3, any_order).holds


def test_commit_past_a_label_that_has_not_left_is_found_and_so_is_one_in_the_middle_of_a_range() -> None:
    """What a crash would lose, if it came at that moment."""
    expected, first, second = two_crowds()
    released = released_as(first.labels, second.labels)
    ends_of_both = {partition: len(labels) for partition, labels in released.items()}
    ends_of_first = {partition: len(labels) for partition, labels in released_as(first.labels).items()}

    def found(committed: int, ends: dict[int, int]) -> CommitFindings:
        return commit_findings_of([Sample({0: committed}, ends)], expected, released)

    for committed, ends in ((0, {0: 0, 1: 0}), (first.end, ends_of_first), (second.end, ends_of_both)):
        assert found(committed, ends).holds
    assert found(second.end, ends_of_first).ahead == 1
    assert found(first.end, {0: 0, 1: 0}).ahead == 1
    assert found(first.end - 1, ends_of_both).astray == 1


def test_bot_in_a_crowd_is_found() -> None:
    """Counted from the log's verdicts, not from what the crowd's own code made of them."""
    labels = [label(voter, f"a-{voter}") for voter in range(1, 4)]
    expected = expected_from(log_of(*labels))
    expected.verdicts[(0, bytes([2]) * 32)] = [(1, False)]
    assert findings_of(expected, released_as(expected.crowds[0].labels), 3).bots == 1
    expected.verdicts[(0, bytes([2]) * 32)] = [(1, False), (2, True)]
    assert findings_of(expected, released_as(expected.crowds[0].labels), 3).bots == 0


def test_bot_is_missing_from_the_crowds_of_a_log_with_its_verdict() -> None:
    """The crowd is complete without it, or waits."""
    labels = [label(voter, f"a-{voter}") for voter in range(1, 5)]
    expected = expected_from(log_of(*labels[:2], verdict(2), *labels[2:]))
    (crowd,) = expected.crowds
    assert bytes([2]) * 32 not in crowd.voters
    assert (crowd.first, crowd.end) == (0, 5)


def test_a_crowd_is_enough_voters_and_none_with_more_than_half() -> None:
    """The rule, written down a second time."""
    assert is_crowd([b"a", b"b", b"c"], 3)
    assert not is_crowd([b"a", b"b", b"b"], 3)
    assert not is_crowd([b"a", b"b", b"c", b"c", b"c", b"c"], 3)
    assert is_crowd([b"a", b"b", b"c", b"c"], 3)
