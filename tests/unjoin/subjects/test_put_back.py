"""What is said before records are written once more: always before, and anew in time."""

import asyncio

import pytest
from aiokafka.errors import KafkaTimeoutError

from schemas.subjects.put_back import HOLDS_MS, RENEWED_MS, until_ms_of
from unjoin.subjects.put_back import PutBackMark


def test_mark_holds_whenever_a_record_is_written() -> None:
    """An eraser that reads it waits until every send that it stands for has ended."""
    said: list[int] = []
    now_ms = 1_000

    async def commit(until_ms: int) -> None:
        said.append(until_ms)

    mark = PutBackMark(commit, lambda: now_ms)
    for _ in range(300):
        asyncio.run(mark.hold())
        assert said[-1] - now_ms >= RENEWED_MS
        now_ms += 700
    assert len(said) == pytest.approx(300 * 700 / (HOLDS_MS - RENEWED_MS), abs=1)


def test_nothing_is_written_without_the_mark() -> None:
    async def away(_: int) -> None:
        raise KafkaTimeoutError

    mark = PutBackMark(away, lambda: 0)
    for _ in range(2):
        with pytest.raises(KafkaTimeoutError):
            asyncio.run(mark.hold())


@pytest.mark.parametrize(("metadata", "until_ms"), [("", 0), ("1796060000000", 1796060000000), ("x", 0), ("²", 0)])
def test_what_is_no_mark_is_none(metadata: str, until_ms: int) -> None:
    assert until_ms_of(metadata) == until_ms
