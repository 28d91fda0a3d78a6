"""The marks of a database's commits, in a real one."""

from collections.abc import Iterator

import pytest
from aiokafka import TopicPartition

from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.marks import Marks
from sinks.clickhouse.migrate import migrate, migrations
from sinks.kafka.commit_marks import Commit, Kind, split_mark
from testkit.sink_records import signal, signals

GROUP, ONE, TWO = "unjoin-sink-signals", TopicPartition("events.signals", 0), TopicPartition("events.signals", 1)


@pytest.fixture(name="before")
def _before(engine: Embedded) -> Iterator[Embedded]:
    """As the version before left it."""
    engine.select("DROP TABLE unjoin.sink_marks", "Null")
    engine.select("DROP TABLE unjoin.sink_adopted", "Null")
    engine.select("TRUNCATE TABLE unjoin.migrations", "Null")
    migrate(engine.select, engine.select, migrations()[:5])
    yield engine
    engine.migrate()


def test_database_keeps_its_id_and_knows_the_moments_of_every_sink(engine: Embedded) -> None:
    """Migrated again, or half and again, it is the same database."""
    first = Marks(engine.select)
    engine.select("ALTER TABLE unjoin.migrations DELETE WHERE number = 6 SETTINGS mutations_sync = 1", "Null")
    engine.migrate()
    second = Marks(engine.select)
    for marks, other in ((first, second), (second, first)):
        meaning = marks.meaning(GROUP, ONE, Commit(7, other.marked("9 expired=1")))
        assert (meaning.kind, meaning.go_on) == (Kind.OWN, Commit(7, "9 expired=1"))
    before = first.marked("")
    first.renew()
    assert first.marked("") != before
    assert second.meaning(GROUP, ONE, Commit(7, first.marked(""))).kind is Kind.OWN
    mark, _ = split_mark(before)
    assert mark is not None
    assert second.meaning(GROUP, ONE, Commit(7, f"by={mark[0]}/later")).kind is Kind.AHEAD
    assert second.meaning(GROUP, ONE, Commit(7, f"by=another/{mark[1]}")).kind is Kind.OTHER


def test_commits_of_the_version_before_are_taken_over_once_into_what_it_filled(before: Embedded) -> None:
    """By the first sink with marks; a second sink, or a second start, knows them and takes no later ones."""
    before.insert(signals([signal(1)]))
    before.migrate()
    marks = Marks(before.select)
    theirs = Commit(9, marked := marks.marked(""))
    marks.adopt(GROUP, {ONE: Commit(500, "700 expired=3"), TWO: theirs})
    for one in (marks, Marks(before.select)):
        one.adopt(GROUP, {ONE: Commit(900, "it's \\ not"), TWO: Commit(40, "")})
        assert one.meaning(GROUP, ONE, Commit(500, "700 expired=3")).kind is Kind.ADOPTED
        assert one.meaning(GROUP, ONE, Commit(900, "")).go_on == Commit(500, "? expired=3")
        assert one.meaning(GROUP, TWO, Commit(40, "")).go_on == Commit(None)
        assert one.meaning(GROUP, TWO, Commit(9, marked)).kind is Kind.OWN


def test_commits_without_a_mark_say_nothing_to_a_database_that_was_empty(before: Embedded) -> None:
    """It was made anew, or is another one: what a group has passed does not lie in it."""
    before.migrate()
    marks = Marks(before.select)
    before.insert(signals([signal(1)]))
    marks.adopt(GROUP, {ONE: Commit(500, "")})
    assert marks.meaning(GROUP, ONE, Commit(500, "")).go_on == Commit(None)


def test_what_anybody_wrote_into_a_commit_is_stored_as_text(before: Embedded) -> None:
    """Metadata comes from whoever can commit."""
    before.insert(signals([signal(1)]))
    before.migrate()
    text = "'); DROP TABLE unjoin.signals; -- \\' \n é"
    marks = Marks(before.select)
    marks.adopt(GROUP, {ONE: Commit(3, text)})
    assert Marks(before.select).meaning(GROUP, ONE, Commit(3, text)).kind is Kind.ADOPTED
