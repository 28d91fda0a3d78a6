"""What one fetch brought of a partition goes through Faust as one message.

Faust waits, makes an event and keeps books for every message: for single records more than all that the door does.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from faust.types import TP, ConsumerMessage
from faust.types.transports import SchedulingStrategyT


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
