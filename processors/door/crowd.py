"""Holds labels until enough voters share a release, then lets them go together, in an order that tells nothing.

A crowd leaves at the first record at which it holds `target` distinct voters, none with more than half of its labels;
or whose LogAppendTime is `wait` past that of its oldest vote, if it holds `min` voters by then or as soon as it does.
In the second case a voter with more than half loses its surplus, so that nobody is waited for because of what one
session posts. Every decision is a function of the records of one partition in their order, never of the clock, of
memory that a crash would lose, or of who reads: a replay from the committed offset repeats each crowd exactly, so that
nobody can subtract one release from another. Nothing flushes a smaller crowd.

Each record costs O(log n) in what is held, amortised: whatever is dropped was added once.

Source: k-anonymity (Sweeney 2002) asks for the k; the share bound and the replay rule are this project's.
"""

import datetime
import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterator

import msgspec

from schemas.events import DeidentifiedLabel
from schemas.outcomes import Suppression

VOTE_BYTES = 1_024
"""What a vote takes beside its answer: its objects and its places in three indexes, measured and rounded up."""

INDEX_SLACK = 1_024


class CrowdRule(msgspec.Struct, frozen=True, kw_only=True):
    """When labels leave, and how many may wait.

    Attributes:
        voters_min: distinct voters of a crowd; 1 for no crowds, where each label leaves at once.
        voters_target: distinct voters at which a crowd leaves without waiting longer; at least `voters_min`.
        wait_ms: how much older than the newest record the oldest vote may grow before `voters_min` are enough.
        labels_max, bytes_max: held at the most; past it, votes of the largest voter are suppressed.
        hold_ms_max: how much older than the newest record a vote may grow before it is suppressed.
    """

    voters_min: int
    voters_target: int
    wait_ms: int
    labels_max: int
    bytes_max: int
    hold_ms_max: int


class Held(msgspec.Struct, frozen=True):
    """One vote as it is taken in.

    Attributes:
        received_at_ms: when the broker appended its record, Unix milliseconds.
        label: what will be released; None where the day's key is destroyed, so that it counts but never leaves.
        rank: 8 bytes, keyed and independent of all that leaves: of a voter's surplus the smallest is suppressed first.
            By `row_id` itself the survivors would be those with the largest, and so be known as one voter's.
    """

    received_at_ms: int
    label: DeidentifiedLabel | None
    rank: bytes = b""


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


class _Vote:
    """One vote while it waits.

    Attributes:
        is_held: False once it was suppressed or released; indexes forget it when they meet it.
    """

    __slots__ = ("is_held", "label", "rank", "received_at_ms", "size", "task", "voter")

    def __init__(self, voter: bytes, task: str, held: Held) -> None:
        self.voter, self.task, self.rank = voter, task, held.rank
        self.received_at_ms = held.received_at_ms
        self.label = held.label
        self.size = _size_of(held.label)
        self.is_held = True


class _Voter:
    """One voter's votes, and how many bytes they take."""

    __slots__ = ("_by_rank", "size", "votes")

    def __init__(self) -> None:
        self.votes: dict[str, _Vote] = {}
        self.size = 0
        self._by_rank: list[tuple[bytes, str]] | None = None  # a heap, from the first surplus on

    def add(self, vote: _Vote) -> None:
        """Takes in a vote on a task that it has none on."""
        self.votes[vote.task] = vote
        self.size += vote.size
        if self._by_rank is not None:
            heapq.heappush(self._by_rank, (vote.rank, vote.task))
            if len(self._by_rank) > 2 * len(self.votes) + INDEX_SLACK:
                self._by_rank = None

    def pop(self) -> _Vote:
        """Gives up the vote with the smallest rank."""
        if self._by_rank is None:
            self._by_rank = [(vote.rank, task) for task, vote in self.votes.items()]
            heapq.heapify(self._by_rank)
        while True:
            _, task = heapq.heappop(self._by_rank)
            if task in self.votes:
                return self.remove(task)

    def remove(self, task: str) -> _Vote:
        """Gives up one vote."""
        vote = self.votes.pop(task)
        self.size -= vote.size
        return vote


