"""How long the tables of identified events keep a row, counted from when it was received.

    UNJOIN_…_TTL_DAYS ──▶ ALTER TABLE … MODIFY TTL, at the sink's start, where it is not so already

ClickHouse deletes what is past it when it merges, so a row may outlive it by hours. Source: ClickHouse's table engines,
MergeTree, TTL for tables.
"""

from collections.abc import Callable, Mapping

import msgspec

TTL = "toDateTime(received_at) + toIntervalDay({})"
_ENGINES = "SELECT name, engine_full FROM system.tables WHERE database = 'unjoin'"


class _Kept(msgspec.Struct):
    name: str
    engine_full: str


def keep(select: Callable[[str], bytes], days: Mapping[str, int]) -> list[str]:
    """Brings the tables to their times; gives the statements that it took.

    A longer time does not bring back what is deleted. It can be called again after a kill at any moment.

    Args:
        select: runs one statement; rows as JSON, a line each.
        days: by table; 0 to keep its rows.
    """
    kept = [msgspec.json.decode(line, type=_Kept) for line in select(_ENGINES).splitlines() if line.strip()]
    statements = retention_statements({one.name: one.engine_full for one in kept}, days)
    for statement in statements:
        select(statement)
    return statements


def retention_statements(engines: Mapping[str, str], days: Mapping[str, int]) -> list[str]:
    """What brings tables from where they are to their times; pure.

    Args:
        engines: by table, its `engine_full`.
        days: by table.
    """
    found = []
    for table, wanted in days.items():
        has_ttl = " TTL " in engines[table]
        if not wanted and has_ttl:
            found.append(f"ALTER TABLE unjoin.{table} REMOVE TTL")
        elif wanted and f" TTL {TTL.format(wanted)}" not in engines[table]:
            found.append(f"ALTER TABLE unjoin.{table} MODIFY TTL {TTL.format(wanted)}")
    return found
