"""`python -m faults.slow_clients`: a thousand clients that drip, idle or never read, and what an honest one notices.

A broker and `unjoin collect` of its own, an honest client at a steady rate in a process of its own, and in every other
phase the slow ones beside it: request heads and bodies that drip and never end, connections that idle, and clients
that ask over and over and read nothing. A slow client that is closed comes back. The phases alternate, since the
machine is seldom the same twice.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from faults.overload.__main__ import Traffic, share
from faults.overload.traffic import Order
from testkit.collect_process import Collect
from testkit.kafka_node import kafka_home, node_with_topics
from testkit.processes import cpu_seconds
from testkit.slow_clients import SlowClients

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Measures, prints a table; 0 where the honest client was answered with 200 every time."""
    parser = argparse.ArgumentParser(prog="python -m faults.slow_clients", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=12.0, help="of a phase")
    parser.add_argument("--rounds", type=int, default=3, help="each a phase without and one with them")
    parser.add_argument("--rate", type=float, default=100.0, help="honest requests of 10 events a second")
    options = parser.parse_args()
    console = Console(width=130)
    with (
        tempfile.TemporaryDirectory(prefix="unjoin-slow-") as folder,
        node_with_topics(kafka_home(), Path(folder) / "kafka") as node,
    ):
        collect = Collect(Path(folder) / "data", node.bootstrap)
        try:
            collect.start()
            return measure(options, collect, console)
        finally:
            collect.stop()


def measure(options: argparse.Namespace, collect: Collect, console: Console) -> int:
    """Alternates the phases."""
    table = Table("phase", "requests", "not 200", "p50 ms", "p99 ms", "max ms", "RSS MB", "files", "CPU %", "closed")
    refused = 0
    for number in range(2 * options.rounds):
        honest = Traffic(Order(collect.port, "ho", "dev-browser-key", 32, options.rate, 10))
        if number % 2:
            with SlowClients(collect.port, options.count, again=True) as slow:
                row, bad = phase(options, collect, honest)
                closed = f"{sum(slow.closed.values()):,}"
        else:
            row, bad = phase(options, collect, honest)
            closed = ""
        refused += bad
        table.add_row(f"{options.count:,} slow clients" if number % 2 else "without", *row, closed)
    console.print(table)
    console.print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", highlight=False)
    return 1 if refused else 0


def phase(options: argparse.Namespace, collect: Collect, honest: Traffic) -> tuple[list[str], int]:
    """One phase; what the honest client saw, and how often it was refused."""
    used, began, files = cpu_seconds(collect.pid), time.monotonic(), 0
    while time.monotonic() - began < options.seconds:
        time.sleep(0.5)
        files = max(files, len(os.listdir(f"/proc/{collect.pid}/fd")))
    used = (cpu_seconds(collect.pid) - used) / (time.monotonic() - began)
    memory = collect.memory_bytes
    honest.stop()
    seconds = [second for _, second in honest.seconds[1:]]  # the first one connects
    took = sorted(ms for second in seconds for ms in second.milliseconds)
    bad = sum(count for second in seconds for status, count in second.statuses.items() if status != 200)
    figures = [share(took, part) for part in (0.5, 0.99, 1.0)]
    return [
        f"{len(took) + bad:,}", f"{bad:,}", *(f"{ms:,.1f}" for ms in figures),
        f"{memory / 1e6:,.0f}", f"{files:,}", f"{100 * used:.0f}",
    ], bad  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
