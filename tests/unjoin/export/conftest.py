"""The engine as exports read it."""

import pytest

from sinks.clickhouse.embedded import Embedded
from unjoin.export.source import ReadTable, table_of


@pytest.fixture
def source(engine: Embedded) -> ReadTable:
    """Every table is empty."""
    return lambda sql, schema: table_of(engine.select(sql, "ArrowStream"), schema)
