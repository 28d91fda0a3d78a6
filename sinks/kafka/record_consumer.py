"""A consumer that hands on the records as aiokafka's compiled reader makes them.

For each of them aiokafka's own consumer makes a Python object more and asks five questions; that took more time than
all else that Python does for a row. What is asked of a batch (its sum, transactions, markers) is asked as there.

aiokafka 0.14 is pinned, for this takes the place of a private iterator; tests/sinks/kafka/test_record_consumer.py holds
it to the original, and the tests on a real broker show when its place changes.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException


class RecordConsumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka has no types
    """Only `getmany` gives records, and these lack topic, partition and what a deserializer would make of them."""

    async def start(self) -> None:
        """As aiokafka's."""
        await super().start()
        self._fetcher._records = _Fetched()  # no partition is assigned yet, so it holds nothing

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        """Some records of one partition: `max_records`, or fewer; none where none came in `timeout_ms`."""
        self._fetcher._records.records_max = max_records
        lists = await super().getmany(timeout_ms=timeout_ms, max_records=1)
        return {partition: records for partition, (records,) in lists.items()}


class _Fetched(OrderedDict[TopicPartition, Any]):
    """What the fetcher holds of each partition; a result that comes in is set to iterate over lists."""

    records_max = 1

    def __setitem__(self, partition: TopicPartition, fetched: Any) -> None:
        if isinstance(fetched, FetchResult):
            records = fetched._partition_records
            records._records_iterator = in_lists(records, self.records_max)
        super().__setitem__(partition, fetched)


def in_lists(fetched: PartitionRecords, records_max: int) -> Iterator[list[Any]]:
    """`PartitionRecords._unpack_records`, but for lists of at most so many records.

    Like there, `next_fetch_offset` is behind the last record that was given, or behind the last batch at the end.

    Raises:
        CorruptRecordException: a batch is not what its sum says.
    """
    held: list[Any] = []
    end = fetched.next_fetch_offset
    for records, behind in _visible(fetched):
        # A broker gives whole batches, so the first may begin earlier than was asked.
        early = bool(records) and records[0].offset < fetched.next_fetch_offset
        held += [one for one in records if one.offset >= fetched.next_fetch_offset] if early else records
        while len(held) >= records_max:
            given, held = held[:records_max], held[records_max:]
            fetched.next_fetch_offset = given[-1].offset + 1
            yield given
        end = behind
    fetched.next_fetch_offset = end
    if held:
        yield held


def _visible(fetched: PartitionRecords) -> Iterator[tuple[list[Any], int]]:
    """Records and next offset of each batch; no records of markers and of what transactions took back."""
    committed_alone = fetched._isolation_level == READ_COMMITTED
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
        records = [] if taken_back or batch.is_control_batch else list(batch)
        yield records, batch.next_offset
