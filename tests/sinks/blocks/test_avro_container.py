"""Datums in a container file."""

import io

import fastavro
import pytest

from schemas.registry import latest
from sinks.blocks.avro_container import DATUMS_PER_BLOCK, container
from testkit.sink_records import encoded, signal


@pytest.mark.parametrize("count", [0, 1, DATUMS_PER_BLOCK, DATUMS_PER_BLOCK + 1, 3 * DATUMS_PER_BLOCK + 7])
def test_a_stock_reader_finds_every_datum_in_order(count: int) -> None:
    """The file is Avro's own format, whatever the number of its blocks."""
    schema = latest("events.signals-value").parsed
    rows = [signal(number) for number in range(count)]
    file = b"".join(container(schema, [encoded(schema, row) for row in rows], b"the  end"))
    found = list(fastavro.reader(io.BytesIO(file)))
    assert [row["event_id"] for row in found] == [row["event_id"] for row in rows]
    assert all(row["unjoin_end"] == b"the  end" for row in found)
