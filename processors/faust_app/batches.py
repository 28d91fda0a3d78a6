"""What one fetch brought of a partition goes through Faust as one message, and a fetch brings more than one record.

Faust waits, makes an event and keeps books for every message, and aiokafka asks and reads an answer for every fetch:
for single records forty times what the door does with them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from faust.types import TP, ConsumerMessage
from faust.types.transports import SchedulingStrategyT

FETCH_EVERY_S = 0.05
FETCH_RECORDS_MANY = 200


class Pace:
    """How long a fetch waits, so that labels that come one by one go through together. Pure.

    The first label after a pause waits for nothing, the next ones for each other: a fetch is taken `FETCH_EVERY_S`
    after the one before. As it is taken aiokafka asks for the next, so that a label waits for at most two of them.
    After a fetch of many records nothing is waited for: a door that has to catch up gains nothing by it.
    """

    def __init__(self) -> None:
        self._not_before_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """Until the next fetch is taken.

        Args:
            now_s: seconds of a clock that never goes back.
        """
        return max(0.0, self._not_before_s - now_s)

    def note(self, now_s: float, records: int) -> None:
        """Notes a fetch that was taken, and how many records it brought."""
        if 0 < records < FETCH_RECORDS_MANY:
            self._not_before_s = now_s + FETCH_EVERY_S


class FetchedBatch(ConsumerMessage):  # type: ignore[misc]
    """What one fetch brought of one partition; its offset is the last record's.

    Attributes:
        records: aiokafka's, in the order of their offsets; at least one.
    """

    __slots__ = ("records",)

    def __init__(self, partition: TP, generation: int, records: Sequence[Any]) -> None:
        super().__init__(*partition, records[-1].offset, 0.0, 0, None, None, None, None, generation_id=generation)
        self.records = records


class WholeBatches(SchedulingStrategyT):  # type: ignore[misc]
    """Gives Faust what was fetched of each partition as a whole, where its own strategy gives record by record."""

    def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, list[Any]]]:
        """Partition by partition."""
        return iter(records.items())
