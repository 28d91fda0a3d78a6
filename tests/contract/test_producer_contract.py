"""What every producer promises, the real one on a real broker and the fake that other tests stand on."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import pytest

from ingest.encode.records import Record, Records, runs_of
from ingest.kafka.batches import NotDurableReason
from ingest.kafka.partitioner import positive_hash
from ingest.kafka.producer import KafkaProducer, NotDurable, Producer
from testkit.clean_loop import run, seconds_of, until
from testkit.kafka_node import KafkaNode, create_topic, stored_records
from tests.contract.memory_broker import MemoryBroker, MemoryProducer
from tests.ingest.configs import producer_config

Stored = tuple[int, bytes | None, bytes, int]
NOW_MS = int(time.time() * 1_000)


class Backend(Protocol):
    """A broker that can fall silent, and the producers for it."""

    def producer(self, **config: Any) -> Producer: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    async def create_topic(self, partitions: int = 1, name: str = "") -> str: ...
    async def stored(self, topic: str) -> list[Stored]: ...


class MemoryBackend:
    def __init__(self) -> None:
        self._broker = MemoryBroker()
        self.pause, self.resume = self._broker.pause, self._broker.resume

    def producer(self, **config: Any) -> Producer:
        return MemoryProducer(producer_config("", **config), self._broker)

    async def create_topic(self, partitions: int = 1, name: str = "") -> str:
        name = name or f"topic-{len(self._broker.topics)}"
        self._broker.create_topic(name, partitions)
        return name

    async def stored(self, topic: str) -> list[Stored]:
        return [
            (partition, record.key, record.value, record.timestamp_ms)
            for partition, records in enumerate(self._broker.topics[topic])
            for record in records
        ]


class KafkaBackend:
    def __init__(self, node: KafkaNode) -> None:
        self._node = node
        self.pause, self.resume = node.pause, node.resume

    def producer(self, **config: Any) -> Producer:
        return KafkaProducer(producer_config(self._node.bootstrap, **{"compression": "none", **config}))

    async def create_topic(self, partitions: int = 1, name: str = "") -> str:
        return await asyncio.to_thread(create_topic, self._node.bootstrap, partitions, name=name)

    async def stored(self, topic: str) -> list[Stored]:
        messages = await asyncio.to_thread(stored_records, self._node.bootstrap, topic)
        return [(m.partition(), m.key(), m.value(), m.timestamp()[1]) for m in messages]


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
def make_backend(request: pytest.FixtureRequest) -> Iterator[Callable[[], Backend]]:
    """A function, since the one in memory belongs to the loop of its test."""
    if request.param == "memory":
        yield MemoryBackend
        return
    node: KafkaNode = request.getfixturevalue("kafka_node")
    yield lambda: KafkaBackend(node)
    node.resume()


@asynccontextmanager
async def started(producer: Producer, stop_seconds: float = 10.0) -> AsyncIterator[Producer]:
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop(stop_seconds)


def records_of(topic: str, session: int, count: int, size: int = 40) -> list[Record]:
    key = f"session-{session}".encode()
    return [Record(topic, key, b"%d/%d " % (session, i) + b"." * size, NOW_MS + i) for i in range(count)]


def expected(records: list[Record], partitions: int) -> Counter[Stored]:
    return Counter((positive_hash(r.key or b"") % partitions, r.key, r.value, r.timestamp_ms) for r in records)


async def refusal_of(call: Awaitable[None]) -> NotDurable:
    with pytest.raises(NotDurable) as caught:
        await call
    return caught.value


def test_what_many_requests_produced_at_once_is_stored_once_each(make_backend: Callable[[], Backend]) -> None:
    """The promise itself: nothing lost, nothing doubled, each record whole and on the partition of its key."""

    async def main() -> None:
        backend = make_backend()
        topic = await backend.create_topic(4)
        requests = [records_of(topic, session, 1 + session % 50) for session in range(200)]
        async with started(backend.producer(topics=(topic,))) as producer:
            await asyncio.gather(*(producer.produce(records) for records in requests))
            # Not after stop: a return from produce is the acknowledgement.
            stored = await backend.stored(topic)
        assert Counter(stored) == expected([record for records in requests for record in records], 4)

    run(main())


def test_records_of_one_request_and_key_keep_their_order(make_backend: Callable[[], Backend]) -> None:
    """A session is a sequence; a consumer must not have to sort it."""

    async def main() -> None:
        backend = make_backend()
        topic = await backend.create_topic(2)
        # 500 records of 1 kB are several batches.
        records = records_of(topic, 1, 500, 1_000)
        async with started(backend.producer()) as producer:
            await producer.produce(records)
        assert [value for _, _, value, _ in await backend.stored(topic)] == [record.value for record in records]

    run(main())


def test_record_with_a_partition_lies_there_or_is_not_durable(make_backend: Callable[[], Backend]) -> None:
    """A label is sealed to its partition: on any other one nobody opens it, so it waits for its own."""

    async def main() -> None:
        backend = make_backend()
        topic = await backend.create_topic(3)
        records = [Record(topic, None, b"%d" % number, NOW_MS, number % 3) for number in range(9)]
        async with started(backend.producer(topics=(topic,))) as producer:
            assert producer.partitions_of(topic) == 3
            assert producer.partitions_of("nobody's") is None
            await producer.produce(records)
            absent = Record(topic, None, b"9", NOW_MS, 3)
            assert (await refusal_of(producer.produce([records[0], absent]))).reason == "no_partition"
            stored = [(partition, value) for partition, _, value, _ in await backend.stored(topic)]
        assert sorted(stored) == [(number % 3, b"%d" % number) for number in sorted(range(9), key=lambda n: (n % 3, n))]

    run(main())


def test_one_request_may_name_several_topics_and_no_key(make_backend: Callable[[], Backend]) -> None:
    """A batch of a browser mixes categories; a record of nobody may lie on any partition."""

    async def main() -> None:
        backend = make_backend()
        first, second = await backend.create_topic(2), await backend.create_topic(3)
        async with started(backend.producer()) as producer:
            await producer.produce([Record(first, b"k", b"1", NOW_MS), Record(second, None, b"2", NOW_MS)])
            await producer.produce([])
        assert [(key, value) for _, key, value, _ in await backend.stored(first)] == [(b"k", b"1")]
        assert [(key, value) for _, key, value, _ in await backend.stored(second)] == [(None, b"2")]

    run(main())


def test_silent_broker_answers_not_durable_in_time_and_recovers(make_backend: Callable[[], Backend]) -> None:
    """A browser waits for the answer. What timed out is unknown, so it may appear, but never twice."""

    async def main() -> None:
        backend = make_backend()
        topic = await backend.create_topic(2)
        async with started(backend.producer(produce_seconds_max=0.5, topics=(topic,))) as producer:
            await producer.produce(records_of(topic, 0, 3))
            backend.pause()
            calls = [seconds_of(producer.produce(records_of(topic, session, 3))) for session in range(1, 20)]
            for seconds, error in await asyncio.gather(*calls):
                assert isinstance(error, NotDurable)
                assert error.reason == "timed_out"
                assert error.retry_after_s >= 1
                assert 0.4 < seconds < 1.5
            backend.resume()
            await until(producer.ready)
            await producer.produce(records_of(topic, 20, 3))
        stored = Counter(await backend.stored(topic))
        sent = [record for session in range(21) for record in records_of(topic, session, 3)]
        acknowledged = records_of(topic, 0, 3) + records_of(topic, 20, 3)
        assert expected(acknowledged, 2) <= stored <= expected(sent, 2)

    run(main())


def test_bytes_in_flight_are_bounded_and_those_of_requests_that_gave_up_count(
    make_backend: Callable[[], Backend],
) -> None:
    """Otherwise an outage fills the memory with records that nobody waits for any more."""

    async def main() -> None:
        backend = make_backend()
        topic = await backend.create_topic()
        config = {"produce_seconds_max": 0.3, "in_flight_bytes_max": 10_000, "topics": (topic,)}
        async with started(backend.producer(**config)) as producer:
            await producer.produce(records_of(topic, 0, 1))
            backend.pause()
            assert (await refusal_of(producer.produce(records_of(topic, 1, 80)))).reason == "timed_out"
            seconds, error = await seconds_of(producer.produce(records_of(topic, 2, 80)))
            assert isinstance(error, NotDurable)
            assert error.reason == "full"
            assert seconds < 0.1
            backend.resume()
            await until(lambda: producer.stats.bytes_in_flight == 0)  # type: ignore[attr-defined]
            await producer.produce(records_of(topic, 3, 80))
            assert (await refusal_of(producer.produce(records_of(topic, 4, 500)))).reason == "full"

    run(main())


def test_stop_returns_in_time_while_the_broker_is_silent_and_answers_who_waits(
    make_backend: Callable[[], Backend],
) -> None:
    """A deployment must not hang on an outage, and no request may wait for ever."""

    async def main() -> None:
        backend = make_backend()
        topic = await backend.create_topic()
        producer = backend.producer(produce_seconds_max=30.0, topics=(topic,))
        await producer.start()
        await producer.produce(records_of(topic, 0, 1))
        backend.pause()
        try:
            calls = [asyncio.create_task(producer.produce(records_of(topic, i, 1))) for i in range(5)]
            await asyncio.sleep(0)
            begun = time.monotonic()
            await producer.stop(0.3)
            assert time.monotonic() - begun < 2.0
            for call in calls:
                assert (await refusal_of(call)).reason == "stopped"
            assert not producer.ready()
            assert (await refusal_of(producer.produce(records_of(topic, 9, 1)))).reason == "stopped"
            await producer.stop(0.3)
        finally:
            backend.resume()

    run(main())


def test_stop_first_sends_what_was_handed_over(make_backend: Callable[[], Backend]) -> None:
    """A deployment in good times loses no request."""

    async def main() -> None:
        backend = make_backend()
        topic = await backend.create_topic()
        producer = backend.producer(topics=(topic,))
        await producer.start()
        call = asyncio.create_task(producer.produce(records_of(topic, 0, 5)))
        await asyncio.sleep(0)
        await producer.stop(10)
        await call
        assert len(await backend.stored(topic)) == 5

    run(main())


def test_request_that_is_cancelled_takes_nobody_with_it(make_backend: Callable[[], Backend]) -> None:
    """Requests share batches; a browser that closes its tab must not fail the others'."""

    async def main() -> None:
        backend = make_backend()
        topic = await backend.create_topic()
        async with started(backend.producer(topics=(topic,))) as producer:
            calls = [asyncio.create_task(producer.produce(records_of(topic, i, 1))) for i in range(10)]
            await asyncio.sleep(0)
            calls[0].cancel()
            done = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(done[0], asyncio.CancelledError)
            assert done[1:] == [None] * 9
        assert {key for _, key, _, _ in await backend.stored(topic)} >= {f"session-{i}".encode() for i in range(1, 10)}

    run(main())


