"""Sinks, real Kafka and a real server, and between them a line that fails in every way; each row physically once."""

import asyncio
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sinks.clickhouse.address import address_of
from sinks.clickhouse.server import Server
from sinks.engine import Unknown
from testkit.clickhouse_server import AnyServer, ClickHouseServer
from testkit.contract_table import DDL, PLAIN, TABLE, ServerTable, block, block_of, row
from testkit.fault_proxy import Fault, FaultProxy
from testkit.server_sink import ServerSinkConfig
from testkit.sink_configs import block_limits
from testkit.sink_environment import ContractSinkEnvironment, running, until

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
LIMITS = block_limits(rows_max=200, bytes_max=1_000_000, ms_max=50)
BY_DAY = PLAIN.format(by="day")


@pytest.fixture
def table(server: AnyServer) -> Iterator[ServerTable]:
    made = ServerTable(server)
    made.create(BY_DAY)
    yield made
    made.close()


def engine_at(server: AnyServer, port: int, answer_seconds_max: float = 30.0) -> Server:
    address = msgspec.structs.replace(address_of(server.url), port=port)
    return Server(address, answer_seconds_max=answer_seconds_max)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("reset", 0),
        Fault("reset", 1),
        Fault("reset", 2_000),
        Fault("reset", 60_000),
        Fault("lose"),
        Fault("swallow"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.bytes_sent}",
)
def test_fault_in_the_middle_of_an_insert_is_unknown_and_repaired(
    server: AnyServer, table: ServerTable, fault: Fault
) -> None:
    """Before the query, within it, within the block, after the whole of it: the same engine object goes on."""
    with FaultProxy(server.port) as proxy:
        engine = engine_at(server, proxy.port, answer_seconds_max=3.0)
        try:
            engine.insert(block(0, 10))
            proxy.once(lambda _request: fault)
            with pytest.raises(Unknown):
                engine.insert(block(10, 2_010))
            assert proxy.happened == [fault]
            repaired = 0
            while repaired < 2_010:  # "the same id is running" is unknown, too
                try:
                    engine.insert_missing(block(10, 2_010))
                except Unknown:
                    continue
                repaired = table.stored().total()
            assert table.stored() == Counter(range(2_010))
        finally:
            engine.close()


def test_accepted_insert_whose_reply_is_lost_is_not_inserted_again(server: AnyServer, table: ServerTable) -> None:
    """The rows are seen in the table before the client gives up."""
    with FaultProxy(server.port) as proxy:
        engine = engine_at(server, proxy.port, answer_seconds_max=3.0)
        try:
            engine.insert(block(0, 10))
            proxy.once(lambda _request: Fault("swallow"))
            with pytest.raises(Unknown):
                engine.insert(block(10, 500))
            assert table.stored() == Counter(range(500))
            assert engine.insert_missing(block(10, 500)) == 0
            assert table.stored() == Counter(range(500))
        finally:
            engine.close()


def test_repair_waits_for_the_insert_that_still_runs(server: AnyServer, table: ServerTable) -> None:
    """A time-out here says nothing about the server: two inserts at once would both find the rows missing."""
    slow = msgspec.structs.replace(
        TABLE, columns=(*TABLE.columns[:-1], ("parsed", "String", "toInt64(`parsed`) + sleep(1.5)"))
    )
    hasty, other = engine_at(server, server.port, answer_seconds_max=0.3), engine_at(server, server.port)
    try:
        inserting = threading.Thread(target=other.insert, args=(msgspec.structs.replace(block(0, 100), table=slow),))
        inserting.start()
        while not other._connections._busy or not getattr(other._connections._busy[0], "sent", False):
            inserting.join(0.01)
        busy = 0
        while True:
            try:
                missing = hasty.insert_missing(block(0, 100))
                break
            except Unknown:
                busy += 1
        inserting.join()
        assert table.stored() == Counter(range(100))
        assert (missing, busy > 0) == (0, True)
    finally:
        hasty.close()
        other.close()


def test_server_that_refuses_or_hangs_is_unknown_in_time(server: AnyServer) -> None:
    """A hung server must not hang its sink: the deadline is the engine's own."""
    with FaultProxy(server.port) as proxy:
        proxy.choose = lambda _request: Fault("hold")
        hung = engine_at(server, proxy.port, answer_seconds_max=0.3)
        with pytest.raises(Unknown):
            hung.insert(block_of(row(1)))
        port = proxy.port
        hung.close()
    gone = engine_at(server, port)
    with pytest.raises(Unknown, match="refuses the connection"):
        gone.insert(block_of(row(1)))
    gone.close()


@pytest.mark.kafka
def test_two_sinks_of_one_server_over_failing_lines_store_every_row_once(
    bootstrap: str, server: AnyServer, table: ServerTable
) -> None:
    """Resets, lost and swallowed replies at random; one sink leaves. Each block lies in four partitions."""

    async def play() -> None:
        chance = random.Random(1)

        def choose(_request: bytes) -> Fault | None:
            kinds = [Fault("reset", chance.choice([0, 100, 5_000, 30_000])), Fault("lose"), Fault("swallow")]
            return chance.choices([*kinds, None], [4, 4, 1, 20])[0]

        async with ContractSinkEnvironment(bootstrap, partitions=2) as world:
            with FaultProxy(server.port, choose) as one, FaultProxy(server.port, choose) as two:
                engines = [engine_at(server, proxy.port, answer_seconds_max=3.0) for proxy in (one, two)]
                try:
                    first, second = (world.consumer(engine, LIMITS) for engine in engines)
                    await world.produce(3_000)
                    async with running(second):
                        async with running(first):
                            await until(_rows_of(table), lambda rows: rows >= 2_000)
                            await world.produce(2_000)
                        ends = await world.ends()
                        await until(world.commits, lambda commits: commits == ends)
                    assert one.happened or two.happened
                    assert table.stored() == Counter(world.produced)
                finally:
                    for engine in engines:
                        engine.close()

    asyncio.run(play())


