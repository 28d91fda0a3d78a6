"""What a running process uses, and waiting for what processes do."""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int, *, children: bool = False) -> float:
    """CPU seconds that a process has used, in user and system mode, all its threads together.

    Args:
        children: those that have ended count with it.

    Source: proc_pid_stat(5).
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if children else 13])) / _TICKS_PER_SECOND


def memory_bytes(pid: int) -> int:
    """Resident memory of a process, bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def wait_for(
    condition: Callable[[], T | None],
    why_not: Callable[[], str] | str,
    seconds_max: float,
    processes: "Sequence[subprocess.Popen[bytes]]" = (),
    every_seconds: float = 0.01,
) -> T:
    """The first true value of the condition.

    Args:
        why_not: the error's text, or what makes it.
        processes: those that must not end meanwhile.
        every_seconds: between an answer and the next question.

    Raises:
        AssertionError: it has not come true within `seconds_max`, or a process ended.
    """
    deadline = time.monotonic() + seconds_max
    while not (found := condition()):
        ended = [process.returncode for process in processes if process.poll() is not None]
        if ended or time.monotonic() > deadline:
            text = why_not if isinstance(why_not, str) else why_not()
            raise AssertionError(f"{text} (a process ended with {ended[0]})" if ended else text)
        time.sleep(every_seconds)
    return found
