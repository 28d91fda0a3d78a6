"""Pure: which offsets make the next block of a partition, and what to do until they are passed.

    records ─add─▶ waiting ─decide─▶ Commit(X, "Y") ─▶ Insert [X, Y) ─▶ SendDeadLetters ─▶ next block or Commit(Y, "")

`decide` names the one thing to do next and keeps naming it until its outcome is reported (`committed`, `stored`,
`unreadable`, `refused`, `unknown`, `sent`); so a shell that crashes anywhere needs nothing but the last commit to go
on.

The commit. Offset X with metadata "Y" is the intent: [X, Y) is being inserted and may be stored already. An empty
metadata says that everything below X is done and nothing above was tried. "Y Z" is the intent [X, Y), and rows up to
Z may be stored as well; it is written only where a range of unknown outcome had to be cut smaller. A last word
"expired=N", where N is not 0, says how many offsets below X the log dropped before they were read, since ever: nobody
else can tell `unjoin audit`.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple, Self

import msgspec

from schemas.dead_letters import SHARE_MAX, SHARE_RECORDS, ShareCap
from schemas.outcomes import DeadLetterReason


class BlockLimits(msgspec.Struct, frozen=True, kw_only=True):
    """When a block is large enough, old enough, or refused too often.

    Attributes:
        rows_max: records of a block, those set aside included.
        bytes_max: bytes of its datums; a single larger datum is a block of its own.
        ms_max: age of the oldest waiting record at which a block is cut.
        refused_share_max: of the last `refused_window_rows` rows; above it the sink halts.
        refused_window_rows: at least 100, or a few bad rows would halt a quiet table.
    """

    rows_max: int
    bytes_max: int
    ms_max: int
    refused_share_max: float = SHARE_MAX
    refused_window_rows: int = SHARE_RECORDS


class Row(msgspec.Struct, frozen=True, gc=False):
    """A record that can be inserted. `schema` is compared by identity; `key` and `value` are for a dead letter."""

    offset: int
    schema: Any
    datum: bytes
    key: bytes | None = None
    value: bytes | None = None


class SetAside(NamedTuple):
    """A record that becomes a dead letter."""

    offset: int
    reason: DeadLetterReason
    key: bytes | None = None
    value: bytes | None = None


class Commit(NamedTuple):
    """Commit this offset with this metadata, then report `committed`."""

    offset: int
    metadata: str


class Insert(NamedTuple):
    """Insert these rows of [first, end), which is the committed intent; only the missing ones where `missing`."""

    first: int
    end: int
    rows: Sequence[Row]  # of one schema
    missing: bool


class SendDeadLetters(NamedTuple):
    """Send these and wait for their acknowledgement, then report `sent`."""

    letters: Sequence[SetAside]


class Wait(NamedTuple):
    """Nothing to do until records come or this time has come; None: until records come."""

    until_ms: float | None


class Halt(NamedTuple):
    """The engine refuses too many rows: a bad deployment, not bad rows. Nothing of them was passed."""

    cap: ShareCap


class Finished(NamedTuple):
    """Stopped; the last commit says where to go on."""


Record = Row | SetAside
Decision = Commit | Insert | SendDeadLetters | Wait | Halt | Finished


class Block:
    """The range in work: its rows by schema (one, but for an intent that older code committed) and its letters."""

    def __init__(self, end: int, records: Sequence[Record]) -> None:
        self.end = end
        rows = [record for record in records if isinstance(record, Row)]
        self.groups = [list(group) for _, group in groupby(rows, key=lambda row: id(row.schema))]
        self.letters = [record for record in records if isinstance(record, SetAside)]

    def set_aside(self, letters: Sequence[SetAside]) -> None:
        """They were rows until now."""
        offsets = {letter.offset for letter in letters}
        kept = [[row for row in group if row.offset not in offsets] for group in self.groups]
        self.groups = [group for group in kept if group]
        self.letters = sorted([*self.letters, *letters], key=lambda letter: letter.offset)


class Intent(NamedTuple):
    """What a commit says: [offset, end) is in work, rows below `suspect` may be stored."""

    end: int
    suspect: int

    def metadata(self, offset: int) -> str:
        """As it is committed at `offset`."""
        if self.suspect > self.end:
            return f"{self.end} {self.suspect}"
        return str(self.end) if self.end > offset else ""

    @classmethod
    def of(cls, offset: int, metadata: str, log_end: int) -> Self:
        """The inverse of `metadata`. What nobody here wrote is read as: anything may be stored."""
        if not metadata:
            return cls(offset, offset)
        words = metadata.split(" ")
        if len(words) > 2 or not all(word.isascii() and word.isdecimal() and len(word) < 20 for word in words):
            return cls(offset, log_end)
        end = int(words[0])
        return cls(end, max(end, int(words[-1]))) if end >= offset else cls(offset, log_end)


EXPIRED = "expired="


def split_expired(metadata: str) -> tuple[str, int]:
    """A commit's metadata without its last word "expired=N", and N; 0 where there is no such word."""
    rest, _, word = metadata.rpartition(" ")
    count = word.removeprefix(EXPIRED)
    if word.startswith(EXPIRED) and count.isascii() and count.isdecimal() and len(count) < 20:
        return rest, int(count)
    return metadata, 0


