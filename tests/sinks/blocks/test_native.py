"""Datums made Native by compiled code: the engine's own Native of the same datums as Avro, or nothing."""

import datetime
import random
import struct
import uuid
from collections.abc import Iterator
from typing import Any

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.registry import by_id
from sinks.blocks import native
from sinks.blocks.native import native_block
from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.transcoder import Transcoder
from sinks.engine import Block, Refused, Table
from sinks.rows.enrichment import ADDED
from sinks.rows.tables import ANALYTICS, DEAD_LETTERS, SIGNALS, SUBJECT, TABLES, row_schema, value_schema
from testkit import contract_table
from testkit.sink_records import encoded

pytestmark = pytest.mark.skipif(native.native is None, reason="_native.c was not compiled: there is no compiler")

quick = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _written() -> Iterator[Any]:
    """Every table with every schema that its datums have, older versions as well."""
    for table in TABLES:
        if table is DEAD_LETTERS:
            yield pytest.param(table, row_schema(table.name), id=table.name)
            continue
        for one in by_id().values():
            if one.subject == SUBJECT[table.name]:
                schema = value_schema(one.id, ADDED if table is ANALYTICS else ())
                yield pytest.param(table, schema, id=f"{table.name}-v{one.version}")


WRITTEN = list(_written())


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Whatever a writer may write in a field of this type."""
    if kind == "string":
        return st.text()
    if isinstance(kind, str):
        bits = {"int": 31, "long": 63}[kind]
        return st.integers(-(2**bits), 2**bits - 1)
    match kind.get("logicalType", kind["type"]):
        case "uuid":
            return st.uuids().map(str)
        case "date":
            return st.dates(datetime.date(1970, 1, 1), datetime.date(2149, 6, 6))
        case "timestamp-millis":
            return st.integers(-(2**63), 2**63 - 1)
        case "fixed":
            return st.binary(min_size=kind["size"], max_size=kind["size"])
        case "array":
            return st.lists(st.floats() if kind["items"] == "double" else st.text(), max_size=5)
    raise NotImplementedError(kind)


def rows_of(schema: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({field["name"]: values_of(field["type"]) for field in schema["fields"]})


def block_of(table: Table, schema: Any, datums: list[bytes]) -> Block:
    return Block(table, table.topics[0], 0, 0, len(datums), schema, datums)


def datum_of(schema: Any, seed: int = 0) -> bytes:
    """An ordinary datum, its strings and arrays of up to three items."""
    chance = random.Random(seed)
    makers: dict[str, Any] = {
        "string": lambda: "x" * chance.randrange(4),
        "uuid": lambda: str(uuid.UUID(int=chance.getrandbits(128))),
        "date": lambda: datetime.date(2026, 9, 21),
        "timestamp-millis": lambda: chance.getrandbits(40),
        "long": lambda: chance.getrandbits(40),
        "int": lambda: chance.getrandbits(7),
        "fixed": lambda: b"\0\0\0\0\1",
        "[double]": lambda: [chance.random() for _ in range(chance.randrange(4))],
        "[string]": lambda: ["de"] * chance.randrange(4),
    }
    return encoded(schema, {field["name"]: makers[native._type_of(field["type"])]() for field in schema["fields"]})


def as_the_engine_does(block: Block, engine: Embedded) -> bytes:
    """What the block is where nothing was compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "native", None)
        return Transcoder(engine.directory).native(block)


