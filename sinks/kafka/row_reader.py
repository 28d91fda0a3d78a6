"""The rows of a record batch from its bytes, without an object of aiokafka's for a record.

`_rows.c` does it, where it was compiled. Then, and for every batch that is out of the ordinary (a value of no schema of
the table, headers, another compression), there are aiokafka's records, and the worker makes rows of them.
"""

from collections.abc import Mapping
from typing import Any

import cramjam

from sinks.kafka.block_planner import Row, Rows

try:
    from sinks.kafka._rows import rows
except ImportError:
    rows = None

# Where fields of a batch lie. Source: KIP-98; org.apache.kafka.common.record.DefaultRecordBatch.
LENGTH_AT, LENGTH_END = 8, 12
_MAGIC_AT, _MAGIC = 16, 2
_CODEC_AT, _CODEC_MASK, _NO_CODEC, _ZSTD = 22, 0x07, 0, 4
_COUNT_AT, RECORDS_AT = 57, 61


def rows_of(batch: memoryview, first: int, schemas: Mapping[bytes, Any]) -> Rows | None:
    """The rows of a batch from an offset on; None where this module is not for it.

    Args:
        batch: whole, and what its sum says.
        schemas: of the table's values, by their first bytes.
    """
    if rows is None or batch[_MAGIC_AT] != _MAGIC:
        return None
    records: Any = batch[RECORDS_AT:]
    codec = batch[_CODEC_AT] & _CODEC_MASK
    if codec == _ZSTD:
        try:
            records = cramjam.zstd.decompress(records)
        except cramjam.DecompressionError:
            return None
    elif codec != _NO_CODEC:
        return None
    count, base = int.from_bytes(batch[_COUNT_AT:RECORDS_AT], "big"), int.from_bytes(batch[:LENGTH_AT], "big")
    found = rows(records, count, base, first, schemas, Row)
    return None if found is None else Rows(*found)
