"""One partition's worker: does what `block_planner.py` decides, and nothing else.

UnjoinError
├── PartitionLost   another member has the partition, or will: drop everything, the commit says where to go on
├── Halted          the engine refuses too many rows: stop the process before the topic is drained
├── NotOurs         the commits belong to another database: stop the process before it goes on with them
└── Unreadable      records of a block hold no datum: the same block again, without them
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from schemas.dead_letters import too_many
from schemas.following import EmitSpan, emit_nowhere
from schemas.outcomes import DeadLetterReason, DecodeError, UnjoinError
from sinks.engine import Block, Engine, Refused, Table, Unknown
from sinks.kafka.block_planner import (
    BlockLimits,
    BlockPlanner,
    Commit,
    DeadLetter,
    Finished,
    Halt,
    Insert,
    PreparedRecord,
    Row,
    Rows,
    SendDeadLetters,
    Wait,
)
from sinks.kafka.commit_marks import REFUSED, Kind, Meaning
from sinks.kafka.commit_marks import Commit as GroupCommit
from sinks.kafka.following import FollowedRecords
from sinks.metrics import SinkMetrics
from sinks.outage import Outage

HOW_TO_GO_ON = "stop every sink, then `unjoin rewind` fills this database from what Kafka holds (docs/clickhouse.md)"
_WHOSE = {
    Kind.OTHER: "another database's, not those of the one in front of this sink",
    Kind.AHEAD: "ahead of this database, which was restored from a backup",
}

T = TypeVar("T")
log = logging.getLogger(__name__)


class PartitionLost(UnjoinError):
    """The group has a new generation; this worker may commit and insert nothing any more."""


class Halted(UnjoinError):
    """The engine refused too many rows."""


class NotOurs(UnjoinError):
    """A commit of the group is of another database, or of a later state of this one."""

    def __init__(self, group: str, kind: Kind) -> None:
        super().__init__(f"the commits of {group} are {_WHOSE[kind]}; {HOW_TO_GO_ON}")


class Unreadable(UnjoinError):
    """Nothing of a block was stored, for some of its records hold no datum.

    Attributes:
        reasons: the reason by offset.
    """

    def __init__(self, reasons: Mapping[int, DeadLetterReason]) -> None:
        super().__init__(f"{len(reasons)} records cannot be read")
        self.reasons = reasons


class PartitionLog(Protocol):
    """What a worker needs of Kafka for its one partition. Any method may raise KafkaError: then try again."""

    topic: str
    partition: int

    async def committed(self) -> GroupCommit:
        """The group's commit, with its mark."""

    async def bounds(self) -> tuple[int, int]:
        """The log's first offset and the one after its last."""

    async def commit(self, offset: int, metadata: str) -> None:
        """Returns once the coordinator has it; raises PartitionLost where the group has moved on."""

    def seek(self, offset: int) -> None:
        """Reads from here next; raises PartitionLost."""


class DeadLetterSender(Protocol):
    """Sends records to the topic of dead letters."""

    async def send(self, topic: str, partition: int, dead_letters: Sequence[DeadLetter]) -> None:
        """Returns once acknowledged; raises KafkaError."""


class CommitMarks(Protocol):
    """What the database knows of commits; `sinks/clickhouse/marks.py`."""

    def marked(self, said: str) -> str:
        """A commit's metadata with the database's mark; asks nobody."""

    def adopt(self, group: str, commits: Mapping[TopicPartition, GroupCommit]) -> None:
        """Takes over commits of the version before, once; blocks, raises EngineError."""

    def meaning(self, group: str, one: TopicPartition, commit: GroupCommit) -> Meaning:
        """What a commit is to the database; blocks, raises EngineError."""


class WorkerContext(msgspec.Struct, frozen=True):
    """What all workers of a table share.

    Attributes:
        group: the consumer group.
        marks: `CommitMarks`.
        dead_letters: a `DeadLetterSender`.
        datum_of: gives a record's schema and datum; raises DecodeError where no schema fits.
        check: raises DecodeError where a record's value is not exactly one datum.
        clock: seconds, monotonic.
        jitter: spreads the retries of many partitions.
        emit: where the pieces of work of requests that are followed go.
    """

    table: Table
    group: str
    engine: Engine
    marks: Any  # CommitMarks
    dead_letters: Any  # DeadLetterSender
    limits: BlockLimits
    datum_of: Callable[[Any], tuple[Any, bytes]]
    check: Callable[[bytes | None], None]
    metrics: SinkMetrics
    clock: Callable[[], float]
    jitter: random.Random
    emit: EmitSpan = emit_nowhere


