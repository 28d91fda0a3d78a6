"""What a batch comes to, whatever the door."""

import asyncio
import json
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pytest

from processors.door.crowd import Crowd
from processors.door.deidentify import deidentify, verdict_id
from processors.door.records import midnight_s, stored_verdict_of
from processors.door.release import Door, Step
from processors.door.verdicts import JudgedVoters, StoredVerdict
from processors.faust_app import batch_handler
from processors.faust_app.batch_handler import (
    BatchHandler,
    HandlerTopics,
    OutOfOrder,
    StartingPoint,
    TooManyDeadLetters,
)
from processors.faust_app.commits import Commits, Partition
from processors.faust_app.metrics import DoorMetrics
from processors.faust_app.producer import Outgoing
from schemas.events import IdentifiedLabel, IdentifiedVerdict
from schemas.seal import Opener
from testkit.door_config import crowd_rule
from testkit.seals import sealed_value, unsealed_value
from testkit.unmasked import unmasked
from tests.processors.door_process import epoch_key
from tests.processors.running_door import labels, record_of, today

TOPIC, GENERATION = "events.labeled", 4
NOW_MS = 1_900_000_000_000


class HeldMessage:
    """A record, and whose generation's."""

    def __init__(self, offset: int, value: bytes | None, generation_id: int = GENERATION, partition: int = 0) -> None:
        self.topic, self.partition, self.offset, self.key, self.value = TOPIC, partition, offset, b"key", value
        self.timestamp, self.generation_id = NOW_MS, generation_id


class HeldBatch:
    """Records of one partition as Faust hands them over."""

    def __init__(self, records: Sequence[HeldMessage]) -> None:
        first, self.records = records[0], records
        self.topic, self.partition, self.generation_id = first.topic, first.partition, first.generation_id


class MemoryProducer:
    """Acknowledges when it is told to."""

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

    def verdicts(self) -> list[StoredVerdict]:
        """Those that were stored since the last call."""
        stored = [stored_verdict_of(one.value) for one in self.written if one.topic == "verdicts"]
        self.written = [one for one in self.written if one.topic != "verdicts"]
        return stored


class ByThrees:
    """Holds labels until there are three, then lets them go sorted: a crowd in small."""

    crowd = Crowd(crowd_rule(3))

    def __init__(self) -> None:
        self.held: list[tuple[int, IdentifiedLabel]] = []

    def receive(self, offset: int, received_at_ms: int, record: IdentifiedLabel | IdentifiedVerdict) -> Step:
        assert isinstance(record, IdentifiedLabel)
        self.held.append((offset, record))
        if len(self.held) < 3:
            return Step()
        crowd, self.held = self.held, []
        rows = [deidentify(label, epoch_key(label.day), unmasked) for _, label in crowd]
        return Step(labels=tuple(sorted(rows, key=lambda row: row.row_id)), done=tuple(at for at, _ in crowd))


def handler_of(
    commits: Commits, producer: MemoryProducer, open_door: Any, halt: Any = None, opener: Any = None
) -> BatchHandler:
    return BatchHandler(
        open_door=lambda partition, first_offset, committed, judged: open_door(judged),
        opener=opener or Opener(epoch_key),
        producer=producer,  # type: ignore[arg-type]
        commits=commits,
        metrics=DoorMetrics(crowd_rule(1)),
        topics=HandlerTopics("released", "verdicts", "dead"),
        dead_letter_share_max=0.5,
        halt=halt,
        starting_points=never_committed,
    )


async def never_committed(partitions: Collection[Partition]) -> dict[Partition, StartingPoint]:
    return {one: StartingPoint() for one in partitions}


def open_door(judged: JudgedVoters) -> Door:
    """Without crowds: each label leaves at once."""
    return Door(epoch_key, unmasked, Crowd(crowd_rule(1)), partition=0, judged=judged)


def deliver(commits: Commits, messages: Sequence[HeldMessage]) -> Any:
    batch = HeldBatch(messages)
    commits.deliver((batch.topic, batch.partition), batch.generation_id, [message.offset for message in messages])
    return batch


def messages_of(count: int, first: int = 0, generation: int = GENERATION) -> list[HeldMessage]:
    given = labels(count, today(), first)
    return [HeldMessage(first + number, record_of(label)[1], generation) for number, label in enumerate(given)]


