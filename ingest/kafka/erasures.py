"""Keeps whom a collector refuses up to date with `subjects.erasures`, which it reads from its start on."""

import asyncio
import logging
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.kafka_access import KafkaAccess
from schemas.subjects.erasures import Erased, Erasure, ErasureError, decoded
from schemas.topics import ERASURES

AGAIN_SECONDS = 5.0
ANSWER_SECONDS_MAX = 15.0
POLL_MS = 1_000
log = logging.getLogger(__name__)


class FollowedErasures:
    """Whom to refuse, as far as it is known.

    While Kafka is away it stays as it is; of a collector that has not reached Kafka yet nobody is known, and what it
    takes is deleted by the sinks.

    Attributes:
        erased: whoever asked, and is not forgotten.
    """

    def __init__(self) -> None:
        self.erased = Erased()

    async def follow(self, kafka: KafkaAccess) -> None:
        """Reads until cancelled."""
        said = False
        while True:
            try:
                await self._read(kafka)
            except (KafkaError, OSError, TimeoutError) as error:
                if not said:
                    log.warning("who asked to be gone cannot be read (%s); trying again", type(error).__name__)
                    said = True
            else:
                said = False
            await asyncio.sleep(AGAIN_SECONDS)

    async def _read(self, kafka: KafkaAccess) -> None:
        """Returns where there is no such topic yet."""
        where = TopicPartition(ERASURES, 0)
        consumer = AIOKafkaConsumer(**kafka.client(), group_id=None, auto_offset_reset="earliest")
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                await consumer.start()
                if ERASURES not in await consumer.topics():
                    return
                consumer.assign([where])
                end = (await consumer.end_offsets([where]))[where]
            newest: dict[str, Erasure] = {}
            while True:
                batches = await consumer.getmany(timeout_ms=POLL_MS)
                for record in batches.get(where, ()):
                    with suppress(ErasureError):  # a sink logs it
                        found = decoded(record.value)
                        newest[found.id] = found
                if batches and await consumer.position(where) >= end:
                    self.erased = Erased(newest.values())
        finally:
            stop = asyncio.ensure_future(consumer.stop())
            await asyncio.wait([stop], timeout=ANSWER_SECONDS_MAX)
            stop.cancel()
            await asyncio.gather(stop, return_exceptions=True)
