"""Pure: an answer in Native as a client of a protocol version expects it. The engine writes the one of version 0.

    version 0        columns, rows, then for each column: name, type, data
    from 54405 on    before each block its info; here always that of an ordinary block
    from 54454 on    behind each type a byte; 0: the data is serialized in the ordinary way

Where a column ends follows from its type, so its data is walked over, and decoded nowhere.

Source: ClickHouse, src/Formats/NativeWriter.cpp, src/Core/BlockInfo.cpp, src/Core/ProtocolDefines.h,
src/DataTypes/Serializations/SerializationLowCardinality.cpp.
"""

import re
from functools import lru_cache

LOW_CARDINALITY, CUSTOM_SERIALIZATION = 54_405, 54_454
# Field 1: whether the rows are an overflow; field 2: the bucket of an aggregation, -1 for none; no further field.
_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"
_WIDTHS = {
    1: ("Int8", "UInt8", "Bool", "Enum8", "Nothing"),
    2: ("Int16", "UInt16", "Date", "Enum16", "BFloat16"),
    4: ("Int32", "UInt32", "Float32", "Date32", "DateTime", "IPv4", "Decimal32", "Time"),
    8: ("Int64", "UInt64", "Float64", "DateTime64", "Decimal64", "Time64"),
    16: ("Int128", "UInt128", "UUID", "IPv6", "Decimal128"),
    32: ("Int256", "UInt256", "Decimal256"),
}
_WIDTH_OF = {name: width for width, names in _WIDTHS.items() for name in names}
_SAME_AS = {
    "Point": "Tuple(Float64, Float64)",
    "Ring": "Array(Point)",
    "LineString": "Array(Point)",
    "Polygon": "Array(Ring)",
    "MultiLineString": "Array(LineString)",
    "MultiPolygon": "Array(Polygon)",
}


class UnknownType(ValueError):
    """A column has a type whose length this module cannot tell; the text is its name."""


def with_version(body: bytes | bytearray, version: int) -> bytearray:
    """An answer of version 0 as one of `version`, which is at least `LOW_CARDINALITY`.

    Raises:
        UnknownType: a column cannot be walked over: JSON, Dynamic, Variant, a state of an aggregate function.
        IndexError: the body ends within a block.
    """
    walk, revised, copied = _Walk(body), bytearray(), 0
    with memoryview(body) as view:
        while walk.at < len(body):
            revised += _INFO
            columns, rows = walk.number(), walk.number()
            for _ in range(columns):
                walk.strings(1)
                kind = walk.string()
                if version >= CUSTOM_SERIALIZATION:
                    revised += view[copied : walk.at]
                    revised.append(0)
                    copied = walk.at
                if rows:
                    walk.prefix(kind)
                    walk.column(kind, rows)
            revised += view[copied : walk.at]
            copied = walk.at
    if walk.at != len(body):
        raise IndexError
    return revised


class _Walk:
    """A place in a body, and the steps over what lies there."""

    def __init__(self, body: bytes | bytearray) -> None:
        self._body = body
        self.at = 0

    def number(self) -> int:
        """A number of seven bits a byte."""
        value = shift = 0
        while True:
            byte = self._body[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def string(self) -> str:
        size = self.number()
        self.at += size
        return self._body[self.at - size : self.at].decode()

    def strings(self, count: int) -> None:
        body, at = self._body, self.at
        for _ in range(count):
            size = body[at]
            at += 1
            if size >= 128:
                self.at = at - 1
                size = self.number()
                at = self.at
            at += size
        self.at = at

    def word(self) -> int:
        """A number of eight bytes."""
        self.at += 8
        if self.at > len(self._body):
            raise IndexError
        return int.from_bytes(self._body[self.at - 8 : self.at], "little")

    def prefix(self, kind: str) -> None:
        """What a column begins with, before the data of any of its parts."""
        name, parts = _parsed(kind)
        if name == "LowCardinality":
            self.at += 8
        else:
            for part in parts:
                self.prefix(part)

    def column(self, kind: str, rows: int) -> None:
        """So many values of a type."""
        name, parts = _parsed(kind)
        if name == "String":
            self.strings(rows)
        elif name == "Array":
            self.at += 8 * (rows - 1)
            if items := self.word():
                self.column(parts[0], items)
        elif name == "Nullable":
            self.at += rows
            self.column(parts[0], rows)
        elif name == "LowCardinality":
            self._keys(parts[0])
        elif name == "Tuple":
            for part in parts:
                self.column(part, rows)
            self.at += 0 if parts else rows
        else:
            self.at += int(name) * rows

    def _keys(self, kind: str) -> None:
        """Different values, then for each row the number of its value, in 1 to 8 bytes."""
        key_bytes = 1 << (self.word() & 0xFF)
        values = self.word()
        self.column(kind, values)
        rows = self.word()
        self.at += key_bytes * rows


@lru_cache(maxsize=1_024)
def _parsed(kind: str) -> tuple[str, tuple[str, ...]]:
    """What a type is to a walk, and its parts.

    It is one of String, Array, Nullable, LowCardinality and Tuple, or the bytes of a value.
    """
    name, _, rest = kind.partition("(")
    parts = arguments_of(rest[:-1])
    if name == "SimpleAggregateFunction":
        return _parsed(parts[-1])
    if name in _SAME_AS:
        return _parsed(_SAME_AS[name])
    if name == "LowCardinality":  # the values lie there without the marks of Nullable
        parts = [re.sub(r"\ANullable\((.*)\)\Z", r"\1", parts[0])]
    elif name in ("Tuple", "Nested"):
        parts = list(map(_without_name, parts))
    if name in ("Map", "Nested"):
        name, parts = "Array", [f"Tuple({', '.join(parts)})"]
    elif name not in ("String", "Array", "Nullable", "LowCardinality", "Tuple"):
        name, parts = str(_width(name, parts)), []
    return name, tuple(parts)


def _width(name: str, arguments: list[str]) -> int:
    """The bytes of a value, where all values of a type have as many."""
    if name == "FixedString":
        return int(arguments[0])
    if name == "Decimal":
        return next(width for width, digits in ((4, 9), (8, 18), (16, 38), (32, 76)) if int(arguments[0]) <= digits)
    if name.startswith("Interval"):
        return 8
    if name not in _WIDTH_OF:
        raise UnknownType(name)
    return _WIDTH_OF[name]


_PIECE = re.compile(r"'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|[(),]|[^'`(),]+", re.DOTALL)


def arguments_of(text: str) -> list[str]:
    """What stands between the commas of a type, quotes and brackets respected."""
    arguments, depth = [""], 0
    for piece in _PIECE.findall(text):
        depth += (piece == "(") - (piece == ")")
        if piece == "," and not depth:
            arguments.append("")
        else:
            arguments[-1] += piece
    return [argument.strip() for argument in arguments] if text else []


def _without_name(element: str) -> str:
    """The type of a tuple's element, which may have a name before it."""
    named = re.match(r"(?:`(?:[^`\\]|\\.)*`|\w+) +(?=[A-Za-z])", element, re.DOTALL)
    return element[named.end() :] if named else element
