"""Blocks are decided purely, so a sink can be killed ten thousand times a minute."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.outcomes import DeadLetterReason
from sinks.kafka.block_planner import (
    BlockLimits,
    BlockPlanner,
    Commit,
    DeadLetter,
    Finished,
    Halt,
    Insert,
    Intent,
    PreparedRecord,
    Row,
    SendDeadLetters,
    Wait,
    split_expired,
)
from testkit.sink_configs import block_limits

A, B = {"name": "A"}, {"name": "B"}
LIMITS = block_limits(rows_max=4, bytes_max=1_000, ms_max=100)


def blocks_of(committed: int | None = 0, metadata: str = "", **log: int) -> BlockPlanner:
    return BlockPlanner(LIMITS, committed, metadata, **({"log_start": 0, "log_end": 1_000} | log))


def rows(*offsets: int, schema: Any = A) -> list[PreparedRecord]:
    return [Row(offset, schema, b"datum %d" % offset, b"key", b"value %d" % offset) for offset in offsets]


def aside(offset: int) -> DeadLetter:
    return DeadLetter(offset, DeadLetterReason.NOT_CONFLUENT, None, b"garbage")


def answer(blocks: BlockPlanner, decision: Any) -> None:
    """Everything works."""
    match decision:
        case Commit():
            blocks.committed(decision)
        case Insert():
            blocks.stored()
        case SendDeadLetters():
            blocks.sent()


def run(blocks: BlockPlanner, now_ms: float = 0, *, stopping: bool = False) -> list[Any]:
    """Every decision until there is nothing to do."""
    made = []
    while True:
        decision = blocks.decide(now_ms, stopping=stopping)
        made.append(decision)
        if isinstance(decision, Wait | Halt | Finished):
            return made
        answer(blocks, decision)


def test_intent_is_committed_before_its_range_is_inserted() -> None:
    """Otherwise a crash in the insert leaves rows that nobody knows of."""
    blocks = blocks_of()
    blocks.add(rows(0, 1, 2, 3), 4, now_ms=0)
    first, second, third, last = run(blocks)
    assert first == Commit(0, "4")
    assert (second.first, second.end, len(second.rows), second.missing) == (0, 4, 4, False)
    assert third == Commit(4, "")
    assert last == Wait(None)


@pytest.mark.parametrize(("took_ms", "waits_ms"), [(0, 100), (25, 100), (50, 200), (10_000, 500)])
def test_records_wait_longer_where_inserts_take_long(took_ms: float, waits_ms: float) -> None:
    """Each insert has a cost of its own; but what is visible late is late by a known bound."""
    blocks = blocks_of()
    blocks.add(rows(0), 1, now_ms=0)
    blocks.committed(blocks.decide(100))  # type: ignore[arg-type]
    assert isinstance(blocks.decide(100), Insert)
    blocks.stored(took_ms)
    blocks.add(rows(1), 2, now_ms=1_000)
    assert blocks.decide(1_000) == Wait(1_000 + waits_ms)
    assert blocks.decide(1_000 + waits_ms) == Commit(1, "2")


def test_next_intent_is_what_marks_the_last_one_done() -> None:
    """One commit a block, not two, while records keep coming."""
    blocks = blocks_of()
    blocks.add(rows(*range(8)), 8, now_ms=0)
    commits = [decision for decision in run(blocks) if isinstance(decision, Commit)]
    assert commits == [Commit(0, "4"), Commit(4, "8"), Commit(8, "")]


def test_commit_that_failed_lets_nothing_be_inserted() -> None:
    """A range that is not the committed intent is somebody else's."""
    blocks = blocks_of()
    blocks.add(rows(0, 1, 2, 3), 4, now_ms=0)
    assert [blocks.decide(0) for _ in range(3)] == [Commit(0, "4")] * 3


def test_block_waits_until_it_is_full_or_old() -> None:
    """Small blocks cost several times more a row; old ones cost freshness."""
    blocks = blocks_of(0, "")
    blocks.add(rows(0), 1, now_ms=50)
    blocks.add(rows(1), 2, now_ms=120)
    assert blocks.decide(149.9) == Wait(150)
    assert blocks.decide(150) == Commit(0, "2")


