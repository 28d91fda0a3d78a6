"""Who waits for which batch, and which batch is next."""

import asyncio
import math
from collections.abc import Coroutine
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.record.memory_records import MemoryRecords
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from ingest.encode.records import Record, Run
from ingest.kafka.aiokafka_client import ZSTD_LEVEL, keep_zstd_context
from ingest.kafka.batches import (
    BATCH_BYTES_MIN,
    RECORD_OVERHEAD_BYTES,
    CompressionMissing,
    Deadlines,
    PartitionQueue,
    RecordBatch,
    RecordBatchBuilder,
    TopicQueues,
    Waiter,
    codec_of,
    size_of,
)
from ingest.kafka.producer import KafkaProducer, NotDurable
from testkit.clean_loop import until
from tests.ingest.configs import producer_config

HEADER_BYTES = 61  # of a record batch. Source: KIP-98


def queue_of(batch_bytes_max: int = 10_000) -> PartitionQueue:
    (queue,) = TopicQueues("topic", 0, batch_bytes_max).grow(1)
    return queue


def append(queue: PartitionQueue, value: bytes) -> None:
    batch = queue.open or queue.open_batch()
    if batch.builder.append(timestamp=1, key=None, value=value) is None:
        queue.open_batch().builder.append(timestamp=1, key=None, value=value)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def test_queue_gives_full_batches_first_and_the_open_one_last() -> None:
    """Order within a partition is the order of arrival."""
    queue = queue_of(2_000)
    for number in range(5):
        append(queue, b"%d" % number * 900)
    taken = []
    while queue.filled.is_set():
        batch = queue.take()
        taken.append(batch.records)
        queue.forget()
    assert taken == [2, 2, 1]
    append(queue, b"next")
    assert queue.filled.is_set()


@given(
    st.lists(
        st.tuples(st.none() | st.binary(max_size=40), st.lists(st.binary(max_size=400), min_size=1, max_size=30)),
        min_size=1,
        max_size=8,
    )
)
def test_runs_lie_in_the_batches_that_records_one_by_one_would_make(
    runs: list[tuple[bytes | None, list[bytes]]],
) -> None:
    """Adding many at once must not change what is sent, where a batch ends, or what counts as in flight."""
    at_once, one_by_one = queue_of(1_500), queue_of(1_500)
    for key, values in runs:
        run = Run("topic", key, 1_790_000_000_000, values)
        held = sum(batch.bytes for batch in batches_of(at_once))
        touched = at_once.extend(run, size_of(run))
        assert len(set(touched)) == len(touched) <= len(values)
        assert sum(batch.bytes for batch in batches_of(at_once)) - held == size_of(run)
        for value in values:
            one = Run("topic", key, 1_790_000_000_000, [value])
            one_by_one.extend(one, size_of(one))
    assert [batch.records for batch in batches_of(at_once)] == [batch.records for batch in batches_of(one_by_one)]
    written = [bytes(batch.builder._build()) for batch in batches_of(at_once)]
    assert written == [bytes(batch.builder._build()) for batch in batches_of(one_by_one)]
    values_sent = [record.value for data in written for record in records_in(data)]
    assert values_sent == [value for _, values in runs for value in values]


def batches_of(queue: PartitionQueue) -> list[Any]:
    return [*queue.full, *([queue.open] if queue.open else [])]


def records_in(data: bytes) -> list[Any]:
    return list(MemoryRecords(data).next_batch())


def one(value: bytes) -> Run:
    return Run("topic", None, 1, [value])


def test_batch_takes_records_until_it_is_really_sent() -> None:
    """While its broker is busy it waits, and a request more would cost its clients more than a larger one."""
    queue = queue_of()
    queue.extend(one(b"1"), 33)
    taken = queue.take()
    assert not queue.filled.is_set()
    assert queue.extend(one(b"2"), 33) == [taken]
    assert taken.records == 2
    assert queue.drop_all() == [taken]