def test_record_is_acknowledged_only_after_the_broker_did() -> None:
    """A crash in between must find it unacknowledged."""

    async def scenario() -> None:
        commits, producer = Commits(), MemoryProducer()
        handler = handler_of(commits, producer, open_door)
        taking = asyncio.create_task(handler.handle(deliver(commits, [*messages_of(2), HeldMessage(2, b"garbage")])))
        await producer.asked.wait()
        assert commits.next_offset((TOPIC, 0)) == 0
        producer.acknowledges.set()
        await taking
        assert commits.next_offset((TOPIC, 0)) == 3
        assert [record.topic for record in producer.written] == ["dead", "released", "released"]

    asyncio.run(scenario())


def test_held_records_hold_the_commit_until_their_crowd_has_left_sorted() -> None:
    """A crowd's range is committed when it has left, and not before."""

    async def scenario() -> None:
        commits, producer = Commits(), MemoryProducer()
        producer.acknowledges.set()
        handler = handler_of(commits, producer, lambda _: ByThrees())
        await handler.handle(deliver(commits, messages_of(2)))
        assert not producer.written
        assert commits.next_offset((TOPIC, 0)) == 0
        assert commits.undecided((TOPIC, 0)) == 2, "held is seen: no stall"
        await handler.handle(deliver(commits, messages_of(2, first=2)))
        assert commits.next_offset((TOPIC, 0)) == 3
        values = [record.value for record in producer.written]
        assert len(values) == 3
        assert values == sorted(values, key=lambda value: value[5:] if value else b"")

    asyncio.run(scenario())


def test_rebalance_opens_a_new_door() -> None:
    """What the old one held comes again; counted twice it would make a crowd of half the people."""

    async def scenario() -> None:
        commits, producer = Commits(), MemoryProducer()
        producer.acknowledges.set()
        handler = handler_of(commits, producer, lambda _: ByThrees())
        await handler.handle(deliver(commits, messages_of(2)))
        commits.revoke()
        await handler.handle(deliver(commits, messages_of(2, generation=GENERATION + 1)))
        assert not producer.written
        assert commits.next_offset((TOPIC, 0)) == 0

    asyncio.run(scenario())


def test_batch_that_a_rebalance_overtook_is_dropped() -> None:
    """While its door asks for the last commit the partition goes to somebody else, who goes on from another one."""

    async def scenario() -> None:
        commits, producer = Commits(), MemoryProducer()
        producer.acknowledges.set()
        handler = handler_of(commits, producer, open_door)
        messages = deliver(commits, messages_of(2, first=6_000))

        async def rebalanced(partitions: Collection[Partition]) -> dict[Partition, StartingPoint]:
            commits.revoke()
            return {one: StartingPoint(6_000) for one in partitions}

        handler._starting_points = rebalanced
        await handler.handle(messages)
        assert not producer.written
        handler._starting_points = never_committed
        await handler.handle(deliver(commits, messages_of(3, generation=GENERATION + 1)))
        assert len(producer.written) == 3
        assert commits.next_offset((TOPIC, 0)) == 3

    asyncio.run(scenario())


def test_door_that_fails_halts_with_the_batch_unacknowledged() -> None:
    """The agent's body never raises: Faust would acknowledge, restart it and go on without the batch."""

    async def scenario() -> None:
        def no_key(day: object) -> bytes:
            raise OSError

        def keyless_door(judged: JudgedVoters) -> Door:
            return Door(no_key, unmasked, Crowd(crowd_rule(1)), partition=0, judged=judged)

        commits, producer = Commits(), MemoryProducer()
        halted: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        handler = handler_of(
            commits,
            producer,
            lambda judged: Door(no_key, unmasked, Crowd(crowd_rule(1)), partition=0, judged=judged),
            halted.set_result,
        )
        taking = asyncio.create_task(handler.handle(deliver(commits, messages_of(2))))
        assert isinstance(await asyncio.wait_for(halted, 10), OSError)
        assert not taking.done()
        assert commits.next_offset((TOPIC, 0)) == 0
        taking.cancel()

    asyncio.run(scenario())


def test_closed_passage_lets_no_further_batch_in() -> None:
    """Faust has the next batch ready when the stop comes; half of it sent would be sent again."""

    async def scenario() -> None:
        commits, producer = Commits(), MemoryProducer()
        handler = handler_of(commits, producer, open_door)
        first = asyncio.create_task(handler.handle(deliver(commits, messages_of(2))))
        await producer.asked.wait()
        closing = asyncio.create_task(handler.close())
        await asyncio.sleep(0)
        second = asyncio.create_task(handler.handle(deliver(commits, messages_of(2, first=2))))
        assert not closing.done()
        producer.acknowledges.set()
        await closing
        await first
        assert not second.done()
        assert commits.next_offset((TOPIC, 0)) == 2
        second.cancel()

    asyncio.run(scenario())


