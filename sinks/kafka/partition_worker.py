"""One partition's worker: does what `blocks.py` decides, and nothing else.

UnjoinError
├── Lost         the partition is, or is about to be, somebody else's: drop everything, the commit is the truth
├── Halted       the engine refuses too many rows: stop the process before the topic is drained
└── Unreadable   records of a block hold no datum: the same block again, without them
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import msgspec
from aiokafka.errors import KafkaError

from schemas.dead_letters import too_many
from schemas.outcomes import DeadLetterReason, DecodeError, UnjoinError
from sinks.engine import Block, Engine, Refused, Table, Unknown
from sinks.kafka.block_planner import (
    BlockLimits,
    Commit,
    Finished,
    Halt,
    Insert,
    PartitionBlocks,
    Record,
    Row,
    SendDeadLetters,
    SetAside,
    Wait,
)
from sinks.metrics import SinkMetrics
from sinks.outage import Outage

T = TypeVar("T")
log = logging.getLogger(__name__)


class Lost(UnjoinError):
    """The group moved on; nothing may be committed or inserted any more."""


class Halted(UnjoinError):
    """Too many rows were refused."""


class Unreadable(UnjoinError):
    """Nothing of a block was stored, for records of it hold no datum.

    Attributes:
        reasons: offset -> why.
    """

    def __init__(self, reasons: Mapping[int, DeadLetterReason]) -> None:
        super().__init__(f"{len(reasons)} records cannot be read")
        self.reasons = reasons


class PartitionLog(Protocol):
    """What a worker needs of Kafka for its one partition. All of it may raise KafkaError: nothing is decided, retry."""

    topic: str
    partition: int

    async def committed(self) -> tuple[int | None, str]:
        """The group's offset and its metadata; None where it never committed."""

    async def bounds(self) -> tuple[int, int]:
        """The log's first offset and the one after its last."""

    async def commit(self, offset: int, metadata: str) -> None:
        """Returns once the coordinator has it; raises Lost where the group has moved on."""

    def seek(self, offset: int) -> None:
        """Reads from here next; raises Lost."""


class DeadLetterBox(Protocol):
    """Where records are set aside."""

    async def send(self, topic: str, partition: int, letters: Sequence[SetAside]) -> None:
        """Returns once acknowledged; raises KafkaError."""


class Parts(msgspec.Struct, frozen=True):
    """What all workers of a table share.

    Attributes:
        datum_of: a record's schema and datum; raises DecodeError where no schema fits.
        check: raises DecodeError where a record's value is not exactly one datum.
        clock: seconds, monotonic.
    """

    table: Table
    engine: Engine
    letters: Any  # DeadLetterBox
    limits: BlockLimits
    datum_of: Callable[[Any], tuple[Any, bytes]]
    check: Callable[[bytes | None], None]
    metrics: SinkMetrics
    clock: Callable[[], float]
    chance: random.Random


