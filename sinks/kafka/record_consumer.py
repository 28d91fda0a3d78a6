"""A consumer that hands on rows, or the records as aiokafka's compiled reader makes them.

For each record aiokafka's own consumer makes a Python object more and asks five questions; that took more time than all
else that Python does for a row. What is asked of a batch (its sum, transactions, markers) is asked as there.

aiokafka 0.14 is pinned, for this takes the place of a private iterator; tests/sinks/kafka/test_record_consumer.py holds
it to the original, and the tests on a real broker show when its place changes.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords

from sinks.kafka.block_planner import Rows
from sinks.kafka.row_reader import LENGTH_AT, LENGTH_END, rows_of

Schemas = Mapping[bytes, Any]


class KeptRecords(MemoryRecords):  # type: ignore[misc]  # aiokafka has no types
    """The batches of an answer, and their bytes.

    Attributes:
        answer: all of them.
    """

    def __init__(self, answer: bytes) -> None:
        super().__init__(answer)
        self.answer = answer


class RecordConsumer(AIOKafkaConsumer):  # type: ignore[misc]
    """Only `getmany` gives records, and these lack topic, partition and what a deserializer would make of them.

    Args:
        schemas: by the first bytes of a value, where a value is a row's datum: then there are rows, for most batches.
    """

    def __init__(self, *, schemas: Schemas | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._schemas = schemas

    async def start(self) -> None:
        """As aiokafka's."""
        await super().start()
        fetcher.MemoryRecords = KeptRecords
        self._fetcher._records = _Fetched(self._schemas)  # no partition is assigned yet, so it holds nothing

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, Sequence[Any]]:
        """Some records of one partition: `max_records`, or fewer; none where none came in `timeout_ms`.

        They are `Rows`, or records.
        """
        self._fetcher._records.records_max = max_records
        lists = await super().getmany(timeout_ms=timeout_ms, max_records=1)
        return {partition: records for partition, (records,) in lists.items()}


class _Fetched(OrderedDict[TopicPartition, Any]):
    """What the fetcher holds of each partition; a result that comes in is set to iterate over lists."""

    records_max = 1

    def __init__(self, schemas: Schemas | None) -> None:
        super().__init__()
        self._schemas = schemas

    def __setitem__(self, partition: TopicPartition, fetched: Any) -> None:
        if isinstance(fetched, FetchResult):
            records = fetched._partition_records
            records._records_iterator = in_lists(records, self.records_max, self._schemas)
        super().__setitem__(partition, fetched)


def in_lists(fetched: PartitionRecords, records_max: int, schemas: Schemas | None = None) -> Iterator[Sequence[Any]]:
    """`PartitionRecords._unpack_records`, but for lists of at most so many records, or `Rows` of them.

    Like there, `next_fetch_offset` is behind the last record that was given, or behind the last batch at the end.

    Raises:
        CorruptRecordException: a batch is not what its sum says.
    """
    held: Any = []
    end = fetched.next_fetch_offset
    for records, behind in _visible(fetched, schemas):
        joined = _joined(held, records)
        if joined is None:
            fetched.next_fetch_offset = held[-1].offset + 1
            yield held
        held = records if joined is None else joined
        while len(held) >= records_max:
            given, held = held.cut(records_max) if isinstance(held, Rows) else (held[:records_max], held[records_max:])
            fetched.next_fetch_offset = given[-1].offset + 1
            yield given
        end = behind
    fetched.next_fetch_offset = end
    if held:
        yield held


def _joined(held: Any, records: Any) -> Any:
    """Records and those behind them; None where only one of them are rows, or their schemas differ."""
    if not held or not records:
        return held or records
    if isinstance(held, Rows) and isinstance(records, Rows):
        return held if held.joins(records) else None
    if isinstance(held, Rows) or isinstance(records, Rows):
        return None
    return held + records


def _visible(fetched: PartitionRecords, schemas: Schemas | None) -> Iterator[tuple[Any, int]]:
    """Records, or rows, and next offset of each batch; none of markers and of what transactions took back."""
    committed_alone = fetched._isolation_level == READ_COMMITTED
    answer = memoryview(fetched._records.answer if isinstance(fetched._records, KeptRecords) else b"")
    start = 0
    while fetched._records.has_next():
        batch = fetched._records.next_batch()
        if fetched._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"Invalid CRC - {fetched._tp}")
        taken_back = False
        if committed_alone and batch.producer_id is not None:
            fetched._consume_aborted_up_to(batch.base_offset)
            if batch.is_control_batch and fetched._contains_abort_marker(batch):
                fetched._aborted_producers.discard(batch.producer_id)
            taken_back = batch.is_transactional and batch.producer_id in fetched._aborted_producers
        end = start + LENGTH_END + int.from_bytes(answer[start + LENGTH_AT : start + LENGTH_END], "big")
        first = fetched.next_fetch_offset  # a broker gives whole batches, so that one may begin earlier than was asked
        records: Any = []
        if not (taken_back or batch.is_control_batch):
            records = rows_of(answer[start:end], first, schemas) if schemas and answer else None
            if records is None:
                records = list(batch)
                if records and records[0].offset < first:
                    records = [one for one in records if one.offset >= first]
        start = end
        yield records, batch.next_offset