def test_block_holds_one_schema() -> None:
    """The engine reads a block with the schema of its datums."""
    blocks = blocks_of()
    blocks.add([*rows(0, 1), *rows(2, schema=B), aside(3), *rows(4, schema=B), *rows(5)], 6, now_ms=0)
    inserts = [decision for decision in run(blocks, now_ms=100) if isinstance(decision, Insert)]
    assert [(insert.first, insert.end, insert.rows[0].schema["name"]) for insert in inserts] == [
        (0, 2, "A"),
        (2, 5, "B"),
        (5, 6, "A"),
    ]


def test_block_is_bounded_in_bytes_but_for_one_large_record() -> None:
    """A record larger than a block must not stop the partition."""
    blocks = blocks_of()
    blocks.add([Row(0, A, b"x" * 600), Row(1, A, b"x" * 600), Row(2, A, b"x" * 5_000), Row(3, A, b"x")], 4, now_ms=0)
    ranges = [(insert.first, insert.end) for insert in run(blocks, 100) if isinstance(insert, Insert)]
    assert ranges == [(0, 1), (1, 2), (2, 3), (3, 4)]


KINDS = st.sampled_from(["a", "a", "a", "b", "large", "aside"])
OUTCOMES = st.sampled_from(["stored", "stored", "stored", "refused", "unknown", "unreadable"])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(KINDS, min_size=1, max_size=9), min_size=1, max_size=6), st.lists(OUTCOMES), st.booleans())
def test_blocks_are_the_same_however_the_records_came_together(
    fetches: list[list[str]], outcomes: list[str], found: bool
) -> None:
    """Records that came together are counted at once; what is decided must not depend on how they came."""
    records: list[PreparedRecord] = []
    for number, kind in enumerate(kind for fetch in fetches for kind in fetch):
        datum = b"x" * (600 if kind == "large" else 10 + number % 3)
        row = Row(number, B if kind == "b" else A, datum, b"key", b"value of " + datum)
        records.append(aside(number) if kind == "aside" else row)
    together, one_by_one = (blocks_of(0, "7" if found else "") for _ in range(2))
    made: list[list[Any]] = [[], []]
    begin = 0
    for fetch in fetches:
        end = begin + len(fetch)
        together.add(records[begin:end], end, now_ms=0)
        for record in records[begin:end]:
            one_by_one.add([record], record.offset + 1, now_ms=0)
        for which, blocks in enumerate((together, one_by_one)):
            left = iter(outcomes)
            while not isinstance(decision := blocks.decide(100), Wait | Halt):
                made[which].append(decision)
                outcome = next(left, "stored") if isinstance(decision, Insert) else ""
                if outcome in ("refused", "unknown"):
                    getattr(blocks, outcome)()
                elif outcome == "unreadable" and isinstance(decision, Insert):
                    blocks.unreadable({decision.rows[-1].offset: DeadLetterReason.TRAILING_BYTES})
                else:
                    answer(blocks, decision)
            made[which].append(decision)
        begin = end
    assert made[0] == made[1]
    for blocks in (together, one_by_one):
        assert blocks._waiting_bytes == sum(len(record.datum) for record in blocks._waiting)
        assert blocks._head_records + sum(stretch.records for stretch in blocks._behind) == len(blocks._waiting)
        assert blocks._head_bytes + sum(stretch.bytes for stretch in blocks._behind) == blocks._waiting_bytes


def test_offsets_may_have_gaps() -> None:
    """Markers of transactions, and what these took back, have offsets that no reader ever sees; none expired."""
    blocks = blocks_of()
    blocks.add(rows(3, 7, 8, 20), 25, now_ms=0)
    commits = [decision for decision in run(blocks) if isinstance(decision, Commit)]
    assert commits == [Commit(0, "21"), Commit(25, "")]


@given(st.integers(0, 40), st.integers(1, 40), st.integers(0, 100))
def test_of_offsets_that_are_missing_those_below_the_logs_start_expired(first: int, gap: int, log_start: int) -> None:
    """Retention deletes from the start; of what is missing above it nothing was ever accepted."""
    blocks = blocks_of(first)
    begins = first + gap
    assert blocks.leaves_out(begins)
    blocks.add(rows(begins), begins + 1, now_ms=0, log_start=log_start)
    last = [decision for decision in run(blocks, 100) if isinstance(decision, Commit)][-1]
    assert split_expired(last.metadata)[1] == len(range(first, min(begins, log_start)))


