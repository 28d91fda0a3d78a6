"""Nothing is done before the broker has it, and what failed goes again, in its order."""

import asyncio
from types import SimpleNamespace
from typing import Any

from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError
from faust.exceptions import ProducerSendError

from processors.outlet import Outgoing, Outlet
from schemas.dead_letters import TRUNCATED_FROM


class Producer:
    """Faust's producer as far as the outlet knows it; futures end when the test says so."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.futures: list[asyncio.Future[None]] = []
        self.asked = asyncio.Event()
        self.refuse_next: Exception | None = None

    async def send(self, *record: Any) -> asyncio.Future[None]:
        if self.refuse_next is not None:
            error, self.refuse_next = self.refuse_next, None
            raise error
        self.sent.append(record)
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


def outlet_of(producer: Producer) -> Outlet:
    return Outlet(SimpleNamespace(producer=producer))


def record(value: bytes, **fields: Any) -> Outgoing:
    return Outgoing("released", None, value, partition=0, timestamp_s=86_400.0, **fields)


def values(producer: Producer) -> list[bytes]:
    return [sent[2] for sent in producer.sent]


def test_returns_only_when_every_record_is_acknowledged_and_sends_again_what_is_not() -> None:
    """`await send()` is no acknowledgement: it returns a future, and that is one."""

    async def scenario() -> None:
        producer = Producer()
        producing = asyncio.create_task(outlet_of(producer).produce([record(b"a"), record(b"b"), record(b"c")]))
        await asyncio.wait_for(producer.asked.wait(), 10)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not producing.done()
        await producer.acknowledged(None, KafkaTimeoutError(), KafkaTimeoutError())
        await producer.acknowledged(None, None)
        await producing
        assert values(producer) == [b"a", b"b", b"c", b"b", b"c"]
        assert all((sent[1], *sent[3:5]) == (None, 0, 86_400.0) for sent in producer.sent)

    asyncio.run(scenario())


def test_record_that_could_not_even_be_sent_goes_again() -> None:
    """Faust wraps what its producer raises; the record is no less to be sent for that."""

    async def scenario() -> None:
        producer = Producer()
        producer.refuse_next = ProducerSendError("no broker")
        producing = asyncio.create_task(outlet_of(producer).produce([record(b"a"), record(b"b")]))
        await producer.acknowledged(None)
        await producer.acknowledged(None)
        await producing
        assert values(producer) == [b"b", b"a"]

    asyncio.run(scenario())


def test_dead_letter_that_does_not_fit_is_cut_and_says_so() -> None:
    """Its headers made it too large; without this it would stop the stream for ever."""

    async def scenario() -> None:
        producer = Producer()
        letter = Outgoing("dead", b"k" * 5_000, b"x" * 9, headers=[("reason", b"not_confluent")])
        producing = asyncio.create_task(outlet_of(producer).produce([letter]))
        await producer.acknowledged(MessageSizeTooLargeError())
        await producer.acknowledged(None)
        await producing
        _, key, value, *_, headers = producer.sent[-1]
        assert (len(key), value) == (1_024, b"")
        assert (TRUNCATED_FROM, b"9") in headers

    asyncio.run(scenario())
