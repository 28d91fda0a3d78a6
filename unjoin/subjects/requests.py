"""Requests to be gone, on `subjects.erasures`: reads all of them, adds some, and follows how far they are."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.kafka_access import KafkaAccess, refusal_of
from schemas.kafka_probe import why_refused
from schemas.outcomes import UnjoinError
from schemas.subjects.erasures import Erasure, ErasureError, decoded
from schemas.topics import ERASURES

ANSWER_SECONDS_MAX = 30.0
WHERE = TopicPartition(ERASURES, 0)
T = TypeVar("T")


class RequestsError(UnjoinError):
    """Requests cannot be read or added; the text says why and what to do."""


class Requests:
    """The topic, read to its end.

    Attributes:
        newest: each request as it was said last, by id.
    """

    def __init__(self, kafka: KafkaAccess, consumer: AIOKafkaConsumer) -> None:
        self.newest: dict[str, Erasure] = {}
        self._kafka, self._consumer = kafka, consumer

    async def read(self) -> None:
        """Reads on to the end of now."""
        end = (await self._answered(self._consumer.end_offsets([WHERE])))[WHERE]
        while await self._answered(self._consumer.position(WHERE)) < end:
            batches = await self._answered(self._consumer.getmany(WHERE, timeout_ms=500))
            for record in batches.get(WHERE, ()):
                with suppress(ErasureError):  # what is no request changes nothing
                    found = decoded(record.value)
                    self.newest[found.id] = found

    async def add(self, erasures: Sequence[Erasure]) -> None:
        """Returns once every in-sync replica has them; adding one again changes nothing."""
        producer = AIOKafkaProducer(**self._kafka.client(), acks="all")
        try:
            await self._answered(producer.start())
            sent = [
                await self._answered(producer.send(ERASURES, one.encoded(), key=one.key(), partition=0))
                for one in erasures
            ]
            await self._answered(asyncio.gather(*sent))
            self.newest |= {one.id: one for one in erasures}
        finally:
            await _stopped(producer)

    async def _answered(self, waiting: Awaitable[T]) -> T:
        return await _answered(self._kafka, waiting)


@asynccontextmanager
async def requests_of(kafka: KafkaAccess) -> AsyncIterator[Requests]:
    """The requests, read whole.

    Raises:
        RequestsError: Kafka does not answer, refuses, or has no such topic.
    """
    consumer = AIOKafkaConsumer(**kafka.client(), group_id=None, auto_offset_reset="earliest", fetch_max_wait_ms=50)
    try:
        await _answered(kafka, consumer.start())
        if ERASURES not in await _answered(kafka, consumer.topics()):
            raise RequestsError(f"there is no topic {ERASURES} at {kafka.bootstrap}; `unjoin topics` makes it")
        consumer.assign([WHERE])
        requests = Requests(kafka, consumer)
        await requests.read()
        yield requests
    finally:
        await _stopped(consumer)


async def _stopped(client: Any) -> None:
    with suppress(KafkaError, TimeoutError, OSError):
        await asyncio.wait_for(client.stop(), ANSWER_SECONDS_MAX)


async def _answered(kafka: KafkaAccess, waiting: Awaitable[T]) -> T:
    """What Kafka answers; aiokafka itself waits for ever while brokers are away."""
    try:
        return await asyncio.wait_for(waiting, ANSWER_SECONDS_MAX)
    except (TimeoutError, KafkaError, OSError) as error:
        if why := refusal_of(error) or await why_refused(kafka):
            raise RequestsError(why) from None
        what = "did not answer in time" if isinstance(error, TimeoutError) else f"failed ({type(error).__name__})"
        raise RequestsError(
            f"Kafka at {kafka.bootstrap} {what}; start it, then call again: a request that is there twice does no harm"
        ) from None
