"""Which records were set aside, as the topics of dead letters say."""

from collections.abc import Callable, Mapping

from aiokafka import TopicPartition

from schemas.dead_letters import origin_of
from unjoin.audit.logs import records
from unjoin.audit.matching import OffsetSet
from unjoin.audit.snapshot import KafkaReader, OffsetRange


async def set_aside(
    kafka: KafkaReader,
    dead_letters: Mapping[TopicPartition, OffsetRange],
    ranges: Mapping[TopicPartition, OffsetRange],
    advance: Callable[[int], None],
    since_ms: int,
) -> dict[TopicPartition, OffsetSet]:
    """Reads which offsets of each range have a dead letter of this time or later; two of the same offset count once."""
    marks = {one: OffsetSet(span.start, span.end) for one, span in ranges.items()}
    async for _, found in records(kafka, dead_letters, advance):
        for record in found:
            origin = origin_of(record.headers) if record.timestamp >= since_ms else None
            if origin is not None and (mark := marks.get(TopicPartition(origin.topic, origin.partition))) is not None:
                mark.add(origin.offset)
    return marks
