"""Reads topics from one offset to another, whole and in order."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from aiokafka import TopicPartition

from unjoin.audit.snapshot import AuditError, KafkaReader, OffsetRange

RECORDS_MAX = 5_000
SILENT_SECONDS_MAX = 30.0


async def records(
    kafka: KafkaReader, spans: Mapping[TopicPartition, OffsetRange], advance: Callable[[int], None]
) -> AsyncIterator[tuple[TopicPartition, list[Any]]]:
    """The records of each span, some of one partition at a time.

    Raises:
        AuditError: Kafka hands out no more.
    """
    consumer = kafka.consumer
    left = {one: span.end for one, span in spans.items() if span.start < span.end}
    if not left:
        return
    consumer.assign(list(left))
    for one in left:
        consumer.seek(one, spans[one].start)
    loop = asyncio.get_running_loop()
    heard_at = loop.time()
    while left:
        for one, fetched in (await consumer.getmany(*left, timeout_ms=1_000, max_records=RECORDS_MAX)).items():
            wanted = [record for record in fetched if record.offset < left[one]]
            heard_at = loop.time()
            advance(len(wanted))
            yield one, wanted
        for one in list(left):
            if await kafka.answered(consumer.position(one)) >= left[one]:
                del left[one]
                consumer.pause(one)
        if loop.time() - heard_at > SILENT_SECONDS_MAX:
            raise AuditError("Kafka hands out no more records; is it up? Audit again")