class NativeReader:
    """The columns of a block in Native, read by the format's description alone."""

    def __init__(self, block: bytes) -> None:
        self.block, self.at = block, 0

    def columns(self) -> dict[str, list[Any]]:
        count, rows = self.number(), self.number()
        found = {self.string().decode(): self.values(self.string().decode(), rows) for _ in range(count)}
        assert self.at == len(self.block)
        return found

    def number(self) -> int:
        number = shift = 0
        while True:
            byte = self.block[self.at]
            self.at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    def string(self) -> bytes:
        size = self.number()
        self.at += size
        return self.block[self.at - size : self.at]

    def packed(self, code: str, count: int) -> list[Any]:
        found = struct.unpack_from(f"<{count}{code}", self.block, self.at)
        self.at += struct.calcsize(f"<{count}{code}")
        return list(found)

    def values(self, kind: str, rows: int) -> list[Any]:
        if kind == "String":
            return [self.string() for _ in range(rows)]
        if kind == "UUID":
            halves = self.packed("Q", 2 * rows)
            return [uuid.UUID(int=halves[n] << 64 | halves[n + 1]) for n in range(0, 2 * rows, 2)]
        if kind.startswith("Array("):
            ends = self.packed("Q", rows)
            items = self.values(kind[6:-1], ends[-1])
            return [items[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        codes = {"Int64": "q", "Int32": "i", "Date": "H", "Float64": "d"}
        return self.packed(codes.get(kind, "q"), rows)


def plain(value: Any) -> Any:
    """A value as `NativeReader` gives it; floats as their bytes, for there are NaNs."""
    match value:
        case float():
            return struct.pack("<d", value)
        case str():
            return value.encode()
        case datetime.date():
            return (value - datetime.date(1970, 1, 1)).days
        case list():
            return [plain(item) for item in value]
    return value


@pytest.mark.parametrize(("table", "schema"), WRITTEN)
def test_block_is_the_engines_own_byte_for_byte(table: Table, schema: Any, engine: Embedded) -> None:
    """And each value is the one that was written; what an older schema lacks is the default of its type."""

    @quick
    @given(st.lists(rows_of(schema), min_size=1, max_size=6))
    def check(rows: list[dict[str, Any]]) -> None:
        block = block_of(table, schema, [encoded(schema, row) for row in rows])
        made = native_block(block)
        assert made is not None
        assert made == as_the_engine_does(block, engine)
        columns = NativeReader(made).columns()
        assert list(columns) == [name for name, _, _ in table.columns]
        defaults = {"String": b"", "Array(Float64)": [], "Array(String)": [], "UUID": uuid.UUID(int=0)}
        for name, kind, _ in table.columns:
            expected = [plain(row[name]) if name in row else defaults.get(kind, 0) for row in rows]
            if kind == "UUID":
                expected = [uuid.UUID(value.decode()) if isinstance(value, bytes) else value for value in expected]
            assert plain(columns[name]) == expected

    check()


@pytest.mark.parametrize(("table", "schema"), WRITTEN)
def test_columns_in_any_number_and_order_are_the_engines_own(table: Table, schema: Any, engine: Embedded) -> None:
    """A schema with fewer fields or others, a table with fewer columns: the first deployment after a change."""
    chance = random.Random(7)
    for _ in range(12):
        fields = [field for field in schema["fields"] if chance.random() < 0.8] or schema["fields"][-1:]
        chance.shuffle(fields)
        written = {**schema, "fields": fields}
        columns = tuple(column for column in table.columns if chance.random() < 0.8)
        narrow = Table(table.name, table.topics, columns or table.columns[:1], table.key)
        block = block_of(narrow, written, [datum_of(written, seed) for seed in range(3)])
        made = native_block(block)
        assert made is not None
        assert made == as_the_engine_does(block, engine)


@pytest.mark.parametrize(("table", "schema"), WRITTEN)
def test_what_ends_too_soon_or_goes_on_is_left_to_the_engine(table: Table, schema: Any) -> None:
    """Wherever it ends, whatever lies beside it, and first or last in the block."""
    good, whole = datum_of(schema, 1), datum_of(schema, 2)
    assert native_block(block_of(table, schema, [good, whole, good])) is not None
    for broken in [*(whole[:end] for end in range(len(whole))), whole + b"\0", whole + whole, whole + b"\xff" * 9]:
        assert native_block(block_of(table, schema, [broken, good])) is None
        assert native_block(block_of(table, schema, [good, broken])) is None


def _damaged(chance: random.Random, datum: bytes) -> bytes:
    """Bytes changed, left out, doubled or put in, once or twice."""
    made = bytearray(datum)
    for _ in range(chance.choice([1, 1, 2])):
        at, size = chance.randrange(len(made)), chance.choice([0, 1, 1, 2, 9])
        long = b"\x80" * size + bytes([chance.choice([0, 1, 2, 126, 127])])
        made[at : at + size] = chance.choice([b"", chance.randbytes(size), bytes(made[at : at + size]) * 2, long])
    return bytes(made)


@pytest.mark.parametrize(("table", "schema"), WRITTEN)
def test_what_it_takes_the_engine_takes_as_the_same_rows(table: Table, schema: Any, engine: Embedded) -> None:
    """It gives up more often than the engine, and never takes what the engine refuses."""
    chance, taken, refused = random.Random(5), 0, 0
    for seed in range(150):
        good = datum_of(schema, seed)
        block = block_of(table, schema, [good, _damaged(chance, good), good])
        made = native_block(block)
        try:
            expected = as_the_engine_does(block, engine)
        except Refused:
            refused += 1
            assert made is None
        else:
            taken += made is not None
            assert made in (None, expected)
    assert taken > 10
    assert refused > 10


@quick
@given(st.sampled_from([param.values for param in WRITTEN]), st.binary(max_size=200))
def test_noise_is_no_block(written: Any, noise: bytes) -> None:
    """Nearly never, and then it is what fastavro reads as well."""
    table, schema = written
    made = native_block(block_of(table, schema, [noise]))
    if made is not None:
        assert NativeReader(made).columns().keys() == {name for name, _, _ in table.columns}


def _signal(arrays: bytes, ts: bytes = b"\x02") -> bytes:
    """A signal of the first version: five bytes, four strings, two times, and what is given of six arrays."""
    return b"\0\0\0\0\1" + b"\x02a" * 4 + ts + b"\x04" + arrays


ONE = b"\x02" + struct.pack("<d", 1.5)
FORMS = {
    "an array in two blocks": (_signal(ONE + ONE + b"\0" * 6), True),
    "a count in more bytes than it needs": (_signal(b"\x82\x80\0" + ONE[1:] + b"\0" * 6), True),
    "an end in more bytes than it needs": (_signal(b"\x80\x80\0" + b"\0" * 5), True),
    "a time in ten bytes": (_signal(b"\0" * 6, ts=b"\xff" * 9 + b"\1"), True),
    "a time of more than 64 bits": (_signal(b"\0" * 6, ts=b"\xff" * 9 + b"\2"), False),
    "a time without an end": (_signal(b"\0" * 6, ts=b"\xff" * 10), False),
    "a block that says its bytes": (_signal(b"\x01\x10" + ONE[1:] + b"\0" * 6), False),
    "a block of a wrong number of bytes": (_signal(b"\x01\x7e" + ONE[1:] + b"\0" * 6), False),
    "a count of 2^61": (_signal(b"\x80" * 8 + b"\x40" + ONE[1:] + b"\0" * 6), False),
    "a count of 2^62 + 1": (_signal(b"\x82" + b"\x80" * 7 + b"\x80\1" + ONE[1:] + b"\0" * 6), False),
    "a count of -2^63": (_signal(b"\xff" * 9 + b"\1" + ONE[1:] + b"\0" * 6), False),
}


@pytest.mark.parametrize("form", FORMS)
def test_form_that_no_writer_of_ours_writes(form: str, engine: Embedded) -> None:
    """It is taken as the engine takes it, or left to the engine."""
    datum, taken = FORMS[form]
    block = block_of(SIGNALS, value_schema(1), [datum])
    made = native_block(block)
    assert (made is not None) is taken
    if made is not None:
        assert made == as_the_engine_does(block, engine)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 127, 128, 8_191, 8_192, 16_383, 16_384, 70_000])
