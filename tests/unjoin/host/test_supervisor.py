"""Parts are started, watched, started again and stopped, and none outlives its supervisor."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from unjoin.host.supervisor import BACKOFF_S, HALTED_PAUSE_S, Part, PartFailed, PartSpec

READY = "from unjoin.host.notify import notify_ready; notify_ready()"
FOREVER = "import signal; signal.pause()"
DEADLINE_S = 20.0


def part_of(tmp_path: Path, program: str, said: list[str] | None = None, stop_seconds_max: float = 10.0) -> Part:
    spec = PartSpec("part", [sys.executable, "-c", program], dict(os.environ), stop_seconds_max=stop_seconds_max)
    return Part(spec, tmp_path / "logs", tmp_path, (said if said is not None else []).append)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  # what is watched is another process
            await asyncio.sleep(0.01)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(3 * DEADLINE_S):
            await test()

    asyncio.run(bounded())


def test_part_is_ready_when_it_says_so_and_gone_when_stopped(tmp_path: Path) -> None:
    """A stack that says ready too early sends its first users into errors."""

    async def test() -> None:
        part = part_of(tmp_path, f"{READY}; {FOREVER}")
        await part.start(DEADLINE_S)
        pid = part.pid
        assert pid is not None
        assert part.ready.is_set()
        await part.stop()
        assert not alive(pid)

    run(test)


def test_killed_part_is_started_again(tmp_path: Path) -> None:
    """A crash at night must not need a person."""

    async def test() -> None:
        said: list[str] = []
        part = part_of(tmp_path, f"{READY}; {FOREVER}", said)
        await part.start(DEADLINE_S)
        first = part.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: part.pid not in (None, first) and part.ready.is_set())
        assert part.restarts == 1
        assert "SIGKILL" in said[0]
        await part.stop()

    run(test)


def test_part_that_dies_at_start_shows_its_last_log_line(tmp_path: Path) -> None:
    """The operator needs the reason, and where the rest of it is."""

    async def test() -> None:
        part = part_of(tmp_path, "print('no disk'); raise SystemExit(3)")
        with pytest.raises(PartFailed, match=r"exited with 3: no disk .*part\.log"):
            await part.start(DEADLINE_S)

    run(test)


def test_part_that_halted_is_tried_again_late_and_says_why(tmp_path: Path) -> None:
    """A door without its key stops on purpose: starting it ten times a minute brings no key, and hides the reason."""

    async def test() -> None:
        said: list[str] = []
        halts = f"{READY}; import sys; print('lost: the key of today', flush=True); sys.exit(78)"
        spec = PartSpec("door", [sys.executable, "-c", halts], dict(os.environ))
        part = Part(spec, tmp_path / "logs", tmp_path, said.append, halted_pause_s=0.01)
        await part.start(DEADLINE_S)
        await until(lambda: part.restarts >= 2)
        await part.stop()
        assert said[0].startswith("door halted: lost: the key of today; starting it again in 0.01 s")

    assert max(BACKOFF_S) < HALTED_PAUSE_S
    run(test)


def test_part_that_halts_at_its_start_is_tried_again_where_it_may(tmp_path: Path) -> None:
    """A sink in front of another database: events go on being taken in until somebody has decided."""

    async def test() -> None:
        said: list[str] = []
        spec = PartSpec("sink", [sys.executable, "-c", "print('not ours'); raise SystemExit(78)"], dict(os.environ))
        part = Part(spec, tmp_path / "logs", tmp_path, said.append, halted_pause_s=0.01)
        with pytest.raises(PartFailed, match="exited with 78: not ours"):
            await part.start(DEADLINE_S)
        may = msgspec.structs.replace(spec, may_halt=True)
        part = Part(may, tmp_path / "logs", tmp_path, said.append, halted_pause_s=0.01)
        await part.start(DEADLINE_S)
        assert not part.ready.is_set()
        await until(lambda: part.restarts >= 1)
        await part.stop()
        assert said[0].startswith("sink halted: not ours; starting it again in 0.01 s")

    run(test)


def test_part_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """Stopping has to end."""

    async def test() -> None:
        said: list[str] = []
        stubborn = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {READY}\nwhile True: signal.pause()"
        part = part_of(tmp_path, stubborn, said, stop_seconds_max=0.2)
        await part.start(DEADLINE_S)
        pid = part.pid
        assert pid is not None
        await part.stop()
        assert not alive(pid)
        assert "killed" in said[-1]

    run(test)


@pytest.mark.slow
def test_log_of_a_part_that_runs_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers can make a part say something, at any rate, for as long as it runs."""
    monkeypatch.setattr("unjoin.host.supervisor.LOG_LOOK_S", 0.02)
    spec = PartSpec("part", ["sh", "-c", "while :; do echo 0123456789; sleep 0.0001; done"], dict(os.environ), False)
    bytes_max = 4_000

    async def test() -> None:
        part = Part(spec, tmp_path / "logs", tmp_path, [].append, log_bytes_max=bytes_max)
        await part.start(DEADLINE_S)
        kept = part.log_file.with_suffix(".log.1")
        for _ in range(3):
            await until(kept.exists)
            kept.unlink()
        await until(kept.exists)
        await until(lambda: part.log_file.stat().st_size > 0)  # it writes on, from the beginning
        assert kept.stat().st_size == bytes_max
        assert part.log_file.read_bytes()[:1] != b"\0"
        await part.stop()

    run(test)


def test_part_dies_with_its_supervisor(tmp_path: Path) -> None:
    """A killed `unjoin up` must not leave a Kafka behind that holds the port."""
    supervisor = (
        "import asyncio, os, sys; from pathlib import Path; from unjoin.host.supervisor import Part, PartSpec\n"
        f"spec = PartSpec('part', [sys.executable, '-c', '''{READY}; {FOREVER}'''], dict(os.environ))\n"
        "async def main():\n"
        f"    part = Part(spec, Path({str(tmp_path)!r}), Path({str(tmp_path)!r}), print)\n"
        "    await part.start(20); print(part.pid, flush=True); await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )

    async def test() -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", supervisor, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        pid = int(await process.stdout.readline())
        process.kill()
        await process.wait()
        await until(lambda: not alive(pid) or Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z")

    run(test)
