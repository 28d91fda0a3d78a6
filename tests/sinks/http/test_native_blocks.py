"""Native as a client of a protocol version reads it: held to clickhouse-driver, which decodes both."""

from contextlib import suppress
from typing import Any

import pytest
from clickhouse_driver.bufferedreader import CompressedBufferedReader
from clickhouse_driver.context import Context
from clickhouse_driver.streams.native import BlockInputStream
from hypothesis import given
from hypothesis import strategies as st

from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.statements import literal
from sinks.http.native_blocks import CUSTOM_SERIALIZATION, LOW_CARDINALITY, UnknownType, with_version

PLAIN = st.sampled_from(
    (
        *("UInt8", "Int64", "Float64", "String", "FixedString(3)", "Date", "DateTime('UTC')", "UUID", "IPv4", "IPv6"),
        *("Int128", "UInt256", "Decimal(9, 2)", "Decimal(38, 3)", "Bool", "Date32", "Enum8('a' = 1)"),
    )
)
IN_DICTIONARY = st.sampled_from(("String", "Nullable(String)", "FixedString(2)"))
KINDS = st.recursive(
    PLAIN | PLAIN.map("Nullable({})".format) | IN_DICTIONARY.map("LowCardinality({})".format),
    lambda inner: (
        inner.map("Array({})".format)
        | st.lists(inner, min_size=1, max_size=3).map(lambda kinds: f"Tuple({', '.join(kinds)})")
        # The driver cannot read a map whose values' type has a comma.
        | inner.filter(lambda kind: "," not in kind).map("Map(String, {})".format)
        | inner.map("Tuple(b {}, c UInt8)".format)
    ),
    max_leaves=4,
)


class ServerInfo:
    """What the driver asks of a server before it reads a block."""

    def __init__(self, revision: int) -> None:
        self.used_revision = revision

    def get_timezone(self) -> str:
        return "UTC"


def decoded(body: bytes | bytearray, revision: int) -> list[Any]:
    """The blocks of a body, by clickhouse-driver: names, types and values of their columns."""
    context = Context()
    context.server_info = ServerInfo(revision)
    context.client_settings = {"strings_as_bytes": True, "use_numpy": False, "opentelemetry_traceparent": None}
    context.settings = {}
    pieces = [bytes(body)]
    stream = BlockInputStream(CompressedBufferedReader(pieces.pop, len(body)), context)
    blocks = []
    while True:
        try:
            block = stream.read()
        except (EOFError, IndexError):  # `pieces` is empty: the body has been read
            return blocks
        blocks.append((block.columns_with_types, repr(block.data)))


@given(kinds=st.lists(KINDS, min_size=1, max_size=3), rows=st.integers(0, 9), seed=st.integers(0, 1_000))
def test_any_block_holds_the_same_for_a_client_of_a_version(
    embedded: Embedded, kinds: list[str], rows: int, seed: int
) -> None:
    structure = literal(", ".join(f"c{number} {kind}" for number, kind in enumerate(kinds)))
    sql = f"SELECT * FROM generateRandom({structure}, {seed}, 5, 3) LIMIT {rows} SETTINGS max_block_size = 4"
    body = embedded.select(sql, "Native")
    plain = decoded(body, 0)
    assert decoded(with_version(body, CUSTOM_SERIALIZATION), CUSTOM_SERIALIZATION) == plain
    assert decoded(with_version(body, LOW_CARDINALITY), LOW_CARDINALITY) == plain
    assert bool(plain) == bool(rows)


@pytest.mark.parametrize(
    "kind",
    [
        "Tuple(`a (, b` UInt8, `it\\\\'s` String)",
        "Enum8('a (, b' = 1, 'it\\'s' = 2)",
        "Map(String, Map(String, Tuple(UInt8, String)))",
        "Nested(`a b` UInt8, c Array(LowCardinality(Nullable(String))))",
        "MultiPolygon",
        "SimpleAggregateFunction(sum, UInt64)",
    ],
)
def test_a_type_that_the_driver_cannot_read_is_walked_over_to_the_end(embedded: Embedded, kind: str) -> None:
    body = embedded.select(f"SELECT * FROM generateRandom({literal('a ' + kind)}, 1, 5, 3) LIMIT 3", "Native")
    assert len(with_version(body, LOW_CARDINALITY)) == len(body) + 8


@pytest.mark.parametrize("value", ["1::Dynamic", "1::Variant(UInt8, String)", "'{}'::JSON", "[sumState(1)]"])
def test_a_column_that_cannot_be_walked_over_is_named(embedded: Embedded, value: str) -> None:
    """A guess would shift every column after it."""
    with pytest.raises(UnknownType):
        with_version(embedded.select(f"SELECT {value}", "Native"), CUSTOM_SERIALIZATION)


@given(body=st.binary(max_size=60))
def test_any_bytes_are_walked_over_or_refused(body: bytes) -> None:
    """A form's files come from anybody."""
    with suppress(ValueError, IndexError):
        with_version(body, LOW_CARDINALITY)