def test_dead_letters_leave_before_their_range_is_passed_and_neighbours_are_stored() -> None:
    """A record that nobody can read must neither vanish nor stop the ones beside it."""
    blocks = blocks_of()
    blocks.add([*rows(0), aside(1), *rows(2), aside(3)], 4, now_ms=0)
    commit, insert, letters, after, _ = run(blocks)
    assert (commit, after) == (Commit(0, "4"), Commit(4, ""))
    assert len(insert.rows) == 2
    assert [letter.offset for letter in letters.dead_letters] == [1, 3]


def test_range_of_garbage_alone_needs_no_insert() -> None:
    """Nothing is inserted, so there is nothing to announce."""
    blocks = blocks_of()
    blocks.add([aside(0), aside(1)], 2, now_ms=0)
    assert run(blocks, 100) == [SendDeadLetters([aside(0), aside(1)]), Commit(2, ""), Wait(None)]


def test_found_intent_is_completed_exactly_and_only_where_missing() -> None:
    """The former owner may have stored it, so its range is repeated, no smaller and no larger."""
    blocks = blocks_of(10, "13")
    blocks.add(rows(10, 11), 12, now_ms=0)
    assert blocks.decide(1_000_000) == Wait(None)
    blocks.add(rows(12, 13, 14), 15, now_ms=0)
    insert = blocks.decide(0)
    assert isinstance(insert, Insert)
    assert (insert.first, insert.end, len(insert.rows), insert.missing) == (10, 13, 3, True)
    blocks.stored()
    assert blocks.decide(100) == Commit(13, "15")
    blocks.committed(Commit(13, "15"))
    following = blocks.decide(100)
    assert isinstance(following, Insert)
    assert not following.missing


def test_intent_larger_than_the_limits_is_read_whole() -> None:
    """BlockLimits may be lowered between two runs; reading must not pause before the old intent is read."""
    blocks = blocks_of(0, "100")
    blocks.add(rows(*range(50)), 50, now_ms=0)
    assert not blocks.should_pause
    assert blocks.may_resume
    blocks.add(rows(*range(50, 100)), 100, now_ms=0)
    assert blocks.should_pause
    insert = blocks.decide(0)
    assert isinstance(insert, Insert)
    assert len(insert.rows) == 100


def test_intent_whose_beginning_expired_goes_on_with_what_is_left() -> None:
    """Retention does not wait for a sink that was away for a week; what it took is counted."""
    blocks = blocks_of(10, "20", log_start=15)
    assert blocks.expired == 5
    blocks.add(rows(*range(15, 20)), 20, now_ms=0)
    insert, *_ = run(blocks)
    assert (insert.first, insert.end, insert.missing) == (15, 20, True)


def test_intent_that_expired_whole_is_passed() -> None:
    """Nothing of it can be fetched any more."""
    blocks = blocks_of(10, "20", log_start=30)
    assert blocks.expired == 20
    assert run(blocks) == [Commit(30, "expired=20"), Wait(None)]


def test_what_expired_unread_is_counted_with_the_offset_that_passes_it() -> None:
    """A metric dies with its process; whoever adds up what became of events has nothing else."""
    blocks = blocks_of(10, "13 expired=5", log_start=0)
    blocks.add(rows(10, 11, 12), 13, now_ms=0)
    blocks.add(rows(17, 18), 19, now_ms=0, log_start=17)
    commits = [decision for decision in run(blocks, 100) if isinstance(decision, Commit)]
    assert commits == [Commit(13, "19 expired=5"), Commit(19, "expired=9")]
    again = blocks_of(13, "19 expired=5", log_start=17)
    again.add(rows(17, 18), 19, now_ms=0)
    insert, commit, _ = run(again)
    assert insert.missing
    assert commit == Commit(19, "expired=9")


@given(st.integers(0, 2**62), st.sampled_from(["", "3", "3 9", "leader", "1 2 3"]))
def test_count_of_expired_offsets_leaves_the_intent_as_it_was(count: int, said: str) -> None:
    """Commits of older versions have no such word, and are read as ever."""
    assert split_expired(said) == (said, 0)
    assert split_expired(f"{said} expired={count}".strip()) == (said, count)


def test_log_shorter_than_the_commit_is_read_from_its_start_for_what_is_missing() -> None:
    """A topic that was made again, or truncated: new records take the offsets of lost ones."""
    blocks = blocks_of(50, "60 expired=3", log_start=37, log_end=40)
    assert (blocks.rewound, blocks.first) == (10, 37)
    blocks.add(rows(37, 38, 39), 40, now_ms=0)
    intent, insert, commit, wait = run(blocks, 100)
    assert intent == Commit(37, "40 expired=3")
    assert isinstance(insert, Insert)
    assert insert.missing
    assert (commit, wait) == (Commit(40, "expired=3"), Wait(None))


