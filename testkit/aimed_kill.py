"""SIGKILL at the n-th system call of a kind, aimed by strace: the call itself is not made any more."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

RENAMES = "rename,renameat,renameat2"
SYNCS = "fsync,fdatasync"
FOLDERS = "mkdir,mkdirat"
ATTACH_SECONDS_MAX = 30.0
MISSING = "strace cannot trace here: apt-get install strace, and allow ptrace (in a container: --cap-add SYS_PTRACE)"


class Aim(NamedTuple):
    """Before the `nth` of these calls that any one thread makes; from 1."""

    calls: str
    nth: int


def can_aim() -> bool:
    """strace is there and may trace."""
    program = shutil.which("strace")
    if program is None:
        return False
    tried = subprocess.run([program, "-o", "/dev/null", "true"], capture_output=True, check=False)
    return tried.returncode == 0


class AimedKill:
    """Attached to every thread of a process, those to come included, until it dies or `detach` is called.

    Args:
        log: of the calls that were made; the last one has no result where it killed.
    """

    def __init__(self, pid: int, aim: Aim, log: Path) -> None:
        self._log = log
        command = ["strace", "-f", "-p", str(pid), "-o", str(log), "-e", f"trace={aim.calls}"]
        command += ["-e", f"inject={aim.calls}:signal=SIGKILL:when={aim.nth}"]
        self._strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._strace.stderr is not None
        # Counting starts here: the first line says that every thread is held.
        said = self._strace.stderr.readline()
        assert "attached" in said, said

    def detach(self) -> None:
        """The process goes on if it lives."""
        self._strace.terminate()
        self._strace.communicate(timeout=ATTACH_SECONDS_MAX)

    def calls_made(self) -> list[str]:
        """Names of the calls up to now, the one that killed included."""
        return re.findall(r"^\d+ +(\w+)\(", self._log.read_text(), re.MULTILINE)
