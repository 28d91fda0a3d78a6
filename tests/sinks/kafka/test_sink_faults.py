"""The sink's process with its engine in it, on a real broker: killed at a rename, and out of disk."""

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from testkit.aimed_kill import MISSING, RENAMES, Aim, AimedKill, can_aim
from testkit.sink_environment import SinkEnvironment, until
from tests.sinks.test_sink_process import Sink

pytestmark = pytest.mark.kafka

DISK_BYTES = 48 * 1_048_576
COUNTS = "SELECT count(), uniqExact(ts) FROM unjoin.signals"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own in memory, as small as it gets."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can only be mounted as root (in a container: --cap-add SYS_ADMIN)")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_sink_killed_at_a_rename_of_a_part_under_load_stores_every_row_once(bootstrap: str, tmp_path: Path) -> None:
    """Before its third: the part is written and synced, and not there; its intent is on the broker."""
    if not can_aim():
        pytest.skip(MISSING)

    async def play() -> None:
        async with SinkEnvironment(bootstrap) as world:
            world.group += "signals"
            sink = Sink(world, tmp_path, block_ms_max=20)
            sink.prepare()
            try:
                await sink.start()
                assert sink.process is not None
                aimed = AimedKill(sink.process.pid, Aim(RENAMES, 3), tmp_path / "strace.log")
                while sink.process.poll() is None:
                    await world.produce(1_000)
                aimed.detach()
                assert aimed.calls_made()[-1].startswith("rename")
                assert any(metadata for _, metadata in (await world.commits()).values())
                await sink.start()
                ends = await world.ends()
                await until(world.commits, lambda commits: commits == ends)
                counts = await asyncio.to_thread(sink.query, COUNTS)
                assert counts == f"{len(world.produced)}\t{len(world.produced)}"
                assert await sink.stop() == 0
            finally:
                sink.kill()

    asyncio.run(play())


def test_full_disk_is_waited_out_and_costs_no_row(bootstrap: str, tmp_path: Path, small_disk: Path) -> None:
    """The engine refuses for a reason that is no row's fault: nothing is set aside, and it goes on by itself."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap) as world:
            world.group += "signals"
            sink = Sink(world, tmp_path)
            sink.directory = small_disk / "clickhouse"
            sink.config = msgspec.structs.replace(sink.config, clickhouse_dir=sink.directory)
            sink.prepare()
            ballast = small_disk / "ballast"
            try:
                await sink.start()
                await world.produce(2_000)
                ends = await world.ends()
                await until(world.commits, lambda commits: commits == ends)
                fill(ballast)
                await world.produce(4_000)
                await until(_said(sink, b"ClickHouse for signals"), bool)
                assert sink.process is not None
                assert sink.process.poll() is None
                ballast.unlink()
                ends = await world.ends()
                await until(world.commits, lambda commits: commits == ends)
                counts = await asyncio.to_thread(sink.query, COUNTS)
                assert counts == f"{len(world.produced)}\t{len(world.produced)}"
                assert b"refused the row" not in sink.log.read_bytes()
                assert await sink.stop() == 0
            finally:
                sink.kill()

    asyncio.run(play())


def fill(ballast: Path) -> None:
    """Takes all the room there is."""
    left = shutil.disk_usage(ballast.parent).free
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):  # the engine took some of it meanwhile
        file.write(bytes(left))


def _said(sink: Sink, text: bytes) -> Callable[[], Awaitable[bool]]:
    async def said() -> bool:
        return text in sink.log.read_bytes()

    return said
