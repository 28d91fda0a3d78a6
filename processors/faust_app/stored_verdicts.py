"""Reads the door's own topic of verdicts, whole, when a partition is assigned."""

import asyncio
import logging
from collections.abc import Callable, Collection

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from processors.door.records import stored_verdict_of
from processors.door.verdicts import StoredVerdict
from processors.faust_app.commits import Partition
from schemas.kafka_access import KafkaAccess
from schemas.kafka_probe import reason_of
from schemas.outcomes import DecodeError

log = logging.getLogger("unjoin.processors")

ANSWER_S_MAX = 10.0
AGAIN_S = 0.5


class StoredVerdicts:
    """The verdicts that doors have stored.

    Args:
        note_progress: told of each fetch, so that a long read is not taken for a stall.
    """

    def __init__(self, kafka: KafkaAccess, topic: str, note_progress: Callable[[Collection[Partition]], None]) -> None:
        self._kafka = kafka
        self._partition = TopicPartition(topic, 0)  # doors write to no other
        self._note_progress = note_progress

    async def of(self, partitions: Collection[Partition]) -> list[StoredVerdict]:
        """All that came from these partitions of the labeled topic; waits, however long, until all is read."""
        said = False
        while True:
            try:
                return await self._read(partitions)
            except (KafkaError, OSError, TimeoutError) as error:
                if not said:
                    why = await reason_of(error, self._kafka)
                    log.warning("cannot read the stored verdicts (%s), trying again", why)
                said = True
                await asyncio.sleep(AGAIN_S)

    async def _read(self, partitions: Collection[Partition]) -> list[StoredVerdict]:
        numbers = {number for _, number in partitions}
        reader = AIOKafkaConsumer(**self._kafka.client(), request_timeout_ms=int(ANSWER_S_MAX * 1_000))
        try:
            await asyncio.wait_for(reader.start(), ANSWER_S_MAX)
            one = self._partition
            reader.assign([one])
            position = (await asyncio.wait_for(reader.beginning_offsets([one]), ANSWER_S_MAX))[one]
            end = (await asyncio.wait_for(reader.end_offsets([one]), ANSWER_S_MAX))[one]
            reader.seek(one, position)
            found: list[StoredVerdict] = []
            unreadable = 0
            while position < end:
                for record in (await reader.getmany(timeout_ms=1_000)).get(one, ()):
                    try:
                        verdict = stored_verdict_of(record.value)
                    except DecodeError:
                        unreadable += 1
                        continue
                    if verdict.partition in numbers:
                        found.append(verdict)
                position = await reader.position(one)
                self._note_progress(partitions)
            if unreadable:
                log.error("%d records of %s cannot be read and were left out", unreadable, one.topic)
            return found
        finally:
            await reader.stop()
