"""What several of the contract suites run against."""

from collections.abc import Iterator

import pytest

from testkit.clickhouse_server import ClickHouseServer, binary


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    """Debian's server, one a module."""
    if binary() is None:
        pytest.skip("Debian's package clickhouse-server is not installed: apt-get install clickhouse-server")
    running = ClickHouseServer(tmp_path_factory.mktemp("clickhouse-server"))
    running.start()
    yield running
    running.stop()