def test_missing_topic_is_not_durable_in_time_and_found_once_it_is_there(make_backend: Callable[[], Backend]) -> None:
    """Collectors come up before somebody created the topics."""

    async def main() -> None:
        backend = make_backend()
        name = f"late-{time.monotonic_ns()}"
        async with started(backend.producer(produce_seconds_max=0.3, topics=(name,))) as producer:
            seconds, error = await seconds_of(producer.produce(records_of(name, 0, 1)))
            assert isinstance(error, NotDurable)
            assert error.reason == "no_topic"
            assert seconds < 1.5
            assert not producer.ready()
            await backend.create_topic(1, name)
            await until(producer.ready)
            await producer.produce(records_of(name, 1, 1))
        assert len(await backend.stored(name)) == 1

    run(main())


def test_what_was_begun_without_a_task_is_told_once_what_became_of_it(make_backend: Callable[[], Backend]) -> None:
    """Nobody waits for it in a task, so that nobody would see it forgotten, or answered twice."""

    async def main() -> None:
        backend = make_backend()
        topic = await backend.create_topic(4)
        told: dict[int, list[NotDurableReason | None]] = {}

        def begin(session: int, count: int, name: str = topic) -> bool:
            records = Records(runs_of(records_of(name, session, count)))
            return producer.begin(records, told.setdefault(session, []).append)

        async with started(backend.producer(produce_seconds_max=0.5, topics=(topic,))) as producer:
            assert not begin(-1, 1, "nobody's")
            assert all(begin(session, 1 + session % 50) for session in range(200))
            await until(lambda: all(told[session] for session in range(200)))
            stored = await backend.stored(topic)
            backend.pause()
            assert all(begin(session, 1) for session in range(200, 205))
            await until(lambda: all(told[session] for session in range(200, 205)))
            backend.resume()
            await until(producer.ready)
            assert begin(205, 1)
            await until(lambda: bool(told[205]))
        assert told.pop(-1) == []
        assert told.pop(205) == [None]
        assert all(told.pop(session) == ["timed_out"] for session in range(200, 205))
        assert all(outcomes == [None] for outcomes in told.values())
        sent = [record for session in range(200) for record in records_of(topic, session, 1 + session % 50)]
        assert Counter(stored) == expected(sent, 4)
        with pytest.raises(NotDurable, match="stopped"):
            begin(206, 1)

    run(main())
