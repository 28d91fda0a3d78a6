"""An engine of Python lists: what is stored physically, row by row, with faults on demand."""

import contextlib
import io
import threading
from collections.abc import Callable, Sequence
from typing import Any

import fastavro

from schemas import codec
from sinks.engine import Block, Refused, Unknown

Fault = Callable[[Block], str | None]
"""Called before an insert; "before" loses the reply and the rows, "after" the reply alone, None loses nothing."""


def row_of(block: Block, datum: bytes) -> dict[str, Any]:
    """A datum as the dict that fastavro reads.

    Raises:
        Refused: it is not exactly one.
    """
    source = io.BytesIO(datum)
    row: Any = None
    with contextlib.suppress(*codec.MALFORMED):
        row = fastavro.schemaless_reader(source, block.schema, None)
    if row is None or source.tell() != len(datum):
        raise Refused("not exactly one datum")
    assert isinstance(row, dict)
    return row


class MemoryEngine:
    """Stores each block whole or not at all; appends without ever collapsing, so a double row stays visible.

    Attributes:
        rows: table name to its rows, in the order they came.
        inserts: (method, partition, first, end) of every call that was not lost.
    """

    def __init__(self, fault: Fault | None = None, refuses: Callable[[dict[str, Any]], bool] | None = None) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.inserts: list[tuple[str, int, int, int]] = []
        self.fault = fault or (lambda _block: None)
        self.refuses = refuses or (lambda _row: False)
        self._lock = threading.Lock()

    def migrate(self) -> None:
        """A list needs no schema."""

    def insert(self, block: Block) -> None:
        """Appends every row."""
        self._store("insert", block, lambda rows, _stored: rows)

    def insert_missing(self, block: Block) -> int:
        """Appends the rows whose key is not there yet."""
        return self._store("insert_missing", block, self._missing(block))

    def select(self, sql: str, output_format: str = "JSONEachRow") -> bytes:
        """Nothing here speaks SQL."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to let go of."""

    @staticmethod
    def _missing(block: Block) -> Callable[[Sequence[dict[str, Any]], Sequence[dict[str, Any]]], list[dict[str, Any]]]:
        def key(row: dict[str, Any]) -> tuple[Any, ...]:
            return tuple(row[name] for name in block.table.key)

        def missing(rows: Sequence[dict[str, Any]], stored: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
            known = {key(row) for row in stored}
            return [row for row in rows if key(row) not in known]

        return missing

    def _store(self, method: str, block: Block, choose: Callable[[list[Any], list[Any]], list[Any]]) -> int:
        fault = self.fault(block)
        if fault == "before":
            raise Unknown("no reply")
        rows = [row_of(block, datum) for datum in block.datums]
        if any(self.refuses(row) for row in rows):
            raise Refused("a row is refused")
        with self._lock:
            stored = self.rows.setdefault(block.table.name, [])
            chosen = choose(rows, stored)
            stored.extend(chosen)
            self.inserts.append((method, block.partition, block.first, block.end))
        if fault == "after":
            raise Unknown("the reply is lost")
        return len(chosen)
