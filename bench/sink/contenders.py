"""Who stores records: the product, and what a user would write. Each turns values of Kafka into rows of a table.

On the server every table has `received_at` as Int64 and no settings, so that the baselines need not make datetimes of
it either. `analytics` gets browser, system, device and network from all.
"""

import gc
import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import starmap
from typing import Any

import chdb  # noqa: F401  before pyarrow, which brings another allocator
import fastavro
import msgspec
import numpy as np
import pyarrow as pa
from clickhouse_driver import Client

from bench.sink.rows import Stored
from schemas.registry import by_id
from sinks.blocks import native
from sinks.clickhouse import statements
from sinks.clickhouse.address import Address
from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.server import Server
from sinks.engine import Block, Engine, Table
from sinks.main import YOUNG_OBJECTS_MAX
from sinks.rows.enrichment import ADDED, enrichment, no_isp
from sinks.rows.tables import reader_of


class Contender(ABC):
    """One way into one engine.

    Attributes:
        table: where its rows go; its own, but of the product's.
        young_objects_max: of Python's garbage collector while it works; Python's own, unless its process sets another.
    """

    name: str
    table: Table
    young_objects_max = gc.get_threshold()[0]

    @abstractmethod
    def store(self, records: Sequence[Stored]) -> None:
        """Returns once they are stored, as one block."""

    def close(self) -> None:  # noqa: B027  most open nothing
        """Lets go of what it opened."""


class Unjoin(Contender):
    """Does what a sink's worker does: checks each record's header and hands its value on."""

    name = "unjoin"
    young_objects_max = YOUNG_OBJECTS_MAX

    def __init__(self, engine: Engine, table: Table) -> None:
        self._engine, self.table, self._datum_of = engine, table, reader_of(table)

    def store(self, records: Sequence[Stored]) -> None:
        datums = [self._datum_of(record) for record in records]
        first, last = records[0], records[-1]
        bare = [datum for _, datum in datums]
        self._engine.insert(Block(self.table, first.topic, 0, first.offset, last.offset + 1, datums[0][0], bare))


class Uncompiled(Unjoin):
    """The product where no compiler was: the engine reads the datums as Avro."""

    name = "unjoin, nothing compiled"

    def store(self, records: Sequence[Stored]) -> None:
        compiled, native.native = native.native, None
        try:
            super().store(records)
        finally:
            native.native = compiled


def decoded(table: Table, record: Stored) -> dict[str, Any]:
    """A record as fastavro reads it; times stay numbers."""
    row: Any = fastavro.schemaless_reader(io.BytesIO(record.value[5:]), _schema(record.value[1:5]), None)
    assert isinstance(row, dict)
    if table.name.endswith("analytics"):
        row.update(zip(ADDED, enrichment(row["user_agent"], row["ip"], no_isp), strict=True))
    return row


_PLAIN: dict[bytes, Any] = {}


def _schema(id_bytes: bytes) -> Any:
    """The writer's schema without logical types."""
    if id_bytes not in _PLAIN:
        parsed = by_id()[int.from_bytes(id_bytes)].parsed
        fields = [
            {"name": f["name"], "type": f["type"]["type"] if "logicalType" in f["type"] else f["type"]}
            for f in parsed["fields"]
        ]
        _PLAIN[id_bytes] = fastavro.parse_schema({"type": "record", "name": parsed["name"], "fields": fields})
    return _PLAIN[id_bytes]


class DriverRows(Contender):
    """fastavro, then clickhouse-driver's `INSERT … VALUES` with a tuple a row."""

    name = "fastavro + driver rows"

    def __init__(self, address: Address, table: Table) -> None:
        self.table = table
        self._names = [name for name, _, _ in table.columns]
        self._sql = f"INSERT INTO unjoin.{table.name} ({', '.join(self._names)}) VALUES"
        self._client = self._connected(address)

    def _connected(self, address: Address) -> Any:
        return Client(address.host, port=address.port, user=address.user, password=address.password)

    def store(self, records: Sequence[Stored]) -> None:
        rows = []
        for record in records:
            row = decoded(self.table, record)
            rows.append(tuple(row[name] for name in self._names))
        self._client.execute(self._sql, rows)

    def close(self) -> None:
        self._client.disconnect()


class DriverColumns(DriverRows):
    """The same with `columnar=True`: a list a column."""

    name = "fastavro + driver columns"

    def store(self, records: Sequence[Stored]) -> None:
        rows = [decoded(self.table, record) for record in records]
        columns = [[row[name] for row in rows] for name in self._names]
        self._client.execute(self._sql, columns, columnar=True)


