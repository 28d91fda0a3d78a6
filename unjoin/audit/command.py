"""The audit in order: positions and ends, spools, dead letters, table by table, the door, the sums."""

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from schemas.topics import LABELED, TOPIC_OF_CATEGORY, dead_letter_topic
from sinks.rows.tables import TABLES
from unjoin.audit import door
from unjoin.audit.balance import Audit, Finding, Line
from unjoin.audit.dead_letters import set_aside
from unjoin.audit.matching import OffsetSet
from unjoin.audit.snapshot import AuditError, Commit, KafkaReader, OffsetRange
from unjoin.audit.spools import Spooled, read_spools
from unjoin.audit.stored import source_of
from unjoin.audit.tables import EVER, Audited, Snapshot, audit_table
from unjoin.connections.kafka_login import kafka_access_of
from unjoin.output import progress_on
from unjoin.settings import Settings

SINK_GROUP = "unjoin-sink-"
DOOR_GROUP = "unjoin-door"


async def audit(
    settings: Settings, spool_folders: Sequence[Path], console: Console, since_ms: int | None = None
) -> Audit:
    """Adds up what became of every accepted record.

    Args:
        since_ms: rows and dead letters of before are left out; None for none.
        spool_folders: the collectors' spools; empty for the one that the settings name.

    Raises:
        AuditError: Kafka or ClickHouse does not answer.
    """
    spools = read_spools(spool_folders or [settings.spool_folder], named=bool(spool_folders))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with KafkaReader(kafka_access_of(settings)) as kafka:
        with (
            source_of(settings) as source,
            tempfile.TemporaryDirectory(prefix="unjoin-audit-") as scratch,
            progress_on(console, *columns) as progress,
        ):
            snapshot = await _snapshot(kafka, progress, EVER if since_ms is None else since_ms)
            audited: dict[str, Audited] = {}
            for table in TABLES:
                with tempfile.TemporaryDirectory(prefix=f"{table.name}-", dir=scratch) as folder:
                    audited[table.name] = await audit_table(table, snapshot, kafka, source, Path(folder), progress)
            door_audit = await door.audit_door(kafka, snapshot, audited["labels"], _door_commits)
    return _summed(audited, door_audit, spools)


async def _snapshot(kafka: KafkaReader, progress: Progress, since_ms: int) -> Snapshot:
    """Reads commits, then ends, then dead letters: whoever passed a bad record had sent its dead letter before."""
    partitions = await kafka.partitions([LABELED, *(topic for table in TABLES for topic in table.topics)])
    commits: dict[TopicPartition, Commit] = {}
    for table in TABLES:
        parts = [one for topic in table.topics for one in partitions[topic]]
        commits |= await kafka.commits(SINK_GROUP + table.name, parts)
    commits |= await _door_commits(kafka, partitions[LABELED])
    spans = await kafka.spans([one for parts in partitions.values() for one in parts])
    ranges = {one: OffsetRange(0 if one.topic == LABELED else span.start, span.end) for one, span in spans.items()}
    dead_letters = {one: span for one, span in spans.items() if one.topic in set(map(dead_letter_topic, partitions))}
    dead_letters = await kafka.spans(dead_letters)
    bar = progress.add_task("dead letters", total=sum(span.end - span.start for span in dead_letters.values()))
    marks: Mapping[TopicPartition, OffsetSet] = await set_aside(
        kafka, dead_letters, ranges, lambda n: progress.advance(bar, n), since_ms
    )
    return Snapshot(commits, spans, marks, since_ms)


async def _door_commits(kafka: KafkaReader, parts: list[TopicPartition]) -> dict[TopicPartition, Commit]:
    return await kafka.commits(DOOR_GROUP, parts)


def _summed(audited: Mapping[str, Audited], door_audit: door.DoorAudit, spools: Spooled) -> Audit:
    """Every line with what lies at the edge, in the order in which events flow."""
    labels = audited["labels"].line
    lines = [audited[category].line for category, topic in TOPIC_OF_CATEGORY.items() if topic != LABELED]
    lines = [_with_spool(line, TOPIC_OF_CATEGORY[line.name], spools) for line in [*lines, door_audit.line]]
    lines += [
        msgspec.structs.replace(labels, excess=labels.excess + door_audit.excess_labels),
        audited["dead_letters"].line,
    ]
    findings: list[Finding] = [*spools.findings, *door_audit.findings]
    findings += [finding for one in audited.values() for finding in one.findings]
    notes = [*spools.notes, *door_audit.notes]
    notes += [
        f"{line.name}: {line.before} records left the log by retention; of them and their rows nothing is said"
        for line in lines
        if line.before
    ]
    return Audit(lines=lines, findings=findings, doubts=[*spools.doubts, *door_audit.doubts], notes=notes)


def _with_spool(line: Line, topic: str, spools: Spooled) -> Line:
    waiting, expired = spools.waiting[topic], spools.expired[topic]
    return msgspec.structs.replace(
        line, accepted=line.accepted + waiting + expired, held=line.held + waiting, expired=line.expired + expired
    )


def run_audit(settings: Settings, spool_folders: Sequence[Path], console: Console, since_ms: int | None) -> Audit:
    """`unjoin audit`.

    Raises:
        AuditError: nothing could be told.
    """
    try:
        return asyncio.run(audit(settings, spool_folders, console, since_ms))
    except KafkaError as error:
        raise AuditError(f"Kafka failed ({type(error).__name__}); audit again") from None
    except OSError as error:
        raise AuditError(f"no room for scratch files: {error.strerror}; name another folder with TMPDIR") from None
