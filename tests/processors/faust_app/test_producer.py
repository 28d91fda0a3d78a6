"""Nothing is done before the broker has it, and what failed goes again, in its order."""

import asyncio
from types import SimpleNamespace
from typing import Any

from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError
from faust.exceptions import ProducerSendError

from processors.faust_app.producer import AcknowledgedProducer, Outgoing
from schemas.dead_letters import TRUNCATED_FROM

ROOM = 2


class Batch:
    """A batch that is full after two records."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def append(self, **record: Any) -> object | None:
        if len(self.records) == ROOM:
            return None
        self.records.append(record)
        return object()

    def close(self) -> None:
        """Nothing more comes."""


class Producer:
    """Faust's producer, and aiokafka's inside it, as far as the door knows them; futures end when the test says so.

    Attributes:
        sent: topic, key, value, partition, Unix milliseconds and headers of every record.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.futures: list[asyncio.Future[None]] = []
        self.asked = asyncio.Event()
        self.refuse_next: Exception | None = None

    async def send(
        self, topic: str, key: Any, value: Any, partition: Any, timestamp_s: Any, headers: Any
    ) -> asyncio.Future[None]:
        return self._sent([(topic, key, value, partition, timestamp_s and timestamp_s * 1_000, headers)])

    def _ensure_producer(self) -> "Producer":
        return self

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[None]:
        return self._sent(
            [(topic, one["key"], one["value"], partition, one["timestamp"], one["headers"]) for one in batch.records]
        )

    def _sent(self, records: list[tuple[Any, ...]]) -> asyncio.Future[None]:
        if self.refuse_next is not None:
            error, self.refuse_next = self.refuse_next, None
            raise error
        self.sent += records
        self.futures.append(asyncio.get_running_loop().create_future())
        self.asked.set()
        return self.futures[-1]

    async def acknowledged(self, *errors: Exception | None) -> None:
        """Ends the futures that are open, once there are as many."""
        while len(self.futures) < len(errors):
            self.asked.clear()
            await asyncio.wait_for(self.asked.wait(), 10)
        for future, error in zip(self.futures, errors, strict=True):
            future.set_exception(error) if error else future.set_result(None)
        self.futures.clear()


def acknowledged(producer: Producer) -> AcknowledgedProducer:
    return AcknowledgedProducer(SimpleNamespace(producer=producer))


def record(value: bytes, **fields: Any) -> Outgoing:
    return Outgoing("released", None, value, partition=0, timestamp_s=86_400.0, **fields)


def values(producer: Producer) -> list[bytes]:
    return [sent[2] for sent in producer.sent]


def test_returns_only_when_every_record_is_acknowledged_and_sends_again_what_is_not() -> None:
    """`await send()` is no acknowledgement: it returns a future, and that is one."""

    async def scenario() -> None:
        producer = Producer()
        producing = asyncio.create_task(acknowledged(producer).produce([record(b"a"), record(b"b"), record(b"c")]))
        await asyncio.wait_for(producer.asked.wait(), 10)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not producing.done()
        await producer.acknowledged(KafkaTimeoutError(), None)
        await producer.acknowledged(KafkaTimeoutError())
        await producer.acknowledged(None)
        await producing
        assert values(producer) == [b"a", b"b", b"c", b"a", b"b", b"a", b"b"]
        assert all((sent[1], *sent[3:5]) == (None, 0, 86_400_000) for sent in producer.sent)

    asyncio.run(scenario())


def test_record_that_could_not_even_be_sent_goes_again() -> None:
    """Faust wraps what its producer raises; the record is no less to be sent for that."""

    async def scenario() -> None:
        producer = Producer()
        producer.refuse_next = ProducerSendError("no broker")
        letter = Outgoing("dead", b"k", b"letter", headers=[("reason", b"not_confluent")])
        producing = asyncio.create_task(acknowledged(producer).produce([letter, record(b"a"), record(b"b")]))
        await producer.acknowledged(None)
        producer.refuse_next = KafkaTimeoutError()
        await producer.acknowledged(None)
        await producing
        assert values(producer) == [b"a", b"b", b"letter"]

    asyncio.run(scenario())


def test_partition_whose_batch_is_refused_gets_all_of_it_again_in_order() -> None:
    """What came after the refused batch was not sent; it must not overtake."""

    async def scenario() -> None:
        producer = Producer()
        producer.refuse_next = KafkaTimeoutError()
        other = Outgoing("released", None, b"other", partition=1)
        records = [record(b"a"), record(b"b"), record(b"c"), other]
        producing = asyncio.create_task(acknowledged(producer).produce(records))
        await producer.acknowledged(None)
        await producer.acknowledged(None, None)
        await producing
        assert values(producer) == [b"other", b"a", b"b", b"c"]

    asyncio.run(scenario())


def test_dead_letter_that_does_not_fit_is_cut_and_says_so() -> None:
    """Its headers made it too large; without this it would stop the stream for ever."""

    async def scenario() -> None:
        producer = Producer()
        letter = Outgoing("dead", b"k" * 5_000, b"x" * 9, headers=[("reason", b"not_confluent")])
        producing = asyncio.create_task(acknowledged(producer).produce([letter]))
        await producer.acknowledged(MessageSizeTooLargeError())
        await producer.acknowledged(None)
        await producing
        _, key, value, *_, headers = producer.sent[-1]
        assert (len(key), value) == (1_024, b"")
        assert (TRUNCATED_FROM, b"9") in headers

    asyncio.run(scenario())
