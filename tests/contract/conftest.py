"""What several of the contract suites run against."""

import os
from collections.abc import Iterator

import pytest

from testkit.clickhouse_server import GIVEN, AnyServer, ClickHouseServer, GivenServer, missing


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    """A server that may be killed, one a module."""
    if reason := missing():
        pytest.skip(reason)
    running = ClickHouseServer(tmp_path_factory.mktemp("clickhouse-server"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> AnyServer:
    """The server that the environment names, or one of the module's own."""
    if url := os.environ.get(GIVEN):
        return GivenServer(url)
    own: ClickHouseServer = request.getfixturevalue("own_server")
    return own
