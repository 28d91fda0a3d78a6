"""Sends records to the topic of dead letters: their bytes unchanged, with headers that say why and from where."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError

from schemas.dead_letters import TRUNCATED_FROM, Headers, dead_letter_headers
from schemas.kafka_access import KafkaAccess
from schemas.topics import dead_letter_topic
from sinks.kafka.block_planner import DeadLetter

ACKNOWLEDGE_SECONDS_MAX = 20.0
CLOSE_SECONDS_MAX = 3.0
REQUEST_BYTES_MAX = 16 * 1_048_576
TRUNCATED_BYTES = 65_536


class DeadLetterProducer:
    """One producer for all tables of a process; started with the first dead_letter.

    It is not idempotent on purpose: an idempotent producer's batches never expire while brokers are away. A dead letter
    that arrives twice counts once, by the origin in its headers.
    """

    def __init__(self, kafka: KafkaAccess, topic_of: Callable[[str], str] = dead_letter_topic) -> None:
        self._kafka = kafka
        self._topic_of = topic_of
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def send(self, topic: str, partition: int, dead_letters: Sequence[DeadLetter]) -> None:
        """Returns once all in-sync replicas have every dead_letter.

        Raises:
            KafkaError: some may have arrived, some not; send them all again.
        """
        try:
            async with asyncio.timeout(ACKNOWLEDGE_SECONDS_MAX):
                producer = await self._started()
                target = self._topic_of(topic)
                for start in range(0, len(dead_letters), 1_000):
                    await self._send(producer, target, topic, partition, dead_letters[start : start + 1_000])
        except TimeoutError:
            raise KafkaTimeoutError("dead letters were not acknowledged in time") from None

    async def close(self) -> None:
        """Stops the producer; every dead letter that `send` returned for is acknowledged already."""
        if self._producer is not None:
            with contextlib.suppress(TimeoutError, KafkaError):
                await asyncio.wait_for(self._producer.stop(), CLOSE_SECONDS_MAX)
            self._producer = None

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._kafka.client(),
                    acks="all",
                    linger_ms=5,
                    max_request_size=REQUEST_BYTES_MAX,
                    request_timeout_ms=10_000,
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    @staticmethod
    async def _send(
        producer: AIOKafkaProducer, target: str, topic: str, partition: int, dead_letters: Sequence[DeadLetter]
    ) -> None:
        futures = []
        for dead_letter in dead_letters:
            headers = dead_letter_headers(dead_letter.reason, topic, partition, dead_letter.offset)
            if dead_letter.key is None and dead_letter.value is None:
                futures.append(await _send_empty(producer, target, headers))
            else:
                futures.append(
                    await producer.send(target, key=dead_letter.key, value=dead_letter.value, headers=headers)
                )
        results = await asyncio.gather(*futures, return_exceptions=True)
        for dead_letter, result in zip(dead_letters, results, strict=True):
            if isinstance(result, MessageSizeTooLargeError):
                # With headers added, a record at the broker's limit is too large; uncut it would stop its partition
                # for ever.
                headers = [
                    *dead_letter_headers(dead_letter.reason, topic, partition, dead_letter.offset),
                    _truncated(dead_letter),
                ]
                value = (dead_letter.value or b"")[:TRUNCATED_BYTES]
                await producer.send_and_wait(target, key=(dead_letter.key or b"")[:1_024], value=value, headers=headers)
            elif isinstance(result, BaseException):
                raise result


async def _send_empty(producer: AIOKafkaProducer, target: str, headers: Headers) -> Awaitable[Any]:
    """A record with neither key nor value, which `send` refuses (an assertion of aiokafka 0.14) and Kafka allows."""
    partitions = await producer.partitions_for(target)
    batch = producer.create_batch()
    batch.append(key=None, value=None, timestamp=None, headers=headers)
    batch.close()
    sent: Awaitable[Any] = await producer.send_batch(batch, target, partition=min(partitions))
    return sent


def _truncated(dead_letter: DeadLetter) -> tuple[str, bytes]:
    return TRUNCATED_FROM, b"%d" % len(dead_letter.value or b"")
