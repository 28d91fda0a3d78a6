"""`unjoin rewind`: sets the sinks' groups back, so that the database in front of us is filled from what Kafka holds.

For a database that the groups' commits do not belong to: a new one, another one, one that was restored from a backup.
Every record from the chosen offset on is read again and only rows that are missing are inserted, so nothing doubles.
What Kafka's retention has deleted is in no log any more, and is said. The door's group is left alone.
"""

import asyncio
import datetime
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CommitFailedError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from schemas.kafka_access import KafkaAccess
from schemas.kafka_probe import reason_of
from schemas.outcomes import UnjoinError
from schemas.topics import DEIDENTIFIED
from sinks.clickhouse.marks import Marks
from sinks.engine import Table
from sinks.kafka.commit_marks import Commit, Kind, rewound
from sinks.kafka.consumer import committed, partitions_of
from sinks.main import GROUP_PREFIX
from sinks.rows.tables import TABLES
from unjoin.output import print_table, say
from unjoin.subjects.put_back import put_back_mark

ANSWER_SECONDS_MAX = 30.0
COORDINATOR_TRIES, AGAIN_SECONDS = 20, 0.5
# A released label is stamped with midnight of its day, and leaves up to a day after that has ended.
STAMP_AGE = datetime.timedelta(days=2)
WHOSE = {
    Kind.NONE: "nobody's",
    Kind.OWN: "this database's",
    Kind.AHEAD: "ahead of this database",
    Kind.OTHER: "another database's",
    Kind.ADOPTED: "the version before's",
    Kind.FOREIGN: "without a mark",
}


class RewindError(UnjoinError):
    """Nothing, or not everything, was set back; the text says what to do."""


class Step(msgspec.Struct, frozen=True):
    """What happens to one partition.

    Attributes:
        kind: of the commit that is there.
        start, end: the log's first offset, and the one after its last.
        to: the commit that takes its place, without its mark.
    """

    table: str
    partition: TopicPartition
    kind: Kind
    found: Commit
    start: int
    end: int
    to: Commit


