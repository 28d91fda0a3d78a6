"""Pure: what a record's row is called. The same 16 bytes are made of a record here and of a row by ClickHouse.

SHA-256, cut to 16 bytes, of the sorting key's columns as text, framed by their lengths in bytes: ids are chosen by
clients, so neither a short hash nor a separator would do.
"""

import hashlib
import uuid
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import msgspec

from sinks.engine import Table
from sinks.rows.tables import (
    ANALYTICS,
    DEAD_LETTERS,
    LABELERS,
    LABELS,
    PERSONAL,
    SIGNALS,
    Datum,
    KafkaRecord,
    check,
    reader_of,
)

HASH_BYTES = 16
SIGNED = 1 << 63


class RowKey(msgspec.Struct, frozen=True):
    """How the rows of one table are told apart.

    Attributes:
        columns: those of the sorting key.
        version: the column of which the largest value stays.
        bias: added to a version, so that all are compared as unsigned 64 bits.
        time: SQL for a row's time, Unix milliseconds.
    """

    table: Table
    columns: tuple[str, ...]
    version: str
    bias: int
    version_sql: str
    time: str

    def sql(self) -> str:
        """Selects each row that lies in the table, replaced ones too: hash in hexadecimal, version, time, how many."""
        texts = [f"toString({column})" for column in self.columns]
        lengths = ", ".join(f"toString(length({text})), ' '" for text in texts)
        name = f"lower(hex(substring(SHA256(concat({lengths}, {', '.join(texts)})), 1, {HASH_BYTES})))"
        return f"SELECT {name} AS row_hash, {self.version_sql} AS row_version, {self.time} AS row_ms, count()"

    def statement(self, number: int, slices: int) -> str:
        """One slice of the table's rows; equal keys are in the same one."""
        within = f"cityHash64({', '.join(self.columns)}) % {slices} = {number}"
        grouped = "GROUP BY row_hash, row_version, row_ms"
        return f"{self.sql()} FROM unjoin.{self.table.name} WHERE {within} {grouped}"


def _by_receipt(table: Table, *columns: str) -> RowKey:
    at = "toUnixTimestamp64Milli(received_at)"
    return RowKey(table, columns, "received_at", SIGNED, at, at)


_FAILED_AT = "toUnixTimestamp64Milli(failed_at)"

ROW_KEYS = {
    named.table.name: named
    for named in (
        _by_receipt(SIGNALS, "site", "session", "event_id"),
        _by_receipt(ANALYTICS, "site", "session", "event_id"),
        _by_receipt(PERSONAL, "site", "account", "event_id"),
        _by_receipt(LABELERS, "site", "event_id"),
        # A released label has no time but its day. Avro has no unsigned long, so its 64 bits are read as signed.
        RowKey(LABELS, ("task", "row_id"), "version", 0, "version", "toInt64(toUInt16(day)) * 86400000"),
        RowKey(DEAD_LETTERS, ("topic", "partition", "offset"), "failed_at", SIGNED, _FAILED_AT, _FAILED_AT),
    )
}


def row_key_of(named: RowKey, record: KafkaRecord) -> tuple[bytes, int]:
    """Hash and version of the row that a sink makes of a record.

    Raises:
        DecodeError: it makes a dead letter of it.
    """
    check(named.table, record.value)
    schema, datum = _datum_of(named.table.name)(record)
    *key, version = _reader(schema, (*named.columns, named.version))(datum)
    if named.table is LABELS:
        key[1] = _uuid(key[1])
        version %= 1 << 64
    return hashed(key), version + named.bias


@cache
def _datum_of(table: str) -> Callable[[KafkaRecord], Datum]:
    return reader_of(ROW_KEYS[table].table)


def hashed(key: Sequence[bytes | int]) -> bytes:
    """The hash of the sorting key's values, 16 bytes."""
    parts = [part if isinstance(part, bytes) else b"%d" % part for part in key]
    return hashlib.sha256(b"".join((*(b"%d " % len(part) for part in parts), *parts))).digest()[:HASH_BYTES]


def _uuid(text: bytes) -> bytes:
    """A UUID as ClickHouse writes it; a text that ClickHouse would refuse stays as it is."""
    try:
        return str(uuid.UUID(text.decode())).encode()
    except ValueError:
        return text


_readers: dict[tuple[int, tuple[str, ...]], Callable[[bytes], list[Any]]] = {}


def _reader(schema: Any, names: tuple[str, ...]) -> Callable[[bytes], list[Any]]:
    """Reads the named fields of a datum. One a schema: parsed schemas live as long as the process."""
    if (id(schema), names) not in _readers:
        _readers[id(schema), names] = _made_reader(schema, names)
    return _readers[id(schema), names]


def _made_reader(schema: Any, names: tuple[str, ...]) -> Callable[[bytes], list[Any]]:
    """Bytes of a string, an integer of a number; all of them lie before the first array."""
    steps: list[tuple[bool, int | None]] = []
    begins = 0
    missing = set(names)
    for field in schema["fields"]:
        if not missing:
            break
        kind = field["type"]["type"] if isinstance(field["type"], dict) else field["type"]
        if kind == "fixed" and not steps:
            begins += field["type"]["size"]
            continue
        if kind not in ("string", "int", "long"):
            raise NotImplementedError(f"a key lies behind a field of type {kind}")
        steps.append((kind == "string", names.index(field["name"]) if field["name"] in missing else None))
        missing.discard(field["name"])
    assert not missing, "a schema without the fields of its key"

    def read(datum: bytes) -> list[Any]:
        found: list[Any] = [None] * len(names)
        at = begins
        for is_text, place in steps:
            number = shift = 0
            while True:
                byte = datum[at]
                at += 1
                number |= (byte & 0x7F) << shift
                if byte < 0x80:
                    break
                shift += 7
            value: Any = (number >> 1) ^ -(number & 1)
            if is_text:
                start, at = at, at + value
                value = datum[start:at]
            if place is not None:
                found[place] = value
        return found

    return read