def test_batch_that_is_sent_takes_no_more_records() -> None:
    """aiokafka has counted its records; one more would have the sequence number of the next batch's first."""

    async def main() -> None:
        queue, partition = queue_of(), TopicPartition("topic", 0)
        queue.extend(one(b"1"), 33)
        taken = queue.take()
        numbered = TransactionManager(None, 1)
        numbered.set_pid_and_epoch(1, 1)
        accumulator = MessageAccumulator(None, 10_000, 0, 1, txn_manager=numbered)
        await accumulator.add_batch(taken.builder, partition, 1)
        accumulator._pop_batch(partition)  # as its sender does
        [behind] = queue.extend(one(b"2"), 33)
        assert behind is queue.open is not taken
        assert (taken.records, behind.records, numbered.sequence_number(partition)) == (1, 1, 1)
        assert queue.filled.is_set()
        queue.forget()
        assert queue.take() is behind

    run(main())


def test_open_batch_of_a_failed_session_takes_no_more_records() -> None:
    """It is settled, so that nobody would tell whose records come later."""
    queue = queue_of()
    queue.extend(one(b"1"), 33)
    taken = queue.take()
    queue.forget()
    assert queue.extend(one(b"2"), 33) != [taken]


def test_one_batch_of_a_queue_is_in_flight() -> None:
    """Two of one partition in flight may overtake each other when the first is sent again."""
    queue = queue_of()
    append(queue, b"1")
    queue.take()
    append(queue, b"2")
    with pytest.raises(AssertionError):
        queue.take()


@given(st.lists(st.sampled_from([None, "failed"]), min_size=1, max_size=6))
def test_request_is_durable_when_all_of_its_batches_are_and_fails_with_the_first_that_is_not(
    outcomes: list[Any],
) -> None:
    """An answer of 200 covers every record of the request."""

    told: list[Any] = []
    failures: list[str] = []
    waiter = Waiter(told.append, 0.0, lambda: failures.append("one"))
    waiter.batches_left = len(outcomes)
    for number, outcome in enumerate(outcomes):
        assert waiter.done == ("failed" in outcomes[:number])
        waiter.settle(outcome)
    waiter.give_up("timed_out")
    assert told == (["failed"] if "failed" in outcomes else [None])
    assert len(failures) == ("failed" in outcomes)


