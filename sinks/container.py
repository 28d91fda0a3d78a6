"""Pure: bare Avro datums as an object container file, without decoding them.

Source: Avro 1.12 specification, "Object Container Files".
"""

import json
from collections.abc import Sequence
from typing import Any

from schemas.encoders import varint

MAGIC = b"Obj\x01"
SYNC = b"unjoin-container"  # 16 bytes; only has to be the same throughout a file
# Datums share an Avro block only because each was checked to be exactly one (`schemas.lengths`): within a block they
# have no boundaries of their own. Larger blocks than this measure no faster.
DATUMS_PER_BLOCK = 1_000


def container(schema: Any, datums: Sequence[bytes]) -> bytes:
    """A file that holds the datums in order.

    Args:
        schema: the one they were written with, as fastavro parses it.
        datums: each exactly one datum.
    """
    declared = json.dumps(schema, separators=(",", ":")).encode()
    parts = [MAGIC, _long(2), _text(b"avro.schema"), _text(declared), _text(b"avro.codec"), _text(b"null"), b"\0", SYNC]
    for start in range(0, len(datums), DATUMS_PER_BLOCK):
        group = datums[start : start + DATUMS_PER_BLOCK]
        parts += (_long(len(group)), _long(sum(map(len, group))), *group, SYNC)
    return b"".join(parts)


def _text(value: bytes) -> bytes:
    return _long(len(value)) + value


def _long(number: int) -> bytes:
    """A number from 0 on, zigzag and variable-length."""
    return varint(number << 1)
