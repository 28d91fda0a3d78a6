"""Says on Kafka that records of before are about to be written once more, so that no erasure is done without them."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.structs import OffsetAndMetadata

from schemas.kafka_access import KafkaAccess
from schemas.subjects.put_back import GROUP, HOLDS_MS, PLACE, RENEWED_MS

ANSWER_SECONDS_MAX = 30.0


class PutBackMark:
    """The mark, as one process renews it.

    Args:
        commit: writes down until when it holds, Unix milliseconds.
        now_ms: Unix milliseconds.
    """

    def __init__(self, commit: Callable[[int], Awaitable[None]], now_ms: Callable[[], int]) -> None:
        self._commit, self._now_ms = commit, now_ms
        self._until_ms = 0

    async def hold(self) -> None:
        """Returns once the mark holds for half a minute at least; call it before each record that is written.

        Raises:
            KafkaError: it does not; write nothing.
        """
        if self._until_ms - self._now_ms() < RENEWED_MS:
            until_ms = self._now_ms() + HOLDS_MS
            await self._commit(until_ms)
            self._until_ms = until_ms


@asynccontextmanager
async def put_back_mark(kafka: KafkaAccess) -> AsyncIterator[PutBackMark]:
    """The mark on a cluster.

    Raises:
        KafkaError: brokers do not answer, or refuse; of `hold` as well.
    """
    where = TopicPartition(*PLACE)
    consumer = AIOKafkaConsumer(**kafka.client(), group_id=GROUP, enable_auto_commit=False)

    async def commit(until_ms: int) -> None:
        if not consumer.assignment():  # not before it is needed: a call that only counts has no right to the group
            consumer.assign([where])
            consumer.pause(where)
        await _answered(consumer.commit({where: OffsetAndMetadata(0, str(until_ms))}))

    try:
        await _answered(consumer.start())
        yield PutBackMark(commit, lambda: time.time_ns() // 1_000_000)
    finally:
        with suppress(KafkaError):
            await _answered(consumer.stop())


async def _answered(waiting: Awaitable[None]) -> None:
    try:
        await asyncio.wait_for(waiting, ANSWER_SECONDS_MAX)
    except TimeoutError:
        raise KafkaTimeoutError from None
