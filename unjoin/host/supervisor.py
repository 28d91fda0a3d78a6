"""A part of the stack: one child process that is started, watched, started again when it dies, and stopped."""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import msgspec

from schemas.outcomes import UnjoinError
from unjoin.host.logs import event_of

BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
HALTED_PAUSE_S = 60.0
STEADY_S = 30.0
LOG_BYTES_MAX = 20_000_000
LOG_LOOK_S = 1.0
PR_SET_PDEATHSIG = 1


class PartFailed(UnjoinError):
    """A part did not become ready; the text says which and where its log is."""


class PartSpec(msgspec.Struct, frozen=True):
    """What to run.

    Attributes:
        notifies: whether it says READY=1 to NOTIFY_SOCKET; others count as ready once started.
        stop_seconds_max: how long it may take to drain before it is killed.
        own_log: False for what writes where its supervisor does.
        may_halt: whether the others run on where it halts at its start, until it can go on.
    """

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    notifies: bool = True
    stop_seconds_max: float = 15.0
    own_log: bool = True
    may_halt: bool = False


class Part:
    """One supervised child.

    Args:
        report: receives a line for the operator whenever something happens to the part.
        halted_pause_s: before a part that halted (exit code 78, EX_CONFIG of sysexits.h) is tried again.
        log_bytes_max: beyond it what the log holds becomes its `.1`, looked at every second while the part runs.
    """

    def __init__(
        self,
        spec: PartSpec,
        log_dir: Path,
        run_dir: Path,
        report: Callable[[str], None],
        halted_pause_s: float = HALTED_PAUSE_S,
        log_bytes_max: int = LOG_BYTES_MAX,
    ) -> None:
        self.spec = spec
        self.log_file = log_dir / f"{spec.name}.log"
        self.ready = asyncio.Event()
        self.restarts = 0
        self._socket_file = run_dir / f"{spec.name}.notify"
        self._report = report
        self._halted_pause_s = halted_pause_s
        self._log_bytes_max = log_bytes_max
        self._log_timer: asyncio.TimerHandle | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._listener: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self, seconds_max: float) -> None:
        """Starts the child and returns once it is ready, or has halted where it may.

        Raises:
            PartFailed: it was not ready in time, or died on the way.
        """
        await self._spawn()
        if self.spec.own_log:
            self._bound_log()
        assert self._process is not None
        death = asyncio.create_task(self._process.wait())
        readiness = asyncio.create_task(self.ready.wait())
        await asyncio.wait({death, readiness}, timeout=seconds_max, return_when=asyncio.FIRST_COMPLETED)
        readiness.cancel()
        halted = death.done() and death.result() == os.EX_CONFIG
        if not self.ready.is_set() and not (halted and self.spec.may_halt):
            death.cancel()
            await self.stop()
            why = f"exited with {death.result()}" if death.done() and not death.cancelled() else "was not ready in time"
            if not self.spec.own_log:
                raise PartFailed(f"{self.spec.name} {why}; what it said is above")
            raise PartFailed(f"{self.spec.name} {why}: {self.last_log_line()} (all of it: {self.log_file})")
        self._watcher = asyncio.create_task(self._watch(death))

    async def stop(self) -> None:
        """Asks the child to drain, waits, and kills its whole process group if it does not."""
        self._stop_listening()
        if self._log_timer is not None:
            self._log_timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), self.spec.stop_seconds_max)
        except TimeoutError:
            self._report(f"{self.spec.name} did not stop in {self.spec.stop_seconds_max:.0f} s; killed")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    def last_log_line(self) -> str:
        """The last line of the child's log, for an error message."""
        try:
            lines = self.log_file.read_text(errors="replace").strip().splitlines()
        except FileNotFoundError:
            return ""
        return event_of(lines[-1])[:300] if lines else "it said nothing"

    async def _spawn(self) -> None:
        self.ready.clear()
        log = self._open_log() if self.spec.own_log else None
        environment = dict(self.spec.environment)
        if self.spec.notifies:
            self._listen()
            environment["NOTIFY_SOCKET"] = str(self._socket_file)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.spec.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches only the supervisor, which then drains in order
                preexec_fn=_die_with_parent,
            )
        finally:
            if log is not None:
                log.close()
        if not self.spec.notifies:
            self.ready.set()

    async def _watch(self, death: asyncio.Task[int]) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            started = loop.time()
            code = await death
            self.ready.clear()
            attempt = 0 if loop.time() - started > STEADY_S else attempt
            pause = BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)]
            attempt += 1
            self.restarts += 1
            why = f"died ({_explained(code)})"
            if code == os.EX_CONFIG:  # it stopped on purpose, and only a person can help
                pause, why = self._halted_pause_s, f"halted: {self.last_log_line()}"
            log = f", log: {self.log_file}" if self.spec.own_log else ""
            self._report(f"{self.spec.name} {why}; starting it again in {pause} s{log}")
            await asyncio.sleep(pause)
            await self._spawn()
            assert self._process is not None
            death = asyncio.create_task(self._process.wait())

    def _listen(self) -> None:
        self._stop_listening()
        self._socket_file.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.setblocking(False)
        listener.bind(str(self._socket_file))
        asyncio.get_running_loop().add_reader(listener, self._hear)
        self._listener = listener

    def _hear(self) -> None:
        assert self._listener is not None
        if b"READY=1" in self._listener.recv(4096):
            self.ready.set()
            self._stop_listening()

    def _stop_listening(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
            self._socket_file.unlink(missing_ok=True)

    def _open_log(self) -> IO[bytes]:
        self.log_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.log_file.open("ab")  # each write goes to the end, wherever that is by then

    def _bound_log(self) -> None:
        bound_log(self.log_file, self._log_bytes_max)
        self._log_timer = asyncio.get_running_loop().call_later(LOG_LOOK_S, self._bound_log)


def bound_log(log_file: Path, bytes_max: int) -> None:
    """Begins a log anew once it is larger than the bound, and keeps the last of what it held as `.1`.

    The process that writes it keeps its open file, so the file stays and is emptied; what is written between the copy
    and that is lost.
    """
    with contextlib.suppress(OSError):  # a full disk too, which it empties
        size = log_file.stat().st_size
        if size <= bytes_max:
            return
        try:
            with log_file.open("rb") as log, log_file.with_suffix(".log.1").open("wb") as kept:
                log.seek(max(0, size - bytes_max))
                kept.write(log.read(bytes_max))
        finally:
            os.truncate(log_file, 0)


def _explained(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _die_with_parent() -> None:
    """Runs in the child before exec: asks for SIGTERM when the supervisor dies, however it dies. Source: prctl(2)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
