"""What a batch comes to, whatever the door."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from processors.door.deidentify import deidentify
from processors.door.records import midnight_s
from processors.door.release import Door, OpenDoor, Step
from processors.faust_app.batch_handler import OutOfOrder, Passage, TooManyDeadLetters
from processors.faust_app.commits import Commits
from processors.faust_app.metrics import Totals
from processors.faust_app.producer import Outgoing
from schemas.events import IdentifiedLabel, IdentifiedVerdict
from tests.processors.door_process import epoch_key
from tests.processors.running_door import labels, record_of, today

TOPIC, GENERATION = "events.labeled", 4
NOW_S = 1_900_000_000.0


class HeldMessage:
    """A record as Faust hands it over."""

    def __init__(self, offset: int, value: bytes | None, generation_id: int = GENERATION) -> None:
        self.topic, self.partition, self.offset, self.key, self.value = TOPIC, 0, offset, b"key", value
        self.timestamp, self.generation_id = NOW_S, generation_id


class Shelf:
    """An outlet that acknowledges when it is told to."""

    def __init__(self) -> None:
        self.written: list[Outgoing] = []
        self.asked = asyncio.Event()
        self.acknowledges = asyncio.Event()

    async def partitions_of(self, topic: str) -> int:
        return 4

    async def produce(self, records: Sequence[Outgoing]) -> None:
        self.written.extend(records)
        self.asked.set()
        await self.acknowledges.wait()


class ByThrees:
    """Holds labels until there are three, then lets them go sorted: a crowd in small."""

    labels_held = 0
    voters_held = 0

    def __init__(self) -> None:
        self.held: list[tuple[int, IdentifiedLabel]] = []

    def receive(self, offset: int, received_at_ms: int, record: IdentifiedLabel | IdentifiedVerdict) -> Step:
        assert isinstance(record, IdentifiedLabel)
        self.held.append((offset, record))
        if len(self.held) < 3:
            return Step()
        crowd, self.held = self.held, []
        rows = [deidentify(label, epoch_key(label.day)) for _, label in crowd]
        return Step(labels=tuple(sorted(rows, key=lambda row: row.row_id)), done=tuple(at for at, _ in crowd))


def passage_of(commits: Commits, shelf: Shelf, open_door: Any, halt: Any = None) -> Passage:
    return Passage(
        open_door=lambda partition, first_offset, committed: open_door(),
        outlet=shelf,  # type: ignore[arg-type]
        commits=commits,
        totals=Totals(),
        released_topic="released",
        dead_letter_topic="dead",
        halt=halt,
        committed=never_committed,
    )


async def never_committed(partition: Any) -> tuple[int | None, str]:
    return None, ""


def open_door() -> Door:
    return OpenDoor(epoch_key, lambda answer: answer)


def deliver(commits: Commits, messages: Sequence[HeldMessage]) -> Sequence[Any]:
    for message in messages:
        commits.deliver((message.topic, message.partition), message.generation_id, message.offset)
    return messages


def messages_of(count: int, first: int = 0, generation: int = GENERATION) -> list[HeldMessage]:
    given = labels(count, today(), first)
    return [HeldMessage(first + number, record_of(label)[1], generation) for number, label in enumerate(given)]


def test_record_is_acknowledged_only_after_the_broker_did() -> None:
    """A crash in between must find it unacknowledged."""

    async def scenario() -> None:
        commits, shelf = Commits(), Shelf()
        passage = passage_of(commits, shelf, open_door)
        taking = asyncio.create_task(passage.take(deliver(commits, [*messages_of(2), HeldMessage(2, b"garbage")])))
        await shelf.asked.wait()
        assert commits.next_offset((TOPIC, 0)) == 0
        shelf.acknowledges.set()
        await taking
        assert commits.next_offset((TOPIC, 0)) == 3
        assert [record.topic for record in shelf.written] == ["dead", "released", "released"]

    asyncio.run(scenario())


def test_held_records_hold_the_commit_until_their_crowd_has_left_sorted() -> None:
    """A crowd's range is committed when it has left, and not before."""

    async def scenario() -> None:
        commits, shelf = Commits(), Shelf()
        shelf.acknowledges.set()
        passage = passage_of(commits, shelf, ByThrees)
        await passage.take(deliver(commits, messages_of(2)))
        assert not shelf.written
        assert commits.next_offset((TOPIC, 0)) == 0
        assert commits.undecided((TOPIC, 0)) == 2, "held is seen: no stall"
        await passage.take(deliver(commits, messages_of(2, first=2)))
        assert commits.next_offset((TOPIC, 0)) == 3
        values = [record.value for record in shelf.written]
        assert len(values) == 3
        assert values == sorted(values, key=lambda value: value[5:] if value else b"")

    asyncio.run(scenario())