def tables_called(names: Sequence[str]) -> tuple[Table, ...]:
    """The tables of these names; all for none.

    Raises:
        RewindError: no table is called so.
    """
    known = {table.name: table for table in TABLES}
    if unknown := sorted(set(names) - known.keys()):
        raise RewindError(f"no table is called {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(known[name] for name in names) or TABLES


async def rewind(
    kafka: KafkaAccess, marks: Marks, tables: Sequence[Table], since_ms: int | None, *, really: bool
) -> list[Step]:
    """Sets the groups of tables back; gives what was, or would be, done.

    Args:
        marks: of the database that is to be filled; no sink has it open.
        since_ms: Unix milliseconds; None for all that Kafka holds.
        really: False to change nothing.

    Raises:
        RewindError: a sink runs, or Kafka does not answer.
    """
    try:
        # Sinks will set garbage aside once more, which erasures have to wait for.
        async with _clients(kafka) as (admin, consumer), put_back_mark(kafka) as mark:
            steps = [step for table in tables for step in await _steps(admin, consumer, marks, table, since_ms)]
            if really:
                for table in tables:
                    await mark.hold()
                    await _commit(kafka, marks, table, steps)
            return steps
    except (KafkaError, OSError, TimeoutError) as error:
        why = await reason_of(error, kafka)
        raise RewindError(f"Kafka at {kafka.bootstrap}: {why}; start or mend it, then call again") from None


@asynccontextmanager
async def _clients(kafka: KafkaAccess) -> AsyncIterator[tuple[Any, Any]]:
    async with AsyncExitStack() as stack:
        admin = AIOKafkaAdminClient(**kafka.client())
        stack.push_async_callback(admin.close)
        consumer = AIOKafkaConsumer(**kafka.client(), enable_auto_commit=False)
        stack.push_async_callback(_stopped, consumer)
        await asyncio.wait_for(admin.start(), ANSWER_SECONDS_MAX)
        await asyncio.wait_for(consumer.start(), ANSWER_SECONDS_MAX)
        yield admin, consumer


async def _stopped(consumer: Any) -> None:
    with suppress(KafkaError, TimeoutError):
        await asyncio.wait_for(consumer.stop(), ANSWER_SECONDS_MAX)


async def _steps(admin: Any, consumer: Any, marks: Marks, table: Table, since_ms: int | None) -> list[Step]:
    there = await consumer.topics()
    partitions = await partitions_of(admin, [topic for topic in table.topics if topic in there])
    if not partitions:
        raise RewindError(
            f"there is no topic of {table.name}; is this the pipeline's Kafka? `unjoin topics` makes them"
        )
    group = GROUP_PREFIX + table.name
    found = await _committed(admin, group, partitions)
    starts, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    since: dict[TopicPartition, int | None] = dict.fromkeys(partitions)
    if since_ms is not None:
        asked = {one: _stamp_ms(one.topic, since_ms) for one in partitions}
        answers = await consumer.offsets_for_times(asked)
        since = {one: ends[one] if answers.get(one) is None else answers[one].offset for one in partitions}
    steps = []
    for one in sorted(partitions):
        meaning = marks.meaning(group, one, found[one])
        to = rewound(meaning, starts[one], ends[one], since[one])
        steps.append(Step(table.name, one, meaning.kind, found[one], starts[one], ends[one], to))
    return steps


def _stamp_ms(topic: str, since_ms: int) -> int:
    """From which timestamp on a record of a topic may have come since then."""
    if topic != DEIDENTIFIED:
        return since_ms
    day = datetime.datetime.fromtimestamp(since_ms / 1_000, datetime.UTC).date() - STAMP_AGE
    return int(datetime.datetime.combine(day, datetime.time(), datetime.UTC).timestamp() * 1_000)


async def _committed(admin: Any, group: str, partitions: list[TopicPartition]) -> dict[TopicPartition, Commit]:
    """Waits for a coordinator that has just started."""
    for _ in range(COORDINATOR_TRIES):
        with suppress(KafkaError):
            return await committed(admin, group, partitions)
        await asyncio.sleep(AGAIN_SECONDS)
    return await committed(admin, group, partitions)


async def _commit(kafka: KafkaAccess, marks: Marks, table: Table, steps: Sequence[Step]) -> None:
    """Commits as nobody's member, which a coordinator refuses while the group has some."""
    offsets = {
        step.partition: OffsetAndMetadata(step.to.offset, marks.marked(step.to.metadata))
        for step in steps
        if step.table == table.name
    }
    group = GROUP_PREFIX + table.name
    consumer = AIOKafkaConsumer(**kafka.client(), group_id=group, enable_auto_commit=False)
    try:
        await asyncio.wait_for(consumer.start(), ANSWER_SECONDS_MAX)
        consumer.assign(list(offsets))
        await asyncio.wait_for(consumer.commit(offsets), ANSWER_SECONDS_MAX)
    except KafkaError as error:
        why = "it has members" if isinstance(error, CommitFailedError) else await reason_of(error, kafka)
        raise RewindError(f"{group} was not set back ({why}): stop every sink, then call again") from None
    finally:
        await _stopped(consumer)


def show(steps: Sequence[Step], form: str, *, really: bool) -> None:
    """A row a partition; for people also what is lost to retention, and what was done."""
    names = ("table", "topic", "partition", "commit", "whose", "goes_on_at", "read_again", "log_begins_at")
    rows = [
        (
            step.table,
            step.partition.topic,
            step.partition.partition,
            step.found.offset,
            WHOSE[step.kind],
            step.to.offset,
            step.end - (step.to.offset or 0),
            step.start,
        )
        for step in steps
    ]
    document = {"done": really, "partitions": [dict(zip(names, row, strict=True)) for row in rows]}
    if form != "table":
        print_table(names, rows, form, document=document)
        return
    print_table([name.replace("_", " ") for name in names], rows)
    for step in steps:
        if step.start and step.to.offset == step.start:
            name = f"{step.partition.topic}-{step.partition.partition}"
            say(f"{name}: Kafka holds nothing below offset {step.start}; rows of before come from no log")
    say("set back; start the sinks" if really else "nothing was changed; `unjoin rewind --yes` does it")
