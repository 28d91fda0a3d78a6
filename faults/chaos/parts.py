"""The processes of a running stack: which one is which, and signals to it."""

import contextlib
import os
import signal
from pathlib import Path
from typing import TypeVar

from testkit.processes import wait_for

T = TypeVar("T")

_MARKS = {
    "collector": b"unjoin\0collect",
    "processor": b"unjoin\0process",
    "sink": b"unjoin\0sink",
    "kafka": b"kafka.Kafka",
}
PART_SECONDS_MAX = 60.0


def pid_of(part: str, parent: int) -> int | None:
    """The child of `unjoin up` that is this part now; None while it is not running."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, ppid = (process / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(ppid) == parent and state != "Z" and _MARKS[part] in (process / "cmdline").read_bytes():
                return int(process.name)
    return None


def running_pid_of(part: str, parent: int) -> int:
    """Process id of a part; waits until it runs."""
    return wait_for(lambda: pid_of(part, parent), f"{part} does not run", PART_SECONDS_MAX)


def end(pid: int, number: signal.Signals, seconds_max: float = PART_SECONDS_MAX) -> None:
    """Sends a signal and returns once the process is gone; somebody else is its parent and reaps it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    wait_for(lambda: _gone(pid), "a part does not end", seconds_max)


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