def test_string_and_array_of_every_length_of_length(size: int, engine: Embedded) -> None:
    """Avro's lengths grow by a byte at 64, Native's at 128."""
    row = contract_table.row(1, id="é" * (size // 2) + "x" * (size % 2), samples=[0.5] * size)
    block = contract_table.block_of(row, contract_table.row(2), row)
    made = native_block(block)
    assert made is not None
    assert made == as_the_engine_does(block, engine)


@pytest.mark.parametrize("day", [0, 65_535, 65_536, -1, 2**31 - 1, -(2**31), 2**31, -(2**31) - 1, 2**62])
def test_day_that_a_date_cannot_hold_is_left_to_the_engine(day: int, engine: Embedded) -> None:
    """It may wrap around there, or be refused."""
    numbered: Any = {**contract_table.SCHEMA, "fields": [dict(field) for field in contract_table.SCHEMA["fields"]]}
    numbered["fields"][3]["type"] = "long"
    datum = contract_table.encoded(contract_table.row(1, day=day), fastavro.parse_schema(numbered))
    block = block_of(contract_table.TABLE, contract_table.SCHEMA, [datum])
    made = native_block(block)
    assert (made is not None) is (0 <= day <= 65_535)
    if made is not None:
        assert made == as_the_engine_does(block, engine)


UUID = "5b2f9a34-0c1d-4e5f-8a6b-7c8d9e0f1a2b"


@pytest.mark.parametrize("text", [UUID, UUID.upper(), UUID[:-1], UUID + "0", UUID.replace("-", "0"), UUID[::-1], ""])
def test_text_of_a_uuid(text: str, engine: Embedded) -> None:
    """One that is written otherwise is left to the engine."""
    table = Table("t", ("t",), (("row_id", "UUID", "row_id"),), ("row_id",))
    schema = {"type": "record", "name": "R", "fields": [{"name": "row_id", "type": "string"}]}
    block = block_of(table, schema, [encoded(schema, {"row_id": text})])
    made = native_block(block)
    assert (made is not None) is (text.lower() == UUID)
    if made is not None:
        assert made == as_the_engine_does(block, engine)


UNKNOWN = [
    ("long", "UInt64"),
    ("int", "Int64"),
    ("long", "DateTime64(3, 'UTC')"),
    ("string", "Date"),
    ("boolean", "String"),
    ("double", "Float64"),
    (["null", "string"], "String"),
    ({"type": "array", "items": "long"}, "Array(Int64)"),
]


@pytest.mark.parametrize(("avro", "column"), UNKNOWN, ids=str)
def test_pair_of_types_that_it_does_not_know_is_left_to_the_engine(avro: Any, column: str) -> None:
    """A table to come need not wait for it."""
    table = Table("t", ("t",), (("a", "String", "a"), ("b", column, "b")), ("a",))
    fields = [{"name": "a", "type": "string"}, {"name": "b", "type": avro}]
    assert native_block(block_of(table, {"type": "record", "name": "R", "fields": fields}, [b"\0\0\0"])) is None
    fields[1]["name"] = "in no column"
    if avro not in ("long", "int", "string"):
        assert native_block(block_of(table, {"type": "record", "name": "R", "fields": fields}, [b"\0\0\0"])) is None


def test_plan_that_cannot_be_is_an_error_and_nothing_is_read() -> None:
    """Two fields of one column would write beyond its place."""
    assert native.native is not None
    string = native.KINDS.index("string")
    column = (b"\1a\6String", 1)
    assert native.native([b"\2x"], ((string, 0, 0),), (column,)) == b"\1\1\1a\6String\1x"
    for fields in [
        ((string, 0, 0),) * 2,
        ((string, 1, 0),),
        ((99, 0, 0),),
        ((-1, 0, 0),),
        ((0, 0, 5),),
        ((0, -1, -5),),
    ]:
        with pytest.raises(ValueError, match=r"."):
            native.native([b"\2x\2x"], fields, (column,))
    for datums, fields in [(["x"], ((string, 0, 0),)), ([b"x"], (5,)), (5, ()), ([bytearray(b"x")], ())]:
        with pytest.raises((TypeError, SystemError)):
            native.native(datums, fields, (column,))
