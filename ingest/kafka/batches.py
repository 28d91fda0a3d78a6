"""Record batches shared by requests: one open batch per partition, and who waits for it.

A request appends its records to the open batches of their partitions and waits once, for all of them. No I/O in here:
`producer.py` takes a lane's batches, one at a time, and settles them with what became of them.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Literal

from aiokafka.codec import has_snappy, has_zstd
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch

from ingest.encode.records import Run
from schemas.outcomes import UnjoinError

# A batch always takes its first record, so a smaller bound would only mean a batch a record.
BATCH_BYTES_MIN = 1_024

# Of a record in a batch: 5 bytes length, 1 attributes, 10 timestamp, 5 offset, 5 key length, 5 value length, 1 headers.
# Source: aiokafka.record.default_records, MAX_RECORD_OVERHEAD, and KIP-98.
RECORD_OVERHEAD_BYTES = 32

# Not lz4: aiokafka fixes its level at 9, which costs twice the CPU of the others.
COMPRESSION_CODEC: dict[str, int] = {
    "none": DefaultRecordBatch.CODEC_NONE,
    "gzip": DefaultRecordBatch.CODEC_GZIP,
    "snappy": DefaultRecordBatch.CODEC_SNAPPY,
    "zstd": DefaultRecordBatch.CODEC_ZSTD,
}

Reason = Literal["full", "timed_out", "failed", "no_topic", "stopped", "spool_full", "spool_failed"]


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


class Waiter:
    """One request: waits until every batch that holds a record of it is settled, or for the first that failed.

    Attributes:
        future: of the request alone, so that a request that is cancelled takes nobody with it. Its result is why the
            records are not known to be durable, or None when they are.
        batches_left: how many of its batches are not settled yet.
    """

    __slots__ = ("batches_left", "future")

    def __init__(self, future: "asyncio.Future[Reason | None]") -> None:
        self.future = future
        self.batches_left = 0

    def settle(self, failure: Reason | None) -> None:
        """One of its batches is settled; `failure` is None when the batch was acknowledged."""
        self.batches_left -= 1
        if (failure is not None or self.batches_left == 0) and not self.future.done():
            self.future.set_result(failure)

    def give_up(self, reason: Reason) -> None:
        """The request waited long enough; its records stay where they are."""
        if not self.future.done():
            self.future.set_result(reason)


def size_of(run: Run, first: int = 0, end: int | None = None) -> int:
    """What records of a run, `values[first:end]`, count against the bound on bytes in flight."""
    values = run.values[first:end]
    return (RECORD_OVERHEAD_BYTES + len(run.key or b"")) * len(values) + sum(map(len, values))


class Builder(BatchBuilder):  # type: ignore[misc]
    """aiokafka's, with a way to add many values at once: its own `append` costs twice what the record does."""

    def extend(self, timestamp_ms: int, key: bytes | None, values: Sequence[bytes], first: int = 0) -> int:
        """Adds records that share stamp and key, from `values[first]` on, while there is room.

        Returns:
            The index of the first value that was not added, `len(values)` when all were.
        """
        append = self._builder.append
        no_headers: list[Any] = []
        shift: int = self._relative_offset - first  # type: ignore[has-type]
        for index in range(first, len(values)):
            if append(index + shift, timestamp_ms, key, values[index], no_headers) is None:
                break
        else:
            index = len(values)
        self._relative_offset = index + shift
        return index


class Batch:
    """Records of one partition that are sent, and acknowledged, together.

    Attributes:
        bytes: what it counts against the bound on bytes in flight.
        waiters: the requests with records in it.
    """

    __slots__ = ("builder", "bytes", "waiters")

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.bytes = 0
        self.waiters: list[Waiter] = []

    @property
    def records(self) -> int:
        """How many records are in it."""
        count: int = self.builder.record_count()
        return count

    def settle(self, failure: Reason | None) -> None:
        """Tells every waiting request what became of the batch."""
        for waiter in self.waiters:
            waiter.settle(failure)
        self.waiters = []


class Lane:
    """One partition: an open batch, full ones behind each other, at most one in flight.

    Attributes:
        open: the batch that takes records, if there is one.
        full: closed batches that wait for their turn, oldest first.
        in_flight: the batch that was handed to the sender and is not settled.
        in_flight_since: on the producer's clock.
        filled: set while there is something to take.
    """

    __slots__ = ("filled", "full", "in_flight", "in_flight_since", "open", "partition", "topic")

    def __init__(self, topic: "TopicLanes", partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.open: Batch | None = None
        self.full: deque[Batch] = deque()
        self.in_flight: Batch | None = None
        self.in_flight_since = 0.0
        self.filled = asyncio.Event()

    def open_batch(self) -> Batch:
        """A new open batch; the one before it, if any, is full and waits for its turn."""
        if self.open is not None:
            self.open.builder.close()
            self.full.append(self.open)
        self.open = Batch(Builder(self.topic.batch_bytes_max, self.topic.codec))
        self.filled.set()
        return self.open

    def extend(self, run: Run) -> list[Batch]:
        """Adds a run's records to the open batch, and to new ones as batches fill up; gives those it went to."""
        touched = []
        first, last = 0, len(run.values)
        while first < last:
            batch = self.open or self.open_batch()
            index = batch.builder.extend(run.timestamp_ms, run.key, run.values, first)
            if index > first:
                batch.bytes += size_of(run, first, index)
                touched.append(batch)
            if index < last:
                self.open_batch()
            first = index
        return touched

    def take(self, now: float) -> Batch:
        """The oldest batch, closed, as the one in flight; only while `filled` is set and none is in flight."""
        assert self.in_flight is None
        if self.full:
            batch = self.full.popleft()
        else:
            assert self.open is not None
            batch, self.open = self.open, None
            # The sequence number of the next batch is computed when this one is drained: nothing may be added after.
            batch.builder.close()
        if not self.full and self.open is None:
            self.filled.clear()
        self.in_flight, self.in_flight_since = batch, now
        return batch

    def drop_all(self) -> list[Batch]:
        """Every batch that is not settled; the lane is empty afterwards."""
        dropped = [batch for batch in (self.in_flight, *self.full, self.open) if batch is not None]
        self.open = self.in_flight = None
        self.full.clear()
        self.filled.clear()
        return dropped


class TopicLanes:
    """The partitions of one topic.

    Attributes:
        lanes: by partition.
        batch_bytes_max: uncompressed bytes at which a batch is full; falls when the broker says that one was too large.
    """

    __slots__ = ("batch_bytes_max", "codec", "lanes", "name")

    def __init__(self, name: str, codec: int, batch_bytes_max: int) -> None:
        self.name = name
        self.codec = codec
        self.batch_bytes_max = batch_bytes_max
        self.lanes: list[Lane] = []

    def grow(self, partitions: int) -> list[Lane]:
        """The lanes that are new now that the topic has that many partitions; a topic never has fewer than before."""
        added = [Lane(self, partition) for partition in range(len(self.lanes), partitions)]
        self.lanes += added
        return added

    def shrink_batches(self, refused_bytes: int, refused_records: int) -> None:
        """The broker's `max.message.bytes` is below a batch that was sent: make smaller ones.

        In the end a record that is too large has a batch to itself, since a batch beyond the bound takes no second
        record, and so it no longer fails its neighbours.

        Args:
            refused_bytes: uncompressed, what the batch's builder said.
        """
        below = refused_bytes // 2 if refused_records > 1 else refused_bytes - 1
        self.batch_bytes_max = max(BATCH_BYTES_MIN, min(self.batch_bytes_max, below))
