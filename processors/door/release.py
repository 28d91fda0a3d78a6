"""What the door decides about each record: which labels leave now, and which offsets are done once they have. Pure.

A door sees the records of one partition in one generation, in offset order, from the committed offset on. It may hold
a record by leaving its offset unacknowledged; nothing after that offset is committed until the door names it.
"""

from typing import Protocol

import msgspec

from processors.door.deidentify import EpochKeys, Mask, deidentify
from schemas.events import DeidentifiedLabel, IdentifiedLabel, IdentifiedVerdict
from schemas.outcomes import Suppression


class Step(msgspec.Struct, frozen=True):
    """What follows from one record.

    Attributes:
        labels: to be released now, in this order.
        done: offsets to acknowledge once every one of `labels` is acknowledged by the broker.
        suppressed: one reason for each label that will never leave.
        collapsed: answers that replaced, or lost to, one that waits.
    """

    labels: tuple[DeidentifiedLabel, ...] = ()
    done: tuple[int, ...] = ()
    suppressed: tuple[Suppression, ...] = ()
    collapsed: int = 0


class Door(Protocol):
    """Decides about the records of one partition.

    Attributes:
        labels_held: labels that wait.
        voters_held: sessions whose labels wait.
    """

    @property
    def labels_held(self) -> int: ...
    @property
    def voters_held(self) -> int: ...

    def receive(self, offset: int, received_at_ms: int, record: IdentifiedLabel | IdentifiedVerdict) -> Step:
        """What follows from one more record.

        Args:
            received_at_ms: when the broker appended it, Unix milliseconds.

        Raises:
            Exception: whatever `EpochKeys` raises; the record is neither released nor acknowledged.
        """


class OpenDoor:
    """Lets each label leave at once, on its own. A verdict comes too late for it and changes nothing."""

    labels_held = 0
    voters_held = 0

    def __init__(self, epoch_keys: EpochKeys, mask: Mask) -> None:
        self._epoch_keys = epoch_keys
        self._mask = mask

    def receive(self, offset: int, received_at_ms: int, record: IdentifiedLabel | IdentifiedVerdict) -> Step:
        """What follows from one more record."""
        if isinstance(record, IdentifiedVerdict):
            return Step(done=(offset,))
        epoch_key = self._epoch_keys(record.day)
        if epoch_key is None:
            return Step(done=(offset,), suppressed=(Suppression.KEY_DESTROYED,))
        return Step(labels=(deidentify(record, epoch_key, self._mask),), done=(offset,))
