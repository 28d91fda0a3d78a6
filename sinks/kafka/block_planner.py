"""Pure: which offsets make the next block of a partition, and what to do until they are stored.

    records ─add─▶ waiting ─decide─▶ Commit(X, "Y") ─▶ Insert [X, Y) ─▶ SendDeadLetters ─▶ next block or Commit(Y, "")

`decide` names the one thing to do next and keeps naming it until the worker reports its outcome (`committed`,
`stored`, `unreadable`, `refused`, `unknown`, `sent`). So a worker that crashes anywhere needs only the last commit to
go on.

What a commit of offset X says by its metadata:

    metadata        everything below X is done, and
    ""              nothing above was tried
    "Y"             the intent: [X, Y) is being inserted and may be stored already
    "Y Z"           the intent [X, Y); rows up to Z may be stored as well, since a range of unknown outcome was cut
    "… expired=N"   the log dropped N offsets below X before they were read, since the group began; only this tells
                    `unjoin audit`

`commit_marks.py` puts the database's mark before that, and takes it away.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, groupby
from operator import attrgetter
from typing import Any, NamedTuple, Self

import msgspec

from schemas.dead_letters import ShareCap
from schemas.outcomes import DeadLetterReason

# Each insert has a cost of its own, and what is inserted in small parts is merged again and again. So where inserts
# take more than a quarter of the time, as on a busy machine or a slow disk, records wait longer, though not without
# end.
WAIT_TIMES_INSERT = 4
WAIT_TIMES_MAX = 5


class BlockLimits(msgspec.Struct, frozen=True, kw_only=True):
    """When a block is large enough or old enough to insert, and when refusals halt the sink.

    Attributes:
        rows_max: records a block, dead letters included.
        bytes_max: bytes of a block's datums; a single larger datum is a block of its own.
        ms_max: a block is cut once its oldest record has waited so many ms; `WAIT_TIMES_MAX` times as many under load.
        refused_share_max: the share of refused rows among the last `schemas.dead_letters.SHARE_RECORDS`, 0 to 1;
            above it the sink halts.
    """

    rows_max: int
    bytes_max: int
    ms_max: int
    refused_share_max: float


class Row(msgspec.Struct, frozen=True, gc=False):
    """A record that can be inserted. `schema` is compared by identity; `key` and `value` are for a dead letter."""

    offset: int
    schema: Any
    datum: bytes
    key: bytes | None = None
    value: bytes | None = None


class DeadLetter(NamedTuple):
    """A record that becomes a dead letter."""

    offset: int
    reason: DeadLetterReason
    key: bytes | None = None
    value: bytes | None = None

    @property
    def schema(self) -> None:
        """None: a block of any schema may hold it."""

    @property
    def datum(self) -> bytes:
        """What it takes of a block's bytes."""
        return self.value or b""


class Commit(NamedTuple):
    """Commit this offset with this metadata, then report `committed`."""

    offset: int
    metadata: str


class Insert(NamedTuple):
    """Insert these rows of [first, end), the committed intent; with `missing`, only those that the table lacks."""

    first: int
    end: int
    rows: Sequence[Row]  # of one schema
    missing: bool


class SendDeadLetters(NamedTuple):
    """Send these and wait for their acknowledgement, then report `sent`."""

    dead_letters: Sequence[DeadLetter]


class Wait(NamedTuple):
    """Wait until records come, or until this time (ms of the caller's clock; None: without end)."""

    until_ms: float | None


class Halt(NamedTuple):
    """Stop the sink: the engine refuses too many rows, so the deployment is wrong, not the rows."""

    cap: ShareCap


class Finished(NamedTuple):
    """Nothing is left to do before the stop; the last commit says where to go on."""


class Stretch(NamedTuple):
    """Neighbours among the records that wait: what is known of all of them, so that nobody looks at each.

    Attributes:
        records, bytes: how many, and of their datums.
        schema: that all have; None where they differ, or one is a dead letter.
    """

    records: int
    bytes: int
    schema: Any


