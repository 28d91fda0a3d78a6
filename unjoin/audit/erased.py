"""Which records without a row are of somebody who asked to be gone: read once more, for an erasure says only who."""

from collections.abc import Mapping, Sequence

from aiokafka import TopicPartition

from schemas.codec import decode
from schemas.outcomes import DecodeError
from schemas.subjects.erasures import Erased, Erasure, ErasureError, decoded
from schemas.subjects.selectors import selectors_of
from schemas.topics import ERASURES
from unjoin.audit.logs import records
from unjoin.audit.snapshot import KafkaReader, OffsetRange


async def who_asked(kafka: KafkaReader) -> Erased:
    """Everybody who is not forgotten; nobody where there is no such topic."""
    newest: dict[str, Erasure] = {}
    async for _, found in records(kafka, await kafka.spans_of_topic(ERASURES), lambda _: None):
        for record in found:
            try:
                erasure = decoded(record.value)
            except ErasureError:
                continue
            newest[erasure.id] = erasure
    return Erased(newest.values())


async def without_erased(
    kafka: KafkaReader, category: str, lost: Mapping[TopicPartition, Sequence[int]]
) -> dict[TopicPartition, list[int]]:
    """The offsets whose records are of nobody who asked; called after rows were looked for, so that all are known.

    Args:
        category: of the records, as their table is called.
    """
    left = {one: set(offsets) for one, offsets in lost.items() if offsets}
    erased = await who_asked(kafka) if left else Erased()
    if not erased:
        return {one: list(offsets) for one, offsets in lost.items()}
    spans = {one: OffsetRange(min(offsets), max(offsets) + 1) for one, offsets in left.items()}
    async for one, found in records(kafka, spans, lambda _: None):
        for record in found:
            if record.offset in left[one] and _asked(category, record.value, erased):
                left[one].discard(record.offset)
    return {one: sorted(offsets) for one, offsets in left.items()}


def _asked(category: str, value: bytes, erased: Erased) -> bool:
    try:
        event = decode(value, f"events.{category}-value")
    except DecodeError:
        return False
    return erased.covers(selectors_of(category, event["site"], event.get("session", ""), event))
