"""`python -m bench.memory.accelerated`: a collector's memory over as many requests as come in hours, in minutes.

Only Kafka and the collector run. Each round is a generator of its own, with new connections, ids and sessions; after it
the collector's pages are looked at. What grows with requests grows as it does in hours; what grows with time does not.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from rich.console import Console

from bench.collector.generator import Measured, Order
from bench.memory.census import pages_of
from bench.memory.grown import MIB, census_environment, take_census, tell_growth
from testkit.collect_process import Collect
from testkit.figures import COLOURS, drawn, thinned, write_csv
from testkit.kafka_node import kafka_home, node_with_topics
from testkit.slope import slope_of

ROUNDS_MAX = 99  # a generator's ids repeat after a hundred
CONNECTIONS = 16
SAMPLES_MIN = 10
STEADY_RATE = 300  # events a second of the hours that these requests stand for


def main() -> int:
    """Measures, prints, writes memory-accelerated.csv, its plot, and census.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory.accelerated", description=__doc__)
    parser.add_argument("--requests", type=int, default=86_400, help="`unjoin simulate` sends so many in four hours")
    parser.add_argument("--events", type=int, default=50, help="of a request")
    parser.add_argument("--rate", type=float, default=0.0, help="requests a second; 0 for as fast as answered")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round")
    parser.add_argument("--out", type=Path, default=Path("memory"), help="folder of the table and the plot")
    options = parser.parse_args()
    console = Console(width=130)
    with TemporaryDirectory(prefix="unjoin-memory-") as name:
        folder = Path(name)
        lines = folder / "census.jsonl"
        with node_with_topics(kafka_home(), folder / "kafka", 2) as node:
            collect = Collect(folder / "collector", node.bootstrap, **census_environment(lines))
            collect.start()
            try:
                rows = sampled(collect, lines, options)
            finally:
                collect.stop()
        tell_growth(lines, options.out, console)
    write_csv(options.out / "memory-accelerated.csv", thinned(rows))
    draw(rows, options.out / "memory-accelerated.svg")
    later = rows[len(rows) // 2 :]
    if len(later) < SAMPLES_MIN:
        console.print("too few rounds for a slope: give --seconds less")
        return 0
    slope = slope_of([row["hours"] for row in later], [row["rss_mib"] for row in later])
    console.print(
        f"{rows[-1]['requests']:,.0f} requests, {rows[-1]['events']:,.0f} events; in their second half"
        f" {slope.value:+.2f} MiB ({slope.low:+.2f} to {slope.high:+.2f}) an hour of {STEADY_RATE} events/s",
        highlight=False,
    )
    return 0


def sampled(collect: Collect, lines: Path, options: argparse.Namespace) -> list[dict[str, float]]:
    """A row a round, the first before any request, until there were enough; a census after the first and the last."""
    requests = events = 0
    rows = [_row(collect.pid, 0, 0)]
    for number in range(ROUNDS_MAX):
        order = Order(
            collect.port, "realistic", options.events, CONNECTIONS, options.rate, 0.0, options.seconds, seed=number
        )
        command = [sys.executable, "-m", "bench.collector.generator", msgspec.json.encode(order).decode()]
        measured = msgspec.json.decode(
            subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout, type=Measured
        )
        if set(measured.not_200) - {503}:  # a busy machine may refuse some, early
            raise SystemExit(f"answered {measured.not_200}")
        events += measured.accepted_in_all
        requests += measured.accepted_in_all // options.events + sum(measured.not_200.values())
        rows.append(_row(collect.pid, requests, events))
        if number == 0:
            take_census(collect.pid, lines)
        if requests >= options.requests:
            break
    take_census(collect.pid, lines)
    return rows


def _row(pid: int, requests: int, events: int) -> dict[str, float]:
    with Path(f"/proc/{pid}/smaps").open() as smaps:
        pages = {name: round(size / MIB, 2) for name, size in pages_of(smaps).items()}
    hours = events / STEADY_RATE / 3_600
    return {
        "requests": requests,
        "events": events,
        "hours": round(hours, 4),
        "rss_mib": round(sum(pages.values()), 2),
        **pages,
    }


def draw(rows: list[dict[str, float]], path: Path) -> None:
    """Resident MiB against requests, by kind of page."""
    requests = [row["requests"] for row in rows]
    with drawn(path, size=(8, 3.4)) as (_, (panel,)):
        for name, colour in zip(("rss_mib", "heap", "anon", "file"), COLOURS, strict=True):
            panel.plot(requests, [row[name] for row in rows], label=name.replace("rss_mib", "resident"), color=colour)
        panel.set(xlabel="requests", ylabel="MiB", ylim=(0, None))
        panel.grid(alpha=0.3)
        panel.legend(frameon=False, fontsize=8)


if __name__ == "__main__":
    sys.exit(main())
