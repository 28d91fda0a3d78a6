"""What every contender does with a record: decode, make the row that names nobody, mask, encode."""

import datetime
import hashlib

from processors.door.deidentify import deidentify
from processors.door.records import labeled_of, released_partition, value_of
from processors.masking.mask import mask
from schemas.events import IdentifiedLabel
from schemas.seal import Opener

_KEYS: dict[datetime.date, bytes] = {}


def epoch_key(day: datetime.date) -> bytes:
    """One a day, as the bench's labels are all of one."""
    if day not in _KEYS:
        _KEYS[day] = hashlib.sha256(day.isoformat().encode()).digest()
    return _KEYS[day]


_OPENER = Opener(epoch_key)


def released(value: bytes | None, received_at_ms: int, place: bytes, partitions: int) -> tuple[int, bytes] | None:
    """Partition and value of the released label; None for a verdict.

    Args:
        place: where it was read, `schemas.seal.place_of`.
    """
    record = labeled_of(value, received_at_ms, place, _OPENER)
    if not isinstance(record, IdentifiedLabel):
        return None
    label = deidentify(record, epoch_key(record.day), mask)
    return released_partition(label, partitions), value_of(label)