def test_unreadable_record_opens_the_door_as_any_other_does() -> None:
    """Opened by the one behind it, the door would take the garbage for expired and suppress what is there."""

    async def scenario() -> None:
        commits, producer, opened = Commits(), MemoryProducer(), []
        producer.acknowledges.set()
        handler = handler_of(commits, producer, open_door)
        handler._open_door = lambda partition, first_offset, committed, judged: (
            opened.append(first_offset) or open_door(judged)
        )
        await handler.handle(deliver(commits, [HeldMessage(7, b"garbage"), *messages_of(2, first=8)]))
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
        commits, producer = Commits(), MemoryProducer()
        halted: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        handler = handler_of(commits, producer, open_door, halted.set_result)
        messages = {offset: messages_of(1, first=offset)[0] for offset in fetched}
        deliver(commits, list(messages.values()))
        batch: Any = HeldBatch([messages[offset] for offset in came])
        taking = asyncio.create_task(handler.handle(batch))
        assert isinstance(await asyncio.wait_for(halted, 10), OutOfOrder)
        assert not producer.written
        assert commits.next_offset((TOPIC, 0)) == fetched[0]
        taking.cancel()

    asyncio.run(scenario())


def test_offsets_that_hold_no_record_are_no_gap() -> None:
    """Retention overtakes a slow door, a transaction leaves its markers: reading again would not bring a record."""

    async def scenario() -> None:
        commits, producer = Commits(), MemoryProducer()
        producer.acknowledges.set()
        handler = handler_of(commits, producer, open_door)
        await handler.handle(deliver(commits, [*messages_of(2, first=3), *messages_of(1, first=90)]))
        await handler.handle(deliver(commits, messages_of(1, first=200)))
        assert commits.next_offset((TOPIC, 0)) == 201
        assert len(producer.written) == 4

    asyncio.run(scenario())


def test_released_record_has_its_value_its_day_and_nothing_else() -> None:
    """Key, headers and timestamp are channels: the key of the record that came is its voter."""

    async def scenario() -> None:
        commits, producer = Commits(), MemoryProducer()
        producer.acknowledges.set()
        await handler_of(commits, producer, open_door).handle(deliver(commits, messages_of(3)))
        assert len(producer.written) == 3
        for record in producer.written:
            assert (record.topic, record.key, record.headers) == ("released", None, [])
            assert record.timestamp_s == midnight_s(today())
            assert record.partition in range(4)

    asyncio.run(scenario())


def test_door_that_can_read_too_little_halts_before_it_sets_more_aside() -> None:
    """A collector with a newer schema than the door must not turn the topic into dead letters."""

    async def scenario() -> None:
        commits, producer = Commits(), MemoryProducer()
        producer.acknowledges.set()
        halted: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        handler = handler_of(commits, producer, open_door, halted.set_result)
        await handler.handle(deliver(commits, [HeldMessage(offset, b"garbage") for offset in range(50)]))
        assert commits.next_offset((TOPIC, 0)) == len(producer.written) == 50
        next_ones = deliver(commits, [*messages_of(3, first=50), HeldMessage(53, b"\0\0\0\0\0garbage")])
        taking = asyncio.create_task(handler.handle(next_ones))
        error = await asyncio.wait_for(halted, 10)
        assert isinstance(error, TooManyDeadLetters)
        for said in ("51 of the last 100", f"{TOPIC}-0", "unknown_schema", "PERCENT_MAX=100"):
            assert said in str(error)
        assert len(producer.written) == 50, "nothing of the batch has left"
        assert commits.next_offset((TOPIC, 0)) == 50
        taking.cancel()

    asyncio.run(scenario())


class SlowDoor:
    """Takes long over each record, on the processor's time, as masking a hostile answer does."""

    crowd = Crowd(crowd_rule(3))

    def __init__(self, receive: Callable[[int], None]) -> None:
        self._receive = receive

    def receive(self, offset: int, received_at_ms: int, record: IdentifiedLabel | IdentifiedVerdict) -> Step:
        self._receive(offset)
        return Step(done=(offset,))


@pytest.fixture
def always_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each record takes as long as a door may keep the loop."""
    monkeypatch.setattr(batch_handler, "YIELD_S", 0.0)


@pytest.mark.usefixtures("always_late")
def test_loop_turns_between_records_and_each_is_progress() -> None:
    """Heartbeats, commits and the watchdog's question go on, whatever the records of one batch cost together."""

    async def scenario() -> None:
        commits, producer, seen = Commits(), MemoryProducer(), list[tuple[int, int, int]]()
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        def receive(offset: int) -> None:
            seen.append((offset, turns, commits.progress[TOPIC, 0]))

        producer.acknowledges.set()
        turning = asyncio.create_task(turn())
        handler = handler_of(commits, producer, lambda _: SlowDoor(receive))
        await handler.handle(deliver(commits, messages_of(20)))
        turning.cancel()
        assert [offset for offset, _, _ in seen] == list(range(20))
        assert len({turns for _, turns, _ in seen}) == 20
        assert [progress for _, _, progress in seen] == list(range(20))

    asyncio.run(scenario())