def test_rebalance_opens_a_new_door() -> None:
    """What the old one held comes again; counted twice it would make a crowd of half the people."""

    async def scenario() -> None:
        commits, shelf = Commits(), Shelf()
        shelf.acknowledges.set()
        passage = passage_of(commits, shelf, ByThrees)
        await passage.take(deliver(commits, messages_of(2)))
        commits.revoke()
        await passage.take(deliver(commits, messages_of(2, generation=GENERATION + 1)))
        assert not shelf.written
        assert commits.next_offset((TOPIC, 0)) == 0

    asyncio.run(scenario())


def test_batch_that_a_rebalance_overtook_is_dropped() -> None:
    """While its door asks for the last commit the partition goes to somebody else, who goes on from another one."""

    async def scenario() -> None:
        commits, shelf = Commits(), Shelf()
        shelf.acknowledges.set()
        passage = passage_of(commits, shelf, open_door)
        messages = deliver(commits, messages_of(2, first=6_000))

        async def rebalanced(partition: Any) -> tuple[int | None, str]:
            commits.revoke()
            return 6_000, ""

        passage._committed = rebalanced
        await passage.take(messages)
        assert not shelf.written
        passage._committed = never_committed
        await passage.take(deliver(commits, messages_of(3, generation=GENERATION + 1)))
        assert len(shelf.written) == 3
        assert commits.next_offset((TOPIC, 0)) == 3

    asyncio.run(scenario())


def test_door_that_fails_halts_with_the_batch_unacknowledged() -> None:
    """The agent's body never raises: Faust would acknowledge, restart it and go on without the batch."""

    async def scenario() -> None:
        def no_key(day: object) -> bytes:
            raise OSError

        commits, shelf = Commits(), Shelf()
        halted: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        passage = passage_of(commits, shelf, lambda: OpenDoor(no_key, lambda answer: answer), halted.set_result)
        taking = asyncio.create_task(passage.take(deliver(commits, messages_of(2))))
        assert isinstance(await asyncio.wait_for(halted, 10), OSError)
        assert not taking.done()
        assert commits.next_offset((TOPIC, 0)) == 0
        taking.cancel()

    asyncio.run(scenario())


def test_closed_passage_lets_no_further_batch_in() -> None:
    """Faust has the next batch ready when the stop comes; half of it sent would be sent again."""

    async def scenario() -> None:
        commits, shelf = Commits(), Shelf()
        passage = passage_of(commits, shelf, open_door)
        first = asyncio.create_task(passage.take(deliver(commits, messages_of(2))))
        await shelf.asked.wait()
        closing = asyncio.create_task(passage.close())
        await asyncio.sleep(0)
        second = asyncio.create_task(passage.take(deliver(commits, messages_of(2, first=2))))
        assert not closing.done()
        shelf.acknowledges.set()
        await closing
        await first
        assert not second.done()
        assert commits.next_offset((TOPIC, 0)) == 2
        second.cancel()

    asyncio.run(scenario())


