"""Records as the sink reads them, beside aiokafka's own reader."""

from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.kafka import row_reader
from sinks.kafka.block_planner import Rows
from sinks.kafka.record_consumer import KeptRecords, in_lists

PARTITION = TopicPartition("topic", 0)
PLAIN, TRANSACTION, MARKER = 0x00, 0x10, 0x30
NONE, ZSTD, GZIP = 0, 4, 1
SCHEMAS = {b"sch-A": {"name": "A"}, b"sch-B": {"name": "B"}}

Batch = tuple[int, int, int, list[int], int]
batches = st.lists(
    st.tuples(
        st.sampled_from([PLAIN, TRANSACTION, MARKER]),
        st.sampled_from([NONE, ZSTD, ZSTD, GZIP]),
        st.integers(1, 3),  # the producer
        st.lists(st.sampled_from([*[1, 2, 3] * 8, 4, 5, 6]), max_size=6),  # steps of the offset: compaction leaves gaps
        st.integers(0, 2),  # offsets that are missing behind it
    ),
    max_size=12,
)


def encoded(base: int, batch: Batch) -> tuple[bytes, int]:
    """A batch as a broker sends it, and the offset behind it. Of a marker the steps say whether it aborts."""
    kind, codec, producer, steps, gap = batch
    codec = NONE if kind == MARKER else codec
    builder = DefaultRecordBatchBuilder(2, codec, kind != PLAIN, producer if kind else -1, 0, 0, 1 << 20)
    offset = 0
    if kind == MARKER:
        builder.append(0, 1_000, b"\0\0\0" + bytes([len(steps) % 2]), b"\0" * 6, [])
    for step in [] if kind == MARKER else steps:
        name = b"sch-B" if producer == 3 else b"sch-A"  # most batches are of one schema, as a topic's are
        value = None if step == 5 else (b"other" if step == 6 else name) + b"%d" % (base + offset)
        key = None if step == 3 else b"key %d" % (offset // 3)
        builder.append(offset, 1_000 + offset, key, value, [("name", b"value")] * (step == 4))
        offset += step
    made = bytearray(builder.build())
    made[:8] = base.to_bytes(8, "big")
    if kind == MARKER:
        made[22] |= 0x20
    behind = base + max(1, offset)
    made[23:27] = (behind - 1 - base).to_bytes(4, "big")
    made[17:21] = calc_crc32c(bytes(made[21:])).to_bytes(4, "big")
    return bytes(made), behind + gap


def fetch_of(some: list[Batch], aborted: list[tuple[int, int]], offset: int = 0) -> Callable[[], PartitionRecords]:
    """What aiokafka makes, each time anew, of a broker's answer; that begins with the batch that holds the offset."""
    answer, base = b"", 0
    for batch in some:
        piece, base = encoded(base, batch)
        answer += piece
        offset = min(offset, base - 1) if piece == answer else offset
    return lambda: PartitionRecords(
        PARTITION, KeptRecords(answer), list(aborted), offset, None, None, True, READ_COMMITTED
    )


def told(record: Any) -> tuple[Any, ...]:
    return record.offset, record.timestamp, record.key, record.value, tuple(record.headers)


def stored(record: Any) -> tuple[Any, ...]:
    return record.offset, record.key, record.value


@settings(max_examples=60)
@given(batches, st.lists(st.tuples(st.integers(1, 3), st.integers(0, 30)), max_size=3), st.integers(0, 8), st.data())
def test_records_are_those_that_aiokafka_gives(
    some: list[Batch], aborted: list[tuple[int, int]], offset: int, data: st.DataObject
) -> None:
    """Nothing twice and nothing left out, whatever lies between them: markers, aborted transactions, gaps."""
    fetch = fetch_of(some, aborted, offset)
    theirs, ours = fetch(), fetch()
    expected = [told(record) for record in theirs]
    records_max = data.draw(st.integers(1, 9))
    given_so_far: list[Any] = []
    for records in in_lists(ours, records_max):
        assert 1 <= len(records) <= records_max
        given_so_far += records
        assert ours.next_fetch_offset > records[-1].offset
        left = [record for record in expected if record[0] >= ours.next_fetch_offset]
        assert [told(record) for record in given_so_far] + left == expected, "a fetch from here would lose or repeat"
    assert [told(record) for record in given_so_far] == expected
    assert ours.next_fetch_offset == theirs.next_fetch_offset


def test_batch_that_is_not_what_its_sum_says_is_not_given() -> None:
    """A broker's disk that turns a bit must not become a row."""
    fetched = fetch_of([(PLAIN, NONE, 1, [1, 1], 0)], [])()
    answer, _ = encoded(0, (PLAIN, NONE, 1, [1, 1], 0))
    fetched._records = KeptRecords(answer.replace(b"key", b"kex", 1))
    with pytest.raises(CorruptRecordException):
        list(in_lists(fetched, 10))


@settings(max_examples=150)
@given(batches, st.lists(st.tuples(st.integers(1, 3), st.integers(0, 30)), max_size=3), st.integers(0, 8), st.data())
def test_rows_are_those_of_the_records(
    some: list[Batch], aborted: list[tuple[int, int]], offset: int, data: st.DataObject
) -> None:
    """Whether a batch becomes rows or is out of the ordinary, nothing is lost, repeated or given another schema."""
    fetch = fetch_of(some, aborted, offset)
    theirs, ours = fetch(), fetch()
    expected = [stored(record) for record in theirs]
    records_max = data.draw(st.integers(1, 9))
    given_so_far: list[Any] = []
    for records in in_lists(ours, records_max, SCHEMAS):
        assert 1 <= len(records) <= records_max
        given_so_far += [stored(record) for record in records]
        left = [record for record in expected if record[0] >= ours.next_fetch_offset]
        assert given_so_far + left == expected, "a fetch from here would lose or repeat"
        if isinstance(records, Rows):
            assert records.bytes == sum(len(row.datum) for row in records)
            assert all(row.schema is records.schema is SCHEMAS[row.datum[:5]] for row in records)
            assert all(row.datum is row.value for row in records)
    assert given_so_far == expected
    assert ours.next_fetch_offset == theirs.next_fetch_offset


@pytest.mark.skipif(row_reader.rows is None, reason="_rows.c was not compiled")
@pytest.mark.parametrize("codec", [NONE, ZSTD])
def test_ordinary_batch_becomes_rows(codec: int) -> None:
    """Else all would be right, and slow."""
    fetch = fetch_of([(PLAIN, codec, 1, [1, 2, 1], 0), (TRANSACTION, codec, 2, [1], 0)], [], 1)
    (found,) = in_lists(fetch(), 10, SCHEMAS)
    assert isinstance(found, Rows)
    assert [stored(row) for row in found] == [
        (1, b"key 0", b"sch-A1"),
        (3, b"key 1", b"sch-A3"),
        (4, b"key 0", b"sch-A4"),
    ]


@pytest.mark.skipif(row_reader.rows is None, reason="_rows.c was not compiled")
@settings(max_examples=300)
@given(st.data())
def test_records_that_are_cut_or_changed_are_nobodys_rows_or_those_of_aiokafka(data: st.DataObject) -> None:
    """No byte behind the records is looked at, and no length is believed."""
    whole, _ = encoded(7, (PLAIN, NONE, 1, data.draw(st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=6)), 0))
    at = data.draw(st.integers(row_reader.RECORDS_AT, len(whole) - 1))
    byte = data.draw(st.integers(0, 255))
    changed = whole[:at] + bytes([byte]) + whole[at + 1 :] if data.draw(st.booleans()) else whole[:at]
    found = row_reader.rows_of(memoryview(changed), 0, SCHEMAS)
    if found is not None:
        assert [stored(row) for row in found] == [stored(record) for record in DefaultRecordBatch(changed)]
