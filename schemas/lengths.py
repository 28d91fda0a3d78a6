"""How long a datum is, without decoding it: a walker generated from the schema.

The sink hands datums to the engine as they are. Datums that share a file have no boundaries of their own, so a
record with trailing bytes would forge a row and eat its neighbour; every datum's length is checked first.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from schemas.outcomes import DeadLetterReason, DecodeError
from schemas.registry import by_id

Walker = Callable[[bytes, int], int]

_FIXED_BYTES = {"null": 0, "boolean": 1, "float": 4, "double": 8}

_PRELUDE = '''
def varint(datum, at):
    """The zigzag number at `at`, and where it ends."""
    number = shift = 0
    while True:
        byte = datum[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
        shift += 7
        if shift > 63:
            raise ValueError
'''


def check_datum(schema_id: int, datum: bytes) -> None:
    """Passes where `datum` is exactly one datum of the schema.

    Raises:
        DecodeError: it is cut short or malformed, or bytes follow it.
    """
    try:
        end = _walker(schema_id)(datum, 0)
    except (IndexError, ValueError):
        raise DecodeError(DeadLetterReason.MALFORMED_DATUM) from None
    if end > len(datum):
        raise DecodeError(DeadLetterReason.MALFORMED_DATUM)
    if end < len(datum):
        raise DecodeError(DeadLetterReason.TRAILING_BYTES)


@cache
def _walker(schema_id: int) -> Walker:
    lines = ["def walk(datum, at):"]
    _emit(by_id()[schema_id].parsed, lines, 1, {}, [0])
    lines.append("    return at")
    scope: dict[str, Any] = {}
    exec(_PRELUDE + "\n".join(lines), scope)  # generated from our own schemas, never from input
    walker: Walker = scope["walk"]
    return walker


def _emit(schema: Any, lines: list[str], depth: int, named: dict[str, Any], counter: list[int]) -> None:
    """Appends the statements that move `at` past one value of `schema`."""

    def say(text: str) -> None:
        lines.append("    " * depth + text)

    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(schema, list):
        say("branch, at = varint(datum, at)")
        for number, option in enumerate(schema):
            say(f"{'if' if number == 0 else 'elif'} branch == {number}:")
            lines.append("    " * (depth + 1) + "pass")
            _emit(option, lines, depth + 1, named, counter)
        say("else:")
        say("    raise ValueError")
    elif kind == "record":
        named[schema["name"]] = schema
        for field in schema["fields"]:
            _emit(field["type"], lines, depth, named, counter)
    elif kind == "fixed":
        named[schema["name"]] = schema
        say(f"at += {schema['size']}")
    elif kind in _FIXED_BYTES:
        say(f"at += {_FIXED_BYTES[kind]}")
    elif kind in ("int", "long"):
        say("if datum[at] < 0x80:")
        say("    at += 1")
        say("else:")
        say("    _, at = varint(datum, at)")
    elif kind in ("string", "bytes"):
        say("size, at = varint(datum, at)")
        say("if size < 0 or size > len(datum):")
        say("    raise ValueError")
        say("at += size")
    elif kind == "array":
        counter[0] += 1
        count = f"count{counter[0]}"
        say("while True:")
        say(f"    {count}, at = varint(datum, at)")
        say(f"    if {count} == 0:")
        say("        break")
        say(f"    if {count} < 0:")
        say("        size, at = varint(datum, at)")
        say(f"        {count} = -{count}")
        say(f"    if {count} > len(datum):")
        say("        raise ValueError")
        item_bytes = _FIXED_BYTES.get(schema["items"]) if isinstance(schema["items"], str) else None
        if item_bytes:
            say(f"    at += {count} * {item_bytes}")
        else:
            say(f"    for _ in range({count}):")
            _emit(schema["items"], lines, depth + 2, named, counter)
    elif kind in named:
        _emit(named[kind], lines, depth, named, counter)
    else:
        raise NotImplementedError(f"no walker for Avro type {kind}; add it here before a schema uses it")
