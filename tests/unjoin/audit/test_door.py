"""The door's word is held against offsets, dead letters and the released topic."""

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition

from processors.door.outcome_counts import OutcomeCounts
from schemas.outcomes import Suppression
from schemas.topics import LABELED, LABELED_DEAD_LETTERS
from unjoin.audit import door
from unjoin.audit.balance import Line
from unjoin.audit.matching import Matched, OffsetSet
from unjoin.audit.snapshot import Commit, OffsetRange
from unjoin.audit.tables import Audited, Snapshot

PART, LETTERS = TopicPartition(LABELED, 0), TopicPartition(LABELED_DEAD_LETTERS, 0)
END = 50
TALLY = OutcomeCounts(since=0, released=20, collapsed=3, verdicts=4, dead_lettered=2, expired=5,
              suppressed={Suppression.NOT_HUMAN: 5, Suppression.EXPIRED: 1})  # fmt: skip


class Ends:
    """A Kafka that knows where logs end."""

    async def spans(self, parts: Any) -> dict[TopicPartition, OffsetRange]:
        return {one: OffsetRange(0, END) for one in parts}


def audited(
    tally: OutcomeCounts = TALLY,
    *,
    offset: int = 40,
    dead_letters: tuple[int, ...] = (7, 8),
    dead_letters_start: int = 0,
    on_topic: int = 20,
    distinct: int = 19,
    later: OutcomeCounts | None = None,
) -> door.DoorAudit:
    marks = OffsetSet(0, END)
    for letter in dead_letters:
        marks.add(letter)
    commit = Commit(offset, tally.metadata())
    spans = {
        PART: OffsetRange(5, END),
        LETTERS: OffsetRange(dead_letters_start, dead_letters_start + len(dead_letters)),
    }
    snapshot = Snapshot({PART: commit}, spans, {PART: marks})
    matched = Matched(readable=on_topic, versions=distinct)

    async def commits(kafka: Any, parts: Any) -> dict[TopicPartition, Commit]:
        return {PART: Commit(offset, (later or tally).metadata())}

    labels = Audited(Line(name="labels"), matched, [], on_topic)
    return asyncio.run(door.audit_door(Ends(), snapshot, labels, commits))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "COMMIT_SECONDS_MAX", 0.0)


def test_every_record_below_and_beyond_the_commit_has_one_outcome() -> None:
    """Labels past their retention in a crowd are expired, as those in a spool or a log are."""
    found = audited()
    assert found.line == Line(name="labeled", accepted=50, passed_on=20, verdicts=4, collapsed=3, dead_lettered=2,
                              suppressed=5, expired=6, held=10)  # fmt: skip
    assert (found.line.difference, found.findings, found.doubts, found.notes) == (0, [], [], [])


@pytest.mark.parametrize("off", [-1, 1])
def test_totals_that_do_not_add_up_to_the_offset_are_a_difference(off: int) -> None:
    """A record counted twice, or not at all."""
    found = audited(offset=40 + off)
    assert found.line.missing == off
    assert "the door counted 1 records" in found.findings[0].what


def test_letter_that_is_not_there_is_a_difference_unless_letters_have_expired() -> None:
    """They are counted where they lie, not taken from the door."""
    assert audited(dead_letters=(7,)).line.missing == 1
    assert audited(dead_letters=(7, 8, 45)).line.difference == 0, "of a record beyond the commit"
    assert audited(dead_letters=(), dead_letters_start=2).line.difference == 0


def test_label_that_was_released_and_is_not_on_its_topic_is_a_difference() -> None:
    """Copies that a crash makes are no fault; fewer than were released are."""
    assert audited(on_topic=25).line.difference == 0
    found = audited(on_topic=18, distinct=18)
    assert found.line.missing == 2
    assert found.findings


def test_label_that_no_door_released_is_a_difference_once_the_door_has_committed() -> None:
    """What it has released and not committed yet is less than what it holds."""
    assert audited(on_topic=99, distinct=31).excess_labels == 11
    assert audited(on_topic=30, distinct=30).doubts
    caught_up = audited(on_topic=30, distinct=30, later=OutcomeCounts(since=0, released=30))
    assert (caught_up.excess_labels, caught_up.doubts, caught_up.findings) == (0, [], [])


def test_offset_that_says_nothing_is_counted_from() -> None:
    """Of the records before, an older version's for instance, nothing can be said; that is said."""
    tally = OutcomeCounts(since=30, released=8, dead_lettered=2)
    found = audited(tally, dead_letters=(7, 31, 32))
    assert found.line == Line(name="labeled", accepted=20, passed_on=8, dead_lettered=2, held=10)
    assert "since offset 30" in found.notes[0]