class _Largest:
    """Which voter has most of something. A heap that is told of every change, and forgets what is out of date."""

    def __init__(self, amount_of: Callable[[bytes], int]) -> None:
        self._amount_of = amount_of
        self._heap: list[tuple[int, bytes]] = []

    def changed(self, voter: bytes, voters: dict[bytes, _Voter]) -> None:
        """Notes what a voter has now."""
        heapq.heappush(self._heap, (-self._amount_of(voter), voter))
        if len(self._heap) > 2 * len(voters) + INDEX_SLACK:
            self._heap = [(-self._amount_of(one), one) for one in voters]
            heapq.heapify(self._heap)

    def find(self) -> tuple[int, bytes]:
        """The largest amount and who has it; of equals the first by name, as any rule of the log alone would do."""
        while self._heap:
            amount, voter = self._heap[0]
            if amount and -amount == self._amount_of(voter):
                return -amount, voter
            heapq.heappop(self._heap)
        return 0, b""

    def clear(self) -> None:
        """Forgets everything."""
        self._heap.clear()


class Crowd:
    """The votes of one partition that wait.

    Attributes:
        suppressed: votes that will never leave, by reason, since the last `suppressed.clear()`.
        collapsed: answers that replaced, or lost to, one already held, since it was last set to 0.
    """

    def __init__(self, rule: CrowdRule) -> None:
        self._rule = rule
        self._voters: dict[bytes, _Voter] = {}
        self._by_age: deque[_Vote] = deque()
        self._most_labels = _Largest(self._labels_of)
        self._most_bytes = _Largest(self._bytes_of)
        self._labels = 0
        self._bytes = 0
        self._now_ms = 0
        self.suppressed: Counter[Suppression] = Counter()
        self.collapsed = 0

    @property
    def labels(self) -> int:
        """Votes held."""
        return self._labels

    @property
    def bytes_held(self) -> int:
        """Bytes that the votes held take, as the bound counts them."""
        return self._bytes

    @property
    def voters(self) -> int:
        """Distinct voters held."""
        return len(self._voters)

    @property
    def oldest_ms(self) -> int | None:
        """When the record of the oldest vote was appended, Unix milliseconds."""
        while self._by_age and not self._by_age[0].is_held:
            self._by_age.popleft()
        return self._by_age[0].received_at_ms if self._by_age else None

    @property
    def empty(self) -> bool:
        """Whether nothing of the records so far has a say in the next release, so that they need not be read again."""
        return not self._voters

    def add(self, voter: bytes, task: str, held: Held) -> None:
        """Holds one vote; of several of one voter on one task, the one with the largest version stays."""
        self.pass_time(held.received_at_ms)
        given = self._voters.get(voter)
        if given is None:
            given = self._voters[voter] = _Voter()
        earlier = given.votes.get(task)
        if earlier is None:
            vote = _Vote(voter, task, held)
            vote.received_at_ms = self._now_ms
            given.add(vote)
            self._labels += 1
            self._bytes += vote.size
            self._remember_age(vote)
            self._most_labels.changed(voter, self._voters)
        else:
            self.collapsed += 1
            self._replace(given, earlier, held.label)
        self._most_bytes.changed(voter, self._voters)
        while self._labels > self._rule.labels_max:
            self._suppress_one(self._most_labels.find()[1], Suppression.CROWD_BOUND)
        while self._bytes > self._rule.bytes_max:
            self._suppress_one(self._most_bytes.find()[1], Suppression.CROWD_BOUND)

    def suppress_voter(self, voter: bytes, why: Suppression) -> None:
        """Drops all that a voter has given."""
        if voter in self._voters:
            for task in list(self._voters[voter].votes):
                self._drop(voter, task, why)

    def pass_time(self, received_at_ms: int) -> None:
        """Notes when a record was appended, and suppresses votes whose records the log is about to forget.

        A broker's clock may go back; the time of a range does not.
        """
        self._now_ms = received_at_ms if self.empty else max(self._now_ms, received_at_ms)
        oldest_kept_ms = self._now_ms - self._rule.hold_ms_max
        while (oldest := self.oldest_ms) is not None and oldest < oldest_kept_ms:
            vote = self._by_age[0]
            self._drop(vote.voter, vote.task, Suppression.EXPIRED)

    def complete(self) -> bool:
        """Whether the votes held leave; asked after every record, so that the range is the shortest."""
        rule, voters = self._rule, len(self._voters)
        if voters < max(rule.voters_min, 1):
            return False
        if voters >= rule.voters_target and (rule.voters_min < 2 or 2 * self._most_labels.find()[0] <= self._labels):
            return True
        oldest = self.oldest_ms
        return oldest is not None and self._now_ms - oldest >= rule.wait_ms

    def release(self, is_closed: Callable[[datetime.date], bool] = lambda _: False) -> Release:
        """Lets the crowd go and forgets it. Only a complete one.

        Args:
            is_closed: whether a day's key was destroyed after its votes were taken in; they count, and never leave.
        """
        assert self.complete(), "an incomplete crowd is never released"
        closed = {day for day in {vote.label.day for vote in self._every_vote() if vote.label} if is_closed(day)}
        kept = {}
        for name, voter in self._voters.items():
            votes = [vote for vote in voter.votes.values() if vote.label and vote.label.day not in closed]
            if votes:
                kept[name] = votes
        left = sum(map(len, kept.values())) if len(kept) >= self._rule.voters_min else 0
        self.suppressed[Suppression.KEY_DESTROYED] += self._labels - left
        release = self._released(kept) if left else Release((), len(kept), 0.0)
        self.suppressed[Suppression.OVER_SHARE] += left - len(release.labels)
        self._forget()
        return release

    def _released(self, kept: dict[bytes, list[_Vote]]) -> Release:
        """The votes of enough voters, without the surplus of one who has more than half."""
        largest = max(kept, key=lambda voter: len(kept[voter]))
        others = sum(len(votes) for voter, votes in kept.items() if voter != largest)
        if self._rule.voters_min > 1 and len(kept[largest]) > others:
            kept[largest] = heapq.nlargest(others, kept[largest], key=lambda vote: (vote.rank, vote.task))
        labels = sorted(
            (vote.label for votes in kept.values() for vote in votes if vote.label), key=lambda label: label.row_id
        )
        return Release(tuple(labels), len(kept), len(kept[largest]) / len(labels))

    def _replace(self, given: _Voter, earlier: _Vote, label: DeidentifiedLabel | None) -> None:
        """Keeps the larger version, and the older record's time, so that expiry is safe."""
        if label is None or (earlier.label is not None and earlier.label.version >= label.version):
            return
        grown = _size_of(label) - earlier.size
        earlier.label = label
        earlier.size += grown
        given.size += grown
        self._bytes += grown

    def _suppress_one(self, voter: bytes, why: Suppression) -> None:
        self._let_go(voter, self._voters[voter].pop(), why)

    def _drop(self, voter: bytes, task: str, why: Suppression) -> None:
        self._let_go(voter, self._voters[voter].remove(task), why)

    def _let_go(self, voter: bytes, vote: _Vote, why: Suppression) -> None:
        vote.is_held = False
        self.suppressed[why] += 1
        self._labels -= 1
        self._bytes -= vote.size
        if not self._voters[voter].votes:
            del self._voters[voter]
            return
        self._most_labels.changed(voter, self._voters)
        self._most_bytes.changed(voter, self._voters)

    def _remember_age(self, vote: _Vote) -> None:
        self._by_age.append(vote)
        if len(self._by_age) > 2 * self._labels + INDEX_SLACK:
            self._by_age = deque(one for one in self._by_age if one.is_held)

    def _forget(self) -> None:
        self._voters.clear()
        self._by_age.clear()
        self._most_labels.clear()
        self._most_bytes.clear()
        self._labels = self._bytes = 0

    def _labels_of(self, voter: bytes) -> int:
        given = self._voters.get(voter)
        return 0 if given is None else len(given.votes)

    def _bytes_of(self, voter: bytes) -> int:
        given = self._voters.get(voter)
        return 0 if given is None else given.size

    def _every_vote(self) -> Iterator[_Vote]:
        for voter in self._voters.values():
            yield from voter.votes.values()


def _size_of(label: DeidentifiedLabel | None) -> int:
    """Bytes of memory at the most, the same in every version of Python: a character may take four."""
    if label is None:
        return VOTE_BYTES
    return VOTE_BYTES + len(label.answer) * (1 if label.answer.isascii() else 4)
