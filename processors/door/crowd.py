"""Holds labels until enough voters share a release, then lets them go together, in an order that tells nothing.

A crowd is the shortest offset range from the committed offset that holds `voters_min` distinct voters, none with more
than half of its labels. Every decision is a function of the records of one partition in their order, never of the
clock, of memory that a crash would lose, or of who reads: a replay from the committed offset repeats each crowd
exactly, so that nobody can subtract one release from another. Nothing flushes a smaller crowd.

Source: k-anonymity (Sweeney 2002) asks for the k; the share bound and the replay rule are this project's.
"""

import datetime
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

import msgspec

from schemas.events import DeidentifiedLabel
from schemas.outcomes import Suppression


class Held(msgspec.Struct, frozen=True):
    """One vote that waits for its crowd.

    Attributes:
        received_at_ms: when the broker appended its record, Unix milliseconds.
        label: what will be released; None where the day's key is destroyed, so that it counts but never leaves.
    """

    received_at_ms: int
    label: DeidentifiedLabel | None


class Release(msgspec.Struct, frozen=True):
    """A complete crowd.

    Attributes:
        labels: sorted by row_id; empty where too few of its voters still had a key.
        voters: how many sessions it hides each of them among.
        largest_share: of its labels that one voter gave, at most 0.5.
    """

    labels: tuple[DeidentifiedLabel, ...]
    voters: int
    largest_share: float


class Crowd:
    """The votes of one partition that wait.

    Args:
        voters_min: distinct voters of a crowd.
        labels_max: votes held at the most; past it, those of the largest voter are suppressed.
        hold_ms_max: how much older than the newest record a vote may grow before it is suppressed.

    Attributes:
        suppressed: votes that will never leave, by reason, since the last `suppressed.clear()`.
        collapsed: answers that replaced, or lost to, one already held, since it was last set to 0.
    """

    def __init__(self, *, voters_min: int, labels_max: int, hold_ms_max: int) -> None:
        self._voters_min = voters_min
        self._labels_max = labels_max
        self._hold_ms_max = hold_ms_max
        self._votes: defaultdict[bytes, dict[str, Held]] = defaultdict(dict)  # voter -> task -> vote
        self._not_human: dict[bytes, int] = {}  # voter -> when it was judged
        self._labels = 0
        self._largest = 0
        self._oldest_ms: int | None = None
        self.suppressed: Counter[Suppression] = Counter()
        self.collapsed = 0

    @property
    def labels(self) -> int:
        """Votes held."""
        return self._labels

    @property
    def voters(self) -> int:
        """Distinct voters held."""
        return len(self._votes)

    def add(self, voter: bytes, task: str, vote: Held) -> None:
        """Holds one vote; of several of one voter on one task, the one with the largest version stays."""
        self.expire_before(vote.received_at_ms - self._hold_ms_max)
        if voter in self._not_human:
            self.suppressed[Suppression.NOT_HUMAN] += 1
            return
        votes = self._votes[voter]
        earlier = votes.get(task)
        if earlier is not None:
            self.collapsed += 1
            votes[task] = _kept(earlier, vote)
            return
        votes[task] = vote
        self._labels += 1
        self._largest = max(self._largest, len(votes))
        if self._oldest_ms is None:
            self._oldest_ms = vote.received_at_ms
        if self._labels > self._labels_max:
            # By voter where counts are equal: any rule would do, as long as a replay follows the same one.
            self._suppress(max(self._votes, key=lambda one: (len(self._votes[one]), one)), Suppression.CROWD_BOUND)

    @property
    def empty(self) -> bool:
        """Whether nothing of the records so far has a say in the next release, so that they need not be read again."""
        return not self._votes and not self._not_human

    def judge(self, voter: bytes, human: bool, received_at_ms: int) -> None:
        """Drops what a voter who is not human gave, and what it gives until the crowd leaves or the verdict expires."""
        self.expire_before(received_at_ms - self._hold_ms_max)
        self._not_human.pop(voter, None)
        if not human:
            self._not_human[voter] = received_at_ms
            if len(self._not_human) > self._labels_max:
                del self._not_human[next(iter(self._not_human))]
            if voter in self._votes:
                self._suppress(voter, Suppression.NOT_HUMAN)

    def expire_before(self, oldest_ms: int) -> None:
        """Suppresses the votes that were received earlier: the log is about to forget their records."""
        while self._not_human and (first := next(iter(self._not_human))) and self._not_human[first] < oldest_ms:
            del self._not_human[first]
        if self._oldest_ms is None or self._oldest_ms >= oldest_ms:
            return
        for voter, votes in list(self._votes.items()):
            for task in [task for task, vote in votes.items() if vote.received_at_ms < oldest_ms]:
                del votes[task]
                self.suppressed[Suppression.EXPIRED] += 1
            if not votes:
                del self._votes[voter]
        self._recount()

    def complete(self) -> bool:
        """Whether the votes held are a crowd; asked after every record, so that the range is the shortest."""
        return len(self._votes) >= self._voters_min and 2 * self._largest <= self._labels

    def release(self, is_closed: Callable[[datetime.date], bool] = lambda _: False) -> Release:
        """Lets the crowd go and forgets it. Only a complete one.

        Args:
            is_closed: whether a day's key was destroyed after its votes were taken in; they count, and never leave.
        """
        assert self.complete(), "an incomplete crowd is never released"
        closed = {day for day in {vote.label.day for vote in self._every_vote() if vote.label} if is_closed(day)}
        kept = {
            voter: [vote.label for vote in votes.values() if vote.label and vote.label.day not in closed]
            for voter, votes in self._votes.items()
        }
        kept = {voter: labels for voter, labels in kept.items() if labels}
        labels = sorted((label for given in kept.values() for label in given), key=lambda label: label.row_id)
        largest = max((len(given) for given in kept.values()), default=0)
        if len(kept) < self._voters_min or 2 * largest > len(labels):
            labels = []  # destroyed keys have left too few to hide among
        self.suppressed[Suppression.KEY_DESTROYED] += self._labels - len(labels)
        self._votes.clear()
        self._not_human.clear()
        self._recount()
        return Release(tuple(labels), len(kept), largest / len(labels) if labels else 0.0)

    def _suppress(self, voter: bytes, why: Suppression) -> None:
        self.suppressed[why] += len(self._votes.pop(voter))
        self._recount()

    def _recount(self) -> None:
        self._labels = sum(len(votes) for votes in self._votes.values())
        self._largest = max((len(votes) for votes in self._votes.values()), default=0)
        self._oldest_ms = min((vote.received_at_ms for vote in self._every_vote()), default=None)

    def _every_vote(self) -> Iterator[Held]:
        for votes in self._votes.values():
            yield from votes.values()


def _kept(earlier: Held, later: Held) -> Held:
    """Of two answers to one task: the older record's time, so that expiry is safe, and the larger version."""
    versions = [vote.label for vote in (earlier, later) if vote.label is not None]
    label = max(versions, key=lambda label: label.version, default=None)
    return Held(min(earlier.received_at_ms, later.received_at_ms), label)
