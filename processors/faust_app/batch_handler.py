"""The way of a batch through the door: decode, decide, release, and only then acknowledge.

Never raises. A record that cannot be read becomes a dead letter, a broker that is away is waited for, and what no
waiting can help (a day's key is lost, records come in another order than they lie on the log) stops the door with the
records unacknowledged.

A verdict is stored on the door's own topic at the moments at which offsets are committed, and its offset is
acknowledged then: a crash before that finds it on the log, and no append time says when somebody was judged.

Whatever a batch costs, the loop turns: between two records it is let go every `YIELD_S`, and each record that was
decided is progress to the watchdog, so that only a door that hangs is taken for one.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from operator import itemgetter
from time import monotonic
from typing import NoReturn, Protocol

import msgspec

from processors.door.outcome_counts import OutcomeCounts
from processors.door.records import (
    labeled_of,
    midnight_s,
    released_partition,
    values_of,
    verdict_key_of,
    verdict_value_of,
)
from processors.door.release import Door, Step
from processors.door.verdicts import JudgedVoters, StoredVerdict, earlier_verdicts
from processors.faust_app.commits import Commits, Partition
from processors.faust_app.metrics import DoorMetrics
from processors.faust_app.producer import AcknowledgedProducer, Outgoing
from schemas.dead_letters import ShareCap, dead_letter_headers, too_many
from schemas.events import DeidentifiedLabel, IdentifiedVerdict
from schemas.outcomes import DecodeError, Suppression, UnjoinError
from schemas.seal import Opener, place_of

YIELD_S = 0.01
RELEASE_RECORDS_MAX = 5_000
"""Labels that are encoded and on their way at a time; a crowd may be as large as its bound."""
VERDICTS_WAITING_MAX = 10_000
"""Verdicts that wait for the next whole minute or crowd, of all partitions; past it all are stored at once."""


class Record(Protocol):
    """A record as aiokafka hands it over.

    Attributes:
        timestamp: Unix milliseconds.
    """

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class Batch(Protocol):
    """Records of one partition, at least one, as `batches.py` hands them over."""

    topic: str
    partition: int
    generation_id: int
    records: Sequence[Record]


class OutOfOrder(UnjoinError):
    """A record came again, or before one that was fetched earlier: a crowd of these would not be the log's."""


class TooManyDeadLetters(UnjoinError):
    """Most of what comes cannot be read: a bad deployment. Nothing of the batch has left, and nothing of it is done."""


class HandlerTopics(msgspec.Struct, frozen=True):
    """Where a batch handler writes."""

    released: str
    verdicts: str
    dead_letters: str


class StartingPoint(msgspec.Struct, frozen=True):
    """What a partition's door goes on from.

    Attributes:
        committed: the group's offset; None where there is none.
        metadata: what was committed beside it.
        verdicts: stored ones, of any partition.
    """

    committed: int | None = None
    metadata: str = ""
    verdicts: Sequence[StoredVerdict] = ()


OpenDoor = Callable[[Partition, int, int, JudgedVoters], Door]
"""Partition, offset of its first record, committed offset, voters judged before that record -> its door."""


class _OpenPartition:
    """A partition's door in one generation, the offset that it must be given next, and what became of those before.

    Attributes:
        waiting: offsets that the door was given and has not named as done.
        settled: the last offset before which none waited, and the counts of that moment.
    """

    def __init__(self, generation: int, door: Door, next_offset: int, counts: OutcomeCounts, cap: ShareCap) -> None:
        self.generation = generation
        self.cap = cap
        self.door = door
        self.next_offset = next_offset
        self.counts = counts
        self.waiting = 0
        self.settled = (next_offset, counts.copied())

    def before(self, offset: int, waiting: int) -> None:
        """Notes the moment before a record that leaves offsets waiting is counted."""
        if waiting and not self.waiting:
            self.settled = (offset, self.counts.copied())
        self.waiting = waiting

    def last_settled(self) -> tuple[int, str]:
        """What may be committed once everything so far is acknowledged."""
        if not self.waiting:
            self.settled = (self.next_offset, self.counts.copied())
        return self.settled[0], self.settled[1].metadata()


class _WaitingVerdict(msgspec.Struct, frozen=True):
    """A verdict that is not stored yet, and so whose offset is not acknowledged."""

    partition: Partition
    generation: int
    verdict: StoredVerdict


class _BatchPlan:
    """What one batch comes to.

    Attributes:
        verdicts: to be stored; their offsets are not among those that are done.
        done: offsets.
    """

    def __init__(self, partition: Partition, generation: int) -> None:
        self.partition, self.generation = partition, generation
        self.labels: list[DeidentifiedLabel] = []
        self.verdicts: list[_WaitingVerdict] = []
        self.dead_letters: list[Outgoing] = []
        self.done: list[int] = []
        self.suppressed: Counter[Suppression] = Counter()
        self.verdicts_seen = 0

    @property
    def left(self) -> list[Partition]:
        """The partition, where a crowd of it leaves."""
        return [self.partition] if self.labels else []