class PartitionWorker:
    """Moves the records of one partition into the engine, from its assignment to its revocation.

    Args:
        thread: the partition's own for as long as the process lives. An insert that was abandoned at a revocation
            therefore ends before this worker completes its range.
    """

    def __init__(self, partition_log: PartitionLog, context: WorkerContext, thread: ThreadPoolExecutor) -> None:
        self._log, self._context, self._thread = partition_log, context, thread
        self._blocks: BlockPlanner | None = None
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._rewound = False
        name = f"{context.table.name}-{partition_log.partition}"
        self._kafka = Outage(f"Kafka for {name}", log, context.clock, context.jitter)
        self._engine = Outage(f"ClickHouse for {name}", log, context.clock, context.jitter)
        self._name = name
        self._followed = FollowedRecords(context.table.name, partition_log.partition, context.emit)

    # Called by the reader.

    @property
    def planner(self) -> BlockPlanner | None:
        """What takes the records that are read now; None until the commit is known."""
        return self._blocks

    def add(self, planner: BlockPlanner | None, records: Sequence[Any], position: int, log_start: int) -> None:
        """Takes records that were read. Before the commit is known it drops them: reading starts again from there.

        Args:
            planner: the one of when they came. Once there is another, reading has started again from elsewhere.
        """
        if self._blocks is None or self._rewound or planner is not self._blocks:
            return
        if records and records[0].offset < self._blocks.read_to:
            self._rewound = True  # the log was truncated, and aiokafka reset its position
        else:
            self._blocks.add(self._prepared(records), position, self._now_ms(), log_start)
        self._woken.set()

    @property
    def should_pause(self) -> bool:
        """Whether reading should pause."""
        return self._blocks is not None and self._blocks.should_pause

    @property
    def may_resume(self) -> bool:
        """Whether reading should go on."""
        return self._blocks is None or self._blocks.may_resume

    @property
    def needs_position(self) -> bool:
        """Whether the worker must hear of the reader's position, to know when an uncertain range is all read."""
        return self._blocks is not None and self._blocks.needs_position

    @property
    def passed(self) -> int | None:
        """The offset below which everything is stored or set aside; None until the commit is known."""
        return self._blocks.first if self._blocks else None

    def stop(self) -> None:
        """Finishes the block in work, commits, and ends `run`; gives up where the engine does not answer."""
        self._stopping.set()
        self._woken.set()

    # The work.

    async def run(self) -> None:
        """Works until stopped.

        Raises:
            PartitionLost: the partition went away first.
            Halted: the engine refuses too many rows.
            NotOurs: the commit is another database's.
        """
        while True:
            self._rewound = False
            self._blocks = blocks = await self._resumed()
            while not self._rewound:
                self._woken.clear()
                decision = blocks.decide(self._now_ms(), stopping=self._stopping.is_set())
                if isinstance(decision, Finished) or not await self._do(blocks, decision):
                    return
            log.warning("%s: the log went back; reading again from the commit", self._name)

    async def _resumed(self) -> BlockPlanner:
        """A planner that begins at the commit; sends the reader there."""
        self._blocks = None
        commit = await self._believed(await self._retried(self._log.committed))
        log_start, log_end = await self._retried(self._log.bounds)
        blocks = BlockPlanner(
            self._context.limits, commit.offset, commit.metadata, log_start=log_start, log_end=log_end
        )
        if blocks.expired or blocks.rewound:
            gone = blocks.expired + blocks.rewound
            log.warning("%s: %d offsets are gone from the log before they were read", self._name, gone)
            self._context.metrics.expired.labels(self._context.table.name).inc(gone)
        self._log.seek(blocks.first)
        return blocks

    async def _believed(self, found: GroupCommit) -> GroupCommit:
        """The commit to go on from, without its mark."""
        meaning = await self._asked(found)
        if meaning.kind in REFUSED:
            raise NotOurs(self._context.group, meaning.kind)
        if meaning.kind is Kind.FOREIGN:
            log.warning(
                "%s: somebody else committed offset %s under %s; it is not believed, records are read again and only "
                "missing rows are inserted", self._name, found.offset, self._context.group,
            )  # fmt: skip
        return meaning.go_on

    async def _asked(self, found: GroupCommit) -> Meaning:
        one = TopicPartition(self._log.topic, self._log.partition)
        ask = self._context.marks.meaning
        while True:
            try:
                meaning: Meaning = await asyncio.get_running_loop().run_in_executor(
                    self._thread, ask, self._context.group, one, found
                )
            except Unknown as error:
                await self._pause(self._engine.failed(str(error)))
                if self._stopping.is_set():
                    raise PartitionLost(f"{self._name}: stopped before it began") from None
            else:
                self._engine.over()
                return meaning

    async def _do(self, blocks: BlockPlanner, decision: Any) -> bool:
        """Does what was decided and reports the outcome; returns False where going on is of no use."""
        match decision:
            case Commit(offset, metadata):
                await self._retried(lambda: self._log.commit(offset, self._context.marks.marked(metadata)))
                blocks.committed(decision)
            case Insert():
                return await self._insert(blocks, decision)
            case SendDeadLetters(dead_letters):
                where = self._log.topic, self._log.partition
                await self._retried(lambda: self._context.dead_letters.send(*where, dead_letters))
                self._context.metrics.dead_letters.labels(self._context.table.name).inc(len(dead_letters))
                blocks.sent()
            case Wait(until_ms):
                await self._sleep(None if until_ms is None else (until_ms - self._now_ms()) / 1_000)
            case Halt(cap):
                rows = f"rows of {self._context.table.name} (partition {self._log.partition} of {self._log.topic})"
                raise Halted(too_many(cap, rows, "were refused by ClickHouse", "Compare the table with the migrations"))
        return True

    async def _insert(self, blocks: BlockPlanner, insert: Insert) -> bool:
        context, name = self._context, self._context.table.name
        block = Block(
            table=context.table,
            topic=self._log.topic,
            partition=self._log.partition,
            first=insert.first,
            end=insert.end,
            schema=insert.rows[0].schema,
            datums=[row.datum for row in insert.rows],
        )
        attempt = self._attempt_missing if insert.missing else self._attempt
        began = self._now_ms()
        try:
            count = await asyncio.get_running_loop().run_in_executor(self._thread, attempt, block, insert.rows)
        except Unreadable as error:
            blocks.unreadable(error.reasons)
        except Refused as error:
            self._engine.over()
            blocks.refused()
            context.metrics.refusals.labels(name).inc()
            if len(insert.rows) == 1:
                log.warning("%s: ClickHouse refused the row at offset %d (%s)", self._name, insert.first, error)
        except Unknown as error:
            blocks.unknown()
            context.metrics.unknown.labels(name).inc()
            delay = self._engine.failed(str(error))
            if self._stopping.is_set():
                return False  # the intent stays committed: the partition's next owner completes it
            await self._pause(delay)
        else:
            self._engine.over()
            blocks.stored(self._now_ms() - began)
            self._followed.stored(insert.first, insert.end, count)
            context.metrics.rows.labels(name).inc(count)
            context.metrics.blocks.labels(name).inc()
            if insert.missing:
                context.metrics.repairs.labels(name).inc()
        return True

    # In the partition's thread.

    def _attempt(self, block: Block, rows: Sequence[Row]) -> int:
        """The first attempt. Only the engine checks the datums; it stores all rows or none."""
        try:
            self._context.engine.insert(block)
        except Refused:
            self._check(rows)
            raise
        return len(rows)

    def _attempt_missing(self, block: Block, rows: Sequence[Row]) -> int:
        """An attempt after one of unknown outcome. The datums are checked first: one of them may have crashed that."""
        self._check(rows)
        return self._context.engine.insert_missing(block)

    def _check(self, rows: Sequence[Row]) -> None:
        reasons = {}
        for row in rows:
            try:
                self._context.check(row.value)
            except DecodeError as error:
                reasons[row.offset] = error.reason
        if reasons:
            raise Unreadable(reasons)

    async def _retried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                result = await attempt()
            except KafkaError as error:
                await asyncio.sleep(self._kafka.failed(type(error).__name__))
            else:
                self._kafka.over()
                return result

    async def _pause(self, seconds: float) -> None:
        """Waits; only a stop cuts it short."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _sleep(self, seconds: float | None) -> None:
        """Waits; a stop or new records cut it short."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)

    def _now_ms(self) -> float:
        return self._context.clock() * 1_000

    def _prepared(self, records: Sequence[Any]) -> Sequence[PreparedRecord]:
        if type(records) is Rows:
            return records
        for record in [record for record in records if record.headers]:
            self._followed.note(record.offset, record.headers)
        datum_of = self._context.datum_of
        with contextlib.suppress(DecodeError):
            return [
                Row(one.offset, schema, datum, one.key, one.value)
                for one in records
                for schema, datum in [datum_of(one)]
            ]
        return [self._one_prepared(record) for record in records]

    def _one_prepared(self, record: Any) -> PreparedRecord:
        try:
            schema, datum = self._context.datum_of(record)
        except DecodeError as error:
            return DeadLetter(record.offset, error.reason, record.key, record.value)
        return Row(record.offset, schema, datum, record.key, record.value)