@pytest.mark.usefixtures("always_late")
@pytest.mark.parametrize("ends", ["rebalance", "stop"])
def test_batch_that_is_overtaken_between_records_releases_nothing(ends: str) -> None:
    """Its records come again, to whoever has the partition then; a stop does not wait for the rest of them."""

    async def scenario() -> None:
        commits, producer, closing = Commits(), MemoryProducer(), list[asyncio.Task[None]]()

        def receive(offset: int) -> None:
            if offset == 5 and ends == "rebalance":
                commits.revoke()
            elif offset == 5:
                closing.append(asyncio.create_task(handler.close()))
            assert offset < 7

        producer.acknowledges.set()
        handler = handler_of(commits, producer, lambda _: SlowDoor(receive))
        messages = deliver(commits, messages_of(20))
        await handler.handle(messages)
        assert not producer.asked.is_set()
        assert commits.next_offset((TOPIC, 0)) in (None, 0)
        if closing:
            await closing[0]

    asyncio.run(scenario())


def verdict_value(voter: bytes) -> bytes:
    return unsealed_value({"voter": voter * 32, "day": today(), "act": {"human": False}})


def test_verdict_is_stored_before_its_offset_is_acknowledged() -> None:
    """A crash in between would forget it with the log, and its bot would vote for the rest of the day."""

    async def scenario() -> None:
        commits, producer = Commits(), MemoryProducer()
        handler = handler_of(commits, producer, open_door)
        producer.acknowledges.set()
        await handler.handle(deliver(commits, [HeldMessage(7, verdict_value(b"v"))]))
        commits.offer()
        assert commits.committable((TOPIC, 0)) == commits.next_offset((TOPIC, 0)) == 7
        producer.acknowledges.clear()
        storing = asyncio.create_task(handler.store_verdicts())
        producer.asked.clear()
        await producer.asked.wait()
        assert commits.next_offset((TOPIC, 0)) == 7
        producer.acknowledges.set()
        await storing
        commits.offer()
        assert commits.committable((TOPIC, 0)) == 8
        (record,) = producer.written
        assert (record.topic, record.partition, record.timestamp_s) == ("verdicts", 0, midnight_s(today()))
        assert (record.headers, stored_verdict_of(record.value).offset) == ([], 7)

    asyncio.run(scenario())


def test_verdicts_wait_for_the_next_commit_and_lie_in_no_order_of_time() -> None:
    """The topic's append times would say when a session was judged, which its signals say too."""

    async def scenario() -> None:
        commits, producer = Commits(), MemoryProducer()
        producer.acknowledges.set()
        handler = handler_of(commits, producer, open_door)
        for offset in range(20):
            await handler.handle(deliver(commits, [HeldMessage(offset, verdict_value(b"%c" % (65 + offset)))]))
        assert producer.written == []
        await handler.store_verdicts()
        keys = [one.key for one in producer.written]
        assert len(keys) == 20
        assert keys == sorted(keys)
        await handler.store_verdicts()
        assert len(producer.written) == 20, "each once"

    asyncio.run(scenario())


def test_crowd_that_leaves_takes_its_partition_s_verdicts_along() -> None:
    """Its range is committed at once; verdicts of other partitions have nothing to do with that moment."""

    async def scenario() -> None:
        commits, producer = Commits(), MemoryProducer()
        producer.acknowledges.set()
        handler = handler_of(commits, producer, open_door)
        others = HeldMessage(0, verdict_value(b"w"), partition=1)
        own = HeldMessage(0, verdict_value(b"v"))
        await handler.handle(deliver(commits, [others]))
        await handler.handle(deliver(commits, [own, *messages_of(1, first=1)]))
        assert [record.topic for record in producer.written] == ["verdicts", "released"]
        assert stored_verdict_of(producer.written[0].value).voter_id == verdict_id(b"v" * 32, epoch_key(today()))
        assert commits.committable((TOPIC, 0)) == 2

    asyncio.run(scenario())