class PartitionWorker:
    """From assignment to revocation of one partition.

    Args:
        thread: of this partition for as long as the process lives, so that an insert abandoned at a revocation ends
            before its range is completed here.
    """

    def __init__(self, partition_log: PartitionLog, parts: Parts, thread: ThreadPoolExecutor) -> None:
        self._log, self._parts, self._thread = partition_log, parts, thread
        self._blocks: PartitionBlocks | None = None
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._rewound = False
        name = f"{parts.table.name}-{partition_log.partition}"
        self._kafka = Outage(f"Kafka for {name}", log, parts.clock, parts.chance)
        self._engine = Outage(f"ClickHouse for {name}", log, parts.clock, parts.chance)
        self._name = name

    # Called by the reader.

    def add(self, records: Sequence[Any], position: int) -> None:
        """Takes what was read; before the commit is known it is dropped, for reading starts again from there."""
        if self._blocks is None or self._rewound:
            return
        if records and records[0].offset < self._blocks.read_to:
            self._rewound = True  # the log was truncated and aiokafka reset the position
        else:
            self._blocks.add(self._prepared(records), position, self._now_ms())
        self._woken.set()

    @property
    def full(self) -> bool:
        """Reading should pause."""
        return self._blocks is not None and self._blocks.full

    @property
    def hungry(self) -> bool:
        """Reading should go on."""
        return self._blocks is None or self._blocks.hungry

    @property
    def recovering(self) -> bool:
        """An intent, or a doubt, waits for its records; the reader's position says when all were read."""
        return self._blocks is not None and self._blocks.doubting

    @property
    def passed(self) -> int | None:
        """Everything below is stored or set aside; None until the commit is known."""
        return self._blocks.first if self._blocks else None

    def stop(self) -> None:
        """Finishes the block in work, commits, and ends `run`; gives up where the engine does not answer."""
        self._stopping.set()
        self._woken.set()

    # The work.

    async def run(self) -> None:
        """Until stopped.

        Raises:
            Lost: the partition went away first.
            Halted: the engine refuses too many rows.
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

    async def _resumed(self) -> PartitionBlocks:
        """The state that the commit and the log's bounds describe, with the reader sent there."""
        self._blocks = None
        committed, metadata = await self._retried(self._log.committed)
        log_start, log_end = await self._retried(self._log.bounds)
        blocks = PartitionBlocks(self._parts.limits, committed, metadata, log_start=log_start, log_end=log_end)
        if blocks.expired or blocks.rewound:
            gone = blocks.expired + blocks.rewound
            log.warning("%s: %d offsets are gone from the log before they were read", self._name, gone)
            self._parts.metrics.expired.labels(self._parts.table.name).inc(gone)
        self._log.seek(blocks.first)
        return blocks

    async def _do(self, blocks: PartitionBlocks, decision: Any) -> bool:
        """Does it and reports the outcome; False where there is no use in going on."""
        match decision:
            case Commit(offset, metadata):
                await self._retried(lambda: self._log.commit(offset, metadata))
                blocks.committed(decision)
            case Insert():
                return await self._insert(blocks, decision)
            case SendDeadLetters(letters):
                where = self._log.topic, self._log.partition
                await self._retried(lambda: self._parts.letters.send(*where, letters))
                self._parts.metrics.dead_letters.labels(self._parts.table.name).inc(len(letters))
                blocks.sent()
            case Wait(until_ms):
                await self._sleep(None if until_ms is None else (until_ms - self._now_ms()) / 1_000)
            case Halt(cap):
                rows = f"rows of {self._parts.table.name} (partition {self._log.partition} of {self._log.topic})"
                raise Halted(too_many(cap, rows, "were refused by ClickHouse", "Compare the table with the migrations"))
        return True

    async def _insert(self, blocks: PartitionBlocks, insert: Insert) -> bool:
        parts, name = self._parts, self._parts.table.name
        block = Block(
            table=parts.table,
            topic=self._log.topic,
            partition=self._log.partition,
            first=insert.first,
            end=insert.end,
            schema=insert.rows[0].schema,
            datums=[row.datum for row in insert.rows],
        )
        attempt = self._attempt_missing if insert.missing else self._attempt
        try:
            count = await asyncio.get_running_loop().run_in_executor(self._thread, attempt, block, insert.rows)
        except Unreadable as error:
            blocks.unreadable(error.reasons)
        except Refused as error:
            self._engine.over()
            blocks.refused()
            parts.metrics.refusals.labels(name).inc()
            if len(insert.rows) == 1:
                log.warning("%s: ClickHouse refused the row at offset %d (%s)", self._name, insert.first, error)
        except Unknown as error:
            blocks.unknown()
            parts.metrics.unknown.labels(name).inc()
            delay = self._engine.failed(str(error))
            if self._stopping.is_set():
                return False  # the intent stands: whoever owns the partition next completes it
            await self._pause(delay)
        else:
            self._engine.over()
            blocks.stored()
            parts.metrics.rows.labels(name).inc(count)
            parts.metrics.blocks.labels(name).inc()
            if insert.missing:
                parts.metrics.repairs.labels(name).inc()
        return True

    # In the partition's thread.

    def _attempt(self, block: Block, rows: Sequence[Row]) -> int:
        """The first one: nobody has looked at the datums yet but the engine, which takes all or none."""
        try:
            self._parts.engine.insert(block)
        except Refused:
            self._check(rows)
            raise
        return len(rows)

    def _attempt_missing(self, block: Block, rows: Sequence[Row]) -> int:
        """After an attempt of unknown outcome, ours or another's: should a datum have ended that, it ends no more."""
        self._check(rows)
        return self._parts.engine.insert_missing(block)

    def _check(self, rows: Sequence[Row]) -> None:
        reasons = {}
        for row in rows:
            try:
                self._parts.check(row.value)
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
        """A wait that only stopping cuts short."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _sleep(self, seconds: float | None) -> None:
        """A wait that new records cut short too."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)

    def _now_ms(self) -> float:
        return self._parts.clock() * 1_000

    def _prepared(self, records: Sequence[Any]) -> list[Record]:
        datum_of = self._parts.datum_of
        prepared: list[Record] = []
        for record in records:
            try:
                schema, datum = datum_of(record)
            except DecodeError as error:
                prepared.append(SetAside(record.offset, error.reason, record.key, record.value))
            else:
                prepared.append(Row(record.offset, schema, datum, record.key, record.value))
        return prepared
