"""The whole stack runs confined, not only a role on its own."""

from pathlib import Path

import pytest

from testkit.running_stack import RunningStack

pytestmark = pytest.mark.kafka


def test_every_role_of_a_running_stack_has_given_up_the_right_to_open_more(stack: RunningStack) -> None:
    """A role that skipped its confinement would work just as well, and nobody would notice.

    Landlock shows no trace in /proc, but a role gives up new privileges in the same breath.
    """
    roles = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            status = (process / "status").read_text()
            command = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # gone meanwhile
        if f"PPid:\t{stack.pid}\n" in status and b"unjoin" in command:
            roles[command[command.index(b"unjoin") + 1].decode()] = "NoNewPrivs:\t1\n" in status
    if not any(roles.values()) and "no Landlock" in (stack.data_dir / "logs" / "collector.log").read_text():
        pytest.skip("this kernel has no Landlock, so there is no such layer here")
    assert roles == {"collect": True, "process": True, "sink": True}
