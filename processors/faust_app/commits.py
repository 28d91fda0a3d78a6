"""Which offset may be committed: never one beyond a record that is still unacknowledged.

Faust's own `Consumer._new_offset` (0.15.3) looks at acknowledged offsets only, so it commits past records in flight:
committed 2585 and acknowledged 2586 to 2589 gives 2590 while 2585 is still being worked on; nothing committed and
acknowledged 3 and 4 gives 5. It also counts what Faust acknowledges itself when it skips a record. Here every record
that was fetched is noted, and only what our agent names counts. `tests/processors/faust_app/test_commits.py` shows when
the library no longer needs this.
"""

import asyncio
import heapq
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, ensure_aiokafka_TP
from faust.transport.drivers.aiokafka import Consumer as KafkaConsumer
from faust.transport.drivers.aiokafka import Transport as KafkaTransport
from faust.types import TP

from processors.faust_app.batches import FetchedBatch, Pace

log = logging.getLogger("unjoin.processors")
faust_log = logging.getLogger("faust.capped")  # what Faust logs through it may show values: `app.py` keeps it quiet

Partition = tuple[str, int]
"""Topic and partition."""

LAST_COMMIT_S_MAX = 3.0
HEAP_SLACK = 1_024


class Watermark:
    """The smallest offset that was added and is not done yet."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._heap: list[int] = []
        self._end: int | None = None

    def add(self, offsets: Collection[int]) -> None:
        """Opens offsets; one that was done is open again, because the record came again."""
        new = sorted(set(offsets) - self._open)
        if not new:
            return
        self._open.update(new)
        if self._end is None or new[0] >= self._end:
            self._heap += new  # ascending, and behind all others: it is a heap still
            self._end = new[-1] + 1
            return
        for offset in new:
            heapq.heappush(self._heap, offset)
        self._end = max(self._end, new[-1] + 1)

    def finish(self, offsets: Iterable[int]) -> None:
        """Closes offsets; one that is not open is ignored."""
        self._open.difference_update(offsets)
        if len(self._heap) > 2 * len(self._open) + HEAP_SLACK:
            # While one offset stays open for long, the closed ones behind it would pile up.
            self._heap = sorted(self._open)

    def has_open(self, first: int, end: int) -> bool:
        """Whether an offset from `first` on and below `end` is open."""
        return any(first <= offset < end for offset in self._open)

    def low(self) -> int | None:
        """The smallest open offset, or the one after the last where none is open; None where none was ever added."""
        while self._heap and self._heap[0] not in self._open:
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else self._end


class _Assigned:
    """One partition during one generation."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.acknowledged = Watermark()
        self.decided = Watermark()
        self.settled: list[tuple[int, str]] = []  # ascending offsets, and what is committed beside each
        self.offered: int | None = None


