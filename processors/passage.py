"""The way of a batch through the door: decode, decide, release, and only then acknowledge.

Never raises. A record that cannot be read becomes a dead letter, a broker that is away is waited for, and what no
waiting can help (a day's key is lost) stops the door with the records unacknowledged.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol

from processors.commits import Commits, Partition
from processors.door import Door, Step
from processors.outlet import Outgoing, Outlet
from processors.records import labeled_of, midnight_s, partition_of, value_of
from processors.totals import Totals
from schemas.dead_letters import headers_of
from schemas.events import IdentifiedVerdict
from schemas.outcomes import DecodeError, Suppression


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
        open_door: makes the door of one partition, whose first record it will be given.
        halt: told what went wrong when nothing but stopping helps.
    """

    def __init__(
        self,
        *,
        open_door: Callable[[Partition, int], Door],
        outlet: Outlet,
        commits: Commits,
        totals: Totals,
        released_topic: str,
        dead_letter_topic: str,
        halt: Callable[[Exception], None],
    ) -> None:
        self._open_door = open_door
        self._outlet = outlet
        self._commits = commits
        self._totals = totals
        self._released_topic = released_topic
        self._dead_letter_topic = dead_letter_topic
        self._halt = halt
        self._doors: dict[Partition, tuple[int, Door]] = {}
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def take(self, messages: Sequence[Message]) -> None:
        """Takes a batch through; returns once whatever left is acknowledged, and then acknowledges its records."""
        if self._closed:
            await _parked()
        self._idle.clear()
        try:
            plan = self._plan(messages)
        except Exception as error:
            self._halt(error)
            await _parked()
        await self._release(plan)
        for message in messages:
            self._commits.decide((message.topic, message.partition), message.generation_id, message.offset)
        for partition, generation, offset in plan.done:
            self._commits.acknowledge(partition, generation, offset)
        self._totals.count(released=len(plan.labels), dead_lettered=len(plan.letters), verdicts=plan.verdicts)
        self._totals.count_suppressed(plan.suppressed)
        self._totals.hold(door for _, door in self._doors.values())
        self._idle.set()

    async def close(self) -> None:
        """Lets no further batch in, and returns once none is on its way."""
        self._closed = True
        await self._idle.wait()

    def _plan(self, messages: Sequence[Message]) -> _Plan:
        plan = _Plan()
        for message in messages:
            partition = (message.topic, message.partition)
            received_at_ms = int(message.timestamp * 1000)
            try:
                record = labeled_of(message.value, received_at_ms)
            except DecodeError as error:
                headers = headers_of(error.reason, message.topic, message.partition, message.offset)
                letter = Outgoing(self._dead_letter_topic, message.key, message.value, headers=headers)
                plan.letters.append(letter)
                plan.done.append((partition, message.generation_id, message.offset))
                continue
            plan.verdicts += isinstance(record, IdentifiedVerdict)
            step = self._door_of(message).receive(message.offset, received_at_ms, record)
            self._follow(plan, partition, message.generation_id, step)
        return plan

    def _follow(self, plan: _Plan, partition: Partition, generation: int, step: Step) -> None:
        plan.labels.extend(step.labels)
        plan.suppressed.update(step.suppressed)
        plan.done.extend((partition, generation, offset) for offset in step.done)

    def _door_of(self, message: Message) -> Door:
        """The partition's door; a new one after a rebalance, since what the old one held comes again."""
        partition = (message.topic, message.partition)
        opened = self._doors.get(partition)
        if opened is None or opened[0] != message.generation_id:
            # A generation takes all partitions from everybody: doors of an earlier one hold nothing of ours any more.
            self._doors = {one: kept for one, kept in self._doors.items() if kept[0] == message.generation_id}
            opened = self._doors[partition] = (message.generation_id, self._open_door(partition, message.offset))
        return opened[1]

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
