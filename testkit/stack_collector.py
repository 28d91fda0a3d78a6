"""The collector of a running stack: to be killed, and to be waited for."""

from pathlib import Path

from testkit.running_stack import RunningStack


def collector_of(stack: RunningStack) -> int:
    """The collector's process, a child of `unjoin up`."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            command = (stat.parent / "cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            continue
        if parent == stack.pid and b"collect" in command:
            return int(stat.parent.name)
    raise AssertionError("no collector")


def stack_answers(stack: RunningStack) -> bool:
    """Whether it takes an empty batch."""
    try:
        return stack.post({"session": "s-1", "events": []})[0] == 200
    except OSError:
        return False
