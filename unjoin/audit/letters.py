"""Which records were set aside, as the topics of dead letters say."""

from collections.abc import Callable, Mapping

from aiokafka import TopicPartition

from schemas.dead_letters import origin_of
from unjoin.audit.logs import records
from unjoin.audit.matching import Marks
from unjoin.audit.snapshot import Kafka, Span


async def set_aside(
    kafka: Kafka,
    letters: Mapping[TopicPartition, Span],
    ranges: Mapping[TopicPartition, Span],
    advance: Callable[[int], None],
) -> dict[TopicPartition, Marks]:
    """The offsets of each range of which there is a letter; a letter that is there twice is one."""
    marks = {one: Marks(span.start, span.end) for one, span in ranges.items()}
    async for _, found in records(kafka, letters, advance):
        for record in found:
            origin = origin_of(record.headers)
            if origin is not None and (mark := marks.get(TopicPartition(origin.topic, origin.partition))) is not None:
                mark.add(origin.offset)
    return marks
