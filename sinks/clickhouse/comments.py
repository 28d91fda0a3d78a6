"""Comments on tables, views and columns, so that whoever asks ClickHouse what a column means gets an answer.

    the data dictionary ──▶ ALTER TABLE … COMMENT COLUMN, … MODIFY COMMENT, at the sink's start, where they differ

A comment is metadata: no row is rewritten. Made at the start and not by a migration, so that a better sentence in a
schema reaches tables that are there already. Source: ClickHouse's ALTER, COMMENT COLUMN and MODIFY COMMENT.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from sinks.clickhouse.statements import literal, name

_TABLES = "SELECT name AS table, comment FROM system.tables WHERE database = 'unjoin'"
_COLUMNS = "SELECT table, name AS column, comment FROM system.columns WHERE database = 'unjoin'"


class Commented(Protocol):
    """What has a comment."""

    @property
    def comment(self) -> str:
        """As it stands in ClickHouse."""


class CommentedTable(Commented, Protocol):
    """A table or view whose columns have comments as well."""

    @property
    def columns(self) -> Mapping[str, Commented]:
        """By name; ones that the database does not have are left out."""


class Found(msgspec.Struct, frozen=True):
    """A comment in the database; a table's has no column."""

    table: str
    comment: str
    column: str = ""


def describe(
    select: Callable[[str], bytes], dictionary: Mapping[str, CommentedTable], *, cluster: str = ""
) -> list[str]:
    """Brings comments to what the dictionary says; gives the statements that it took.

    It can be called again after a kill at any moment. What the dictionary does not name keeps its comment.

    Args:
        select: runs one statement; rows as JSON, a line each.
        cluster: where tables are replicated; each replica keeps its own comments and changes them when it can, so
            that one which is away holds nobody up.

    Raises:
        EngineError: the engine refused a statement or did not answer.
    """
    lines = [line for sql in (_TABLES, _COLUMNS) for line in select(sql).splitlines() if line.strip()]
    statements = comment_statements([msgspec.json.decode(line, type=Found) for line in lines], dictionary, cluster)
    for statement in statements:
        select(statement)
    return statements


def comment_statements(found: list[Found], dictionary: Mapping[str, CommentedTable], cluster: str = "") -> list[str]:
    """What brings comments from what they are to what they should be; pure.

    At most two statements a table: on a cluster, one that changes columns and the table at once would count as a change
    of the table itself, which a single replica makes for all.
    """
    where, end = (f" ON CLUSTER '{cluster}'", " SETTINGS distributed_ddl_task_timeout = 0") if cluster else ("", "")
    statements = []
    for table, wanted in dictionary.items():
        here = {one.column: one.comment for one in found if one.table == table}
        alter = f"ALTER TABLE unjoin.{name(table)}{where} "
        columns = [
            f"COMMENT COLUMN {name(column)} {literal(one.comment)}"
            for column, one in wanted.columns.items()
            if here.get(column, one.comment) != one.comment
        ]
        if columns:
            statements.append(f"{alter}{', '.join(columns)}{end}")
        if here.get("", wanted.comment) != wanted.comment:
            statements.append(f"{alter}MODIFY COMMENT {literal(wanted.comment)}{end}")
    return statements