class DriverNumpy(DriverRows):
    """The same with an array a column; the driver has no numpy way for columns of arrays, so `analytics` alone."""

    name = "fastavro + driver numpy"

    def _connected(self, address: Address) -> Any:
        return Client(
            address.host,
            port=address.port,
            user=address.user,
            password=address.password,
            settings={"use_numpy": True},
        )

    def store(self, records: Sequence[Stored]) -> None:
        rows = [decoded(self.table, record) for record in records]
        columns = [
            np.array([row[name] for row in rows], dtype=np.int64 if kind == "Int64" else object)
            for name, kind, _ in self.table.columns
        ]
        self._client.execute(self._sql, columns, columnar=True)


class ChdbJson(Contender):
    """fastavro, then lines of JSON in the text of an INSERT, as chdb's examples have it."""

    name = "fastavro + chdb JSONEachRow"

    def __init__(self, engine: Embedded, table: Table) -> None:
        self.table, self._engine = table, engine
        self._names = [name for name, _, _ in table.columns]

    def store(self, records: Sequence[Stored]) -> None:
        rows = [msgspec.json.encode(_times(decoded(self.table, record))) for record in records]
        text = b"\n".join(rows).decode()
        self._engine.select(f"INSERT INTO unjoin.{self.table.name} FORMAT JSONEachRow {text}", "Null")


class ChdbArrow(Contender):
    """fastavro, then a pyarrow table, which the engine reads where it lies."""

    name = "fastavro + chdb pyarrow"

    def __init__(self, engine: Embedded, table: Table) -> None:
        self.table = table
        self._session = engine._session  # chdb finds the table by its name in the frames of whoever calls
        self._columns = [(name, _ARROW[kind]) for name, kind, _ in table.columns]
        names = ", ".join(statements.name(name) for name, _, _ in table.columns)
        made = names.replace("`received_at`", "fromUnixTimestamp64Milli(received_at, 'UTC')")
        self._sql = f"INSERT INTO unjoin.{table.name} ({names}) SELECT {made} FROM Python(arrow_rows)"

    def store(self, records: Sequence[Stored]) -> None:
        rows = [decoded(self.table, record) for record in records]
        arrow_rows = pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in self._columns})
        with self._session() as session:
            session.query(self._sql, "Null")
        del arrow_rows


_ARROW = {
    "String": pa.string(),
    "Int64": pa.int64(),
    "DateTime64(3, 'UTC')": pa.int64(),
    "Array(Float64)": pa.list_(pa.float64()),
}


def _times(row: dict[str, Any]) -> dict[str, Any]:
    """JSON's numbers for a DateTime64 are seconds, or text."""
    row["received_at"] = f"{row['received_at'] / 1_000:.3f}"
    return row


def of_server(address: Address, server: Server, table: Table, create: Any) -> list[Contender]:
    """Everybody who stores rows of this table in a server, each in a table of its own.

    Args:
        create: called with each table before it is used.
    """
    columns = tuple(starmap(_number, table.columns))
    numbered = msgspec.structs.replace(table, columns=columns)
    made: list[Contender] = [Unjoin(server, numbered), Uncompiled(server, numbered)]
    kinds: list[type[DriverRows]] = [DriverRows, DriverColumns]
    if not any(kind.startswith("Array") for _, kind, _ in columns):
        kinds.append(DriverNumpy)
    for number, kind in enumerate(kinds):
        made.append(kind(address, msgspec.structs.replace(table, name=f"of_{number}_{table.name}", columns=columns)))
    for contender in made:
        create(contender.table)
    return made


def of_embedded(engine: Embedded, table: Table) -> list[Contender]:
    """The same in the embedded engine, in copies of the table that the migrations make."""
    made: list[Contender] = [Unjoin(engine, table), Uncompiled(engine, table)]
    for number, kind in enumerate((ChdbJson, ChdbArrow)):
        own = msgspec.structs.replace(table, name=f"of_{number}_{table.name}")
        engine.select(f"CREATE TABLE IF NOT EXISTS unjoin.{own.name} AS unjoin.{table.name}", "Null")
        made.append(kind(engine, own))
    return made


def _number(name: str, kind: str, expression: str) -> tuple[str, str, str]:
    return name, "Int64" if kind.startswith("DateTime64") else kind, expression
