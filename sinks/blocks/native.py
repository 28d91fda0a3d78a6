"""Pure: the datums of a block as one block of ClickHouse's own format, Native, without an object for any of them.

`_native.c` does it, where it was compiled: setuptools leaves it out where there is no compiler. Then, and for whatever
is out of the ordinary, the engine reads the datums as Avro (`avro_container.py`), and it alone says what is refused.
Out of the ordinary are a datum that is cut short or that bytes follow, and every form that no writer of ours writes.
"""

from typing import Any

from schemas.encoders import varint
from sinks.engine import Block, Table

try:
    from sinks.blocks._native import KINDS, native
except ImportError:
    KINDS, native = (), None

# What fills a column: the type of an Avro field (of a logical type its name, of an array its items) and that of the
# column; then how the field is read. In pairs that are not here the engine may convert.
_READ = {
    ("string", "String"): "string",
    ("uuid", "String"): "string",
    ("string", "UUID"): "uuid",
    ("uuid", "UUID"): "uuid",
    ("long", "Int64"): "long",
    ("timestamp-millis", "Int64"): "long",
    ("timestamp-millis", "DateTime64(3, 'UTC')"): "long",
    ("int", "Int32"): "int",
    ("date", "Date"): "date",
    ("[double]", "Array(Float64)"): "doubles",
    ("[string]", "Array(String)"): "strings",
}
# How a field is passed over that no column is for.
_PASSED = {
    "fixed": "fixed",
    "string": "string",
    "uuid": "string",
    "long": "long",
    "timestamp-millis": "long",
    "int": "int",
    "date": "int",
    "[double]": "doubles",
    "[string]": "strings",
}
# Bytes of a type's default, all of them zero; an array's is where it ends.
_DEFAULT_BYTES = {
    "String": 1,
    "UUID": 16,
    "Int64": 8,
    "DateTime64(3, 'UTC')": 8,
    "Int32": 4,
    "Date": 2,
    "Array(Float64)": 8,
    "Array(String)": 8,
}


def native_block(block: Block) -> bytes | None:
    """The rows of the block in Native, a column for each of the table; None where this module is not for it."""
    if native is None or not block.datums:
        return None
    plan = _plan(block.schema, block.table)
    return None if plan is None else native(block.datums, *plan)


def _plan(schema: Any, table: Table) -> tuple[tuple[Any, ...], tuple[Any, ...]] | None:
    """`fields` and `columns` as `_native.c` wants them; None where one is of another type than those above."""
    numbers = {name: number for number, (name, _, _) in enumerate(table.columns)}
    fields = []
    for field in schema["fields"]:
        number, kind = numbers.get(field["name"], -1), _type_of(field["type"])
        read = _PASSED.get(kind) if number < 0 else _READ.get((kind, table.columns[number][1]))
        if read is None:
            return None
        fields.append((KINDS.index(read), number, field["type"]["size"] if read == "fixed" else 0))
    columns = []
    for name, kind, _ in table.columns:
        if kind not in _DEFAULT_BYTES:
            return None
        columns.append((_text(name) + _text(kind), _DEFAULT_BYTES[kind]))
    return tuple(fields), tuple(columns)


def _type_of(avro: Any) -> str:
    """A type of Avro in a word; "" where it is none that is read here."""
    if isinstance(avro, str):
        return avro
    if not isinstance(avro, dict):
        return ""
    if avro["type"] == "array":
        return f"[{avro['items']}]" if isinstance(avro["items"], str) else ""
    return str(avro.get("logicalType", avro["type"]))


def _text(text: str) -> bytes:
    """As Native has it."""
    encoded = text.encode()
    return varint(len(encoded)) + encoded
