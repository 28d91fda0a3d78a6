"""Audits one table: its rows first, then its topics from the log's start to the end of that moment.

In this order a row that is there has its record in what is read afterwards, however fast traffic flows.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from aiokafka import TopicPartition
from rich.progress import Progress

from schemas.outcomes import DecodeError
from schemas.subjects.erasures import TABLES as TABLES_OF
from schemas.topics import dead_letter_topic
from sinks.engine import Table
from sinks.kafka.block_planner import split_expired
from unjoin.audit import stored
from unjoin.audit.balance import Finding, Line, ranges
from unjoin.audit.erased import without_erased
from unjoin.audit.keys import ROW_KEYS, row_key_of
from unjoin.audit.logs import records
from unjoin.audit.matching import Matched, OffsetSet, match
from unjoin.audit.scratch import LOG, TABLE, Buckets, bucket_count, log_entries, table_entries
from unjoin.audit.snapshot import Commit, KafkaReader, OffsetRange
from unjoin.query import SelectRows

FIRST_RECORDS = 1_000
RANGES_SHOWN = 20
EVER = -(1 << 63)
PERSONS = {table for tables in TABLES_OF.values() for table in tables}


class Snapshot(msgspec.Struct, frozen=True):
    """What was known of all partitions before anything was read.

    Attributes:
        commits: what each table's group has committed, by partition.
        spans: the bounds of every log.
        marks: offsets that were set aside.
        since_ms: rows of before are left out.
    """

    commits: Mapping[TopicPartition, Commit]
    spans: Mapping[TopicPartition, OffsetRange]
    marks: Mapping[TopicPartition, OffsetSet]
    since_ms: int = EVER


class Audited(msgspec.Struct, frozen=True):
    """What became of the records of a table's topics."""

    line: Line
    matched: Matched
    findings: list[Finding]
    end: int


class Counted(msgspec.Struct):
    """Records of a partition: markers of transactions, and what these took back, have an offset and are none.

    Attributes:
        accepted: that were there when the positions were taken.
        held: those among them that the sink has not passed.
    """

    accepted: int = 0
    held: int = 0


class _Log:
    """What was read of a table's topics."""

    def __init__(self) -> None:
        self.counted: dict[TopicPartition, Counted] = defaultdict(Counted)
        self.without_dead_letter: dict[TopicPartition, list[int]] = defaultdict(list)
        self.first_ms: dict[TopicPartition, int] = {}


async def audit_table(
    table: Table, snapshot: Snapshot, kafka: KafkaReader, source: SelectRows, folder: Path, progress: Progress
) -> Audited:
    """Matches a table with its topics.

    Raises:
        AuditError: Kafka or ClickHouse does not answer.
    """
    parts = [one for one in snapshot.spans if one.topic in table.topics]
    slices = await asyncio.to_thread(stored.slices_of, source, ROW_KEYS[table.name])
    estimate = max(slices * stored.SLICE_ROWS * (slices > 1), sum(snapshot.spans[one].end for one in parts))
    count = bucket_count(estimate)
    rows = Buckets(folder, f"{table.name}-rows", TABLE, count)
    bar = progress.add_task(f"{table.name}: rows", total=slices)
    for number in range(slices):
        await asyncio.to_thread(stored.read_slice, source, ROW_KEYS[table.name], number, slices, rows)
        progress.advance(bar)
    now = await kafka.spans(parts)
    log_buckets = Buckets(folder, f"{table.name}-log", LOG, count)
    bar = progress.add_task(f"{table.name}: records", total=sum(span.end - span.start for span in now.values()))
    log = await _read_log(table, snapshot, parts, now, kafka, log_buckets, lambda n: progress.advance(bar, n))
    horizon_ms = max(snapshot.since_ms, await _horizon_ms(table, now, log, kafka))
    matched = Matched()
    for number in range(count):
        matched.add(match(log_entries(log_buckets, number), table_entries(rows, number), horizon_ms))
    lost: dict[TopicPartition, list[int]] = defaultdict(list)
    for place, offset in matched.lost:
        lost[parts[place]].append(offset)
    without_row = sum(map(len, lost.values()))
    if table.name in PERSONS:
        lost = await without_erased(kafka, table.name, lost)
    erased = without_row - sum(map(len, lost.values()))
    noted = await asyncio.to_thread(_noted, snapshot, source, [lost, log.without_dead_letter])
    line = _line(table, snapshot, parts, now, log.counted, matched, noted)
    line = msgspec.structs.replace(line, erased=erased)
    return Audited(
        line, matched, _findings(table, snapshot, parts, matched, lost, log), sum(s.end for s in now.values())
    )


