"""Reads what the group committed, metadata included: aiokafka's consumer drops it, its admin client does not."""

import asyncio
import logging

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from processors.faust_app.commits import Partition
from schemas.kafka_access import KafkaAccess
from schemas.kafka_probe import reason_of

log = logging.getLogger("unjoin.processors")

ANSWER_S_MAX = 10.0
AGAIN_S = 0.5


class CommittedOffsets:
    """The group's commits, as its coordinator keeps them."""

    def __init__(self, kafka: KafkaAccess, group_id: str) -> None:
        self._kafka, self._group_id = kafka, group_id

    async def of(self, partition: Partition) -> tuple[int | None, str]:
        """Offset, None where there is none, and metadata; waits, however long, until the coordinator tells."""
        said = False
        while True:
            try:
                return await asyncio.wait_for(self._ask(TopicPartition(*partition)), ANSWER_S_MAX)
            except (KafkaError, OSError, TimeoutError, AttributeError, KeyError) as error:
                # aiokafka 0.14: AttributeError where a partition's answer is an error (`response.error_code`).
                if not said:
                    why = await reason_of(error, self._kafka)
                    log.warning("cannot read the last commit (%s), trying again", why)
                said = True
                await asyncio.sleep(AGAIN_S)

    async def _ask(self, partition: TopicPartition) -> tuple[int | None, str]:
        admin = AIOKafkaAdminClient(**self._kafka.client(), request_timeout_ms=int(ANSWER_S_MAX * 1_000))
        try:
            await admin.start()
            found = await admin.list_consumer_group_offsets(self._group_id, partitions=[partition])
            commit = found[partition]
            return (None, "") if commit.offset < 0 else (commit.offset, commit.metadata or "")
        finally:
            await admin.close()