def test_without_a_commit_whatever_the_log_holds_may_be_stored() -> None:
    """Offsets of a group that was idle for a week are forgotten; its rows are not."""
    blocks = blocks_of(None, log_end=6)
    blocks.add(rows(*range(8)), 8, now_ms=0)
    made = run(blocks, 100)
    assert [(made.missing) for made in made if isinstance(made, Insert)] == [True, True]
    assert [made for made in made if isinstance(made, Commit)] == [Commit(0, "4 6"), Commit(4, "8"), Commit(8, "")]


def test_doubt_about_offsets_that_hold_no_record_ends_when_the_reader_is_past_them() -> None:
    """Nobody would ever add a record up there: the last commit would name an open intent for as long as it is idle."""
    blocks = blocks_of(None, log_end=6)
    blocks.add(rows(0, 1, 2), 3, now_ms=0)
    assert run(blocks, 100)[-2:] != [Commit(3, ""), Wait(None)]
    assert blocks.needs_position
    blocks.add([], 6, now_ms=100)
    assert not blocks.needs_position
    last, _ = run(blocks, 200)
    assert last.offset == 6
    assert split_expired(last.metadata)[0] == ""


def test_unknown_outcome_repeats_the_same_range_only_where_missing() -> None:
    """The intent stands; a smaller or a larger range would be one that nobody announced."""
    blocks = blocks_of()
    blocks.add(rows(0, 1, 2, 3), 4, now_ms=0)
    blocks.committed(Commit(0, "4"))
    blocks.decide(0)
    blocks.unknown()
    blocks.add(rows(4, 5), 6, now_ms=0)
    again = blocks.decide(0)
    assert isinstance(again, Insert)
    assert (again.first, again.end, again.missing) == (0, 4, True)


def test_refused_block_is_halved_with_a_smaller_intent_first() -> None:
    """Of a range that was refused nothing is stored, so its halves are new ranges with intents of their own."""
    blocks = blocks_of()
    blocks.add(rows(0, 1, 2, 3), 4, now_ms=0)
    made = []
    while not isinstance(decision := blocks.decide(0), Wait):
        if isinstance(decision, Insert) and any(row.offset == 2 for row in decision.rows):
            blocks.refused()
        else:
            answer(blocks, decision)
        made.append(decision)
    commits = [decision for decision in made if isinstance(decision, Commit)]
    # 2 alone is refused; it leaves with its neighbour 3, whose success shows that the engine refuses the row.
    assert commits == [Commit(0, "4"), Commit(0, "2"), Commit(2, "4"), Commit(2, "3"), Commit(2, "4"), Commit(4, "")]
    letters = [decision for decision in made if isinstance(decision, SendDeadLetters)]
    assert letters == [SendDeadLetters([DeadLetter(2, DeadLetterReason.REFUSED, b"key", b"value 2")])]


def test_records_without_a_datum_leave_their_block_and_nothing_is_halved() -> None:
    """The range stays the announced one; their dead letters leave before it is passed, in the order of the log."""
    blocks = blocks_of()
    blocks.add([*rows(0, 1), aside(2), *rows(3)], 4, now_ms=0)
    made = []
    while not isinstance(decision := blocks.decide(0), Wait):
        if isinstance(decision, Insert) and len(decision.rows) == 3:
            blocks.unreadable({1: DeadLetterReason.TRAILING_BYTES, 3: DeadLetterReason.MALFORMED_DATUM})
        else:
            answer(blocks, decision)
        made.append(decision)
    commit, whole, rest, letters, last = made
    assert (commit, last) == (Commit(0, "4"), Commit(4, ""))
    assert [[row.offset for row in insert.rows] for insert in (whole, rest)] == [[0, 1, 3], [0]]
    assert (rest.first, rest.end, rest.missing) == (0, 4, False)
    assert letters == SendDeadLetters(
        [
            DeadLetter(1, DeadLetterReason.TRAILING_BYTES, b"key", b"value 1"),
            aside(2),
            DeadLetter(3, DeadLetterReason.MALFORMED_DATUM, b"key", b"value 3"),
        ]
    )