def test_unreadable_record_opens_the_door_as_any_other_does() -> None:
    """Opened by the one behind it, the door would take the garbage for expired and suppress what is there."""

    async def scenario() -> None:
        commits, shelf, opened = Commits(), Shelf(), []
        shelf.acknowledges.set()
        passage = passage_of(commits, shelf, open_door)
        passage._open_door = lambda partition, first_offset, committed: opened.append(first_offset) or open_door()
        await passage.take(deliver(commits, [HeldMessage(7, b"garbage"), *messages_of(2, first=8)]))
        assert opened == [7]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("fetched", "came"),
    [([0, 1, 2, 3], [0, 1, 3]), ([0, 1, 2], [1, 2]), ([0, 1, 2], [0, 1, 2, 0]), ([5, 6], [5, 6, 6])],
)
def test_record_out_of_order_halts_before_anything_of_its_batch_is_released(
    fetched: list[int], came: list[int]
) -> None:
    """Left out or repeated by the library, within a generation: the crowd would not be the one that a replay makes."""

    async def scenario() -> None:
        commits, shelf = Commits(), Shelf()
        halted: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        passage = passage_of(commits, shelf, open_door, halted.set_result)
        messages = {offset: messages_of(1, first=offset)[0] for offset in fetched}
        deliver(commits, list(messages.values()))
        taking = asyncio.create_task(passage.take([messages[offset] for offset in came]))
        assert isinstance(await asyncio.wait_for(halted, 10), OutOfOrder)
        assert not shelf.written
        assert commits.next_offset((TOPIC, 0)) == fetched[0]
        taking.cancel()

    asyncio.run(scenario())


def test_offsets_that_hold_no_record_are_no_gap() -> None:
    """Retention overtakes a slow door, a transaction leaves its markers: reading again would not bring a record."""

    async def scenario() -> None:
        commits, shelf = Commits(), Shelf()
        shelf.acknowledges.set()
        passage = passage_of(commits, shelf, open_door)
        await passage.take(deliver(commits, [*messages_of(2, first=3), *messages_of(1, first=90)]))
        await passage.take(deliver(commits, messages_of(1, first=200)))
        assert commits.next_offset((TOPIC, 0)) == 201
        assert len(shelf.written) == 4

    asyncio.run(scenario())


def test_released_record_has_its_value_its_day_and_nothing_else() -> None:
    """Key, headers and timestamp are channels: the key of the record that came is its voter."""

    async def scenario() -> None:
        commits, shelf = Commits(), Shelf()
        shelf.acknowledges.set()
        await passage_of(commits, shelf, open_door).take(deliver(commits, messages_of(3)))
        assert len(shelf.written) == 3
        for record in shelf.written:
            assert (record.topic, record.key, record.headers) == ("released", None, [])
            assert record.timestamp_s == midnight_s(today())
            assert record.partition in range(4)

    asyncio.run(scenario())


def test_door_that_can_read_too_little_halts_before_it_sets_more_aside() -> None:
    """A collector with a newer schema than the door must not turn the topic into dead letters."""

    async def scenario() -> None:
        commits, shelf = Commits(), Shelf()
        shelf.acknowledges.set()
        halted: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        passage = passage_of(commits, shelf, open_door, halted.set_result)
        await passage.take(deliver(commits, [HeldMessage(offset, b"garbage") for offset in range(50)]))
        assert commits.next_offset((TOPIC, 0)) == len(shelf.written) == 50
        next_ones = deliver(commits, [*messages_of(3, first=50), HeldMessage(53, b"\0\0\0\0\0garbage")])
        taking = asyncio.create_task(passage.take(next_ones))
        error = await asyncio.wait_for(halted, 10)
        assert isinstance(error, TooManyDeadLetters)
        for said in ("51 of the last 100", f"{TOPIC}-0", "unknown_schema", "PERCENT_MAX=100"):
            assert said in str(error)
        assert len(shelf.written) == 50, "nothing of the batch has left"
        assert commits.next_offset((TOPIC, 0)) == 50
        taking.cancel()

    asyncio.run(scenario())
