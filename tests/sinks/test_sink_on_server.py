"""The whole sink in front of a server: real broker, the project's migrations, and the user of deploy/ that writes."""

import asyncio
from collections.abc import Iterator

import pytest

from sinks.clickhouse.address import address_of
from sinks.clickhouse.server import Server
from testkit.clickhouse_server import ClickHouseServer, missing
from testkit.commanded_engine import NEVER_MERGES
from testkit.sink_environment import SinkEnvironment, until
from tests.sinks.test_sink_process import Sink

pytestmark = [pytest.mark.kafka, pytest.mark.server]

COUNTS = "SELECT count() AS stored, uniqExact(ts) AS different FROM unjoin.signals"


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    if reason := missing():
        pytest.skip(reason)
    passwords = {f"CLICKHOUSE_{user}_PASSWORD_SHA256": "ab" * 32 for user in ("ANALYST", "ML", "PRIVACY")}
    running = ClickHouseServer(
        tmp_path_factory.mktemp("server"), deployed=True, environment=passwords | {"CLICKHOUSE_SINK_PASSWORD": "sink"}
    )
    running.start()
    yield running
    running.stop()


def test_sink_and_server_killed_under_load_store_every_row_once(
    bootstrap: str, server: ClickHouseServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The table collapses what is there twice only when it merges, and merges are stopped."""
    url = server.url_of("sink", "sink")

    async def play() -> None:
        async with SinkEnvironment(bootstrap) as world:
            world.group += "signals"
            sink = Sink(world, tmp_path_factory.mktemp("sink"), server=address_of(url), block_ms_max=20)
            await sink.start()
            try:
                await world.produce(2_000)
                ends = await world.ends()
                await until(world.commits, lambda commits: commits == ends)
                await asyncio.to_thread(stop_merges, url)
                for victim in (sink.kill, server.kill):
                    before = await world.commits()
                    producing = asyncio.create_task(world.produce(10_000))
                    await until(world.commits, lambda commits, before=before: commits != before)
                    await asyncio.to_thread(victim)
                    if victim == sink.kill:
                        await sink.start()
                    else:
                        await asyncio.to_thread(server.start)
                    await producing
                ends = await world.ends()
                await until(world.commits, lambda commits: commits == ends)
                assert await asyncio.to_thread(counts, url) == (len(world.produced),) * 2
                assert await sink.stop() == 0
            finally:
                sink.kill()

    asyncio.run(play())


def counts(url: str) -> tuple[int, int]:
    """Physical rows, and different ones."""
    engine = Server(address_of(url))
    try:
        stored, different = engine.select(COUNTS, "TabSeparated", final=False).split()
    finally:
        engine.close()
    return int(stored), int(different)


def stop_merges(url: str) -> None:
    """By the table's own settings, which outlive the server; this user may not stop the merges of a whole server."""
    engine = Server(address_of(url))
    try:
        engine.run(f"ALTER TABLE unjoin.signals MODIFY SETTING {NEVER_MERGES}")
    finally:
        engine.close()