def test_block_without_any_datum_is_passed_without_an_insert() -> None:
    """Once they are set aside there is nothing to store; what comes behind is not held up."""
    blocks = blocks_of()
    blocks.add(rows(0, 1, 2, 3), 4, now_ms=0)
    answer(blocks, blocks.decide(0))
    assert isinstance(blocks.decide(0), Insert)
    blocks.unreadable(dict.fromkeys(range(4), DeadLetterReason.TRAILING_BYTES))
    assert [type(decision) for decision in run(blocks)] == [SendDeadLetters, Commit, Wait]
    blocks.add(rows(4, 5, 6, 7), 8, now_ms=0)
    assert blocks.decide(0) == Commit(4, "8")


def test_halves_of_a_range_of_unknown_outcome_stay_suspect() -> None:
    """Were the second half's doubt forgotten in a crash, it would be inserted twice."""
    blocks = blocks_of(0, "4")
    blocks.add(rows(0, 1, 2, 3), 4, now_ms=0)
    blocks.decide(0)
    blocks.refused()
    assert blocks.decide(0) == Commit(0, "2 4")
    assert Intent.of(0, "2 4", 1_000) == Intent(2, 4)


def test_engine_that_refuses_everything_halts_the_sink_and_drains_nothing() -> None:
    """A bad deployment must not turn a topic into dead letters."""
    limits = block_limits(rows_max=1_000, bytes_max=1_000_000, ms_max=0)
    blocks = BlockPlanner(limits, 0, log_start=0, log_end=0)
    blocks.add(rows(*range(1_000)), 1_000, now_ms=0)
    while not isinstance(decision := blocks.decide(0), Halt):
        assert not isinstance(decision, SendDeadLetters | Wait)
        if isinstance(decision, Insert):
            blocks.refused()
        else:
            answer(blocks, decision)
    assert decision.cap.set_aside == 51


def test_stopping_starts_no_block_and_leaves_a_plain_commit() -> None:
    """What waits is read again by the next owner; an open intent would cost it an anti-join."""
    blocks = blocks_of()
    blocks.add(rows(*range(6)), 6, now_ms=0)
    answer(blocks, blocks.decide(0))
    made = run(blocks, stopping=True)
    assert [type(decision) for decision in made] == [Insert, Commit, Finished]
    assert made[1] == Commit(4, "")


def test_stopping_before_a_found_intent_is_read_leaves_it() -> None:
    """Clearing it would lose the only note that its rows may be missing."""
    assert run(blocks_of(5, "9"), stopping=True) == [Finished()]


@pytest.mark.parametrize("metadata", ["leader", "-3", "7 ", "1 2 3", "٣", "3", "9" * 30])
def test_metadata_that_nobody_here_wrote_makes_everything_suspect(metadata: str) -> None:
    """Operators reset offsets with tools of their own; doubt costs an anti-join, certainty would cost double rows."""
    assert Intent.of(5, metadata, 100) == Intent(5, 100)


@given(st.integers(0, 2**62), st.integers(0, 2**40), st.integers(0, 2**40))
def test_what_a_commit_says_is_read_back(offset: int, length: int, further: int) -> None:
    """The metadata is all that survives a crash."""
    intent = Intent(offset + length, offset + length + further)
    assert Intent.of(offset, intent.metadata(offset), 0) == intent


class Crash(Exception):
    """The sink is killed."""


