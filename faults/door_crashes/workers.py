"""A door as a child process, and those that come after it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from processors.main import EXIT_STUCK
from schemas.outcomes import UnjoinError

STOP_S_MAX = 30.0


class CrashError(UnjoinError):
    """The run did not get to its end; the text says what it waited for."""


class Worker:
    """One processor; `start` gives it a successor.

    Attributes:
        ended_by_watchdog: times that it was found ended with the watchdog's exit code, which is no failure: whoever
            supervises it starts it again.
        exit_codes: of every SIGTERM.
    """

    def __init__(self, number: int, config: dict[str, object], log_dir: Path) -> None:
        self._config = {**config, "data_dir": str(log_dir / f"door-{number}")}
        self._log = log_dir / f"door-{number}.log"
        self._log_bytes = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.ended_by_watchdog = 0
        self.exit_codes: list[int] = []

    @property
    def pid(self) -> int:
        """Of the one that runs, or ran last."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts it; it must not run."""
        with self._log.open("ab") as log:
            self._log_bytes = log.tell()
            command = [sys.executable, "-m", "faults.door_crashes.door", json.dumps(self._config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def supervise(self) -> None:
        """Starts it again where its watchdog ended it, as a supervisor would; leaves it alone where it was stopped.

        Raises:
            CrashError: it ended in any other way.
        """
        code = None if self._process is None else self._process.poll()
        if code is None:
            return
        if code != EXIT_STUCK:
            raise CrashError(f"a door ended on its own, with {code}: see {self._log}")
        self.ended_by_watchdog += 1
        self.start()

    async def is_started(self) -> bool:
        """Whether it listens to signals; before, Python itself dies of them."""
        return b"started: " in self._log.read_bytes()[self._log_bytes :]

    async def is_ready(self) -> bool:
        """Whether it has been given partitions since it was started."""
        return b"READY" in self._log.read_bytes()[self._log_bytes :]

    def die(self) -> None:
        """SIGKILL."""
        self.supervise()
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and waits; its exit code is kept."""
        self.supervise()
        assert self._process is not None
        self._process.terminate()
        self.exit_codes.append(self._process.wait(STOP_S_MAX))
        self._process = None

    def pause(self) -> None:
        """SIGSTOP."""
        self.supervise()
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def hang(self) -> None:
        """SIGUSR1, which `door.py` never returns from."""
        self.supervise()
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Leaves nothing behind, whatever state it is in."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
