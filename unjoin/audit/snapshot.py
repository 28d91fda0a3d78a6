"""Where every consumer and every log is at one moment: first what was committed, then the ends, each in one answer."""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from typing import TypeVar

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from schemas.kafka_access import KafkaAccess, refusal_of
from schemas.kafka_probe import why_refused
from schemas.outcomes import UnjoinError

T = TypeVar("T")
ANSWER_SECONDS_MAX = 30.0
COORDINATOR_TRIES, AGAIN_SECONDS = 20, 0.5


class AuditError(UnjoinError):
    """Nothing could be told; the text says why and what to do."""


class Commit(msgspec.Struct, frozen=True):
    """A group's commit of a partition; offset None where it never committed."""

    offset: int | None
    metadata: str


class OffsetRange(msgspec.Struct, frozen=True):
    """A partition's log: its first offset, and the one after its last."""

    start: int
    end: int


class KafkaReader:
    """What the audit asks the brokers; it reads, joins no group and commits nothing."""

    def __init__(self, kafka: KafkaAccess) -> None:
        self._kafka = kafka
        self._admin = AIOKafkaAdminClient(**kafka.client(), request_timeout_ms=20_000)
        self.consumer = AIOKafkaConsumer(
            **kafka.client(),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",  # as the sinks and the door: what a transaction took back is no record
            max_partition_fetch_bytes=8_388_608,
            fetch_max_wait_ms=50,  # a fetch that waits for records holds back every other request to its broker
        )

    async def __aenter__(self) -> "KafkaReader":
        try:
            await self.answered(self._admin.start())
            await self.answered(self.consumer.start())
        except AuditError:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def partitions(self, topics: Iterable[str]) -> dict[str, list[TopicPartition]]:
        """The partitions of each topic; raises AuditError where a topic is missing."""
        wanted = list(topics)
        found = {}
        for described in await self.answered(self._admin.describe_topics(wanted)):
            numbers = sorted(one["partition"] for one in described["partitions"])
            found[described["topic"]] = [TopicPartition(described["topic"], number) for number in numbers]
        if missing := [topic for topic in wanted if not found.get(topic)]:
            raise AuditError(f"there is no topic {missing[0]} at {self._kafka.bootstrap}; is it the pipeline's?")
        return found

    async def commits(self, group: str, partitions: list[TopicPartition]) -> dict[TopicPartition, Commit]:
        """What a group has committed, metadata included; waits 10 s for a coordinator that has just started.

        A partition that is left out of the answer is not one that was never committed, which is answered with -1.
        """
        for _ in range(COORDINATOR_TRIES):
            try:
                found = await self.answered(self._admin.list_consumer_group_offsets(group, partitions=partitions))
                return {one: _commit(found[one]) for one in partitions}
            except (AttributeError, KeyError):  # AttributeError: aiokafka 0.14, where a partition's answer is an error
                await asyncio.sleep(AGAIN_SECONDS)
        raise AuditError(f"the coordinator does not tell what {group} has committed; audit again")

    async def spans(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, OffsetRange]:
        """The log's bounds now."""
        wanted = list(partitions)
        starts: Mapping[TopicPartition, int] = await self.answered(self.consumer.beginning_offsets(wanted))
        ends: Mapping[TopicPartition, int] = await self.answered(self.consumer.end_offsets(wanted))
        return {one: OffsetRange(starts[one], ends[one]) for one in wanted}

    async def spans_of_topic(self, topic: str) -> dict[TopicPartition, OffsetRange]:
        """The bounds of a topic's logs now; none where it is not there."""
        if topic not in await self.answered(self.consumer.topics()):
            return {}
        return await self.spans((await self.partitions([topic]))[topic])

    async def retention_ms(self, topic: str) -> int:
        """How long a record stays, as the topic is configured now."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"retention.ms": ""})
        (answer,) = await self.answered(self._admin.describe_configs([resource]))
        values = {entry[0]: entry[1] for resource in answer.resources for entry in resource[4]}
        return int(values["retention.ms"])

    async def answered(self, waiting: Awaitable[T]) -> T:
        """What Kafka answers, or AuditError: aiokafka itself waits for ever while brokers are away."""
        try:
            return await asyncio.wait_for(waiting, ANSWER_SECONDS_MAX)
        except (TimeoutError, KafkaError, OSError) as error:
            if why := refusal_of(error) or await why_refused(self._kafka):
                raise AuditError(why) from None
            what = "did not answer in time" if isinstance(error, TimeoutError) else f"failed ({type(error).__name__})"
            raise AuditError(f"Kafka at {self._kafka.bootstrap} {what}; start `unjoin up`, then audit again") from None

    async def _close(self) -> None:
        for part in (self.consumer.stop(), self._admin.close()):
            try:
                await asyncio.wait_for(part, ANSWER_SECONDS_MAX)
            except (TimeoutError, KafkaError, OSError):
                continue  # nothing depends on it


def _commit(found: OffsetAndMetadata) -> Commit:
    return Commit(None if found.offset < 0 else found.offset, found.metadata or "")
