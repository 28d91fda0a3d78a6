"""Pure: bare Avro datums as an object container file, without decoding them.

Datums of one block have no boundaries between them: bytes behind a datum would be read as a forged row, and a datum cut
short would take the first bytes of the next one. So the same few random bytes follow each datum, as the last field of
the file's schema, and the reader of the file compares this field in each row. A block says how many datums it has and
where it ends, so a row finds the bytes only where its own datum ends. Writers of datums do not know the bytes.
Source: Avro 1.12 specification, "Object Container Files".
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from schemas.encoders import varint

MAGIC = b"Obj\x01"
SYNC = b"unjoin-container"  # 16 bytes, the same throughout a file
DATUMS_PER_BLOCK = 1_000  # larger blocks were not faster when measured
END = "unjoin_end"
END_BYTES = 8
_END_FIELD = {"name": END, "type": {"type": "fixed", "name": "unjoin.End", "size": END_BYTES}}


def container(schema: Any, datums: Sequence[bytes], end: bytes) -> Iterator[bytes]:
    """Yields, piece by piece, a file of the datums in order, each with `end` as its last field.

    Args:
        schema: the one they were written with, as fastavro parses it.
        datums: each should be exactly one datum.
        end: `END_BYTES` random bytes, new for each file.
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
    """An Avro long of 0 or more: zigzag, variable length."""
    return varint(number << 1)
