"""Counts ClickHouse's rows by event and copy, and stops its merges.

    python -m faults.chaos.rows still DIRECTORY        before a stack's first start
    python -m faults.chaos.rows dump DIRECTORY FILE    after its last stop

Both open the embedded engine's directory themselves: port 8123 is read-only, and an engine is one process's alone.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec

from sinks.clickhouse.address import address_of
from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.server import Server


class Counted(msgspec.Struct, frozen=True):
    """How a table's rows are told apart.

    Attributes:
        event: column that holds the event's id, or what stands for it.
        copy: expression that tells its records apart.
        prefix: column whose text begins with the round's mark, early in the sorting key.
    """

    event: str
    copy: str
    prefix: str


_RECEIVED = "toString(toUnixTimestamp64Milli(received_at))"
COUNTED = {
    "signals": Counted("event_id", _RECEIVED, "session"),
    "analytics": Counted("event_id", _RECEIVED, "session"),
    "personal": Counted("event_id", _RECEIVED, "account"),
    "labelers": Counted("event_id", _RECEIVED, "event_id"),
    "labels": Counted("task", "concat(toString(row_id), ':', toString(version))", "task"),
}

# A merge selector that may take parts of one byte finds none. Parts that are never merged pile up, so that the bounds
# on their number have to go as well.
_STILL = ", ".join(
    (
        "max_bytes_to_merge_at_max_space_in_pool = 1",
        "max_bytes_to_merge_at_min_space_in_pool = 1",
        *(f"{name} = 1000000" for name in ("parts_to_delay_insert", "parts_to_throw_insert", "max_parts_in_total")),
    )
)

RowCounts = defaultdict[str, dict[str, dict[str, int]]]
"""Table -> event -> copy -> physical rows."""


def physical_sql(rounds: Iterable[int]) -> str:
    """Rows of events first sent in these rounds: table, event, copy, number. Read it with `final = 0`."""
    return " UNION ALL ".join(_physical(table, rounds) for table in COUNTED)


def seen_twice_sql(rounds: Iterable[int] = ()) -> str:
    """Events of which an analyst sees more than one row: table, event, number. Read it with `final = 1`."""
    return " UNION ALL ".join(
        f"SELECT '{table}', {one.event}, count() AS n FROM unjoin.{table}{_where(one, rounds)}"
        f" GROUP BY {one.event} HAVING n > 1"
        for table, one in COUNTED.items()
    )


def counts_of(lines: Iterable[str]) -> RowCounts:
    """An answer to `physical_sql` in TabSeparated."""
    counts: RowCounts = defaultdict(dict)
    for line in lines:
        table, event, copy, number = line.rstrip("\n").split("\t")
        counts[table].setdefault(event, {})[copy] = int(number)
    return counts


def hold_merges_still(engine: Embedded | Server) -> None:
    """Makes the tables as the sink would, and sees to it that none of their parts is ever merged."""
    engine.migrate()
    for table in COUNTED:
        engine.select(f"ALTER TABLE unjoin.{table} MODIFY SETTING {_STILL}")


def hold_server_still(url: str) -> None:
    """As `hold_merges_still`, of a server."""
    with closing(Server(address_of(url))) as engine:
        hold_merges_still(engine)


def dump_server(url: str, file: Path) -> None:
    """As `dump`, of a server."""
    with closing(Server(address_of(url))) as engine:
        dump(partial(engine.select, final=False), file)


def dump(select: Callable[[str, str], bytes], file: Path) -> None:
    """Writes every physical row's event and copy, counted; and, as first line, how many parts a merge has made.

    Args:
        select: gives the answer to a statement in a format, `FINAL` not asked.
    """
    tables = ", ".join(f"'{table}'" for table in COUNTED)
    merged = select(
        "SELECT countIf(min_block_number != max_block_number) FROM system.parts"
        f" WHERE database = 'unjoin' AND table IN ({tables})",
        "TabSeparated",
    )
    file.write_bytes(merged + select(physical_sql(()), "TabSeparated"))


def _physical(table: str, rounds: Iterable[int]) -> str:
    one = COUNTED[table]
    return (
        f"SELECT '{table}', {one.event} AS event, {one.copy} AS copy, count() FROM unjoin.{table}{_where(one, rounds)}"
        " GROUP BY event, copy"
    )


def _where(one: Counted, rounds: Iterable[int]) -> str:
    marks = " OR ".join(f"startsWith({one.prefix}, 'r{number}.')" for number in rounds)
    return f" WHERE {marks}" if marks else ""


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["still", directory]:
            with closing(Embedded(Path(directory))) as engine:
                hold_merges_still(engine)
        case ["dump", directory, file]:
            with closing(Embedded(Path(directory))) as engine:
                dump(engine.select, Path(file))
        case _:
            sys.exit(__doc__)
