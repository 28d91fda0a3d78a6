"""The spool on disk: kills, full disks, slow disks, and one owner."""

import asyncio
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.encode.records import Record
from ingest.spool.file import SpoolError, SpoolFile, SpoolFull, SpoolHeld
from ingest.spool.packs import Pack
from ingest.spool.writer import Spool
from testkit.clean_loop import run, seconds_of, until
from tests.ingest.configs import spool_config
from tests.ingest.spool.spool_process import request

ROOT = Path(__file__).parents[3]
SECONDS_MAX = 30.0
ALL = (1_000_000, 1_000_000_000)


def child(*arguments: object, **popen: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.ingest.spool.spool_process", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, **popen)


def contents(folder: Path) -> list[Record]:
    """What the next process finds, in order."""

    async def main() -> list[Record]:
        spool = Spool(spool_config(folder))
        await spool.start()
        found = [record for entry in await spool.read(0, *ALL) for record in entry.records]
        assert spool.counts.set_aside == spool.stats.broken == 0
        assert spool.counts.waiting == len(found)
        await spool.stop(5.0)
        return found

    return run(main())


def numbered(lines: Iterator[str]) -> list[int]:
    return [int(line) for line in lines if line.strip().isdigit()]


@pytest.mark.slow
def test_killed_in_the_middle_of_writes_every_acknowledged_record_is_there_once(tmp_path: Path) -> None:
    """Twenty seeded moments on one folder, so that each process also goes on with what the one before it left."""
    acknowledged: list[int] = []
    for seed in range(20):
        moment = random.Random(seed)
        with child(tmp_path, seed * 100_000) as process:
            assert process.stdout is not None
            for _ in range(moment.randrange(1, 60)):
                acknowledged.append(int(process.stdout.readline()))
            time.sleep(moment.random() * 0.02)  # the moment itself: within a write, a sync, or between
            process.kill()
            acknowledged += numbered(process.stdout)
    found = contents(tmp_path)
    by_number: dict[int, list[Record]] = {}
    for record in found:
        by_number.setdefault(record.timestamp_ms, []).append(record)
    assert len(set(acknowledged)) == len(acknowledged) > 300
    for number in acknowledged:
        assert by_number[number] == request(number), f"request {number} is not whole"
    for number, records in by_number.items():  # not acknowledged, but written: whole as well, and once
        assert records == request(number)


def test_full_disk_is_a_refusal_and_takes_again_once_there_is_room(tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk without room: nothing crashes, and what was written stays."""
    with child(tmp_path, 0, "--file-bytes-max=600000") as process:
        out, _ = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == 0
    lines = out.split("\n")
    assert any(line.startswith("refused Spool") for line in lines)
    assert any(line.startswith("recovered") for line in lines)
    found = {record.timestamp_ms for record in contents(tmp_path)}
    assert set(numbered(iter(lines))) <= found


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """20 MB of memory."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small memory disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("left_free", [16_777_216, 0])
def test_device_without_room_refuses_and_goes_on(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, left_free: int
) -> None:
    """Some of the disk is left free, so that what Kafka took can be deleted; and ENOSPC itself does no harm."""
    monkeypatch.setattr("ingest.spool.file.DISK_FREE_BYTES_MIN", left_free)

    async def main() -> None:
        spool = Spool(spool_config(small_disk / "spool"))
        await spool.start()
        if not left_free:
            (small_disk / "others").write_bytes(bytes(18_000_000))
        taken = 0
        with pytest.raises(SpoolFull):  # noqa: PT012
            while True:
                await spool.append(request(taken), 5.0)
                taken += 1
        assert taken > 20
        assert not spool.accepts()
        assert spool.stats.full == 1
        if not left_free:
            # Kafka can have it, whatever the disk has.
            assert len(await spool.read(0, *ALL)) == taken
            (small_disk / "others").unlink()
        found = set()
        while entries := await spool.read(0, 500, 262_144):
            found |= {record.timestamp_ms for entry in entries for record in entry.records}
            await spool.delete(entries)
        assert found == set(range(taken))
        await spool.append(request(1), 5.0)
        assert spool.accepts()
        await spool.stop(5.0)

    run(main())


def test_requests_that_wait_at_the_same_moment_share_a_sync(tmp_path: Path) -> None:
    """A sync takes milliseconds; one a request would be a few hundred requests a second."""

    async def main() -> None:
        spool = Spool(spool_config(tmp_path))
        await spool.start()
        await asyncio.gather(*(spool.append(request(n), 10.0) for n in range(200)))
        assert spool.stats.syncs <= 5
        await spool.stop(5.0)

    run(main())


def test_one_collector_owns_a_folder_and_its_death_frees_it(tmp_path: Path) -> None:
    """Two writers would drain and delete each other's records."""

    async def refused() -> None:
        spool = Spool(spool_config(tmp_path))
        with pytest.raises(SpoolHeld, match="UNJOIN_SPOOL_DIR"):
            await spool.start()
        await spool.stop(1.0)

    with child(tmp_path, 0) as process:
        assert process.stdout is not None
        process.stdout.readline()
        run(refused())
        process.kill()
        process.stdout.read()
    contents(tmp_path)


class StuckFile(SpoolFile):
    """A disk that hangs while `gate` is cleared."""

    gate = threading.Event()

    def append(self, packs: list[Pack]) -> None:  # type: ignore[override]
        self.gate.wait()
        super().append(packs)


def test_disk_that_hangs_is_a_refusal_in_time_and_stop_does_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request hangs, whatever hangs below; what is written later is a record too many, not one too few."""
    monkeypatch.setattr("ingest.spool.writer.SpoolFile", StuckFile)
    StuckFile.gate.clear()

    async def main() -> None:
        spool = Spool(spool_config(tmp_path))
        await spool.start()
        seconds, error = await seconds_of(spool.append(request(3), 0.2))
        assert isinstance(error, SpoolError)
        assert seconds < 1.0
        assert spool.stats.failed == 1
        seconds, _ = await seconds_of(spool.stop(0.2))
        assert seconds < 1.0
        StuckFile.gate.set()
        await until(lambda: "spool" not in {thread.name for thread in threading.enumerate()})

    run(main())
    assert contents(tmp_path) == request(3)


def test_folder_that_cannot_be_used_is_no_reason_not_to_start(tmp_path: Path) -> None:
    """Kafka may well be there; and the spool works as soon as the folder does."""
    (tmp_path / "spool").write_text("in the way")

    async def main() -> None:
        spool = Spool(spool_config(tmp_path / "spool"))
        await spool.start()
        assert not spool.accepts()
        with pytest.raises(SpoolError):
            await spool.append(request(1), 5.0)
        (tmp_path / "spool").unlink()
        await spool.probe()
        assert spool.accepts()
        await spool.append(request(1), 5.0)
        await spool.stop(5.0)

    run(main())
    assert contents(tmp_path / "spool") == request(1)


def test_request_that_is_cancelled_takes_nobody_with_it(tmp_path: Path) -> None:
    """Requests share transactions; a browser that closes its tab must not fail the others'."""

    async def main() -> None:
        spool = Spool(spool_config(tmp_path))
        await spool.start()
        calls = [asyncio.create_task(spool.append(request(n), 5.0)) for n in range(10)]
        await asyncio.sleep(0)
        calls[0].cancel()
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(done[0], asyncio.CancelledError)
        assert done[1:] == [None] * 9
        await spool.stop(5.0)

    run(main())


def test_answer_comes_only_after_the_log_was_synced(tmp_path: Path) -> None:
    """Seen from the kernel: between the write of a request's records and its answer lies a sync of that file."""
    if shutil.which("strace") is None:
        pytest.skip("no strace here")
    trace = tmp_path / "trace"
    command = [
        "strace",
        "-f",
        "-qq",
        "-y",
        "-o",
        str(trace),
        "-e",
        "trace=write,pwrite64,fsync,fdatasync",
        sys.executable,
    ]
    arguments = ["-m", "tests.ingest.spool.spool_process", str(tmp_path / "spool"), "0", "--clients=1", "--requests=50"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        pytest.skip("strace may not trace here")
    written = synced = answers = 0
    for line in trace.read_text().splitlines():
        if re.search(r"pwrite64\(\d+<[^>]*-wal>", line):
            written, synced = written + 1, 0
        elif re.search(r"(fsync|fdatasync)\(\d+<[^>]*-wal>", line):
            synced += 1
        elif re.search(r' write\(1<.*>, "\d+', line):
            assert written
            assert synced, f"answer {answers} came before its sync"
            answers += 1
            written = 0
    assert answers == 50