class Rows(list[Row]):
    """Rows that came together, of one schema.

    Attributes:
        bytes: of their datums.
        schema: None where there are none.
    """

    __slots__ = ("bytes", "schema")

    def __init__(self, rows: Iterable[Row], size: int, schema: Any) -> None:
        super().__init__(rows)
        self.bytes, self.schema = size, schema

    def joins(self, more: "Rows") -> bool:
        """Takes more rows behind its own, where that leaves one schema; whether it did."""
        if self and more and self.schema is not more.schema:
            return False
        self.schema = self.schema if self else more.schema
        self.bytes += more.bytes
        self += more
        return True

    def cut(self, count: int) -> "tuple[Rows, Rows]":
        """The first rows, so many, and the others."""
        size = sum(_sizes(self[:count]))
        return Rows(self[:count], size, self.schema), Rows(self[count:], self.bytes - size, self.schema)


PreparedRecord = Row | DeadLetter
Decision = Commit | Insert | SendDeadLetters | Wait | Halt | Finished


class PlannedBlock:
    """The range in work.

    Attributes:
        groups: its rows by schema; one group, except for an intent that an older version committed.
        dead_letters: the records of the range that no table can hold.
    """

    def __init__(self, end: int, records: Sequence[PreparedRecord]) -> None:
        self.end = end
        rows = [record for record in records if isinstance(record, Row)]
        self.groups = [list(group) for _, group in groupby(rows, key=lambda row: id(row.schema))]
        self.dead_letters = [record for record in records if isinstance(record, DeadLetter)]

    @classmethod
    def of_one_schema(cls, end: int, rows: list[Any]) -> Self:
        """As of records that are all rows of one schema, without a look at each."""
        block = cls(end, ())
        block.groups = [rows]
        return block

    def set_aside(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Turns rows of the block into dead letters."""
        offsets = {dead_letter.offset for dead_letter in dead_letters}
        kept = [[row for row in group if row.offset not in offsets] for group in self.groups]
        self.groups = [group for group in kept if group]
        self.dead_letters = sorted([*self.dead_letters, *dead_letters], key=lambda dead_letter: dead_letter.offset)


class Intent(NamedTuple):
    """What a commit says: [offset, end) is in work, and rows below `uncertain_to` may be stored."""

    end: int
    uncertain_to: int

    def metadata(self, offset: int) -> str:
        """The metadata of a commit at `offset`."""
        if self.uncertain_to > self.end:
            return f"{self.end} {self.uncertain_to}"
        return str(self.end) if self.end > offset else ""

    @classmethod
    def of(cls, offset: int, metadata: str, log_end: int) -> Self:
        """The inverse of `metadata`; of text that this module never writes it assumes that any row may be stored."""
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


class BlockPlanner:
    """Plans the blocks of one partition, from its last commit on.

    Attributes:
        first: everything below is stored or dead-lettered.
        read_to: everything below was handed to `add`, or does not exist.
        uncertain_to: rows below may be stored although no insert was acknowledged; only missing ones are inserted.
        expired: how many offsets the log no longer held when this began.
        rewound: how many committed offsets the log does not reach any more.
    """

    def __init__(
        self, limits: BlockLimits, committed: int | None, metadata: str = "", *, log_start: int, log_end: int
    ) -> None:
        """Goes on from a commit.

        Args:
            committed: the group's offset; None where there is none. Then any row of the log may be stored already, for
                Kafka forgets the offsets of a group that was idle for days.
            log_start: the log's first offset; retention has deleted the records below.
            log_end: the offset after the log's last; lower than `committed` only after a truncation.
        """
        self._limits = limits
        offset = log_start if committed is None else committed
        said, self._expired_unread = split_expired(metadata)
        intent = Intent(offset, log_end) if committed is None else Intent.of(offset, said, log_end)
        self.expired = max(0, log_start - offset)
        self._expired_unread += self.expired  # below `first`
        self.rewound = max(0, offset - log_end)
        if self.rewound:  # truncated, or a topic that was made again: whether its records are stored is open
            offset, intent = log_start, Intent(log_start, log_end)
        self.first = self.read_to = min(max(offset, log_start), log_end)
        self.uncertain_to = min(intent.uncertain_to, log_end)
        self._intent_end = max(self.first, min(intent.end, log_end))  # to complete before anything else
        self._committed = None if committed is None else Commit(committed, metadata)
        self._waiting: list[PreparedRecord] = []
        self._waiting_bytes = 0
        self._arrivals: deque[tuple[int, float]] = deque()  # (offset after the last of an `add`, when)
        self._skipped: deque[tuple[int, int]] = deque()  # (offset before which offsets expired, how many)
        self._cuts: list[int] = []  # offsets at which a refused block was halved: no block crosses them
        self._block: PlannedBlock | None = None
        self._wait_ms: float = limits.ms_max
        self._behind: deque[Stretch] = deque()  # what waits behind the head, all of it
        self._open_head()
        self._cap = ShareCap(limits.refused_share_max)
        self._halt: Halt | None = None

    # Reading.

    def leaves_out(self, first: int) -> bool:
        """Whether offsets are missing before this one, the next to be added: then `add` wants the log's start."""
        return first > self.read_to

    def add(self, records: Sequence[PreparedRecord], read_to: int, now_ms: float, log_start: int = 0) -> None:
        """Takes records in offset order, all at or above `read_to` so far; offsets may have gaps.

        Args:
            log_start: the log's first offset, asked after the records came. What is missing below it was deleted by
                retention; above it, it never was a record: a transaction's marker, or what a transaction took back.
        """
        begins = records[0].offset if records else read_to
        if (expired := min(begins, log_start) - self.read_to) > 0:
            self._skipped.append((begins, expired))
        if records:
            assert records[0].offset >= self.read_to, "a record was read twice"
            self._waiting.extend(records)
            self._behind.append(_stretch_of(records))
            self._waiting_bytes += self._behind[-1].bytes
            self._arrivals.append((records[-1].offset + 1, now_ms))
            if self._block is None:
                self._grow_head()
        self.read_to = max(self.read_to, read_to, records[-1].offset + 1 if records else 0)

    @property
    def recovering(self) -> bool:
        """Whether an intent was found whose records are not all read."""
        return self.read_to < self._intent_end

    @property
    def needs_position(self) -> bool:
        """Whether an intent, or uncertain rows, lie beyond `read_to`; the log may have no record there any more."""
        return self.read_to < max(self._intent_end, self.uncertain_to)

    @property
    def should_pause(self) -> bool:
        """Whether two blocks are held, so that reading should pause; never while an intent waits for its records."""
        return not self.recovering and self._holds(2)

    @property
    def may_resume(self) -> bool:
        """Whether less than one block is held, so that reading should go on."""
        return self.recovering or not self._holds(1)

    def _holds(self, blocks: int) -> bool:
        limits = self._limits
        return len(self._waiting) >= blocks * limits.rows_max or self._waiting_bytes >= blocks * limits.bytes_max

    # Deciding.

    def decide(self, now_ms: float, *, stopping: bool = False) -> Decision:
        """The next thing to do; the same until an outcome is reported, records come or time passes."""
        if self._halt:
            return self._halt
        if self._block is None and not stopping:
            self._block = self._cut(now_ms)
        if self._block is not None:
            return self._work(self._block)
        if self.first < self._intent_end:
            return Finished() if stopping else Wait(None)  # the intent stands; its records are still to be read
        if self._waiting and not stopping:
            return Wait(self._arrivals[0][1] + self._wait_ms)
        if not self._waiting:
            self._reach(self.read_to)
        said = Intent(self.first, self.uncertain_to).metadata(self.first)
        rest = self._commit_of(said)
        # While rows are uncertain there is more to read; a commit would help only the partition's next owner.
        if rest != self._committed and (stopping or not said):
            return rest
        return Finished() if stopping else Wait(None)

    def _work(self, block: PlannedBlock) -> Decision:
        if not block.groups:
            return SendDeadLetters(block.dead_letters)
        intent = self._commit_of(Intent(block.end, self.uncertain_to).metadata(self.first))
        if not self._is_committed(intent):
            return intent
        return Insert(self.first, block.end, block.groups[0], self.first < self.uncertain_to)

    def _commit_of(self, said: str) -> Commit:
        expired = f"{EXPIRED}{self._expired_unread}" if self._expired_unread else ""
        return Commit(self.first, " ".join(word for word in (said, expired) if word))

    def _is_committed(self, intent: Commit) -> bool:
        """True also for the intent of a former owner, whose first records retention may have deleted."""
        if self.first < self._intent_end:
            return self._block is not None and self._block.end == self._intent_end
        return self._committed == intent

    def _cut(self, now_ms: float) -> PlannedBlock | None:
        if self.first < self._intent_end:
            return self._recovered()
        if not self._waiting or not self._due(now_ms):
            return None
        records = self._waiting[: self._head_records]
        block = PlannedBlock.of_one_schema if self._head_uniform else PlannedBlock
        return block(records[-1].offset + 1, records)

    def _recovered(self) -> PlannedBlock | None:
        """The rest of the intent that was found at the start, once all of it is read."""
        if self.read_to < self._intent_end:
            return None
        records = [record for record in self._waiting if record.offset < self._intent_end]
        self._open_head()
        self._head_uniform = False
        self._head_records, self._head_bytes = len(records), sum(_sizes(records))
        self._behind.clear()
        if left := len(self._waiting) - len(records):
            self._behind.append(Stretch(left, self._waiting_bytes - self._head_bytes, None))
        if records:
            return PlannedBlock(self._intent_end, records)
        self._pass(self._intent_end)
        return None

    def _due(self, now_ms: float) -> bool:
        cut_reached = bool(self._cuts) and self.read_to >= self._cuts[0]
        return self._head_closed or cut_reached or now_ms - self._arrivals[0][1] >= self._wait_ms

    # Outcomes.

    def committed(self, commit: Commit) -> None:
        """The broker acknowledged this commit under our generation."""
        self._committed = commit

    def stored(self, took_ms: float = 0.0) -> None:
        """The rows of the last `Insert` are stored, each once; it took so long."""
        assert self._block is not None
        ms_max = self._limits.ms_max
        self._wait_ms = min(max(ms_max, WAIT_TIMES_INSERT * took_ms), WAIT_TIMES_MAX * ms_max)
        rows = self._block.groups.pop(0)
        self._cap.note(bad=False, records=len(rows))
        if not self._block.groups and not self._block.dead_letters:
            self._pass(self._block.end)

    def sent(self) -> None:
        """The dead letters of the last `SendDeadLetters` are acknowledged."""
        assert self._block is not None
        self._pass(self._block.end)

    def unknown(self) -> None:
        """The outcome of the last `Insert` is unknown: it is repeated, for missing rows only."""
        assert self._block is not None
        self.uncertain_to = max(self.uncertain_to, self._block.end)

    def unreadable(self, reasons: Mapping[int, DeadLetterReason]) -> None:
        """The last `Insert` stored nothing, for these offsets hold no datum: it is repeated without them."""
        assert self._block is not None
        held = enumerate(self._waiting[: self._head_records])
        self._block.set_aside([self._put_aside(at, r, reasons[r.offset]) for at, r in held if r.offset in reasons])

    def refused(self) -> None:
        """The engine stored nothing of the last `Insert`: the range is halved, down to the row that it refuses.

        That row becomes a dead letter, which is sent once a block with a neighbour is stored: an engine that refuses
        everything halts the sink before the topic is drained.
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
        self._behind.appendleft(Stretch(self._head_records, self._head_bytes, None))
        self._measure_head()

    def _set_aside(self, row: Row) -> None:
        at = next(at for at, record in enumerate(self._waiting) if record.offset == row.offset)
        self._put_aside(at, row, DeadLetterReason.REFUSED)
        self._cap.note(bad=True)
        if self._cap.exceeded:
            self._halt = Halt(self._cap)

    def _put_aside(self, at: int, record: PreparedRecord, reason: DeadLetterReason) -> DeadLetter:
        """Makes a dead letter of a record of the head."""
        dead_letter = DeadLetter(record.offset, reason, record.key, record.value)
        more = len(dead_letter.datum) - len(record.datum)
        self._waiting_bytes += more
        self._head_bytes += more
        self._head_uniform = False
        self._waiting[at] = dead_letter
        return dead_letter

    def _pass(self, end: int) -> None:
        self._waiting_bytes -= self._head_bytes
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

    # The head: the first waiting records, as many as fit one block.

    def _open_head(self) -> None:
        self._head_records = self._head_bytes = 0
        self._head_schema: Any = None  # of its rows; None while it has none
        self._head_uniform = True  # whether all of it are rows of that schema
        self._head_closed = False

    def _measure_head(self) -> None:
        """Makes a new head of what waits; that is in `_behind`, all of it."""
        self._open_head()
        head = self._waiting[0].offset if self._waiting else self.read_to
        self._cuts = [cut for cut in self._cuts if cut > head]
        self._grow_head()

    def _grow_head(self) -> None:
        """Takes what fits of the records that wait behind the head, whole stretches without a look at each record."""
        limits = self._limits
        while self._behind and not self._head_closed:
            next_one = self._behind.popleft()
            if (
                next_one.schema is not None
                and (self._head_schema is None or self._head_schema is next_one.schema)
                and not self._cuts
                and self._head_records + next_one.records <= limits.rows_max
                and self._head_bytes + next_one.bytes <= limits.bytes_max
            ):
                self._head_records += next_one.records
                self._head_bytes += next_one.bytes
                self._head_schema = next_one.schema
                self._head_closed = self._head_records >= limits.rows_max
            else:
                self._grow_head_by_part(next_one)

    def _grow_head_by_part(self, next_one: Stretch) -> None:
        end = min(self._head_records + next_one.records, self._limits.rows_max)
        more = self._waiting[self._head_records : end]
        sizes = list(accumulate(_sizes(more), initial=0))
        fits = bisect_right(sizes, self._limits.bytes_max - self._head_bytes) - 1
        taken = max(fits, 0 if self._head_records else 1)  # one record may be larger than a block
        if self._cuts:
            taken = min(taken, bisect_left(more, self._cuts[0], key=attrgetter("offset")))
        schemas = [record.schema for record in more[:taken]]
        if self._head_schema is None:
            self._head_schema = next((schema for schema in schemas if schema is not None), None)
        fitting = {id(None), id(self._head_schema)}
        if not {id(schema) for schema in schemas} <= fitting:
            taken = next(at for at, schema in enumerate(schemas) if id(schema) not in fitting)
        self._head_records += taken
        self._head_bytes += sizes[taken]
        self._head_uniform = self._head_uniform and (next_one.schema is not None or not taken)
        self._head_closed = taken < len(more) or self._head_records >= self._limits.rows_max
        if left := next_one.records - taken:
            self._behind.appendleft(Stretch(left, next_one.bytes - sizes[taken], next_one.schema))


def _stretch_of(records: Sequence[PreparedRecord]) -> Stretch:
    if type(records) is Rows:
        return Stretch(len(records), records.bytes, records.schema)
    schema = records[0].schema
    same = {id(record.schema) for record in records} == {id(schema)}
    return Stretch(len(records), sum(_sizes(records)), schema if same else None)


def _sizes(records: Iterable[PreparedRecord]) -> list[int]:
    return [len(record.datum) for record in records]