async def _read_log(
    table: Table,
    snapshot: Snapshot,
    parts: list[TopicPartition],
    now: Mapping[TopicPartition, OffsetRange],
    kafka: KafkaReader,
    buckets: Buckets,
    advance: Callable[[int], None],
) -> _Log:
    log = _Log()
    place_of = {one: place for place, one in enumerate(parts)}
    named = ROW_KEYS[table.name]
    async for one, found in records(kafka, now, advance):
        place, marks, position = place_of[one], snapshot.marks[one], snapshot.commits[one].offset or 0
        counted, end = log.counted[one], snapshot.spans[one].end
        for record in found:
            counted.accepted += record.offset < end
            counted.held += position <= record.offset < end
            if record.offset - now[one].start < FIRST_RECORDS:
                log.first_ms[one] = max(record.timestamp, log.first_ms.get(one, 0))
            aside = record.offset in marks
            try:
                name, version = row_key_of(named, record)
            except DecodeError:
                if record.offset < position and not aside:
                    log.without_dead_letter[one].append(record.offset)
                continue
            buckets.add(name, version, record.offset, place, record.offset < position and not aside)
        await asyncio.sleep(0)
    return log


async def _horizon_ms(table: Table, now: Mapping[TopicPartition, OffsetRange], log: _Log, kafka: KafkaReader) -> int:
    """Rows of this time or later have their record in the log.

    Retention takes a segment once its newest record is too old, so what it took was older than that; what somebody
    deleted by hand came, but for what waited in a spool, before the first records that are left.
    """
    horizon = EVER
    for topic in table.topics:
        cut = [one for one, span in now.items() if one.topic == topic and span.start]
        if cut:
            retention_ms = await kafka.retention_ms(topic)
            horizon = max(horizon, time.time_ns() // 1_000_000 - retention_ms if retention_ms >= 0 else EVER)
            horizon = max(horizon, *(log.first_ms.get(one, EVER) + 1 for one in cut))
    return horizon


def _noted(snapshot: Snapshot, source: SelectRows, missing: list[dict[TopicPartition, list[int]]]) -> int:
    """Takes away offsets whose dead letters retention has deleted, and which the table of dead letters still knows."""
    noted = 0
    for offsets_of in missing:
        for one, offsets in list(offsets_of.items()):
            dead_letters = [
                span for other, span in snapshot.spans.items() if other.topic == dead_letter_topic(one.topic)
            ]
            if any(span.start for span in dead_letters):
                known = stored.set_aside(source, one.topic, one.partition, offsets)
                offsets_of[one] = [offset for offset in offsets if offset not in known]
                noted += len(known)
    return noted


def _line(
    table: Table,
    snapshot: Snapshot,
    parts: list[TopicPartition],
    now: Mapping[TopicPartition, OffsetRange],
    counted: Mapping[TopicPartition, Counted],
    matched: Matched,
    noted: int,
) -> Line:
    accepted = held = expired = dead = gone = 0
    for one in parts:
        start, commit, read = now[one].start, snapshot.commits[one], counted.get(one, Counted())
        position = start if commit.offset is None else commit.offset
        unread = split_expired(commit.metadata)[1] + max(0, start - position)
        accepted += read.accepted + unread
        expired += unread
        held += read.held
        dead += snapshot.marks[one].below(position) - snapshot.marks[one].below(start)
        gone += start - min(start, unread)
    return Line(
        name=table.name,
        accepted=accepted,
        stored=matched.stored,
        collapsed=matched.records - matched.distinct,
        dead_lettered=dead + noted,
        expired=expired,
        held=held,
        excess=matched.forged + matched.doubled,
        before=gone,
    )


def _findings(
    table: Table,
    snapshot: Snapshot,
    parts: list[TopicPartition],
    matched: Matched,
    lost: Mapping[TopicPartition, list[int]],
    log: _Log,
) -> list[Finding]:
    found = []
    for offsets_of, text in (
        (lost, f"records were passed by the sink and have no row in {table.name}"),
        (log.without_dead_letter, "records cannot be read, were passed by the sink, and have no dead letter"),
    ):
        if total := sum(len(offsets) for offsets in offsets_of.values()):
            found.append(Finding(f"{total} {text}", places(offsets_of)))
    if matched.doubled:
        found.append(Finding(f"{matched.doubled} rows of {table.name} lie there more often than their records"))
    if matched.forged:
        found.append(Finding(f"{matched.forged} rows of {table.name} were made of no record that was accepted"))
    for one in parts:
        position, end = snapshot.commits[one].offset or 0, snapshot.spans[one].end
        if position > end:
            text = f"{one.topic}-{one.partition}: the log ends {position - end} records before what the sink has read"
            found.append(Finding(f"{text}; Kafka has lost them"))
    return found


def places(offsets_of: Mapping[TopicPartition, list[int]]) -> tuple[str, ...]:
    """Where they are, in a few lines: never what they hold."""
    lines = []
    for one, offsets in sorted(offsets_of.items()):
        if offsets:
            words = ranges(offsets)
            more = f" and {len(words) - RANGES_SHOWN} more ranges" * (len(words) > RANGES_SHOWN)
            lines.append(f"{one.topic}-{one.partition}: offsets {', '.join(words[:RANGES_SHOWN])}{more}")
    return tuple(lines)