class Commits:
    """The offsets of every partition that this worker reads. Pure bookkeeping.

    A record is *delivered* when it was fetched, *decided* when the door has seen it (released, set aside, or held), and
    *acknowledged* when nothing that follows from it can be lost. Whatever belongs to another generation than its
    partition's is ignored: the records come again.

    Attributes:
        assignment: what the group gave this worker; None while it is between two assignments.
        progress: work on each partition since the process started, in records; it grows within a batch as well.
    """

    def __init__(self) -> None:
        self._partitions: dict[Partition, _Assigned] = {}
        self.progress: Counter[Partition] = Counter()
        self.assignment: frozenset[Partition] | None = None

    def assign(self, partitions: Iterable[Partition]) -> None:
        """Begins a generation with nothing delivered."""
        self._partitions.clear()
        self.assignment = frozenset((topic, partition) for topic, partition in partitions)

    def revoke(self) -> None:
        """Forgets everything: a rebalance takes all partitions from everybody before it deals them anew."""
        self._partitions.clear()
        self.assignment = None

    def note_progress(self, partitions: Iterable[Partition], records: int = 1) -> None:
        """Notes that work was done of which no offset tells yet."""
        for partition in partitions:
            self.progress[partition] += records

    def deliver(self, partition: Partition, generation: int, offsets: Collection[int]) -> None:
        """Notes records that were fetched; from now on nothing beyond one is committed until it is acknowledged."""
        entry = self._partitions.get(partition)
        if entry is None or entry.generation < generation:
            entry = self._partitions[partition] = _Assigned(generation)
        if entry.generation == generation:
            entry.acknowledged.add(offsets)
            entry.decided.add(offsets)

    def decide(self, partition: Partition, generation: int, offsets: Iterable[int]) -> None:
        """Notes that the door has seen records, and holds those that are not acknowledged as well."""
        entry = self._partitions.get(partition)
        if entry is not None and entry.generation == generation:
            entry.decided.finish(offsets)

    def acknowledge(self, partition: Partition, generation: int, offsets: Collection[int]) -> None:
        """Notes that nothing which follows from records can be lost any more."""
        entry = self._partitions.get(partition)
        if entry is not None and entry.generation == generation:
            entry.decided.finish(offsets)
            entry.acknowledged.finish(offsets)

    def settle(self, partition: Partition, generation: int, offset: int, metadata: str) -> None:
        """Notes that every record below `offset` has its final outcome, and that `metadata` says which."""
        entry = self._partitions.get(partition)
        if entry is not None and entry.generation == generation:
            if entry.settled and entry.settled[-1][0] == offset:
                entry.settled.pop()
            entry.settled.append((offset, metadata))

    def offer(self, partitions: Iterable[Partition] | None = None) -> None:
        """Lets what was settled be committed: the largest offset that no unacknowledged record lies below.

        Only at moments that tell nothing which the release of a crowd does not: when one has left, at whole minutes,
        and at the end. A commit at any other moment would say when somebody's label came.

        Args:
            partitions: None for all of which anything was delivered.
        """
        for partition in self.delivered() if partitions is None else partitions:
            entry = self._partitions.get(partition)
            low = None if entry is None else entry.acknowledged.low()
            if entry is None or low is None:
                continue
            reached = [offset for offset, _ in entry.settled if offset <= low]
            if reached:
                # What was offered before is kept: a commit of it may be on its way.
                kept = {entry.offered, reached[-1]}
                entry.settled = [one for one in entry.settled if one[0] in kept or one[0] > reached[-1]]
                entry.offered = reached[-1]

    def committable(self, partition: Partition) -> int | None:
        """The offset that was offered last; None where there is none."""
        entry = self._partitions.get(partition)
        return None if entry is None else entry.offered

    def metadata_of(self, partition: Partition, offset: int) -> str | None:
        """What belongs beside an offset that `committable` gave; None where it is not ours any more."""
        entry = self._partitions.get(partition)
        return None if entry is None else dict(entry.settled).get(offset)

    def is_current(self, partition: Partition, generation: int) -> bool:
        """Whether records of that generation are this worker's; after a rebalance they come again, to somebody."""
        entry = self._partitions.get(partition)
        return entry is not None and entry.generation == generation

    def passed_over(self, partition: Partition, generation: int, first: int, end: int) -> bool:
        """Whether a record from `first` on and below `end` was fetched, and the door has not seen it."""
        entry = self._partitions.get(partition)
        return entry is not None and entry.generation == generation and entry.decided.has_open(first, end)

    def delivered(self) -> list[Partition]:
        """The partitions of which anything was delivered."""
        return list(self._partitions)

    def next_offset(self, partition: Partition) -> int | None:
        """The offset to commit: where a worker that starts now must begin. None where nothing was delivered."""
        entry = self._partitions.get(partition)
        return None if entry is None else entry.acknowledged.low()

    def undecided(self, partition: Partition) -> int | None:
        """The smallest offset that the door has not seen; None where nothing was delivered."""
        entry = self._partitions.get(partition)
        return None if entry is None else entry.decided.low()


