"""The door: what follows from each record of one partition, in offset order from the committed offset on. Pure.

A record is held by leaving its offset unacknowledged. While a crowd gathers, only the first offset of its range stays
so: that alone keeps the commit where the range begins, so that a restart reads all of it again, and it costs one number
however long the range grows.
"""

from collections.abc import Mapping

import msgspec

from processors.door.crowd import Crowd, Held
from processors.door.deidentify import EpochKeys, Mask, row_and_rank, verdict_id
from processors.door.verdicts import JudgedVoters, StoredVerdict
from schemas.events import DeidentifiedLabel, IdentifiedLabel, IdentifiedVerdict, Unopened
from schemas.outcomes import Suppression


class Step(msgspec.Struct, frozen=True):
    """What follows from one record.

    Attributes:
        labels: to be released now, in this order.
        done: offsets to acknowledge once every one of `labels`, and `verdict`, is acknowledged by the broker.
        suppressed: labels that will never leave, by reason.
        collapsed: answers that replaced, or lost to, one that waits.
        verdict: to be stored, where it changed what is known of a voter.
    """

    labels: tuple[DeidentifiedLabel, ...] = ()
    done: tuple[int, ...] = ()
    suppressed: Mapping[Suppression, int] = {}
    collapsed: int = 0
    verdict: StoredVerdict | None = None


class Door:
    """Decides about the records of one partition.

    Args:
        partition: of the labeled topic.
        judged: the voters that verdicts below the first record say are not human.
        suppress_before: labels below this offset never leave. Where retention took the beginning of a range, a crowd
            that was released from it may not have been committed; what is left of it could be released a second time
            beside others, who would then be told apart. So everything that was in the log by then is suppressed.
    """

    def __init__(
        self,
        epoch_keys: EpochKeys,
        mask: Mask,
        crowd: Crowd,
        *,
        partition: int,
        judged: JudgedVoters,
        suppress_before: int = 0,
    ) -> None:
        self._epoch_keys = epoch_keys
        self._mask = mask
        self._crowd = crowd
        self._partition = partition
        self._judged = judged
        self._suppress_before = suppress_before
        self._first: int | None = None

    @property
    def crowd(self) -> Crowd:
        """What waits, for whoever counts it."""
        return self._crowd

    def receive(self, offset: int, received_at_ms: int, record: IdentifiedLabel | IdentifiedVerdict | Unopened) -> Step:
        """What follows from one more record: nothing, as a rule; with the last voter of a crowd, the whole of it.

        Args:
            received_at_ms: when the broker appended it, Unix milliseconds.

        Raises:
            Exception: whatever `EpochKeys` raises; the record is neither released nor acknowledged.
        """
        if isinstance(record, Unopened):
            # A label, or a verdict about labels that cannot be opened either; whose it was, nobody can tell any more.
            return Step(done=(offset,), suppressed={Suppression.KEY_DESTROYED: 1})
        key = self._epoch_keys(record.day)
        verdict = None
        if isinstance(record, IdentifiedVerdict):
            verdict = self._take_verdict(offset, received_at_ms, record, key)
        elif offset < self._suppress_before:
            return Step(done=(offset,), suppressed={Suppression.EXPIRED: 1})
        else:
            self._take_label(received_at_ms, record, key)
        labels: tuple[DeidentifiedLabel, ...] = ()
        if self._crowd.complete():
            labels = self._crowd.release(lambda day: self._epoch_keys(day) is None).labels
        return self._step(self._done(offset), labels, verdict)

    def _take_verdict(
        self, offset: int, received_at_ms: int, record: IdentifiedVerdict, key: bytes | None
    ) -> StoredVerdict | None:
        self._crowd.pass_time(received_at_ms)
        if not record.human:
            self._crowd.suppress_voter(record.voter, Suppression.NOT_HUMAN)
        if key is None:
            return None  # no label of the day leaves any more
        voter_id = verdict_id(record.voter, key)
        if not self._judged.change(voter_id, record.day, record.human):
            return None
        return StoredVerdict(voter_id, record.day, record.human, self._partition, offset)

    def _take_label(self, received_at_ms: int, record: IdentifiedLabel, key: bytes | None) -> None:
        if key is None:
            self._crowd.add(record.voter, record.task, Held(received_at_ms, None))
        elif self._judged.knows(record.day) and not self._judged.is_human(verdict_id(record.voter, key), record.day):
            self._crowd.pass_time(received_at_ms)
            self._crowd.suppressed[Suppression.NOT_HUMAN] += 1
        else:
            self._crowd.add(record.voter, record.task, Held(received_at_ms, *row_and_rank(record, key, self._mask)))

    def _done(self, offset: int) -> tuple[int, ...]:
        """The offsets that nothing waits for any more, now that this one was taken in."""
        if self._crowd.empty:
            first, self._first = self._first, None
            return (offset,) if first is None else (first, offset)
        if self._first is None:
            self._first = offset
            return ()
        return (offset,)

    def _step(
        self, done: tuple[int, ...], labels: tuple[DeidentifiedLabel, ...], verdict: StoredVerdict | None
    ) -> Step:
        """With what the crowd has counted since the last one."""
        crowd = self._crowd
        suppressed = {}
        if crowd.suppressed:
            suppressed = {reason: count for reason, count in crowd.suppressed.items() if count}
            crowd.suppressed.clear()
        collapsed = crowd.collapsed
        crowd.collapsed = 0
        return Step(labels, done, suppressed, collapsed, verdict)
