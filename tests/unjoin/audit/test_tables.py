"""The line of a table: positions, dead letters and retention."""

from aiokafka import TopicPartition

from schemas.topics import DEAD_LETTERS, SIGNALS
from sinks.rows.tables import SIGNALS as TABLE
from unjoin.audit.balance import Line
from unjoin.audit.matching import Matched, OffsetSet
from unjoin.audit.snapshot import Commit, OffsetRange
from unjoin.audit.tables import Counted, Snapshot, _line, _noted, places

ONE, TWO, LETTERS = TopicPartition(SIGNALS, 0), TopicPartition(SIGNALS, 1), TopicPartition(DEAD_LETTERS, 0)


def snapshot_of(
    commits: dict[TopicPartition, Commit], spans: dict[TopicPartition, OffsetRange], *aside: int
) -> Snapshot:
    marks = {one: OffsetSet(span.start, span.end) for one, span in spans.items()}
    for offset in aside:
        marks[ONE].add(offset)
    return Snapshot(commits, spans, marks)


def every_offset(snapshot: Snapshot, now: dict[TopicPartition, OffsetRange]) -> dict[TopicPartition, Counted]:
    """A log in which each offset is a record."""
    found = {}
    for one, span in now.items():
        end = snapshot.spans[one].end
        held = max(0, end - max(snapshot.commits[one].offset or 0, span.start))
        found[one] = Counted(max(0, end - span.start), held)
    return found


def test_what_expired_unread_is_accepted_and_expired_and_the_rest_that_left_the_log_is_out_of_reach() -> None:
    """A sink that was away for longer than its topic remembers says so, in its commits, for ever."""
    spans = {ONE: OffsetRange(100, 160), TWO: OffsetRange(50, 60)}
    commits = {ONE: Commit(150, "160 expired=30"), TWO: Commit(40, "expired=1")}
    matched = Matched(records=47, distinct=45, stored=45)
    snapshot = snapshot_of(commits, spans, 99, 101, 102, 103, 155)
    line = _line(TABLE, snapshot, [ONE, TWO], spans, every_offset(snapshot, spans), matched, 0)
    assert line == Line(
        name="signals",
        accepted=60 + 30 + 10 + 11,
        stored=45,
        collapsed=2,
        dead_lettered=3,
        expired=30 + 11,
        held=10 + 10,
        before=(100 - 30) + (50 - 11),
    )
    assert line.difference == 0


def test_log_that_lost_its_beginning_while_it_was_audited_counts_from_where_it_was_read() -> None:
    """Retention does not wait."""
    at_first, read = {ONE: OffsetRange(0, 20)}, {ONE: OffsetRange(5, 30)}
    matched = Matched(records=13, distinct=13, stored=13)
    snapshot = snapshot_of({ONE: Commit(20, "")}, at_first, 3, 6, 7)
    line = _line(TABLE, snapshot, [ONE], read, every_offset(snapshot, read), matched, 0)
    assert (line.accepted, line.dead_lettered, line.held, line.difference, line.before) == (15, 2, 0, 0, 5)


def test_sink_that_never_committed_holds_everything() -> None:
    """Nothing is known of the log's beginning but that it is there."""
    spans = {ONE: OffsetRange(0, 20)}
    snapshot = snapshot_of({ONE: Commit(None, "")}, spans)
    line = _line(TABLE, snapshot, [ONE], spans, every_offset(snapshot, spans), Matched(), 0)
    assert (line.accepted, line.held, line.difference) == (20, 20, 0)


def test_offsets_that_are_no_records_are_neither_accepted_nor_held_nor_expired() -> None:
    """A transaction's markers, and what it took back; a version before counted some of them as expired."""
    spans = {ONE: OffsetRange(0, 100)}
    for said, expired in (("by=database/moment", 0), ("expired=7", 7)):
        snapshot = snapshot_of({ONE: Commit(90, said)}, spans)
        matched = Matched(records=30, distinct=30, stored=30)
        line = _line(TABLE, snapshot, [ONE], spans, {ONE: Counted(32, 2)}, matched, 0)
        assert (line.accepted, line.held, line.expired, line.difference) == (32 + expired, 2, expired, 0)


def test_letter_that_has_left_its_topic_is_known_from_the_table_of_dead_letters() -> None:
    """A record may outlive its letter by a segment; while every letter is there, the topic alone counts."""
    asked = []

    def source(sql: str) -> bytes:
        asked.append(sql)
        return b"3\n5\n"

    for start, left, noted in ((0, [3, 4, 5], 0), (7, [4], 2)):
        missing = {ONE: [3, 4, 5]}
        spans = {ONE: OffsetRange(0, 20), LETTERS: OffsetRange(start, 9)}
        assert _noted(snapshot_of({}, spans), source, [missing]) == noted
        assert missing == {ONE: left}
    assert len(asked) == 1
    assert f"topic = '{SIGNALS}' AND partition = 0 AND offset IN (3, 4, 5)" in asked[0]


def test_where_to_look_is_said_in_a_few_lines_however_much_is_missing() -> None:
    """A million lost rows are one line."""
    (line,) = places({ONE: list(range(0, 2_000, 2)), TWO: []})
    assert line.startswith("events.signals-0: offsets 0, 2, 4,")
    assert line.endswith("and 980 more ranges")
    assert len(line) < 200
