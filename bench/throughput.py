"""`python -m bench.throughput`: the whole pipeline on this machine, from a request to a row that can be seen.

Against an `unjoin up` of its own. A generator in a process of its own sends for `--seconds`, as fast as it is answered
or at `--rate`; then the sink is given time for what it has not stored yet, and that time is the backlog. It ends with
what `unjoin audit` says, and fails where that is not a difference of 0.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.collector.contenders import family
from bench.collector.generator import Measured, Order
from bench.collector.mixes import MIXES
from testkit.kafka_node import kafka_home
from testkit.lists import words
from testkit.machine import machine
from testkit.running_stack import RunningStack

ROOT = Path(__file__).parents[1]
WARM_SECONDS = 2.0
BACKLOG_SECONDS_MAX = 120.0
ROLES = {"kafka.Kafka": "Kafka", "unjoin collect": "collector", "unjoin process": "processor", "unjoin sink": "sink"}


def main() -> int:
    """Runs it once a mix; 0 where each audit's difference is 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.throughput", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--events", type=int, default=50, help="of a request")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.0, help="events a second; 0 for as fast as answered")
    parser.add_argument("--mixes", type=words, default=list(MIXES))
    parser.add_argument("--out", type=Path, help="folder for throughput.json")
    options = parser.parse_args()
    console = Console(width=140)
    said = machine("aiokafka", "chdb", "faust-streaming", "uvloop")
    console.print(" · ".join(f"{name} {value}" for name, value in said.items()), highlight=False)
    runs = [measured(mix, options, console) for mix in options.mixes]
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        document = msgspec.json.encode({"machine": said, "runs": runs})
        (options.out / "throughput.json").write_bytes(msgspec.json.format(document, indent=1) + b"\n")
    return 0 if all(run["audit_difference"] == 0 for run in runs) else 1


def measured(mix: str, options: argparse.Namespace, console: Console) -> dict[str, object]:
    """One run on a pipeline of its own."""
    with tempfile.TemporaryDirectory(prefix="unjoin-throughput-") as name:
        stack = RunningStack(kafka_home(), Path(name))
        began = time.monotonic()
        stack.start()
        ready = time.monotonic() - began
        try:
            return run(stack, mix, options, console, ready)
        finally:
            stack.stop()


def run(
    stack: RunningStack, mix: str, options: argparse.Namespace, console: Console, ready: float
) -> dict[str, object]:
    """Load, backlog and books."""
    roles = processes(stack.pid)
    at_rest = {role: memory_mb(pids) for role, pids in roles.items()}
    rate = options.rate / options.events
    order = Order(stack.http_port, mix, options.events, options.connections, rate, WARM_SECONDS, options.seconds, roles)  # type: ignore[arg-type]
    command = [sys.executable, "-m", "bench.collector.generator", msgspec.json.encode(order).decode()]
    with console.status(f"{mix}: sending for {options.seconds:.0f} s"):
        said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    ended = time.monotonic()
    found = msgspec.json.decode(said, type=Measured)
    loaded = {role: memory_mb(pids) for role, pids in roles.items()}
    with console.status("waiting for the last row"):
        backlog = until_stored(stack) - ended
    audit = stack.command("audit", "--format", "json")
    difference = json.loads(audit.stdout)["difference"] if audit.returncode in (0, 1) else None
    table = Table("process", "cores", "CPU µs an event", "RSS at rest, MB", "after, MB", title=f"{mix} events")
    for role, seconds in found.cpu_seconds.items():
        us = 1e6 * seconds / max(1, found.accepted)
        memory = [f"{held.get(role, 0):,.0f}" for held in (at_rest, loaded)]
        table.add_row(role, f"{seconds / found.seconds:.2f}", f"{us:.2f}", *memory)
    console.print(table)
    rates = [value / found.seconds for value in (found.accepted, found.samples, found.bytes_sent / 1e6)]
    p50, p99 = found.ms(0.5), found.ms(0.99)
    console.print(
        f"{rates[0]:,.0f} events/s, {rates[1]:,.0f} samples/s, {rates[2]:,.1f} MB/s for {found.seconds:.0f} s; "
        f"answers p50 {p50:.1f} ms, p99 {p99:.1f} ms, not 200: {found.not_200 or 0}; all visible {backlog:.1f} s after "
        f"the last answer; audit: difference {difference}; ready in {ready:.1f} s",
        highlight=False,
    )
    return {
        "mix": mix, "events_a_second": rates[0], "samples_a_second": rates[1], "mb_a_second": rates[2],
        "accepted": found.accepted_in_all, "seconds": found.seconds, "p50_ms": p50, "p99_ms": p99,
        "not_200": found.not_200, "cpu_seconds": found.cpu_seconds, "backlog_s": backlog, "ready_s": ready,
        "audit_difference": difference, "rss_mb": {"at_rest": at_rest, "after": loaded},
    }  # fmt: skip


def until_stored(stack: RunningStack) -> float:
    """When the rows of the tables last grew, once they have stopped growing for two seconds; by the monotonic clock."""
    tables = ("signals", "analytics", "personal", "labelers", "labels")
    sql = "SELECT " + " + ".join(f"(SELECT count() FROM {table})" for table in tables)
    rows, grew = -1, time.monotonic()
    deadline = grew + BACKLOG_SECONDS_MAX
    while time.monotonic() < min(grew + 3.0, deadline):
        now = stack.rows(f"{sql} AS n")[0]["n"]
        if now != rows:
            rows, grew = now, time.monotonic()
        time.sleep(0.1)
    return grew


def processes(up: int) -> dict[str, list[int]]:
    """The processes of each role."""
    found: dict[str, list[int]] = {}
    for pid in family(up):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        role = next((name for mark, name in ROLES.items() if mark in command), "up")
        found.setdefault(role, []).append(pid)
    return found


def memory_mb(pids: list[int]) -> float:
    """Resident, of some processes together."""
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids) * page / 1e6


if __name__ == "__main__":
    sys.exit(main())
