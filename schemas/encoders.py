"""Objects to record values, by functions generated from the schemas: five to ten times as fast as fastavro.

The events of one request share most fields: site, session, type. So an encoder is made in two steps:

    maker = encoder_maker("events.signals-value", shared=("site", "session", "type", …))     once, generates source
    encode = maker(site="shop", session="s-1", type="pointer", …)                            once a request
    values = encode(events)                                                                  once for its events

Every encoder writes the bytes that fastavro writes; tests/schemas/test_encoders.py checks this. `source_of` returns the
generated source. Source: Avro 1.12 specification, binary encoding.
"""

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from struct import Struct
from typing import Any

import msgspec

from schemas.codec import header
from schemas.registry import latest

Encoder = Callable[[Iterable[Any]], list[bytes]]

LOW_BITS = 14
LOW_MASK = (1 << LOW_BITS) - 1
CACHED_MAX = 4_096
# One call packs several arrays up to this length; for longer ones the larger tuple costs more than the calls.
SHORT_MAX = 6
_DAY_0 = datetime.date(1970, 1, 1).toordinal()


def varint(number: int) -> bytes:
    """A number of 0 or more as a varint: seven bits a byte, lowest bits first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


class _Varints(dict[int, bytes]):
    """A cache of varints by number. Clients choose timestamps, so it is emptied when it holds `CACHED_MAX`."""

    def __missing__(self, number: int) -> bytes:
        if number >> 64 - LOW_BITS:
            raise ValueError("an Avro long has 64 bits")
        if len(self) >= CACHED_MAX:
            nothing = self[0]
            self.clear()
            self[0] = nothing
        made = self[number] = varint(number)
        return made


# Doubles as the machine has them, where Avro's are the same, are packed in two thirds of the time.
_ORDER = "" if Struct("d").pack(1.5) == Struct("<d").pack(1.5) else "<"


class _Doubles(dict[int, Callable[..., bytes]]):
    """A cache of functions that pack so many doubles; bounded, for a schema does not bound an array."""

    def __missing__(self, count: int) -> Callable[..., bytes]:
        if count == 0:
            raise ValueError("an empty array is one zero byte, and not written as others are")
        pack = Struct(f"{_ORDER}{count}d").pack
        if count < CACHED_MAX:
            self[count] = pack
        return pack


class _Equal(dict[int, Callable[..., bytes]]):
    """A cache, by length, of functions that pack several arrays of this length and their counts in one call."""

    def __init__(self, arrays: int) -> None:
        super().__init__()
        self._arrays = arrays

    def __missing__(self, count: int) -> Callable[..., bytes]:
        pack = self[count] = Struct("<" + f"1s{count}dx" * self._arrays).pack
        return pack


def _text(value: str) -> bytes:
    encoded = value.encode()
    return varint(len(encoded) << 1) + encoded


def _texts(values: Sequence[str]) -> bytes:
    return varint(len(values) << 1) + b"".join(map(_text, values)) + b"\0" if values else b"\0"


def _fixed(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise ValueError
    return value


# The names that generated source uses. A long of 15 bits or more is two low bytes, from a table, and then a varint
# of the rest. Timestamps share this rest for eight seconds, so the cache nearly always has it. A shorter long has none.
_SCOPE: dict[str, Any] = {
    "DOUBLES": _Doubles(),
    "EQUAL": {arrays: _Equal(arrays) for arrays in range(1, 5)},
    "HIGH": _Varints({0: b""}),
    "LENGTH": _Varints({0: b"\0"}),
    "LOW": [bytes((low & 0x7F | 0x80, low >> 7 | 0x80)) for low in range(LOW_MASK + 1)],
    "SMALL": [varint(number) for number in range(LOW_MASK + 1)],
    "fixed": _fixed,
    "join": b"".join,
    "text": _text,
    "texts": _texts,
}


class _Field(msgspec.Struct):
    """One field, a nested record's included.

    Attributes:
        parts: expressions whose bytes follow each other.
        lines: statements that go before; `{value}` stands for what the field is read from.
        default: the schema's, None where there is none.
        short_parts: what to take instead of `parts` where the event's arrays are short, if there is a difference.
    """

    name: str
    parts: list[str]
    lines: list[str] = []
    default: Any = None
    short_parts: list[str] | None = None


def encoder_maker(
    subject: str,
    shared: Sequence[str] = (),
    attributes: Mapping[str, str] | None = None,
    branches: Mapping[str, str] | None = None,
    equal: Sequence[str] = (),
    *,
    constant: Mapping[str, Any] | None = None,
) -> Callable[..., Encoder]:
    """Generates a function that takes the values of the shared fields, by name, and gives an encoder for the others.

    The encoder takes objects and gives their record values, Confluent header included. It raises AttributeError,
    TypeError or ValueError, UnicodeEncodeError among them, where one does not fit, which is a bug of the caller.

    Args:
        subject: its newest schema is written.
        shared: names of fields, a chosen branch's as well; one with a default in the schema may be left out later.
        attributes: by field, what the object calls it, where that is not the field's name.
        branches: by union field, the full name of the record that is written; its fields are the object's own.
        equal: arrays of doubles that have one length, not zero; struct.error or ValueError where they do not.
        constant: the values of fields that every record has, strings or empty arrays; they are not given later.

    A date is a `datetime.date`, a timestamp an integer in its unit, a UUID a string or a `UUID`.
    """
    scope = dict(_SCOPE)
    source = source_of(subject, shared, attributes, branches, equal, constant=constant)
    exec(compile(source, f"<encoder of {subject}>", "exec"), scope)  # generated from our own schemas, never from input
    maker: Callable[..., Encoder] = scope["maker"]
    return maker


def source_of(
    subject: str,
    shared: Sequence[str] = (),
    attributes: Mapping[str, str] | None = None,
    branches: Mapping[str, str] | None = None,
    equal: Sequence[str] = (),
    *,
    constant: Mapping[str, Any] | None = None,
) -> str:
    """The generated source; see `encoder_maker`."""
    fields = _fields_of(latest(subject).parsed, branches or {}, equal)
    names = [field.name for field in fields if field.name]
    assert set(shared) <= set(names), f"{subject} has no such fields"
    defaults = {field.name: f"={field.default!r}" for field in fields if field.default is not None}
    parameters = ", ".join(name + defaults.get(name, "") for name in shared)
    outer = [f"def maker(*, {parameters}):" if shared else "def maker():"]
    inner = ["    def encode(events):", "        values = []", "        for event in events:"]
    parts: list[str] = []
    short_parts: list[str] = []
    run = [repr(header(subject))]  # consecutive parts that are the same in every record

    def end_run() -> None:
        if run:
            for some in (parts, short_parts):
                some.append(f"shared_{len(outer)}")
            outer.append(f"    shared_{len(outer)} = {_join_of(run, depth=2)}")
            run.clear()

    for field in fields:
        if field.name in (constant or {}):
            value = (constant or {})[field.name]
            run.append(repr(_text(value) if isinstance(value, str) else _texts(value)))
        elif not field.name or field.name in shared:
            lines = [line.format(value=field.name) for line in field.lines]
            outer += [f"    {line}" for line in lines if line != f"{field.name} = {field.name}"]
            run += field.parts
        else:
            end_run()
            value = f"event.{(attributes or {}).get(field.name, field.name)}"
            inner += [f"            {line.format(value=value)}" for line in field.lines]
            parts += field.parts
            short_parts += field.parts if field.short_parts is None else field.short_parts
    end_run()
    if short_parts == parts:
        inner.append(f"            values.append({_join_of(parts, depth=4)})")
    else:
        inner += [
            f"            if count <= {SHORT_MAX}:",
            f"                values.append({_join_of(short_parts, depth=5)})",
        ]
        inner += ["            else:", f"                values.append({_join_of(parts, depth=5)})"]
    inner.append("        return values")
    return "\n".join([*outer, *inner, "    return encode", ""])


def _join_of(parts: Sequence[str], depth: int) -> str:
    indent = "    " * depth
    return "join((\n" + "".join(f"{indent}{part},\n" for part in parts) + f"{indent[4:]}))"


def _fields_of(schema: Any, branches: Mapping[str, str], equal: Sequence[str]) -> list[_Field]:
    """A record's fields in the order of writing; the number of a union's branch is a field without a name."""
    fields = []
    side_by_side = "".join(f" {name}" for name in equal) in "".join(f" {field['name']}" for field in schema["fields"])
    for field in schema["fields"]:
        name, kind = field["name"], field["type"]
        if isinstance(kind, list):
            number = [option["name"] for option in kind].index(branches[name])
            fields.append(_Field("", [repr(varint(number << 1))]))
            fields += _fields_of(kind[number], branches, equal)
        elif isinstance(kind, dict) and kind["type"] == "record":
            fields += _fields_of(kind, branches, equal)
        elif name in equal:
            fields.append(_equal_samples(name, equal, side_by_side=side_by_side))
        else:
            fields.append(msgspec.structs.replace(_field(name, kind), default=field.get("default")))
    return fields


def _equal_samples(name: str, equal: Sequence[str], *, side_by_side: bool) -> _Field:
    lines = [f"{name} = {{value}}"]
    if name == equal[0]:
        lines += [f"count = len({name})", "length, pack = LENGTH[count << 1], DOUBLES[count]"]
    parts = ["length", f"pack(*{name})", "b'\\0'"]
    if not side_by_side:
        return _Field(name, parts, lines)
    at_once = f"EQUAL[{len(equal)}][count]({', '.join(f'length, *{each}' for each in equal)})"
    return _Field(name, parts, lines, short_parts=[at_once] if name == equal[-1] else [])


def _field(name: str, schema: Any) -> _Field:
    kind = schema["type"] if isinstance(schema, dict) else schema
    logical = schema.get("logicalType") if isinstance(schema, dict) else None
    if kind in ("string", "bytes"):
        text = "str({value})" if logical == "uuid" else "{value}"
        line = f"{name} = {text}.encode()" if kind == "string" else f"{name} = {{value}}"
        return _Field(name, [f"LENGTH[len({name}) << 1]", name], [line])
    if kind in ("int", "long"):
        number = f"{{value}}.toordinal() - {_DAY_0}" if logical == "date" else "{value}"
        return _Field(
            name,
            [f"(LOW if {name} >> {LOW_BITS} else SMALL)[{name} & {LOW_MASK}]", f"HIGH[{name} >> {LOW_BITS}]"],
            [f"{name} = {number}", f"{name} = {name} << 1 ^ {name} >> 63"],
        )
    if kind == "boolean":
        return _Field(name, [f"SMALL[{name}]"], [f"{name} = {{value}}"])
    if kind == "fixed":
        return _Field(name, [f"fixed({name}, {schema['size']})"], [f"{name} = {{value}}"])
    if kind == "array" and schema["items"] == "double":
        count = f"{name}_count"
        return _Field(
            name,
            [f"LENGTH[{count} << 1]", f"DOUBLES[{count}](*{name}) + b'\\0' if {count} else b''"],
            [f"{name} = {{value}}", f"{count} = len({name})"],
        )
    if kind == "array" and schema["items"] == "string":
        return _Field(name, [f"texts({name})"], [f"{name} = {{value}}"])
    raise NotImplementedError(f"no encoder for Avro type {kind}; add it here before a schema uses it")