class World:
    """A log, the group's commit, a table and the dead letters: what outlives the sink."""

    def __init__(self, seed: int, *, variant: str = "") -> None:
        self.random = random.Random(seed)
        self.variant = variant
        self.log: list[PreparedRecord] = []
        self.log_start = 0
        self.next_offset = 0
        self.commit: Commit | None = None
        self.stored: list[int] = []
        self.letters: list[int] = []
        self.poison: set[int] = set()
        self.no_datum: set[int] = set()
        self.expired: set[int] = set()

    def produce(self, count: int) -> None:
        for _ in range(count):
            self.next_offset += self.random.choice([0, 0, 0, 0, 1, 5])
            kind = self.random.random()
            record = aside(self.next_offset) if kind < 0.1 else rows(self.next_offset, schema=A if kind < 0.8 else B)[0]
            if kind > 0.97:
                self.poison.add(self.next_offset)
            elif kind > 0.94:
                self.no_datum.add(self.next_offset)
            self.log.append(record)
            self.next_offset += 1
        self.next_offset += self.random.choice([0, 0, 2])

    def crash_sometimes(self, odds: float) -> None:
        if self.random.random() < odds:
            raise Crash

    def insert(self, insert: Insert) -> str:
        offsets = [row.offset for row in insert.rows]
        self.crash_sometimes(0.05)
        if self.random.random() < 0.1:
            return "unknown"
        if (self.poison | self.no_datum) & set(offsets):
            return "refused"
        known = set(self.stored)
        self.stored += [offset for offset in offsets if not insert.missing or offset not in known]
        self.crash_sometimes(0.05)
        return "unknown" if self.random.random() < 0.1 else "stored"

    def live(self, limits: BlockLimits, stop_at_ms: float = 1_000_000) -> None:
        """One life of a sink, until it is killed, stopped or has nothing to do."""
        committed = self.commit or Commit(-1, "")
        blocks = BlockPlanner(
            limits,
            None if committed.offset < 0 else committed.offset,
            committed.metadata,
            log_start=self.log_start,
            log_end=self.next_offset,
        )
        if self.variant == "forgets the intent":
            blocks._intent_end, blocks.uncertain_to = blocks.first, 0
        now_ms = 0.0
        while True:
            now_ms += 1
            self.read(blocks, now_ms)
            decision = blocks.decide(now_ms, stopping=now_ms > stop_at_ms)
            self.crash_sometimes(0.01)
            match decision:
                case Commit():
                    self.commit = decision
                    self.crash_sometimes(0.03)
                    blocks.committed(decision)
                case Insert():
                    assert self.commit is not None
                    assert self.commit.offset <= decision.first
                    assert int(self.commit.metadata.split()[0]) == decision.end, "inserted what was not announced"
                    outcome = self.insert(decision)
                    if self.variant == "unknown is failed" and outcome == "unknown":
                        outcome = "again"
                    lost = self.no_datum & {row.offset for row in decision.rows}
                    if outcome == "refused" and lost:
                        blocks.unreadable(dict.fromkeys(lost, DeadLetterReason.MALFORMED_DATUM))
                    elif outcome != "again":
                        getattr(blocks, outcome)()
                case SendDeadLetters():
                    self.letters += [letter.offset for letter in decision.dead_letters]
                    self.crash_sometimes(0.03)
                    blocks.sent()
                case Wait() if blocks.read_to < self.next_offset:
                    pass
                case Wait(until_ms=None) | Finished():
                    return
                case Wait(until_ms=until_ms):
                    now_ms = max(now_ms, until_ms or 0)
                case Halt():
                    raise AssertionError("3 % of bad rows are no bad deployment")

    def read(self, blocks: BlockPlanner, now_ms: float) -> None:
        if blocks.should_pause:
            return
        batch = [record for record in self.log if record.offset >= blocks.read_to][: self.random.randint(0, 7)]
        read_to = batch[-1].offset + 1 if batch else blocks.read_to
        if not [record for record in self.log if record.offset >= read_to]:
            read_to = self.next_offset
        blocks.add(batch, read_to, now_ms)

    def check(self) -> None:
        readable = {r.offset for r in self.log if isinstance(r, Row)} - self.poison - self.no_datum
        assert sorted(self.stored) == sorted(readable), "a row is missing or stored twice"
        assert set(self.letters) == {record.offset for record in self.log} - readable


def simulate(seed: int, variant: str = "") -> None:
    world = World(seed, variant=variant)
    limits = block_limits(
        rows_max=world.random.randint(1, 12),
        bytes_max=world.random.choice([1, 30, 10_000]),
        ms_max=world.random.choice([0, 5, 50]),
        refused_share_max=0.9,
    )
    for _ in range(world.random.randint(1, 4)):
        world.produce(world.random.randint(0, 40))
        for _ in range(world.random.randint(0, 3)):
            try:
                world.live(limits, world.random.choice([10, 40, 1_000_000]))
            except Crash:
                continue
    world.random.random = lambda: 0.5  # type: ignore[method-assign]  # no more faults: the last life completes
    world.live(limits)
    world.check()


@settings(max_examples=600, deadline=None)
@given(st.integers(0, 2**32))
def test_crash_anywhere_leaves_every_row_stored_once_and_every_letter_sent(seed: int) -> None:
    """Kills, lost replies and refusals at any step; the table never collapses anything, so doubles would show."""
    simulate(seed)


@pytest.mark.parametrize("variant", ["forgets the intent", "unknown is failed"])
def test_the_simulation_catches_a_sink_that_gets_it_wrong(variant: str) -> None:
    """A simulation that a broken sink passes proves nothing."""
    caught = 0
    for seed in range(150):
        try:
            simulate(seed, variant)
        except AssertionError:
            caught += 1
    assert caught > 0
