"""Audits the door by its own durable totals and by offsets; no identified label is read.

A commit holds an offset and what became of everything below it (processors/door/outcome_counts.py). The totals have to
add up to the offset; dead letters and released labels are counted again where they lie.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from aiokafka import TopicPartition

from processors.door.outcome_counts import OutcomeCounts
from schemas.outcomes import Suppression
from schemas.topics import LABELED, LABELED_DEAD_LETTERS
from unjoin.audit.balance import Finding, Line, Released
from unjoin.audit.snapshot import Commit, KafkaReader
from unjoin.audit.tables import Audited, Snapshot

COMMIT_SECONDS_MAX = 5.0
LOOK_SECONDS = 0.5

Commits = Callable[[KafkaReader, list[TopicPartition]], Awaitable[dict[TopicPartition, Commit]]]


class DoorAudit(msgspec.Struct):
    """What became of the records of `events.labeled`.

    Attributes:
        excess_labels: different labels on the released topic that no door says to have released.
    """

    line: Line
    excess_labels: int = 0
    findings: list[Finding] = []
    doubts: list[str] = []
    notes: list[str] = []


async def audit_door(kafka: KafkaReader, snapshot: Snapshot, labels: Audited, commits_of: Commits) -> DoorAudit:
    """The door's line, and what is wrong between it and the table of labels."""
    parts = [one for one in snapshot.spans if one.topic == LABELED]
    counts = {one: _counts(snapshot.commits[one]) for one in parts}
    counted = _lines(snapshot, parts, counts)
    whole = all(one_counts.since == 0 for one_counts in counts.values())
    if not whole:
        first = sum(one_counts.since for one_counts in counts.values())
        counted.notes.append(f"labeled: the door counts since offset {first}; of the records before nothing is said")
    _check_sums(counted, snapshot, counts)
    _check_dead_letters(counted, snapshot, counts)
    on_topic = labels.matched.readable if not labels.line.before else labels.end
    said = sum(one_counts.released for one_counts in counts.values())
    if whole and (lost := max(0, said - on_topic)):
        counted.line = msgspec.structs.replace(counted.line, passed_on=said - lost)
        counted.findings.append(Finding(f"{lost} labels were released by the door and are not on the released topic"))
    if whole and not labels.line.before:
        await _check_released(counted, kafka, parts, labels, commits_of)
    return counted


def _counts(commit: Commit) -> OutcomeCounts:
    """What a commit says; counting anew from an offset that says nothing."""
    if commit.offset is None:
        return OutcomeCounts(since=0)
    return OutcomeCounts.of(commit.metadata) or OutcomeCounts(since=commit.offset)


def _lines(snapshot: Snapshot, parts: list[TopicPartition], counts: dict[TopicPartition, OutcomeCounts]) -> DoorAudit:
    accepted = held = 0
    total = OutcomeCounts(since=0)
    for one, one_counts in counts.items():
        span, position = snapshot.spans[one], snapshot.commits[one].offset or 0
        unread = max(0, span.start - position)
        accepted += span.end - one_counts.since
        held += max(0, span.end - max(position, span.start))
        total.expired += one_counts.expired + unread
        total.released += one_counts.released
        total.collapsed += one_counts.collapsed
        total.verdicts += one_counts.verdicts
        total.dead_lettered += one_counts.dead_lettered
        for reason, labels in one_counts.suppressed.items():
            total.suppressed[reason] = total.suppressed.get(reason, 0) + labels
    expired_waiting = total.suppressed.pop(Suppression.EXPIRED, 0)
    return DoorAudit(
        Line(
            name="labeled",
            accepted=accepted,
            passed_on=total.released,
            verdicts=total.verdicts,
            collapsed=total.collapsed,
            dead_lettered=total.dead_lettered,
            suppressed=sum(total.suppressed.values()),
            expired=total.expired + expired_waiting,
            held=held,
        )
    )


def _check_sums(counted: DoorAudit, snapshot: Snapshot, counts: dict[TopicPartition, OutcomeCounts]) -> None:
    for one, one_counts in counts.items():
        position = snapshot.commits[one].offset or 0
        if off := position - one_counts.since - one_counts.records:
            what = f"{abs(off)} records {'fewer' if off > 0 else 'more'} than it has passed"
            counted.findings.append(Finding(f"{one.topic}-{one.partition}: the door counted {what}"))


def _check_dead_letters(counted: DoorAudit, snapshot: Snapshot, counts: dict[TopicPartition, OutcomeCounts]) -> None:
    """Counts the dead letters instead of the door's total, where all of them are still on their topic."""
    dead_letters = [span for one, span in snapshot.spans.items() if one.topic == LABELED_DEAD_LETTERS]
    if any(span.start for span in dead_letters):
        return
    said = found = 0
    for one, one_counts in counts.items():
        marks = snapshot.marks[one]
        said += one_counts.dead_lettered
        found += marks.below(snapshot.commits[one].offset or 0) - marks.below(one_counts.since)
    if said != found:
        counted.line = msgspec.structs.replace(counted.line, dead_lettered=found)
        text = f"the door set {said} records aside, and there are dead letters of {found} on {LABELED_DEAD_LETTERS}"
        counted.findings.append(Finding(text))


async def _check_released(
    counted: DoorAudit, kafka: KafkaReader, parts: list[TopicPartition], labels: Audited, commits_of: Commits
) -> None:
    """Different labels on the topic are no more than the door has released, once it has committed what it released."""
    loop = asyncio.get_running_loop()
    until = loop.time() + COMMIT_SECONDS_MAX
    while True:
        spans = await kafka.spans(parts)
        commits = await commits_of(kafka, parts)
        released = Released(
            said=sum(_counts(commit).released for commit in commits.values()),
            on_topic=labels.matched.readable,
            distinct=labels.matched.versions,
            held=sum(span.end - (commits[one].offset or 0) for one, span in spans.items()),
        )
        if not released.unsaid or loop.time() > until:
            break
        await asyncio.sleep(LOOK_SECONDS)
    if released.unsaid > released.held:
        counted.excess_labels = released.unsaid
        text = f"{released.unsaid} different labels on the released topic were never released by the door"
        counted.findings.append(Finding(text))
    elif released.unsaid:
        text = f"{released.unsaid} labels were released and the door has not committed that; start `unjoin process`"
        counted.doubts.append(f"{text}, then audit again")