class BatchHandler:
    """Takes batches through the doors, one door a partition and generation.

    Args:
        open_door: makes the door of a partition.
        opener: of the seals of labels.
        starting_points: what the doors of partitions go on from; waits for as long as it takes.
        dead_letter_share_max: of the last 100 records of a partition; past it the door halts.
        halt: told what went wrong when nothing but stopping helps.
    """

    def __init__(
        self,
        *,
        open_door: OpenDoor,
        opener: Opener,
        producer: AcknowledgedProducer,
        commits: Commits,
        metrics: DoorMetrics,
        topics: HandlerTopics,
        dead_letter_share_max: float,
        halt: Callable[[Exception], None],
        starting_points: Callable[[Collection[Partition]], Awaitable[Mapping[Partition, StartingPoint]]],
    ) -> None:
        self._open_door = open_door
        self._opener = opener
        self._producer = producer
        self._commits = commits
        self._metrics = metrics
        self._topics = topics
        self._dead_letter_share_max = dead_letter_share_max
        self._halt = halt
        self._starting_points = starting_points
        self._opened: dict[Partition, _OpenPartition] = {}
        self._waiting: list[_WaitingVerdict] = []
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def handle(self, batch: Batch) -> None:
        """Takes a batch through; returns once whatever left is acknowledged, and then acknowledges its records."""
        if self._closed:
            await _parked()
        self._idle.clear()
        point = await self._starting_point(batch)
        try:
            plan = await self._plan(batch, point)
        except Exception as error:
            self._halt(error)
            await _parked()
        if plan is not None:
            self._waiting.extend(plan.verdicts)
            await self.store_verdicts(None if len(self._waiting) > VERDICTS_WAITING_MAX else plan.left)
            await self._release(plan)
            self._acknowledge(batch, plan)
            self._metrics.note(
                released=len(plan.labels),
                dead_lettered=len(plan.dead_letters),
                verdicts=plan.verdicts_seen,
                suppressed=plan.suppressed,
                left=plan.left,
                crowds={partition: opened.door.crowd for partition, opened in self._opened.items()},
            )
        self._idle.set()

    async def store_verdicts(self, partitions: Collection[Partition] | None = None) -> None:
        """Stores the verdicts that wait, in the order of a keyed hash, and then acknowledges their offsets.

        To be called before what was settled is offered for a commit, and at no other moment: whoever reads the topic's
        append times would learn when a session was judged.

        Args:
            partitions: whose; None for all.
        """
        now: list[_WaitingVerdict] = []
        later: list[_WaitingVerdict] = []
        for one in self._waiting:
            # Those of an earlier generation come again, to whoever has the partition now.
            if self._commits.is_current(one.partition, one.generation):
                (now if partitions is None or one.partition in partitions else later).append(one)
        self._waiting = later
        keyed = sorted(((verdict_key_of(one.verdict), one.verdict) for one in now), key=itemgetter(0))
        records = [
            Outgoing(
                topic=self._topics.verdicts,
                key=key,
                value=verdict_value_of(verdict),
                partition=0,
                timestamp_s=midnight_s(verdict.day),
            )
            for key, verdict in keyed
        ]
        if records:
            await self._producer.produce(records)
        for one in now:
            self._commits.acknowledge(one.partition, one.generation, [one.verdict.offset])

    async def close(self) -> None:
        """Lets no further batch in, and returns once none is on its way and every verdict is stored."""
        self._closed = True
        await self._idle.wait()
        await self.store_verdicts()

    def _is_current(self, batch: Batch) -> bool:
        return self._commits.is_current((batch.topic, batch.partition), batch.generation_id)

    async def _starting_point(self, batch: Batch) -> StartingPoint | None:
        """What a new door goes on from, None where it is open. Nothing is committed before, so it is still the last."""
        partition = (batch.topic, batch.partition)
        opened = self._opened.get(partition)
        if opened is not None and opened.generation == batch.generation_id:
            return None
        return (await self._starting_points([partition]))[partition]

    async def _plan(self, batch: Batch, point: StartingPoint | None) -> _BatchPlan | None:
        """What the batch comes to; None where it is no longer this door's to say, or the process is about to stop."""
        if not self._is_current(batch):
            # A rebalance overtook it, while it waited or just now: it is somebody else's, or comes again.
            return None
        partition = (batch.topic, batch.partition)
        plan = _BatchPlan(partition, batch.generation_id)
        place = place_of(*partition)
        opened = self._opened.get(partition) if point is None else None
        progress, let_go_at = 0, monotonic()
        for record in batch.records:
            opened = self._door_of(plan, opened, point, record.offset)
            self._plan_one(plan, opened, place, record)
            progress += 1
            if monotonic() - let_go_at >= YIELD_S:
                self._commits.note_progress([partition], progress)
                await asyncio.sleep(0)
                progress, let_go_at = 0, monotonic()
                if self._closed or not self._is_current(batch):
                    return None
        self._commits.note_progress([partition], progress)
        return plan

    def _plan_one(self, plan: _BatchPlan, opened: _OpenPartition, place: bytes, record: Record) -> None:
        try:
            labeled = labeled_of(record.value, record.timestamp, place, self._opener)
        except DecodeError as error:
            self._note_unreadable(opened.cap, plan.partition, error)
            headers = dead_letter_headers(error.reason, *plan.partition, record.offset)
            plan.dead_letters.append(Outgoing(self._topics.dead_letters, record.key, record.value, headers=headers))
            plan.done.append(record.offset)
            opened.counts.dead_lettered += 1
            return
        opened.cap.note(bad=False)
        step = opened.door.receive(record.offset, record.timestamp, labeled)
        opened.before(record.offset, opened.waiting + 1 - len(step.done))
        if isinstance(labeled, IdentifiedVerdict):
            plan.verdicts_seen += 1
            opened.counts.verdicts += 1
        self._follow(plan, opened.counts, step)

    def _note_unreadable(self, cap: ShareCap, partition: Partition, error: DecodeError) -> None:
        """Counts it.

        Raises:
            TooManyDeadLetters: it is one too many.
        """
        cap.note(bad=True)
        if cap.exceeded:
            raise TooManyDeadLetters(
                too_many(
                    cap,
                    "records of {}-{}".format(*partition),
                    f"cannot be read, the last one for the reason {error.reason}",
                    f"Compare the schemas that collectors and processors were deployed with, and what lies on "
                    f"{self._topics.dead_letters}",
                )
            )

    def _follow(self, plan: _BatchPlan, counts: OutcomeCounts, step: Step) -> None:
        if step.labels:
            counts.released += len(step.labels)
            plan.labels.extend(step.labels)
        counts.collapsed += step.collapsed
        if step.suppressed:
            counts.suppress(step.suppressed)
            plan.suppressed.update(step.suppressed)
        done = step.done
        if step.verdict is not None:
            done = tuple(offset for offset in done if offset != step.verdict.offset)
            plan.verdicts.append(_WaitingVerdict(plan.partition, plan.generation, step.verdict))
        plan.done.extend(done)

    def _door_of(
        self, plan: _BatchPlan, opened: _OpenPartition | None, point: StartingPoint | None, offset: int
    ) -> _OpenPartition:
        """The partition's door; a new one after a rebalance, since what the old one held comes again.

        Before anything is known of the record: one that cannot be read may be the first of a range as well.

        Raises:
            OutOfOrder: records are left out or repeated. Offsets that nothing was fetched of are no records.
        """
        next_offset = 0 if opened is None else opened.next_offset
        if offset != next_offset and (
            offset < next_offset or self._commits.passed_over(plan.partition, plan.generation, next_offset, offset)
        ):
            number = plan.partition[1]
            raise OutOfOrder(f"partition {number} came out of order, it is read again from its last commit")
        if opened is None:
            assert point is not None
            opened = self._open(plan, point, offset)
        opened.counts.expired += offset - opened.next_offset
        opened.next_offset = offset + 1
        return opened

    def _open(self, plan: _BatchPlan, point: StartingPoint, first: int) -> _OpenPartition:
        # A generation takes all partitions from everybody: doors of an earlier one hold nothing of ours any more.
        self._opened = {one: kept for one, kept in self._opened.items() if kept.generation == plan.generation}
        judged = JudgedVoters(earlier_verdicts(point.verdicts, plan.partition[1], first))
        door = self._open_door(plan.partition, first, point.committed or 0, judged)
        counts = OutcomeCounts.resumed(point.committed, point.metadata, first=first)
        opened = _OpenPartition(plan.generation, door, first, counts, ShareCap(self._dead_letter_share_max))
        self._opened[plan.partition] = opened
        self._commits.settle(plan.partition, plan.generation, *opened.last_settled())
        return opened

    async def _release(self, plan: _BatchPlan) -> None:
        await self._producer.produce(plan.dead_letters)
        if not plan.labels:
            return
        partitions = await self._producer.partitions_of(self._topics.released)
        for start in range(0, len(plan.labels), RELEASE_RECORDS_MAX):
            labels = plan.labels[start : start + RELEASE_RECORDS_MAX]
            await self._producer.produce(
                [
                    Outgoing(
                        topic=self._topics.released,
                        key=None,
                        value=value,
                        partition=released_partition(label, partitions),
                        timestamp_s=midnight_s(label.day),
                    )
                    for label, value in zip(labels, values_of(labels), strict=True)
                ]
            )

    def _acknowledge(self, batch: Batch, plan: _BatchPlan) -> None:
        partition, generation = plan.partition, plan.generation
        self._commits.decide(partition, generation, [record.offset for record in batch.records])
        self._commits.acknowledge(partition, generation, plan.done)
        self._commits.settle(partition, generation, *self._opened[partition].last_settled())
        self._commits.offer(plan.left)


async def _parked() -> NoReturn:
    """Keeps the agent's batch unacknowledged until the process has stopped."""
    await asyncio.Event().wait()
    raise AssertionError
