"""Every container killed, and all of them restarted; what was acknowledged is there afterwards, once."""

import os
import signal
import time

from faults.compose.report import Report
from faults.compose.traffic import Traffic
from testkit.compose_stack import LONG_RUNNING, ComposeStack
from testkit.processes import wait_for

BACK_SECONDS_MAX = 60.0


def run(stack: ComposeStack, traffic: Traffic, report: Report) -> None:
    """One container after the other, then all of them at once."""
    for service in LONG_RUNNING:
        with report.check(f"{service}: SIGKILL, and the engine starts it again") as check:
            check.said = _kill(stack, traffic, service)
    for commands in (("restart",), ("stop", "start")):
        with report.check(f"`{'`, then `'.join(commands)}`") as check:
            for command in commands:
                stack.compose(command)
            stack.wait_healthy()
            traffic.post()
            traffic.wait_for_rows()
            check.said = "healthy, every acknowledged event a row"


def _kill(stack: ComposeStack, traffic: Traffic, service: str) -> str:
    before = stack.inspect(service)
    began = time.monotonic()
    os.kill(before["State"]["Pid"], signal.SIGKILL)
    wait_for(
        lambda: stack.inspect(service)["RestartCount"] > before["RestartCount"],
        f"{service} was not started again",
        BACK_SECONDS_MAX,
    )
    traffic.post()  # while it is not there yet, as a rule
    stack.wait_healthy()
    seconds = time.monotonic() - began
    traffic.wait_for_rows()
    return f"healthy after {seconds:.0f} s, every acknowledged event a row"
