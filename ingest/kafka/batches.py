"""Record batches that requests share: a queue of batches for each partition, and the requests that wait for each batch.

A request appends its records to the open batches of their partitions and waits once, for all of these batches. No I/O:
`producer.py` takes the batches of a queue one at a time, sends each, and settles it with the outcome.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from aiokafka.codec import has_snappy, has_zstd
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch

from ingest.encode.records import Run
from schemas.outcomes import UnjoinError

# A batch takes its first record whatever its size, so a smaller bound would make each batch hold one record.
BATCH_BYTES_MIN = 1_024

# What a record in a batch takes beside its key and value:
#
#     field           bytes at most
#     length          5
#     attributes      1
#     timestamp       10
#     offset          5
#     key length      5
#     value length    5
#     header count    1
#
# Source: aiokafka.record.default_records, MAX_RECORD_OVERHEAD, and KIP-98.
RECORD_OVERHEAD_BYTES = 32

# While Kafka is away, deadlines pass one by one; so late at most is a waiter given up.
LOOK_SECONDS_MIN = 0.05

# Without lz4: aiokafka fixes its level at 9, which costs twice the CPU of the others.
COMPRESSION_CODEC: dict[str, int] = {
    "none": DefaultRecordBatch.CODEC_NONE,
    "gzip": DefaultRecordBatch.CODEC_GZIP,
    "snappy": DefaultRecordBatch.CODEC_SNAPPY,
    "zstd": DefaultRecordBatch.CODEC_ZSTD,
}

NotDurableReason = Literal[
    "full", "timed_out", "failed", "no_topic", "no_partition", "stopped", "spool_full", "spool_failed"
]


class CompressionMissing(UnjoinError):
    """The library for the configured compression is not installed."""


def codec_of(compression: str) -> int:
    """The number that a record batch carries for its compression.

    Raises:
        CompressionMissing: its library is not installed.
    """
    if not {"snappy": has_snappy, "zstd": has_zstd}.get(compression, lambda: True)():
        raise CompressionMissing(f"compression {compression} needs a package: install aiokafka[{compression}]")
    return COMPRESSION_CODEC[compression]


# Told once what became of a request's records: why they are not known to be durable, or None where they are.
Settled = Callable[[NotDurableReason | None], object]


class Waiter:
    """One request that waits until all batches with its records are acknowledged, or the first of them fails.

    Args:
        failed: called where it fails or gives up, before it is told.

    Attributes:
        batches_left: how many of the batches are not settled yet.
        deadline: when it is to be given up, seconds on the event loop's clock; infinity where somebody else sees to it.
        done: whether it waits no longer.
    """

    __slots__ = ("_failed", "_settled", "batches_left", "deadline", "done")

    def __init__(self, settled: Settled, deadline: float, failed: Callable[[], object]) -> None:
        self._settled, self._failed = settled, failed
        self.batches_left = 0
        self.deadline = deadline
        self.done = False

    def settle(self, failure: NotDurableReason | None) -> None:
        """Notes that one of the batches is settled; `failure` is None when it was acknowledged."""
        self.batches_left -= 1
        if failure is not None:
            self.give_up(failure)
        elif self.batches_left == 0 and not self.done:
            self.done = True
            self._settled(None)

    def give_up(self, reason: NotDurableReason) -> None:
        """Ends the wait; the records stay in their batches."""
        if not self.done:
            self.done = True
            self._failed()
            self._settled(reason)


class Deadlines:
    """Gives up waiters whose time has come, with one timer for all, which looks at the batches that are not settled.

    Args:
        batches: those batches.
    """

    def __init__(self, batches: "Callable[[], Iterable[RecordBatch]]") -> None:
        self._batches = batches
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, deadline: float, loop: asyncio.AbstractEventLoop) -> None:
        """Looks at this time, if not sooner; a deadline that is sooner than one before is seen late."""
        if self._timer is None:
            self._timer = loop.call_at(deadline, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now, first = loop.time(), math.inf
        try:
            first = min((batch.give_up_late(now) for batch in self._batches()), default=math.inf)
        finally:  # a callback that fails leaves the rest to the next request's timer
            at = max(first, now + LOOK_SECONDS_MIN)
            self._timer = loop.call_at(at, self._look, loop) if first < math.inf else None


def size_of(run: Run, first: int = 0, end: int | None = None) -> int:
    """Bytes that `values[first:end]` of a run count against the bound on bytes in flight."""
    values = run.values if first == 0 and end is None else run.values[first:end]
    if len(values) == 1:
        return RECORD_OVERHEAD_BYTES + len(run.key or b"") + len(values[0])
    return (RECORD_OVERHEAD_BYTES + len(run.key or b"")) * len(values) + sum(map(len, values))


class RecordBatchBuilder(BatchBuilder):  # type: ignore[misc]
    """aiokafka's builder, which can also add many values at once: its own `append` doubles the cost of a record."""

    def extend(
        self, timestamp_ms: int, key: bytes | None, values: Sequence[bytes], first: int, headers: list[Any]
    ) -> int:
        """Adds records that share timestamp, key and headers, from `values[first]` on, while there is room.

        Returns:
            The index of the first value that was not added, `len(values)` when all were.
        """
        append = self._builder.append
        shift: int = self._relative_offset - first  # type: ignore[has-type]
        for index in range(first, len(values)):
            if append(index + shift, timestamp_ms, key, values[index], headers) is None:
                break
        else:
            index = len(values)
        self._relative_offset = index + shift
        return index

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        """Closes it: aiokafka has just counted its records, for the sequence number of the next batch."""
        super()._set_producer_state(producer_id, producer_epoch, base_sequence)
        self.close()


