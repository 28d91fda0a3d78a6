"""The way of a batch through the door: decode, decide, release, and only then acknowledge.

Never raises. A record that cannot be read becomes a dead letter, a broker that is away is waited for, and what no
waiting can help (a day's key is lost, records come in another order than they lie on the log) stops the door with the
records unacknowledged.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn, Protocol

from processors.door.records import labeled_of, midnight_s, partition_of, value_of
from processors.door.release import Door, Step
from processors.door.tally import Tally
from processors.faust_app.commits import Commits, Partition
from processors.faust_app.metrics import Totals
from processors.faust_app.producer import Outgoing, Outlet
from schemas.dead_letters import SHARE_MAX, ShareCap, dead_letter_headers, too_many
from schemas.events import IdentifiedVerdict
from schemas.outcomes import DecodeError, Suppression, UnjoinError


class Message(Protocol):
    """A record as Faust hands it over.

    Attributes:
        timestamp: Unix seconds.
    """

    topic: str
    partition: int
    offset: int
    timestamp: float
    generation_id: int
    key: bytes | None
    value: bytes | None


class OutOfOrder(UnjoinError):
    """A record came again, or before one that was fetched earlier: a crowd of these would not be the log's."""


class TooManyDeadLetters(UnjoinError):
    """Most of what comes cannot be read: a bad deployment. Nothing of the batch has left, and nothing of it is done."""


class _Opened:
    """A partition's door in one generation, the offset that it must be given next, and what became of those before.

    Attributes:
        waiting: offsets that the door was given and has not named as done.
        settled: the last offset before which none waited, and the tally of that moment.
    """

    def __init__(self, generation: int, door: Door, next_offset: int, tally: Tally, cap: ShareCap) -> None:
        self.generation = generation
        self.cap = cap
        self.door = door
        self.next_offset = next_offset
        self.tally = tally
        self.waiting = 0
        self.settled = (next_offset, tally.copied())

    def before(self, offset: int, waiting: int) -> None:
        """Notes the moment before a record that leaves offsets waiting is counted."""
        if waiting and not self.waiting:
            self.settled = (offset, self.tally.copied())
        self.waiting = waiting

    def last_settled(self) -> tuple[int, str]:
        """What may be committed once everything so far is acknowledged."""
        if not self.waiting:
            self.settled = (self.next_offset, self.tally.copied())
        return self.settled[0], self.settled[1].metadata()


class _Plan:
    """What one batch comes to."""

    def __init__(self) -> None:
        self.labels: list[Any] = []
        self.letters: list[Outgoing] = []
        self.done: list[tuple[Partition, int, int]] = []
        self.suppressed: Counter[Suppression] = Counter()
        self.verdicts = 0


