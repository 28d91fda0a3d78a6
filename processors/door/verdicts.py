"""Which voters are not human, for the whole of their day, whatever crowds leave meanwhile. Pure.

A verdict applies to the records behind it. The log of labels lives for hours only, so every verdict that changes
something is also written to a topic of the door's own, before its offset is committed: whoever goes on from a committed
offset knows the verdicts below it from there, and those from it on from the log itself. So a replay repeats itself.
"""

import datetime
from collections.abc import Iterable

import msgspec

VOTERS_MAX = 250_000
"""Voters of one day that are remembered; some 100 bytes each. Past it the one judged first is forgotten."""

DAYS_KEPT = 3
"""An answer may be a day older than its receipt, and a clock some minutes ahead."""


class StoredVerdict(msgspec.Struct, frozen=True):
    """One verdict that changed what is known of a voter.

    Attributes:
        voter_id: 16 bytes, of `deidentify.verdict_id`.
        human: what it counts as from here on.
        partition, offset: where the verdict lay on the labeled topic.
    """

    voter_id: bytes
    day: datetime.date
    human: bool
    partition: int
    offset: int


class JudgedVoters:
    """The voters of one partition that are not human.

    Args:
        earlier: stored verdicts of this partition below the first record that will be read, in any order.
    """

    def __init__(self, earlier: Iterable[StoredVerdict] = (), voters_max: int = VOTERS_MAX) -> None:
        self._voters_max = voters_max
        self._not_human: dict[datetime.date, dict[bytes, None]] = {}
        for one in sorted(earlier, key=lambda verdict: verdict.offset):
            self.change(one.voter_id, one.day, one.human)

    def is_human(self, voter_id: bytes, day: datetime.date) -> bool:
        """Whether no verdict says otherwise."""
        return voter_id not in self._not_human.get(day, ())

    def knows(self, day: datetime.date) -> bool:
        """Whether any voter of the day is not human."""
        return day in self._not_human

    def change(self, voter_id: bytes, day: datetime.date, human: bool) -> bool:
        """Takes in a verdict; whether it changed anything."""
        if human == self.is_human(voter_id, day):
            return False
        if human:
            del self._not_human[day][voter_id]
            if not self._not_human[day]:
                del self._not_human[day]
            return True
        of_day = self._not_human.setdefault(day, {})
        of_day[voter_id] = None
        if len(of_day) > self._voters_max:
            del of_day[next(iter(of_day))]
        newest = max(self._not_human)
        for old in [one for one in self._not_human if (newest - one).days >= DAYS_KEPT]:
            del self._not_human[old]
        return True


def earlier_verdicts(verdicts: Iterable[StoredVerdict], partition: int, first: int) -> list[StoredVerdict]:
    """The stored verdicts that a door knows before it reads the record at `first`; the log tells it the others."""
    return [one for one in verdicts if one.partition == partition and one.offset < first]
