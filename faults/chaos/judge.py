"""Pure: the ledger against the log against the rows.

    lost      an acknowledged event without a row; or a record on its topic that is the newest of its event, without one
    doubled   more physical rows of a record than the log has copies of it, or more than one row of an event as an
              analyst sees it

A copy is what tells two records of one event apart: when it was received, or, of a label, vote and version. A client
that sends a batch again makes two copies, and each may be a row until the table's key collapses them. With merges held
still, a second insert of one copy stays visible as a second physical row. Of an event's copies the newest has to be
there: the others go when the key collapses them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

Rows = Mapping[str, Mapping[str, int]]
"""Event id -> copy -> physical rows."""
Log = Mapping[str, Mapping[str, list[tuple[int, int]]]]
"""Event id -> copy -> (partition, offset) of its records."""


class Finding(msgspec.Struct, frozen=True):
    """One event that should not be as it is; says where, never what.

    Attributes:
        what: lost, doubled.
        positions: (partition, offset) of its records on its topic.
    """

    what: str
    table: str
    round: int
    detail: str
    positions: tuple[tuple[int, int], ...] = ()


def lost(acknowledged: Iterable[str], rows: Rows) -> list[str]:
    """Acknowledged events without a row."""
    return [event for event in acknowledged if event not in rows]


def unstored(log: Log, rows: Rows) -> list[tuple[str, str]]:
    """Newest copies on the topic without a row."""
    nothing: dict[str, int] = {}
    newest = ((event, max(copies, key=_age)) for event, copies in log.items())
    return [(event, copy) for event, copy in newest if copy not in rows.get(event, nothing)]


def doubled(log: Log, rows: Rows) -> list[tuple[str, str]]:
    """Copies with more rows than records."""
    nothing: dict[str, Any] = {}
    return [
        (event, copy)
        for event, copies in rows.items()
        for copy, count in copies.items()
        if count > len(log.get(event, nothing).get(copy, ()))
    ]


def _age(copy: str) -> int:
    """The number that the table's engine compares: time of receipt, ms, or a vote's version."""
    return int(copy.rpartition(":")[2])