class Passage:
    """Takes batches through the doors, one door a partition and generation.

    Args:
        open_door: makes the door of a partition, given the offset of its first record and the one that was committed.
        halt: told what went wrong when nothing but stopping helps.
        committed: gives a partition's committed offset and its metadata; waits for as long as it takes.
    """

    def __init__(
        self,
        *,
        open_door: Callable[[Partition, int, int], Door],
        outlet: Outlet,
        commits: Commits,
        totals: Totals,
        released_topic: str,
        dead_letter_topic: str,
        dead_letter_share_max: float = SHARE_MAX,
        halt: Callable[[Exception], None],
        committed: Callable[[Partition], Awaitable[tuple[int | None, str]]],
    ) -> None:
        self._open_door = open_door
        self._outlet = outlet
        self._commits = commits
        self._totals = totals
        self._released_topic = released_topic
        self._dead_letter_topic = dead_letter_topic
        self._dead_letter_share_max = dead_letter_share_max
        self._halt = halt
        self._committed = committed
        self._found: dict[tuple[Partition, int], tuple[int | None, str]] = {}  # commits, until their doors are opened
        self._doors: dict[Partition, _Opened] = {}
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def take(self, messages: Sequence[Message]) -> None:
        """Takes a batch through; returns once whatever left is acknowledged, and then acknowledges its records."""
        if self._closed:
            await _parked()
        self._idle.clear()
        await self._find_commits(messages)
        # A rebalance may have overtaken them, while they waited or just now: they are somebody else's, or come again.
        messages = [one for one in messages if self._commits.is_current((one.topic, one.partition), one.generation_id)]
        try:
            plan = self._plan(messages)
        except Exception as error:
            self._halt(error)
            await _parked()
        self._found.clear()
        await self._release(plan)
        for message in messages:
            self._commits.decide((message.topic, message.partition), message.generation_id, message.offset)
        for partition, generation, offset in plan.done:
            self._commits.acknowledge(partition, generation, offset)
        for partition, opened in self._doors.items():
            self._commits.settle(partition, opened.generation, *opened.last_settled())
        self._totals.count(released=len(plan.labels), dead_lettered=len(plan.letters), verdicts=plan.verdicts)
        self._totals.count_suppressed(plan.suppressed)
        self._totals.hold(opened.door for opened in self._doors.values())
        self._idle.set()

    async def close(self) -> None:
        """Lets no further batch in, and returns once none is on its way."""
        self._closed = True
        await self._idle.wait()

    async def _find_commits(self, messages: Sequence[Message]) -> None:
        """Reads the commit that each new door goes on from. Nothing is committed before, so it is still that one."""
        for partition, generation in dict.fromkeys(
            ((message.topic, message.partition), message.generation_id) for message in messages
        ):
            opened = self._doors.get(partition)
            if opened is None or opened.generation != generation:
                self._found[partition, generation] = await self._committed(partition)

    def _plan(self, messages: Sequence[Message]) -> _Plan:
        plan = _Plan()
        for message in messages:
            partition = (message.topic, message.partition)
            received_at_ms = int(message.timestamp * 1000)
            # Before anything is known of the record: one that cannot be read may be the first of a range as well.
            opened = self._door_of(message)
            try:
                record = labeled_of(message.value, received_at_ms)
            except DecodeError as error:
                self._note_unreadable(opened.cap, message, error)
                headers = dead_letter_headers(error.reason, message.topic, message.partition, message.offset)
                letter = Outgoing(self._dead_letter_topic, message.key, message.value, headers=headers)
                plan.letters.append(letter)
                plan.done.append((partition, message.generation_id, message.offset))
                opened.tally.dead_lettered += 1
                continue
            opened.cap.note(bad=False)
            step = opened.door.receive(message.offset, received_at_ms, record)
            opened.before(message.offset, opened.waiting + 1 - len(step.done))
            if isinstance(record, IdentifiedVerdict):
                plan.verdicts += 1
                opened.tally.verdicts += 1
            self._follow(plan, opened.tally, partition, message.generation_id, step)
        return plan

    def _note_unreadable(self, cap: ShareCap, message: Message, error: DecodeError) -> None:
        """Counts it.

        Raises:
            TooManyDeadLetters: it is one too many.
        """
        cap.note(bad=True)
        if cap.exceeded:
            raise TooManyDeadLetters(
                too_many(
                    cap,
                    f"records of {message.topic}-{message.partition}",
                    f"cannot be read, the last one for the reason {error.reason}",
                    f"Compare the schemas that collectors and processors were deployed with, and what lies on "
                    f"{self._dead_letter_topic}",
                )
            )

    def _follow(self, plan: _Plan, tally: Tally, partition: Partition, generation: int, step: Step) -> None:
        tally.released += len(step.labels)
        tally.collapsed += step.collapsed
        tally.suppress(step.suppressed)
        plan.labels.extend(step.labels)
        plan.suppressed.update(step.suppressed)
        plan.done.extend((partition, generation, offset) for offset in step.done)

    def _door_of(self, message: Message) -> _Opened:
        """The partition's door; a new one after a rebalance, since what the old one held comes again.

        Raises:
            OutOfOrder: records are left out or repeated. Offsets that nothing was fetched of are no records.
        """
        partition, generation = (message.topic, message.partition), message.generation_id
        opened = self._doors.get(partition)
        if opened is not None and opened.generation != generation:
            # A generation takes all partitions from everybody: doors of an earlier one hold nothing of ours any more.
            self._doors = {one: kept for one, kept in self._doors.items() if kept.generation == generation}
            opened = None
        next_offset = 0 if opened is None else opened.next_offset
        if message.offset < next_offset or self._passed_over(message, next_offset):
            raise OutOfOrder(f"partition {message.partition} came out of order, it is read again from its last commit")
        if opened is None:
            committed, metadata = self._found[partition, generation]
            door = self._open_door(partition, message.offset, committed or 0)
            tally = Tally.resumed(committed, metadata, first=message.offset)
            opened = self._doors[partition] = _Opened(
                generation, door, message.offset, tally, ShareCap(self._dead_letter_share_max)
            )
            self._commits.settle(partition, generation, *opened.last_settled())
        opened.tally.expired += message.offset - opened.next_offset
        opened.next_offset = message.offset + 1
        return opened

    def _passed_over(self, message: Message, next_offset: int) -> bool:
        if message.offset == next_offset:
            return False
        partition = (message.topic, message.partition)
        return self._commits.passed_over(partition, message.generation_id, next_offset, message.offset)

    async def _release(self, plan: _Plan) -> None:
        records = list(plan.letters)
        if plan.labels:
            partitions = await self._outlet.partitions_of(self._released_topic)
            records.extend(
                Outgoing(
                    topic=self._released_topic,
                    key=None,
                    value=value_of(label),
                    partition=partition_of(label, partitions),
                    timestamp_s=midnight_s(label.day),
                )
                for label in plan.labels
            )
        await self._outlet.produce(records)


async def _parked() -> NoReturn:
    """Keeps the agent's batch unacknowledged until the process has stopped."""
    await asyncio.Event().wait()
    raise AssertionError