class PartitionBlocks:
    """One partition's way from its last commit on.

    Attributes:
        first: everything below is stored or dead-lettered.
        read_to: everything below was handed to `add`, or does not exist.
        suspect: rows below may be stored although nobody was told so; they are inserted only where missing.
        expired: offsets that the log no longer held when this began.
        rewound: offsets that were committed, but that the log does not reach any more.
    """

    def __init__(
        self, limits: BlockLimits, committed: int | None, metadata: str = "", *, log_start: int, log_end: int
    ) -> None:
        """Goes on from a commit.

        Args:
            committed: the group's offset, None where there is none: then anything in the log may be stored already,
                for offsets of an idle group are forgotten after days.
            log_start: the log's first offset; what lay below is gone by retention.
            log_end: the offset after the log's last; lower than `committed` only after a truncation.
        """
        self._limits = limits
        offset = log_start if committed is None else committed
        said, self._expired_unread = split_expired(metadata)
        intent = Intent(offset, log_end) if committed is None else Intent.of(offset, said, log_end)
        self.expired = max(0, log_start - offset)
        self._expired_unread += self.expired  # below `first`
        self.rewound = max(0, offset - log_end)
        self.first = self.read_to = min(max(offset, log_start), log_end)
        self.suspect = min(intent.suspect, log_end)
        self._intent_end = max(self.first, min(intent.end, log_end))  # to complete before anything else
        self._committed = None if committed is None else Commit(committed, metadata)
        self._waiting: list[Record] = []
        self._waiting_bytes = 0
        self._arrivals: deque[tuple[int, float]] = deque()  # (offset after the last of an `add`, when)
        self._skipped: deque[tuple[int, int]] = deque()  # (offset before which offsets are missing, how many)
        self._cuts: list[int] = []  # where a refused block was halved: no block crosses these
        self._block: Block | None = None
        self._head_records = self._head_bytes = 0
        self._head_schema: Any = None
        self._head_closed = False
        self._cap = ShareCap(limits.refused_share_max, limits.refused_window_rows)
        self._halt: Halt | None = None

    # Reading.

    def add(self, records: Sequence[Record], read_to: int, now_ms: float) -> None:
        """Takes records in offset order, all at or above `read_to` so far; offsets may have gaps."""
        begins = records[0].offset if records else read_to
        if begins > self.read_to:
            # Our topics have neither transactions nor compaction: only retention takes offsets from them.
            self._skipped.append((begins, begins - self.read_to))
        if records:
            assert records[0].offset >= self.read_to, "a record was read twice"
            self._waiting.extend(records)
            self._waiting_bytes += sum(_bytes(record) for record in records)
            self._arrivals.append((records[-1].offset + 1, now_ms))
            if self._block is None:
                self._grow_head()
        self.read_to = max(self.read_to, read_to, records[-1].offset + 1 if records else 0)

    @property
    def recovering(self) -> bool:
        """An intent was found and its records are not all read."""
        return self.read_to < self._intent_end

    @property
    def doubting(self) -> bool:
        """An intent, or rows that may be stored, lie beyond what was read; there may be no record any more."""
        return self.read_to < max(self._intent_end, self.suspect)

    @property
    def full(self) -> bool:
        """Enough is held for two blocks. Never while an intent waits for its records, however large it is."""
        return not self.recovering and self._holds(2)

    @property
    def hungry(self) -> bool:
        """Less than one block is held: reading should go on."""
        return self.recovering or not self._holds(1)

    def _holds(self, blocks: int) -> bool:
        limits = self._limits
        return len(self._waiting) >= blocks * limits.rows_max or self._waiting_bytes >= blocks * limits.bytes_max

    # Deciding.

    def decide(self, now_ms: float, *, stopping: bool = False) -> Decision:
        """What to do next; the same answer until an outcome is reported, records come or time passes."""
        if self._halt:
            return self._halt
        if self._block is None and not stopping:
            self._block = self._cut(now_ms)
        if self._block is not None:
            return self._work(self._block)
        if self.first < self._intent_end:
            return Finished() if stopping else Wait(None)  # the intent stands; its records are still to be read
        if self._waiting and not stopping:
            return Wait(self._arrivals[0][1] + self._limits.ms_max)
        if not self._waiting:
            self._reach(self.read_to)
        said = Intent(self.first, self.suspect).metadata(self.first)
        rest = self._commit_of(said)
        # With something still suspect there is more to read; that is worth a commit only to whoever comes next.
        if rest != self._committed and (stopping or not said):
            return rest
        return Finished() if stopping else Wait(None)

    def _work(self, block: Block) -> Decision:
        if not block.groups:
            return SendDeadLetters(block.letters)
        intent = self._commit_of(Intent(block.end, self.suspect).metadata(self.first))
        if not self._is_committed(intent):
            return intent
        return Insert(self.first, block.end, block.groups[0], self.first < self.suspect)

    def _commit_of(self, said: str) -> Commit:
        expired = f"{EXPIRED}{self._expired_unread}" if self._expired_unread else ""
        return Commit(self.first, " ".join(word for word in (said, expired) if word))

    def _is_committed(self, intent: Commit) -> bool:
        """True also for the intent of a former owner, from which retention may have taken the beginning."""
        if self.first < self._intent_end:
            return self._block is not None and self._block.end == self._intent_end
        return self._committed == intent

    def _cut(self, now_ms: float) -> Block | None:
        if self.first < self._intent_end:
            return self._recovered()
        if not self._waiting or not self._due(now_ms):
            return None
        records = self._waiting[: self._head_records]
        return Block(records[-1].offset + 1, records)

    def _recovered(self) -> Block | None:
        """What is left of the intent found at the start, once all of it is read."""
        if self.read_to < self._intent_end:
            return None
        self._head_records = sum(1 for record in self._waiting if record.offset < self._intent_end)
        if self._head_records:
            return Block(self._intent_end, self._waiting[: self._head_records])
        self._pass(self._intent_end)
        return None

    def _due(self, now_ms: float) -> bool:
        cut_reached = bool(self._cuts) and self.read_to >= self._cuts[0]
        return self._head_closed or cut_reached or now_ms - self._arrivals[0][1] >= self._limits.ms_max

    # Outcomes.

    def committed(self, commit: Commit) -> None:
        """The broker acknowledged this commit under our generation."""
        self._committed = commit

    def stored(self) -> None:
        """The rows of the last `Insert` are stored, each once."""
        assert self._block is not None
        rows = self._block.groups.pop(0)
        self._cap.note(bad=False, records=len(rows))
        if not self._block.groups and not self._block.letters:
            self._pass(self._block.end)

    def sent(self) -> None:
        """The dead letters of the last `SendDeadLetters` are acknowledged."""
        assert self._block is not None
        self._pass(self._block.end)

    def unknown(self) -> None:
        """Nobody can tell what became of the last `Insert`: the same again, missing rows only."""
        assert self._block is not None
        self.suspect = max(self.suspect, self._block.end)

    def unreadable(self, reasons: Mapping[int, DeadLetterReason]) -> None:
        """Nothing was stored by the last `Insert`, for these offsets hold no datum: the same again without them."""
        assert self._block is not None
        held = enumerate(self._waiting[: self._head_records])
        self._block.set_aside([self._put_aside(at, r, reasons[r.offset]) for at, r in held if r.offset in reasons])

    def refused(self) -> None:
        """The engine stored nothing of the last `Insert`: halve the range, down to the row that it refuses.

        That row is set aside, and its dead letter leaves together with a neighbour's success: an engine that
        refuses everything halts the sink before the topic is drained.
        """
        assert self._block is not None
        rows, end = self._block.groups[0], self._block.end
        self._cuts = [cut for cut in self._cuts if cut > end]
        if len(rows) > 1:
            self._cuts[:0] = [rows[len(rows) // 2].offset, end]
        else:
            self._set_aside(rows[0])
        self._intent_end = self.first
        self._block = None
        self._measure_head()

    def _set_aside(self, row: Row) -> None:
        at = next(at for at, record in enumerate(self._waiting) if record.offset == row.offset)
        self._put_aside(at, row, DeadLetterReason.REFUSED)
        self._cap.note(bad=True)
        if self._cap.exceeded:
            self._halt = Halt(self._cap)

    def _put_aside(self, at: int, record: Record, reason: DeadLetterReason) -> SetAside:
        letter = SetAside(record.offset, reason, record.key, record.value)
        self._waiting_bytes += _bytes(letter) - _bytes(record)
        self._waiting[at] = letter
        return letter

    def _pass(self, end: int) -> None:
        passed = self._waiting[: self._head_records]
        self._waiting_bytes -= sum(_bytes(record) for record in passed)
        del self._waiting[: self._head_records]
        self._reach(end)
        while self._arrivals and self._arrivals[0][0] <= end:
            self._arrivals.popleft()
        self._block = None
        self._measure_head()

    def _reach(self, first: int) -> None:
        self.first = first
        while self._skipped and self._skipped[0][0] <= first:
            self._expired_unread += self._skipped.popleft()[1]

    # The head: as many waiting records as may share a block.

    def _measure_head(self) -> None:
        self._head_records = self._head_bytes = 0
        self._head_schema = None
        self._head_closed = False
        head = self._waiting[0].offset if self._waiting else self.read_to
        self._cuts = [cut for cut in self._cuts if cut > head]
        self._grow_head()

    def _grow_head(self) -> None:
        limits, cut = self._limits, self._cuts[0] if self._cuts else None
        if self._head_closed:
            return
        # In locals, for this runs once a record.
        head_schema, head_records, head_bytes = self._head_schema, self._head_records, self._head_bytes
        rows_max, bytes_max = limits.rows_max, limits.bytes_max
        for record in self._waiting[head_records:rows_max]:
            size = _bytes(record)
            schema = record.schema if isinstance(record, Row) else head_schema
            other_schema = head_schema is not None and schema is not head_schema
            if (
                other_schema
                or (cut is not None and record.offset >= cut)
                or (head_records and head_bytes + size > bytes_max)
            ):
                self._head_closed = True
                break
            head_records += 1
            head_bytes += size
            head_schema = schema
            if head_records >= rows_max:
                self._head_closed = True
                break
        self._head_schema, self._head_records, self._head_bytes = head_schema, head_records, head_bytes


def _bytes(record: Record) -> int:
    return len(record.datum) if isinstance(record, Row) else len(record.value or b"")