@pytest.mark.kafka
def test_server_that_goes_away_and_comes_back_costs_no_row(bootstrap: str, own_server: ClickHouseServer) -> None:
    """Killed under load; the sink waits, reads no more than two blocks ahead, and goes on by itself."""
    table = ServerTable(own_server)
    table.create(BY_DAY)

    async def play() -> None:
        async with ContractSinkEnvironment(bootstrap, partitions=2) as world:
            engine = engine_at(own_server, own_server.port)
            try:
                await world.produce(8_000)
                async with running(world.consumer(engine, LIMITS)):
                    await until(_rows_of(table), lambda rows: rows > 0)
                    await asyncio.to_thread(own_server.kill)
                    await world.produce(1_000)
                    unknown = "unjoin_sink_unknown_outcomes_total"

                    async def failures() -> float:
                        return world.metrics.registry.get_sample_value(unknown, {"table": "contract"}) or 0

                    await until(failures, lambda count: count >= 4)
                    await asyncio.to_thread(own_server.start)
                    ends = await world.ends()
                    await until(world.commits, lambda commits: commits == ends)
                assert table.stored() == Counter(world.produced)
            finally:
                engine.close()
                table.close()

    asyncio.run(play())


@pytest.mark.kafka
def test_rows_that_a_server_refuses_are_found_and_set_aside_alone(
    bootstrap: str, server: AnyServer, table: ServerTable
) -> None:
    """Bisection under smaller intents finds them; the rest goes on, though replies are lost meanwhile."""

    async def play() -> None:
        chance = random.Random(5)
        async with ContractSinkEnvironment(bootstrap, partitions=1) as world:
            world.refused = {17, 18, 300}
            with FaultProxy(server.port, lambda _request: Fault("lose") if chance.random() < 0.1 else None) as proxy:
                engine = engine_at(server, proxy.port)
                try:
                    await world.produce(600)
                    await world.run_until_drained(engine, world.consumer(engine, LIMITS))
                finally:
                    engine.close()
            assert table.stored() == Counter(set(world.produced) - world.refused)
            letters = await world.dead_letters(3)
            assert [letter.value for letter in letters] == [world.value(number) for number in sorted(world.refused)]
            assert {dict(letter.headers)["reason"] for letter in letters} == {b"refused"}

    asyncio.run(play())


class Process:
    """A sink of a server as a process, to be stopped without being ended."""

    def __init__(self, config: ServerSinkConfig) -> None:
        command = [sys.executable, "-m", "testkit.server_sink", msgspec.json.encode(config).decode()]
        self._process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def end(self) -> int:
        """SIGTERM; its exit status."""
        self.send(signal.SIGTERM)
        return await asyncio.to_thread(self._process.wait, 20)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.mark.kafka
def test_insert_of_a_paused_sink_that_arrives_when_another_owns_the_partition_doubles_no_row_of_final(
    bootstrap: str, server: AnyServer, table: ServerTable
) -> None:
    """SIGSTOP with the insert on its way, until the group gave the partition to another sink, then the bytes arrive.

    A server asks nobody whether a client still owns a partition. Physically that one block is there twice until the
    table merges: its key collapses it, and `FINAL` never shows it. The woken sink commits nothing and joins again.
    """
    table.create(DDL)

    async def play() -> None:
        async with ContractSinkEnvironment(bootstrap, partitions=1) as world:
            with FaultProxy(server.port) as proxy:
                url = server.url.replace(str(server.port), str(proxy.port))
                config = ServerSinkConfig(
                    bootstrap=bootstrap, url=url, topic=world.topic, group=world.group, session_timeout_ms=1_500
                )
                zombie = Process(config)
                engine = engine_at(server, server.port)
                try:
                    await world.produce(500)
                    await until(world.commits, lambda commits: commits.get(0) == (500, ""))
                    proxy.once(lambda _request: Fault("hold"))
                    await world.produce(300)
                    await until(_happened(proxy), lambda count: count == 1)
                    zombie.send(signal.SIGSTOP)
                    assert (await world.commits())[0] == (500, "800")
                    async with running(world.consumer(engine, LIMITS)):
                        await until(world.commits, lambda commits: commits.get(0) == (800, ""))
                        assert table.stored() == Counter(range(800))
                        proxy.release()
                        await until(_rows_of(table), lambda rows: rows == 1_100)
                        zombie.send(signal.SIGCONT)
                        await world.produce(200)
                        ends = await world.ends()
                        await until(world.commits, lambda commits: commits == ends)
                    assert await zombie.end() == 0
                    assert table.stored() == Counter(range(1_000)) + Counter(range(500, 800))
                    assert table.final_count() == 1_000
                finally:
                    zombie.kill()
                    engine.close()

    asyncio.run(play())


def _rows_of(table: ServerTable) -> Callable[[], Any]:
    async def count() -> int:
        return (await asyncio.to_thread(table.stored)).total()

    return count


def _happened(proxy: FaultProxy) -> Callable[[], Any]:
    async def count() -> int:
        return len(proxy.happened)

    return count
