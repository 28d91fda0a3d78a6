"""Pure: bare Avro datums as an object container file, without decoding them.

Datums that share a block have no boundaries of their own: one with bytes behind it would forge a row, one cut short
would eat its neighbour. So each is followed by the same few random bytes, the last field of the file's schema, and
whoever reads the file compares it row by row. A block says how many datums it has and where it ends, so every row finds
the bytes only where its own datum ends. Nobody who writes datums knows them.
Source: Avro 1.12 specification, "Object Container Files".
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from schemas.encoders import varint

MAGIC = b"Obj\x01"
SYNC = b"unjoin-container"  # 16 bytes; only has to be the same throughout a file
DATUMS_PER_BLOCK = 1_000  # larger blocks measure no faster
END = "unjoin_end"
END_BYTES = 8
_END_FIELD = {"name": END, "type": {"type": "fixed", "name": "unjoin.End", "size": END_BYTES}}


def container(schema: Any, datums: Sequence[bytes], end: bytes) -> Iterator[bytes]:
    """A file that holds the datums in order, each with `end` as its last field; piece by piece.

    Args:
        schema: the one they were written with, as fastavro parses it.
        datums: each meant to be exactly one datum.
        end: `END_BYTES` bytes, new for each file.
    """
    assert len(end) == END_BYTES
    extended = {"type": "record", "name": schema["name"], "fields": [*schema["fields"], _END_FIELD]}
    declared = json.dumps(extended, separators=(",", ":")).encode()
    yield b"".join(
        (MAGIC, _long(2), _text(b"avro.schema"), _text(declared), _text(b"avro.codec"), _text(b"null"), b"\0")
    )
    yield SYNC
    for start in range(0, len(datums), DATUMS_PER_BLOCK):
        group = datums[start : start + DATUMS_PER_BLOCK]
        joined = end.join(group)
        yield _long(len(group)) + _long(len(joined) + END_BYTES)
        yield joined
        yield end + SYNC


def _text(value: bytes) -> bytes:
    return _long(len(value)) + value


def _long(number: int) -> bytes:
    """A number from 0 on, zigzag and variable-length."""
    return varint(number << 1)
