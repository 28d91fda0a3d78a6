"""The whole sink as a process: real broker, embedded engine, real signals to it."""

import asyncio
import random
import signal as signals_of_unix
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import msgspec
import pytest

from sinks.kafka.block_planner import Intent
from testkit.sink_configs import sink_config
from testkit.sink_environment import SinkEnvironment, until
from unjoin.host.kafka import free_port

ROOT = Path(__file__).parents[2]
READY_SECONDS_MAX = 60

pytestmark = pytest.mark.kafka


class Sink:
    """One life after another of the same sink."""

    def __init__(self, world: SinkEnvironment, folder: Path, **changes: object) -> None:
        self.directory, self.log, self.port = folder / "clickhouse", folder / "sink.log", free_port()
        self.config = sink_config(
            world.bootstrap,
            self.directory,
            http_port=self.port,
            block_rows_max=2_000,
            block_ms_max=100,
            tables=(world.table,),
            group_prefix=world.group.removesuffix("signals"),
        )
        self.config = msgspec.structs.replace(self.config, **changes)
        self.process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        command = [sys.executable, "-m", "testkit.sink_process", "plain", str(self.directory)]
        subprocess.run(command, cwd=ROOT, check=True)

    async def start(self) -> None:
        """Returns once it is ready."""
        text = msgspec.json.encode(self.config, enc_hook=str).decode()
        self.log.write_bytes(b"")
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "testkit.sink_process", text]
            self.process = subprocess.Popen(command, cwd=ROOT, stderr=log, stdout=log)  # noqa: ASYNC220
        async with asyncio.timeout(READY_SECONDS_MAX):
            while b"sink ready" not in self.log.read_bytes():
                assert self.process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.02)

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; its exit status."""
        assert self.process
        self.process.send_signal(signals_of_unix.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 15)

    def query(self, sql: str) -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/", sql.encode())
        with urllib.request.urlopen(request, timeout=20) as answer:
            body: bytes = answer.read()
        return body.decode().strip()


def test_killed_again_and_again_under_load_it_stores_every_row_once(bootstrap: str, tmp_path: Path) -> None:
    """SIGKILL at random moments; the table is a plain MergeTree, so a double row would be counted."""

    async def play() -> None:
        chance = random.Random(7)
        async with SinkEnvironment(bootstrap) as world:
            world.group += "signals"
            sink = Sink(world, tmp_path)
            sink.prepare()
            await world.produce(5_000)
            try:
                for _ in range(3):
                    before = await world.commits()
                    await sink.start()
                    producing = asyncio.create_task(world.produce(15_000))
                    await until(world.commits, lambda commits, before=before: commits != before)
                    await asyncio.sleep(chance.uniform(0, 0.8))  # when it dies is the input, not a wait
                    sink.kill()
                    await producing
                await sink.start()
                ends = await world.ends()
                await until(world.commits, lambda commits: commits == ends)
                counts = await asyncio.to_thread(sink.query, "SELECT count(), uniqExact(ts) FROM unjoin.signals")
                assert counts == f"{len(world.produced)}\t{len(world.produced)}"
                began = time.monotonic()
                assert await sink.stop() == 0
                assert time.monotonic() - began < 10
            finally:
                sink.kill()

    asyncio.run(play())


def test_sigterm_under_load_ends_with_0_and_nothing_open(bootstrap: str, tmp_path: Path) -> None:
    """What was not inserted stays on the topic; the next start goes on."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap) as world:
            world.group += "signals"
            sink = Sink(world, tmp_path)
            producing = asyncio.create_task(world.produce(20_000))
            try:
                await sink.start()

                async def stored() -> int:
                    return int(await asyncio.to_thread(sink.query, "SELECT count() FROM unjoin.signals"))

                await until(stored, lambda rows: rows > 0)
                assert await sink.stop() == 0
                for offset, metadata in (await world.commits()).values():
                    assert Intent.of(offset, metadata, 0).end == offset
                await producing
                await sink.start()
                await until(stored, lambda rows: rows == len(world.produced))
                assert await sink.stop() == 0
            finally:
                sink.kill()

    asyncio.run(play())


def test_address_that_is_taken_ends_the_process_with_a_sentence(bootstrap: str, tmp_path: Path) -> None:
    """Whoever watches it sees why."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap) as world:
            first = Sink(world, tmp_path / "first")
            second = Sink(world, tmp_path / "second", http_port=first.port)
            for sink in (first, second):
                sink.directory.parent.mkdir()
            try:
                await first.start()
                with pytest.raises(AssertionError, match="cannot start"):
                    await second.start()
                assert second.process is not None
                assert second.process.wait(10) == 1
            finally:
                first.kill()

    asyncio.run(play())
