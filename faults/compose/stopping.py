"""The end: the books, what was logged, and how long each service takes to stop."""

import time

from faults.compose.report import Report
from faults.compose.traffic import CANARY, Traffic
from testkit.compose_stack import LONG_RUNNING, ComposeStack

GRACE_SECONDS = 60
EXIT_CODES = {"kafka": 143, "clickhouse": 0, "collector": 0, "processor": 0, "sink": 0}  # a JVM says 128 + SIGTERM


def run(stack: ComposeStack, traffic: Traffic, report: Report) -> None:
    """The stack runs; it is stopped afterwards."""
    with report.check("`run --rm sink audit`: the books balance after all of it") as check:
        done = stack.tried("run", "--rm", "sink", "audit", "--format", "json")
        assert done.returncode == 0, done.stdout + done.stderr
        check.said = f"difference 0 over {sum(traffic.acknowledged.values())} events"
    logs(stack, traffic, report)
    for service in reversed(LONG_RUNNING):
        with report.check(f"{service}: `stop` within its grace") as check:
            began = time.monotonic()
            stack.compose("stop", service)
            seconds, code = time.monotonic() - began, stack.inspect(service)["State"]["ExitCode"]
            assert seconds < GRACE_SECONDS, seconds
            assert code == EXIT_CODES[service], code
            check.said = f"{seconds:.1f} s, exit code {code}"
    with report.check("`down --volumes` leaves no container, network or volume"):
        stack.down()
        for kind in (("ps", "--all"), ("network", "ls"), ("volume", "ls")):
            filters = ("--quiet", "--filter", "label=com.docker.compose.project")
            assert not stack.engine.docker(*kind, *filters)


def logs(stack: ComposeStack, traffic: Traffic, report: Report) -> None:
    """What the containers that are there have said so far."""
    with report.check("no log has a traceback, a client's text, a key or a password") as check:
        lines = stack.logs().splitlines()
        for word in ("Traceback", CANARY, traffic.browser_key, traffic.server_key, *stack.passwords.values()):
            found = [line for line in lines if word in line]
            assert not found, found[:3]
        check.said = f"{len(lines)} lines"