class CappedConsumerThread(AIOKafkaConsumerThread):  # type: ignore[misc]
    """aiokafka's side of the consumer: gives back what it fetched at the wrong moment, survives a failed commit."""

    logger = faust_log

    def _create_worker_consumer(self, transport: Any) -> Any:
        """Reads committed records alone, as the sinks do; Faust does so only where it writes in transactions itself."""
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # aiokafka 0.14 reads it when the consumer starts
        return consumer

    async def _fetch_records(self, *args: Any, **kwargs: Any) -> Mapping[Any, list[Any]]:
        """Fetches; what came while the flow was stopped or across a rebalance is put back instead of dropped.

        Faust drops it and seeks to the committed offset, which does nothing where none is committed yet.
        """
        generation = self.app.consumer_generation_id
        records: Mapping[Any, list[Any]] = await super()._fetch_records(*args, **kwargs)
        if not records or (self.consumer.flow_active and self.app.consumer_generation_id == generation):
            return records
        consumer = self._ensure_consumer()
        for partition, batch in records.items():
            if partition in consumer.assignment():
                consumer.seek(partition, batch[0].offset)
        return {}

    async def on_thread_stop(self) -> None:
        """Stops; while brokers are away aiokafka lets the cancellation of its own fetches out, which is no failure."""
        with suppress(asyncio.CancelledError, KafkaError):
            await super().on_thread_stop()

    async def _commit(self, offsets: Mapping[Any, int]) -> bool:
        """Commits; False where it could not, which the next commit makes good. Faust would end the worker instead."""
        assigned = self.assignment()
        wanted = {}
        for partition, offset in offsets.items():
            metadata = self.consumer.commits.metadata_of(partition, offset)
            # An offset without what became of the records below it would forget them.
            if partition in assigned and metadata is not None:
                wanted[ensure_aiokafka_TP(partition)] = OffsetAndMetadata(offset, metadata)
        if not wanted:
            return False
        try:
            await self._ensure_consumer().commit(wanted)
        except (CommitFailedError, IllegalStateError):
            return False  # rebalanced meanwhile: whoever has the partition reads the records again
        except KafkaError as error:
            log.warning("commit failed (%s), will try again", type(error).__name__)
            return False
        return True


class CappedConsumer(KafkaConsumer):  # type: ignore[misc]
    """Faust's consumer, which commits what `Commits` says and nothing else."""

    logger = faust_log

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.commits: Commits = self.transport.commits
        self._pace = Pace()

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return CappedConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _wait_next_records(self, timeout: float) -> Any:
        """Fetches at its pace; waits before Faust looks which partitions are its own, for they may change meanwhile."""
        if (wait_s := self._pace.wait_s(monotonic())) > 0:
            await asyncio.sleep(wait_s)
        return await super()._wait_next_records(timeout)

    async def _getmany(self, active_partitions: Any, timeout: float) -> Mapping[Any, list[Any]]:
        """Fetches, and notes every record before anything can drop or reorder it."""
        records: Mapping[Any, list[Any]] = await super()._getmany(active_partitions, timeout)
        self._pace.note(monotonic(), sum(map(len, records.values())))
        generation = self.app.consumer_generation_id
        for partition, batch in records.items():
            self.commits.deliver(partition, generation, [record.offset for record in batch])
        return records

    def _to_message(self, tp: TP, record: Any) -> FetchedBatch:
        """What `WholeBatches` gives of a partition, as one message."""
        return FetchedBatch(tp, self.app.consumer_generation_id, record)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Nothing: between two batches there is always one, and `_new_offset` needs none to be known."""

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: whoever puts a batch into a full buffer waits, and with all partitions paused Faust sleeps 1 s."""

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        """Every partition that may have something to commit; Faust asks those whose records it acknowledged itself."""
        return (TP(*partition) for partition in self.commits.delivered())

    def _new_offset(self, tp: Any) -> int | None:
        """The offset to commit. Replaced whole: the original consumes the list that it reads."""
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return self.commits.committable(tp)

    async def _commit_offsets(self, offsets: Mapping[Any, int], start_new_transaction: bool = True) -> bool:
        """Commits; Faust takes a failed commit for a done one and would wait for the next record to repeat it."""
        before = {partition: self._committed_offset[partition] for partition in offsets}
        done: bool = await super()._commit_offsets(offsets, start_new_transaction)
        if not done:
            self._committed_offset.update(before)
        return done

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Commits what is done while this worker still may, then forgets the rest."""
        self.commits.offer()
        try:
            await asyncio.wait_for(self.commit(), LAST_COMMIT_S_MAX)
        except TimeoutError:
            log.warning("could not commit before the rebalance; the records since the last commit come again")
        self.commits.revoke()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:
        """Begins a generation."""
        self.commits.assign(assigned)
        log.info("assigned partitions %s", sorted(partition for _, partition in assigned))
        await super().on_partitions_assigned(assigned, generation_id)


class CappedTransport(KafkaTransport):  # type: ignore[misc]
    """The transport to give to the app: `app.transport = CappedTransport(app.conf.broker_consumer, app, commits)`."""

    Consumer = CappedConsumer

    def __init__(self, url: Any, app: Any, commits: Commits) -> None:
        super().__init__(url, app)
        self.commits = commits
