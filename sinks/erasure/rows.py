"""What the engine is asked about the rows of requests. Every method blocks; any thread may call them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec

from schemas.subjects.erasures import Erasure
from sinks.clickhouse.errors import ACCESS_DENIED, QueryFailed
from sinks.engine import EngineError
from sinks.erasure import statements

Select = Callable[[str], bytes]
Found = Mapping[str, Mapping[str, int]]
"""Rows by id of the request and table; those that there are none of are left out."""
NEEDED = "grant the sink's user ALTER on unjoin.*, and SELECT on system.parts, system.detached_parts, system.mutations"
Parts = Mapping[str, frozenset[str]]
"""Names of parts by table."""


class LeftOnDisk(msgspec.Struct, frozen=True):
    """What may still hold deleted rows.

    Attributes:
        inactive: parts that no query reads any more.
        detached: parts that somebody or the engine took out of their table.
        up_s: how long the engine has been up.
    """

    inactive: int
    detached: int
    up_s: int


class Mutating(msgspec.Struct, frozen=True):
    """Mutations that are not done.

    Attributes:
        failed: ClickHouse's name of what failed last among them; empty where nothing did.
    """

    left: int
    failed: str


class Rows:
    """The rows of requests in one database.

    Args:
        select: runs one statement; rows as JSON, a line each.

    Raises:
        EngineError: of every method.
    """

    def __init__(self, select: Select) -> None:
        self._select = select

    def find(self, erasures: Iterable[Erasure]) -> Found:
        """Looks at every row of their tables."""
        return self._found(erasures, lambda table: None)

    def find_new(self, erasures: Iterable[Erasure], known: Parts) -> tuple[Found, Parts]:
        """Looks at the parts that are not known, whether an insert made them or a merge.

        Returns:
            What was found, and the parts that are known by now.
        """
        active: dict[str, frozenset[str]] = {}

        def new(table: str) -> list[str]:
            if table not in active:
                active[table] = frozenset(row["name"] for row in self._rows(statements.active_parts(table)))
            return sorted(active[table] - known.get(table, frozenset()))

        return self._found(erasures, new), active

    def delete(self, erasures: Iterable[Erasure]) -> None:
        """Starts to delete what was found of these; `mutating` says when it is done. Calling again is harmless."""
        for table, some in _groups(erasures):
            if any(table in erasure.found for erasure in some):
                self._select(statements.delete(table, [one for one in some if table in one.found]))

    def mutating(self, tables: Sequence[str]) -> Mutating:
        """What is still being deleted, or cannot be."""
        (row,) = self._rows(statements.mutating(tables))
        return msgspec.convert(row, Mutating, strict=False)

    def left_on_disk(self, tables: Sequence[str], until_s: int) -> LeftOnDisk:
        """What may still hold rows that were deleted by then, Unix seconds."""
        (row,) = self._rows(statements.left_on_disk(tables, until_s))
        return msgspec.convert(row, LeftOnDisk, strict=False)

    def note(self, erasures: Sequence[Erasure]) -> None:
        """Writes down how far requests are."""
        for start in range(0, len(erasures), statements.NOTED_MAX):
            self._select(statements.noted(erasures[start : start + statements.NOTED_MAX]))

    def _found(self, erasures: Iterable[Erasure], parts_of: Callable[[str], Sequence[str] | None]) -> Found:
        found: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for table, some in _groups(erasures):
            parts = parts_of(table)
            if parts is not None and not parts:
                continue
            ids = defaultdict(list)
            for erasure in some:
                ids[erasure.digest].append(erasure.id)
            for row in self._rows(f"{statements.count(table, some, parts)} SETTINGS final = 0"):
                for one in ids[row["digest"]]:
                    found[one][table] = int(row["rows"])
        return found

    def _rows(self, sql: str) -> list[dict[str, Any]]:
        try:
            lines = self._select(sql).splitlines()
        except QueryFailed as error:
            if error.code == ACCESS_DENIED:
                raise EngineError(f"{NEEDED}, as deploy/clickhouse/users.xml does") from None
            raise
        return [msgspec.json.decode(line) for line in lines if line.strip()]


def _groups(erasures: Iterable[Erasure]) -> Iterator[tuple[str, Sequence[Erasure]]]:
    """What one statement takes: a table, and requests of one kind and salt that may have rows there."""

    def kind_and_salt(erasure: Erasure) -> tuple[str, str]:
        return erasure.kind, erasure.salt

    for _, some in groupby(sorted(erasures, key=kind_and_salt), kind_and_salt):
        same = list(some)
        for start in range(0, len(same), statements.DIGESTS_MAX):
            for table in same[0].tables:
                yield table, same[start : start + statements.DIGESTS_MAX]