def test_verdicts_that_a_rebalance_overtook_are_not_stored_and_not_acknowledged() -> None:
    """They come again, to whoever has the partition then."""

    async def scenario() -> None:
        commits, producer = Commits(), MemoryProducer()
        producer.acknowledges.set()
        handler = handler_of(commits, producer, open_door)
        await handler.handle(deliver(commits, [HeldMessage(0, verdict_value(b"v"))]))
        commits.revoke()
        deliver(commits, [HeldMessage(0, verdict_value(b"v"), GENERATION + 1)])
        await handler.store_verdicts()
        assert producer.written == []
        assert commits.next_offset((TOPIC, 0)) == 0

    asyncio.run(scenario())


def test_too_many_verdicts_for_a_minute_are_stored_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits takes memory, and whoever holds a key of a server decides how many there are."""

    async def scenario() -> None:
        monkeypatch.setattr(batch_handler, "VERDICTS_WAITING_MAX", 2)
        commits, producer = Commits(), MemoryProducer()
        producer.acknowledges.set()
        messages = [HeldMessage(offset, verdict_value(b"%c" % (65 + offset))) for offset in range(3)]
        await handler_of(commits, producer, open_door).handle(deliver(commits, messages))
        assert len(producer.written) == 3

    asyncio.run(scenario())


def test_stop_stores_the_verdicts_that_wait() -> None:
    """So that the next start has nothing to read twice."""

    async def scenario() -> None:
        commits, producer = Commits(), MemoryProducer()
        producer.acknowledges.set()
        handler = handler_of(commits, producer, open_door)
        await handler.handle(deliver(commits, [HeldMessage(0, verdict_value(b"v"))]))
        await handler.close()
        assert len(producer.written) == 1
        assert commits.next_offset((TOPIC, 0)) == 1

    asyncio.run(scenario())


def test_sealed_label_opens_on_its_own_partition_alone() -> None:
    """What others sealed, put on another partition by who may write there, is a dead letter as it was found."""

    async def scenario() -> None:
        commits, producer = Commits(), MemoryProducer()
        producer.acknowledges.set()
        datum = {"voter": b"v" * 32, "day": today(), "act": {"kind": "text_answer", "task": "t", "answer": "a"}}
        values = [sealed_value(datum, epoch_key(today()), partition=number) for number in (0, 1)]
        messages = [HeldMessage(number, value) for number, value in enumerate([values[0], values[0], values[1]])]
        handler = handler_of(commits, producer, open_door)
        await handler.handle(deliver(commits, messages))
        dead = [one for one in producer.written if one.topic == "dead"]
        assert [(one.value, dict(one.headers)["reason"]) for one in dead] == [(values[1], b"seal_broken")]
        assert len([one for one in producer.written if one.topic == "released"]) == 2

        producer.written.clear()
        messages = [HeldMessage(number, values[number % 2], partition=1) for number in range(2)]
        await handler.handle(deliver(commits, messages))
        assert [one.value for one in producer.written if one.topic == "dead"] == [values[0]]
        assert commits.committable((TOPIC, 0)) == 3, "a crowd has left"

    asyncio.run(scenario())


def test_label_of_a_destroyed_key_is_counted_as_suppressed_and_done() -> None:
    """Whether it was a label or a verdict nobody can tell any more; it holds nothing up."""

    async def scenario() -> None:
        commits, producer = Commits(), MemoryProducer()
        producer.acknowledges.set()
        datum = {"voter": b"v" * 32, "day": today(), "act": {"kind": "text_answer", "task": "t", "answer": "a"}}
        handler = handler_of(commits, producer, open_door, opener=Opener(lambda day: None))
        await handler.handle(deliver(commits, [HeldMessage(0, sealed_value(datum, epoch_key(today())))]))
        assert producer.written == []
        assert commits.committable((TOPIC, 0)) is None, "at the next whole minute: no crowd has left"
        commits.offer()
        assert commits.committable((TOPIC, 0)) == 1
        assert json.loads(commits.metadata_of((TOPIC, 0), 1) or "")["suppressed"] == {"key_destroyed": 1}

    asyncio.run(scenario())


def test_large_crowd_is_encoded_a_slice_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held may take all the memory that it is allowed; a second copy of it would be too much."""

    async def scenario() -> None:
        monkeypatch.setattr(batch_handler, "RELEASE_RECORDS_MAX", 10)
        commits, producer, slices = Commits(), MemoryProducer(), list[int]()

        async def produce(records: Sequence[Outgoing]) -> None:
            slices.append(len(records))

        monkeypatch.setattr(producer, "produce", produce)
        await handler_of(commits, producer, open_door).handle(deliver(commits, messages_of(25)))
        assert slices == [0, 10, 10, 5]
        assert commits.next_offset((TOPIC, 0)) == 25

    asyncio.run(scenario())
