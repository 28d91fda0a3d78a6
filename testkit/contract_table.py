"""The table on which every engine has to keep the engine's contract: rows, datums and blocks of it, made of numbers."""

import io
from collections import Counter
from typing import Any

import fastavro

from sinks.clickhouse.address import address_of
from sinks.clickhouse.server import Server
from sinks.engine import Block, Table
from testkit.clickhouse_server import AnyServer

TABLE = Table(
    name="contract",
    topics=("contract",),
    columns=(
        ("id", "String", "`id`"),
        ("number", "Int64", "`number`"),
        ("samples", "Array(Float64)", "`samples`"),
        ("day", "Date", "`day`"),
        ("version", "Int64", "toUInt64(`version`)"),
        ("parsed", "String", "toInt64(`parsed`)"),
    ),
    key=("id", "number", "version"),
)
_COLUMNS = "(id String, number Int64, samples Array(Float64), day Date, version UInt64, parsed Int64)"
DDL = f"""CREATE TABLE IF NOT EXISTS unjoin.contract
{_COLUMNS}
ENGINE = ReplacingMergeTree(version) PARTITION BY tuple() ORDER BY (id, number)"""
# A plain MergeTree collapses nothing when it merges: each row that was ever inserted counts.
PLAIN = f"""CREATE TABLE unjoin.contract
{_COLUMNS}
ENGINE = MergeTree PARTITION BY {{by}} ORDER BY (id, number)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"""
_FIELDS: list[dict[str, Any]] = [
    {"name": "id", "type": "string"},
    {"name": "number", "type": "long"},
    {"name": "samples", "type": {"type": "array", "items": "double"}},
    {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    {"name": "version", "type": "long"},
    {"name": "parsed", "type": "string"},
]
SCHEMA = fastavro.parse_schema({"type": "record", "name": "Contract", "fields": _FIELDS})
OLD_SCHEMA = fastavro.parse_schema(
    {"type": "record", "name": "Contract", "fields": [field for field in _FIELDS if field["name"] != "samples"]}
)


def row(number: int, **changes: Any) -> dict[str, Any]:
    """A row, every value of it made of its number."""
    made = {
        "id": f"é'\\\t\x00{number}",
        "number": -number,
        "samples": [0.5, float(number)],
        "day": 20_000,
        "version": -1,
        "parsed": "7",
    }
    return made | changes


def encoded(made: dict[str, Any], schema: Any = SCHEMA) -> bytes:
    """A row as a bare datum."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, made)
    return out.getvalue()


def datum(number: int, **changes: Any) -> bytes:
    """A bare datum whose day is made of its number: a block of them lies in four partitions by day."""
    return encoded(row(number, **{"day": 20_000 + number % 4, **changes}))


def datum_of(record: Any) -> tuple[Any, bytes]:
    """Schema and datum of a record; the value of a record of these topics is a bare datum."""
    return SCHEMA, record.value


def accept(value: bytes | None) -> None:
    """Accepts any value: every record of these topics is exactly one datum."""


def block_of(*rows: dict[str, Any], schema: Any = SCHEMA, table: Table = TABLE, partition: int = 0) -> Block:
    """A block of these rows, at the offsets from 0 on."""
    return Block(table, "contract", partition, 0, len(rows), schema, [encoded(each, schema) for each in rows])


def block(first: int, end: int) -> Block:
    """A block of the datums with these numbers, which are its offsets, too."""
    return Block(TABLE, "contract", 0, first, end, SCHEMA, [datum(number) for number in range(first, end)])


class ServerTable:
    """The table on a server, asked on a connection of its own that passes no proxy."""

    def __init__(self, server: AnyServer) -> None:
        self.engine = Server(address_of(server.url))

    def create(self, ddl: str) -> None:
        """Drops the table, creates an empty one, and stops merges."""
        for statement in ("CREATE DATABASE IF NOT EXISTS unjoin", "DROP TABLE IF EXISTS unjoin.contract", ddl):
            self.engine.run(statement)
        self.stop_merges()

    def stop_merges(self) -> None:
        """Stops merges until the server ends."""
        self.engine.run("SYSTEM STOP MERGES")

    def stored(self) -> Counter[int]:
        """How many physical rows each number has."""
        rows, _ = self.engine.run("SELECT -number FROM unjoin.contract")
        return Counter(number for (number,) in rows)

    def final_count(self) -> int:
        """Rows as analysts see them."""
        rows, _ = self.engine.run("SELECT count() FROM unjoin.contract FINAL")
        return int(rows[0][0])

    def close(self) -> None:
        """Closes the connection."""
        self.engine.close()
