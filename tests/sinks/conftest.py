"""What several of the sinks' tests need of the engine."""

from collections.abc import Iterator

import pytest

from sinks.clickhouse.embedded import Embedded


@pytest.fixture
def unmerged(engine: Embedded) -> Iterator[Embedded]:
    """The engine with merges held still, for tests that count rows which a merge would collapse at any moment."""
    engine.select("SYSTEM STOP MERGES", "Null")
    try:
        yield engine
    finally:
        engine.select("SYSTEM START MERGES", "Null")
