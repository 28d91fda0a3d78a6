"""The door that lets labels leave in crowds only. Pure.

While a crowd gathers, only the first offset of its range stays unacknowledged: that alone keeps the commit where the
range begins, so that a restart reads all of it again, and it costs one number however long the range grows.
"""

from processors.door.crowd import Crowd, Held
from processors.door.deidentify import EpochKeys, Mask, deidentify
from processors.door.release import Step
from schemas.events import DeidentifiedLabel, IdentifiedLabel, IdentifiedVerdict
from schemas.outcomes import Suppression


class CrowdDoor:
    """Decides about the records of one partition, from the committed offset on.

    Args:
        suppress_before: labels below this offset never leave. Where retention took the beginning of a range, a crowd
            that was released from it may not have been committed; what is left of it could be released a second time
            beside others, who would then be told apart. So everything that was in the log by then is suppressed.
    """

    def __init__(self, epoch_keys: EpochKeys, mask: Mask, crowd: Crowd, suppress_before: int = 0) -> None:
        self._epoch_keys = epoch_keys
        self._mask = mask
        self._crowd = crowd
        self._suppress_before = suppress_before
        self._first: int | None = None

    @property
    def labels_held(self) -> int:
        """Votes that wait."""
        return self._crowd.labels

    @property
    def voters_held(self) -> int:
        """Sessions that wait."""
        return self._crowd.voters

    def receive(self, offset: int, received_at_ms: int, record: IdentifiedLabel | IdentifiedVerdict) -> Step:
        """What follows from one more record: nothing, as a rule; with the last voter of a crowd, the whole of it."""
        if offset < self._suppress_before:
            expired = () if isinstance(record, IdentifiedVerdict) else (Suppression.EXPIRED,)
            return Step(done=(offset,), suppressed=expired)
        self._take_in(record, received_at_ms)
        if self._crowd.complete():
            labels = self._crowd.release(lambda day: self._epoch_keys(day) is None).labels
            return self._step(self._end_range(offset), labels)
        if self._crowd.empty:
            return self._step(self._end_range(offset))
        if self._first is None:
            self._first = offset
            return self._step(())
        return self._step((offset,))

    def _take_in(self, record: IdentifiedLabel | IdentifiedVerdict, received_at_ms: int) -> None:
        if isinstance(record, IdentifiedVerdict):
            self._crowd.judge(record.voter, record.human, received_at_ms)
            return
        key = self._epoch_keys(record.day)
        label = None if key is None else deidentify(record, key, self._mask)
        self._crowd.add(record.voter, record.task, Held(received_at_ms, label))

    def _end_range(self, offset: int) -> tuple[int, ...]:
        first, self._first = self._first, None
        return (offset,) if first is None else (first, offset)

    def _step(self, done: tuple[int, ...], labels: tuple[DeidentifiedLabel, ...] = ()) -> Step:
        """With what the crowd has counted since the last one."""
        crowd = self._crowd
        suppressed, collapsed = tuple(crowd.suppressed.elements()), crowd.collapsed
        crowd.suppressed.clear()
        crowd.collapsed = 0
        return Step(labels=labels, done=done, suppressed=suppressed, collapsed=collapsed)
