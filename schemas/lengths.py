"""The length of a datum and the place of its strings, without decoding it, by functions generated from the schema.

The sink gives datums to the engine undecoded. The engine says that some datum of a file is not exactly one datum; this
module finds which one, and what is wrong with it.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any

from schemas.outcomes import DeadLetterReason, DecodeError
from schemas.registry import by_id

Bytes = bytes | memoryview
Walker = Callable[[Bytes, int], tuple[int, tuple[Bytes, ...]]]

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


def long(datum, at):
    """Bytes of the number at `at`."""
    return varint(datum, at)[1] - at


def longs(datum, at):
    """Bytes of the two numbers at `at`."""
    return varint(datum, varint(datum, at)[1])[1] - at


def sized(datum, at):
    """Bytes of the string at `at`, its length included."""
    if datum[at] > 0x7F > datum[at + 1] and datum[at] % 2 == 0:  # of 64 to 8127 bytes
        return 2 + (datum[at] & 0x7F | datum[at + 1] << 7) // 2
    size, end = varint(datum, at)
    if size < 0 or size > len(datum):
        raise ValueError
    return end - at + size


def block(datum, at, item_bytes):
    """Items of the array's block at `at`, and where it ends; after 0 items the array does."""
    count, at = varint(datum, at)
    if count < 0:
        _, at = varint(datum, at)
        count = -count
    if count > len(datum):
        raise ValueError
    return count, at + count * item_bytes
'''

# Bit masks for two timestamps of 6 bytes each: the continuation bits of the 12 bytes, and which of them are set.
_GO_ON = int.from_bytes(b"\x80" * 12)
_TIMES = int.from_bytes(b"\x80\x80\x80\x80\x80\0" * 2)

# Bytes of a string or block by its first byte, where a length or count of 0 to 63 is all it says; else 0.
_SIZED = tuple(1 + byte // 2 if byte < 0x80 and byte % 2 == 0 else 0 for byte in range(256))
_BLOCKS = {item_bytes: tuple((step - 1) * item_bytes + 1 if step else 0 for step in _SIZED) for item_bytes in (1, 4, 8)}


def check_datum(schema_id: int, datum: Bytes) -> None:
    """Raises unless `datum` is exactly one datum of the schema.

    Raises:
        DecodeError: it is cut short or malformed, or bytes follow it.
    """
    end, _ = walker(schema_id)(datum, 0)
    if end < len(datum):
        raise DecodeError(DeadLetterReason.TRAILING_BYTES)


def text_of(string: bytes) -> str:
    """Decodes a string that a walker returned.

    Raises:
        DecodeError: it is not UTF-8.
    """
    at = next(at for at, byte in enumerate(string, 1) if byte < 0x80)
    try:
        return string[at:].decode()
    except UnicodeDecodeError:
        raise DecodeError(DeadLetterReason.MALFORMED_DATUM) from None


@cache
def walker(schema_id: int, names: tuple[str, ...] = ()) -> Walker:
    """What walks over the datum that begins somewhere in bytes; with names, to the end of the last field of them.

    Returns:
        A function of bytes and position. It gives the position where it ended and the strings of these names, each with
        its length before it; an empty one where the schema has no such field. It raises DecodeError where the datum is
        cut short or malformed before that.
    """
    lines = ["def walk(datum, at):", "    try:"]
    found = dict.fromkeys(names, repr(b"\0"))
    named: dict[str, Any] = {}
    counter = [0]
    fields = by_id()[schema_id].parsed["fields"]
    if names:
        fields = fields[: max((number for number, field in enumerate(fields, 1) if field["name"] in found), default=0)]
    for two_times, field in _paired(fields):
        if two_times:
            lines.append("        at += 12 if from_bytes(datum[at:at + 12]) & GO_ON == TIMES else longs(datum, at)")
        elif field["name"] in found:
            assert field["type"] == "string", "only strings are returned"
            start, found[field["name"]] = f"start{len(lines)}", f"string{len(lines)}"
            lines.append(f"        {start} = at")
            _emit("string", lines, 2, named, counter)
            lines.append(f"        {found[field['name']]} = datum[{start}:at]")
        else:
            _emit(field["type"], lines, 2, named, counter)
    lines += [
        "    except (IndexError, ValueError):",
        "        raise malformed() from None",
        "    if at > len(datum):",
        "        raise malformed()",
        f"    return at, ({''.join(f'{name}, ' for name in found.values())})",
    ]
    scope: dict[str, Any] = {
        "SIZED": _SIZED,
        **{f"BLOCKS{size}": steps for size, steps in _BLOCKS.items()},
        **{"from_bytes": int.from_bytes, "GO_ON": _GO_ON, "TIMES": _TIMES},
        "malformed": partial(DecodeError, DeadLetterReason.MALFORMED_DATUM),
    }
    exec(_PRELUDE + "\n".join(lines), scope)  # generated from our own schemas, never from input
    walk: Walker = scope["walk"]
    return walk


def _paired(fields: Sequence[Any]) -> Iterator[tuple[bool, Any]]:
    """Each field, but two numbers that follow each other as one pair."""
    left = deque(fields)
    while left:
        field = left.popleft()
        pair = bool(left) and _is_long(field) and _is_long(left[0])
        if pair:
            left.popleft()
        yield pair, field


def _is_long(field: Any) -> bool:
    kind = field["type"]
    return kind == "long" or (isinstance(kind, dict) and kind["type"] == "long")


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
        ends = " else ".join(f"{n} if datum[at + {n - 1}] < 0x80" for n in range(1, 7))  # 6 bytes: a time
        say(f"at += {ends} else long(datum, at)")
    elif kind in ("string", "bytes"):
        say("at += SIZED[datum[at]] or sized(datum, at)")
    elif kind == "array" and (item_bytes := _fixed_bytes(schema["items"])):
        say("while datum[at]:")
        say(f"    if step := BLOCKS{item_bytes}[datum[at]]:")
        say("        at += step")
        say("        continue")
        say(f"    count, at = block(datum, at, {item_bytes})")
        say("    if count == 0:  # in more bytes than it needs")
        say("        break")
        say("else:")
        say("    at += 1")
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
        say(f"    for _ in range({count}):")
        _emit(schema["items"], lines, depth + 2, named, counter)
    elif kind in named:
        _emit(named[kind], lines, depth, named, counter)
    else:
        raise NotImplementedError(f"no walker for Avro type {kind}; add it here before a schema uses it")


def _fixed_bytes(items: Any) -> int:
    """Bytes of each item of an array; 0 where they differ."""
    return _FIXED_BYTES.get(items, 0) if isinstance(items, str) else 0