@given(
    st.lists(st.tuples(st.floats(0, 0.01), st.sampled_from(["live", "done", "own"]), st.integers(0, 2)), max_size=20)
)
def test_every_waiter_is_given_up_after_its_deadline_unless_it_is_done(waits: list[tuple[float, str, int]]) -> None:
    """One timer serves all of them; a request without an answer would hold its connection for ever."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        batches = [RecordBatch(None) for _ in range(3)]
        deadlines, now, told = Deadlines(lambda: batches), loop.time(), {}
        for number, (seconds, kind, batch) in enumerate(sorted(waits)):
            told[number] = list[Any]()
            waiter = Waiter(told[number].append, math.inf if kind == "own" else now + seconds, list)
            waiter.batches_left = 1
            batches[batch].waiters.append(waiter)
            deadlines.watch(waiter.deadline if kind != "own" else now, loop)
            if kind == "done":
                waiter.settle(None)
        expected = [{"live": ["timed_out"], "done": [None], "own": []}[kind] for _, kind, _ in sorted(waits)]
        await until(lambda: list(told.values()) == expected)
        await until(lambda: not any(waiter.deadline < math.inf for batch in batches for waiter in batch.waiters))

    run(main())


def test_request_that_comes_after_all_others_were_given_up_is_given_up_too() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        batch = RecordBatch(None)
        deadlines = Deadlines(lambda: [batch])
        for _ in range(2):
            told: list[Any] = []
            batch.waiters.append(Waiter(told.append, loop.time(), list))
            deadlines.watch(loop.time(), loop)
            await until(lambda told=told: told == ["timed_out"])  # type: ignore[misc]

    run(main())


def test_waiter_whose_callback_fails_does_not_end_the_search() -> None:
    """What breaks inside one answer would leave every later request without one."""

    def fail(_: object) -> None:
        raise RuntimeError("broken")

    async def main() -> None:
        loop, broken, told = asyncio.get_running_loop(), RecordBatch(None), list[Any]()
        loop.set_exception_handler(lambda *_: None)
        batches = [broken]
        deadlines = Deadlines(lambda: batches)
        broken.waiters.append(first := Waiter(fail, loop.time(), list))
        deadlines.watch(loop.time(), loop)
        await until(lambda: first.done)
        broken.waiters.append(Waiter(told.append, loop.time(), list))
        deadlines.watch(loop.time(), loop)
        await until(lambda: told == ["timed_out"])

    run(main())


def test_batches_shrink_until_an_oversized_record_has_one_to_itself() -> None:
    """So that a topic with a small `max.message.bytes` refuses the record, and not its neighbours for ever."""
    queue = queue_of(131_072)
    topic = queue.topic
    broker_max = 20_000
    for _ in range(10):
        for value in (b"small", b"!" * 25_000, b"small"):
            append(queue, value)
        harmed = 0
        while queue.filled.is_set():
            batch = queue.take()
            queue.forget()
            size = batch.builder.size()
            if size > broker_max:
                harmed += batch.records - 1
                topic.shrink_batches(size, batch.records)
        if not harmed:
            break
    assert harmed == 0
    assert topic.batch_bytes_max >= BATCH_BYTES_MIN


@given(st.binary(max_size=300), st.none() | st.binary(max_size=100))
def test_counted_size_of_a_record_is_never_below_its_real_one(value: bytes, key: bytes | None) -> None:
    """The bound on bytes in flight is a promise to the machine's memory."""
    batch = queue_of().open_batch()
    empty = batch.builder.size()
    batch.builder.append(timestamp=1_790_000_000_000, key=key, value=value)
    assert batch.builder.size() - empty <= len(value) + len(key or b"") + RECORD_OVERHEAD_BYTES


def test_missing_compression_library_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka says it only when it connects, and the collector would try again for ever."""
    monkeypatch.setattr("ingest.kafka.batches.has_zstd", lambda: False)
    with pytest.raises(CompressionMissing, match=r"install aiokafka\[zstd\]"):
        codec_of("zstd")


def test_produce_before_any_broker_was_found_ends_at_its_deadline_and_leaves_no_bytes_counted() -> None:
    """Requests that wait for a topic hold memory, so they count while they wait and no longer."""

    async def main() -> None:
        producer = KafkaProducer(
            producer_config("127.0.0.1:1", produce_seconds_max=0.05, in_flight_bytes_max=100, compression="none")
        )
        record = Record("topic", b"k", b"v", 1)
        calls = [asyncio.create_task(producer.produce([record])) for _ in range(4)]
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert [error.reason for error in done if isinstance(error, NotDurable)] == ["no_topic"] * 2 + ["full"] * 2
        assert producer.stats.bytes_in_flight == 0
        await producer.stop(1)

    run(main())


def test_batch_is_compressed_as_we_say_whatever_was_compressed_before() -> None:
    """aiokafka makes a context for each batch; one that is kept must carry nothing over to the next batch."""
    keep_zstd_context()
    for value in (b"a" * 5_000, bytes(range(256)) * 300, b"a" * 5_000):
        plain, packed = (RecordBatchBuilder(200_000, codec_of(codec)) for codec in ("none", "zstd"))
        for builder in (plain, packed):
            builder.append(timestamp=1, key=b"key", value=value)
        frame = bytes(packed._build()[HEADER_BYTES:])
        assert frame == zstd.compress(bytes(plain._build()[HEADER_BYTES:]), ZSTD_LEVEL)
        assert zstd.get_frame_info(frame).decompressed_size is not None  # for consumers that take memory for it
        assert [read.value for read in MemoryRecords(bytes(packed._build())).next_batch()] == [value]
