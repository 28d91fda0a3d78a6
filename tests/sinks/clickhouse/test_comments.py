"""What every column means is said once, and ClickHouse, docs/tables.md and deploy/ say the same."""

import json
from collections.abc import Iterator

import pytest

from schemas.registry import latest
from sinks.clickhouse.comments import Found, comment_statements, describe
from sinks.clickhouse.embedded import Embedded
from sinks.rows.dictionary import DICTIONARY, FILE, PRIVACY, Column, Described, dictionary, page
from testkit.tables_page import PAGE, columns_of

A_TABLE = {"a": Described("it's a", (), {"b": Column("one", "ms", "content"), "c": Column("two")}, {})}


@pytest.fixture(scope="module")
def described(embedded: Embedded) -> Iterator[Embedded]:
    """The engine of the session with its comments."""
    describe(embedded.select, DICTIONARY)
    return embedded


def test_every_table_view_and_column_has_its_comment(described: Embedded) -> None:
    """Whoever adds a table or a column says what it means, for here nobody can forget it."""
    known = {(table, column) for table, one in DICTIONARY.items() for column in one.columns}
    assert {(table, column) for table, column, _ in columns_of(described.select)} == known
    silent = "SELECT table, name FROM system.columns WHERE database = 'unjoin' AND comment = ''"
    assert described.select(silent) == b""
    tables = described.select("SELECT name, comment FROM system.tables WHERE database = 'unjoin'").splitlines()
    assert {row["name"]: row["comment"] for row in map(json.loads, tables)} == {
        table: one.comment for table, one in DICTIONARY.items()
    }


def test_comments_are_changed_where_they_differ_and_nowhere_else(described: Embedded) -> None:
    """A table of before gets the sentence of now, at the next start; a start that changes nothing writes nothing."""
    assert describe(described.select, DICTIONARY) == []
    described.select("ALTER TABLE unjoin.labels COMMENT COLUMN day 'of before', COMMENT COLUMN task ''")
    described.select("ALTER TABLE unjoin.label_consensus MODIFY COMMENT ''")
    assert len(describe(described.select, DICTIONARY)) == 2
    said = described.select("SELECT comment FROM system.columns WHERE table = 'labels' AND name = 'day'", "TSV")
    assert said == b"The UTC day: all the time there is. (UTC day; quasi_identifier)\n"
    assert describe(described.select, DICTIONARY) == []


def test_comment_of_a_field_is_what_its_schema_says() -> None:
    """One place says it; another sentence would drift."""
    for table, subject in (("signals", "events.signals-value"), ("labels", "labels.deidentified-value")):
        for field in latest(subject).parsed["fields"]:
            column = DICTIONARY[table].columns[field["name"]]
            assert (column.doc, column.privacy) == (field["doc"], field["privacy"])
            assert column.comment.startswith(field["doc"])


def test_statements_quote_what_they_say_and_leave_alone_what_nobody_described() -> None:
    """An apostrophe of a sentence is no end of it; a table of a newer version keeps its comment."""
    found = [Found("a", ""), Found("a", "", "b"), Found("a", "two", "c"), Found("a", "x", "newer"), Found("newer", "")]
    assert comment_statements(found, A_TABLE) == [
        "ALTER TABLE unjoin.`a` COMMENT COLUMN `b` 'one (ms; content)'",
        "ALTER TABLE unjoin.`a` MODIFY COMMENT 'it\\'s a'",
    ]
    assert comment_statements([], A_TABLE) == []


def test_on_a_cluster_every_replica_is_told_and_none_waited_for() -> None:
    """A replica keeps comments of its own; one that is away must not hold up a sink's start."""
    assert comment_statements([Found("a", ""), Found("a", "", "c")], A_TABLE, "shop") == [
        "ALTER TABLE unjoin.`a` ON CLUSTER 'shop' COMMENT COLUMN `c` 'two' SETTINGS distributed_ddl_task_timeout = 0",
        "ALTER TABLE unjoin.`a` ON CLUSTER 'shop' MODIFY COMMENT 'it\\'s a' SETTINGS distributed_ddl_task_timeout = 0",
    ]


def test_page_of_tables_is_what_the_database_has(embedded: Embedded) -> None:
    """docs/tables.md is written by `python -m testkit.tables_page`, and by nobody's hand."""
    assert PAGE.read_text() == page(columns_of(embedded.select))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tables": {"x": {"readers": []}}}, "x: says nothing of what a row is"),
        ({"tables": {"x": {"readers": [], "doc": "a", "columns": {"y": {"doc": "b"}}}}}, "x.y: has no meaning, or"),
        ({"tables": {"x": {"readers": [], "doc": "a", "colums": {}}}}, "unknown field `colums`"),
        ({"tables": {"signals": {"readers": [], "columns": {"z": {"privacy": "secret"}}}}}, "signals.z: has no"),
    ],
)
def test_what_has_no_meaning_or_privacy_class_is_refused(change: dict[str, object], says: str) -> None:
    """A column that nobody classified would be published as if it were nothing."""
    file = json.loads(FILE.read_bytes()) | change
    with pytest.raises(ValueError, match=says):
        dictionary(json.dumps(file).encode())
    assert {column.privacy for one in DICTIONARY.values() for column in one.columns.values()} == set(PRIVACY)