class RecordBatch:
    """Records of one partition that are sent and acknowledged together.

    Attributes:
        bytes: counted against the bound on bytes in flight.
        waiters: the requests with records in it.
    """

    __slots__ = ("builder", "bytes", "waiters")

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.bytes = 0
        self.waiters: list[Waiter] = []

    @property
    def records(self) -> int:
        """How many records the batch holds."""
        count: int = self.builder.record_count()
        return count

    def settle(self, failure: NotDurableReason | None) -> None:
        """Tells every waiting request the outcome; `failure` is None when the batch was acknowledged."""
        for waiter in self.waiters:
            waiter.settle(failure)
        self.waiters = []

    def give_up_late(self, now: float) -> float:
        """Gives up the requests whose deadline has passed; gives the first of the others, infinity for none.

        Requests wait equally long, so that the first one in time ends the search.
        """
        kept: list[Waiter] = []
        first = math.inf
        for number, waiter in enumerate(self.waiters):
            if waiter.done:
                continue
            if waiter.deadline <= now:
                waiter.give_up("timed_out")
                continue
            if waiter.deadline < math.inf:
                kept += self.waiters[number:]
                first = waiter.deadline
                break
            kept.append(waiter)
        self.waiters = kept
        return first


class PartitionQueue:
    """The batches of one partition: at most one open and at most one in flight, any number full.

    The one in flight is open as well while its broker is busy with another request.

    Attributes:
        open: the batch that takes records, if there is one; its builder is closed once it is really sent.
        full: closed batches that wait to be sent, oldest first.
        in_flight: the batch that the sender has and that is not settled.
        filled: set while there is a batch to take.
    """

    __slots__ = ("filled", "full", "in_flight", "open", "partition", "topic")

    def __init__(self, topic: "TopicQueues", partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.open: RecordBatch | None = None
        self.full: deque[RecordBatch] = deque()
        self.in_flight: RecordBatch | None = None
        self.filled = asyncio.Event()

    def open_batch(self) -> RecordBatch:
        """Makes a new open batch; the open batch before it, if any, becomes a full one."""
        if self.open is not None:
            self.open.builder.close()
            if self.open is not self.in_flight:
                self.full.append(self.open)
        self.open = RecordBatch(RecordBatchBuilder(self.topic.batch_bytes_max, self.topic.codec))
        self.filled.set()
        return self.open

    def extend(self, run: Run, size: int) -> list[RecordBatch]:
        """Adds a run's records to the open batch, and to new batches as batches fill up; returns those batches.

        Args:
            size: of the run, as `size_of` gives it.
        """
        touched = []
        first, last = 0, len(run.values)
        while first < last:
            batch = self.open
            if batch is None or batch.builder.closed():
                batch = self.open_batch()
            index = batch.builder.extend(run.timestamp_ms, run.key, run.values, first, run.headers)
            if index > first:
                batch.bytes += size if index - first == last else size_of(run, first, index)
                touched.append(batch)
            if index < last:
                self.open_batch()
            first = index
        return touched

    def take(self) -> RecordBatch:
        """Makes the oldest batch the one in flight; `filled` has to be set, and none in flight."""
        assert self.in_flight is None
        batch = self.full.popleft() if self.full else self.open
        assert batch is not None
        if not self.full and self.open in (None, batch):
            self.filled.clear()
        self.in_flight = batch
        return batch

    def forget(self) -> None:
        """The batch in flight is settled."""
        if self.open is self.in_flight:
            self.open = None
        self.in_flight = None

    def unsettled(self) -> list[RecordBatch]:
        """Every batch, each once."""
        held = dict.fromkeys((self.in_flight, *self.full, self.open))
        return [batch for batch in held if batch is not None]

    def drop_all(self) -> list[RecordBatch]:
        """Empties the queue; returns every batch that is not settled."""
        dropped = self.unsettled()
        self.open = self.in_flight = None
        self.full.clear()
        self.filled.clear()
        return dropped


class TopicQueues:
    """The queues of one topic's partitions.

    Attributes:
        queues: in the order of the partitions' numbers.
        batch_bytes_max: uncompressed bytes at which a batch is full; falls when the broker refuses one as too large.
    """

    __slots__ = ("batch_bytes_max", "codec", "name", "queues")

    def __init__(self, name: str, codec: int, batch_bytes_max: int) -> None:
        self.name = name
        self.codec = codec
        self.batch_bytes_max = batch_bytes_max
        self.queues: list[PartitionQueue] = []

    def grow(self, partitions: int) -> list[PartitionQueue]:
        """Adds queues up to that many partitions; returns the new ones. A topic never loses partitions."""
        added = [PartitionQueue(self, partition) for partition in range(len(self.queues), partitions)]
        self.queues += added
        return added

    def shrink_batches(self, refused_bytes: int, refused_records: int) -> None:
        """Makes later batches smaller, after the broker refused one as larger than its `max.message.bytes`.

        After enough refusals a record that is too large has a batch to itself, since a batch beyond the bound takes no
        second record. Then it no longer fails other records.

        Args:
            refused_bytes: uncompressed bytes of the refused batch.
        """
        below = refused_bytes // 2 if refused_records > 1 else refused_bytes - 1
        self.batch_bytes_max = max(BATCH_BYTES_MIN, min(self.batch_bytes_max, below))
