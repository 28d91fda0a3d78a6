"""The command: `python -m bench.collector`.

Real Kafka, acks=all on every side; of a contender's processes the CPU of all counts. Who is not installed is left out,
and the table says so. Generator, broker and collector share the machine, so what
compares collectors is the CPU that each spends on an acknowledged event, not events a second.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from bench.collector.contenders import Contender, Unjoin, everyone
from bench.collector.mixes import MIXES, Mix
from bench.collector.report import Report
from bench.collector.rounds import Environment, Result, environment
from testkit.lists import numbers, rotated, words
from testkit.machine import machine, spread

CONNECTIONS = 32
LOAD_SHARE = 0.6
LATENCY_EVENTS = 50


def main() -> int:
    """Measures, prints, and writes JSON and plots where told."""
    parser = argparse.ArgumentParser(prog="python -m bench.collector", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each contender; they take turns")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a round, after one second that does not count")
    parser.add_argument("--events", type=numbers, default=[1, 10, 50, 200], metavar="N,N", help="of a request")
    parser.add_argument("--mixes", type=words, default=list(MIXES))
    parser.add_argument("--without", action="append", default=[], help="leave a contender out")
    parser.add_argument("--growth", action="store_true", help="partitions, connections and workers as well")
    parser.add_argument("--out", type=Path, help="folder for collector.csv and its plots")
    options = parser.parse_args()
    console = Console(width=200)
    wanted = [one for one in everyone() if one.name.split()[0] not in options.without]
    contenders = [one for one in wanted if not one.missing()]
    packages = ("aiokafka", "aiohttp", "pydantic", "orjson", "fastavro", "granian", "msgspec", "uvloop")
    report = Report(machine(*packages), wanted)
    with environment(contenders) as at, Progress(console=console) as progress:
        costs(at, contenders, options, report, progress)
        latencies(at, [contender for contender in contenders if contender.stores], options, report, progress)
    if options.growth:
        if options.out:
            write(report, options.out)  # what is known already, should the rest break off
        growth(options, report, console)
    report.show(console)
    if options.out:
        write(report, options.out)
    return 0


def write(report: Report, folder: Path) -> None:
    """Writes the table and the plots."""
    from bench.collector import plots  # noqa: PLC0415  matplotlib takes a second to load

    report.write(folder)
    plots.draw(report, folder)


def costs(
    at: Environment, contenders: Sequence[Contender], options: argparse.Namespace, report: Report, progress: Progress
) -> None:
    """Sends requests of each size and mix as fast as they are answered."""
    cases = [(mix, events) for mix in options.mixes for events in options.events]
    task = progress.add_task("cost", total=len(cases) * options.rounds * (len(contenders) + 1))
    for mix, events in cases:
        for number in range(options.rounds):
            # Another one begins each time, so that none is always the first on a cooler machine.
            for contender in rotated(contenders, number):
                report.costs.append(at.run(contender, mix, events, CONNECTIONS, options.seconds))
                progress.advance(task)
            report.produce[mix, events].append(at.produce(mix, events, options.seconds / 2))
            progress.advance(task)


def latencies(
    at: Environment, contenders: Sequence[Contender], options: argparse.Namespace, report: Report, progress: Progress
) -> None:
    """Each at the same share of what it can do at most itself."""
    if LATENCY_EVENTS not in options.events:
        return
    capacity: dict[tuple[str, Mix], list[float]] = defaultdict(list)
    for result in report.costs:
        if result.events == LATENCY_EVENTS:
            capacity[result.contender, result.mix].append(result.requests_a_second)
    task = progress.add_task("latency", total=len(options.mixes) * options.rounds * len(contenders))
    for mix in options.mixes:
        for number in range(options.rounds):
            for contender in rotated(contenders, number):
                rate = LOAD_SHARE * spread(capacity[contender.name, mix]).median
                report.latencies.append(at.run(contender, mix, LATENCY_EVENTS, CONNECTIONS, options.seconds, rate=rate))
                progress.advance(task)


def growth(options: argparse.Namespace, report: Report, console: Console) -> None:
    """The product alone, as one thing grows and all else stays."""

    def measured(product: Contender, partitions: int, connections: int) -> list[Result]:
        with environment([product], partitions) as at:
            return [
                at.run(product, "small", LATENCY_EVENTS, connections, options.seconds) for _ in range(options.rounds)
            ]

    for partitions in (1, 2, 4, 8):
        console.print(f"growth: {partitions} partitions")
        report.growth["partitions"][partitions] = measured(Unjoin(), partitions, CONNECTIONS)
    for connections in (1, 8, 64, 256):  # more than wait 100 ms for their turn at this batch size are refused
        console.print(f"growth: {connections} connections")
        report.growth["connections"][connections] = measured(Unjoin(), 2, connections)
    for workers in (1, 2):
        console.print(f"growth: {workers} workers")
        report.growth["workers"][workers] = measured(Unjoin(workers), 2, CONNECTIONS)


if __name__ == "__main__":
    sys.exit(main())
