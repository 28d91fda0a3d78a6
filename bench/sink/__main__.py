"""The command: `python -m bench.sink`; `python -m bench.sink --pipeline` for the whole sink behind Kafka.

Values as they lie on Kafka become rows, in blocks of several sizes, in the embedded engine and in Debian's server. Sink
and server share the machine, so CPU a row says more than rows a second. Each contender's insert is acknowledged
before the next one begins.
"""

import argparse
import gc
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from bench.sink.pipeline import broker, flow
from bench.sink.report import Report
from bench.sink.rounds import places
from bench.sink.rows import KINDS, records
from sinks.main import YOUNG_OBJECTS_MAX
from testkit.lists import numbers, rotated, words
from testkit.machine import machine


def main() -> int:
    """Measures, prints, and writes JSON and a plot where told."""
    parser = argparse.ArgumentParser(prog="python -m bench.sink", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="of a round; of --pipeline five times as many")
    parser.add_argument("--rounds", type=int, default=5, help="of each contender; they take turns")
    parser.add_argument("--blocks", type=numbers, default=[1_000, 10_000, 50_000, 100_000], metavar="N,N")
    parser.add_argument("--kinds", type=words, default=list(KINDS), metavar="KIND,KIND")
    parser.add_argument("--engines", type=words, default=["embedded", "server"], metavar="ENGINE,ENGINE")
    parser.add_argument("--same-gc", action="store_true", help="the garbage collector as rare for all as for a sink")
    parser.add_argument("--pipeline", action="store_true", help="the whole sink process behind a broker, instead")
    parser.add_argument("--out", type=Path, help="folder for sink.csv and its plot")
    options = parser.parse_args()
    console = Console(width=150)
    report = Report(machine("chdb", "fastavro", "clickhouse-driver", "aiokafka", "pyarrow", "numpy"))
    with Progress(console=console) as progress:
        (pipeline if options.pipeline else engines)(options, report, progress)
    report.show(console)
    if options.out:
        report.write(options.out)
    if options.out and report.rounds:
        from bench.sink import plot  # noqa: PLC0415  matplotlib takes a second to load

        plot.rows_a_second(report, options.out / "sink.svg")
    return 0


def engines(options: argparse.Namespace, report: Report, progress: Progress) -> None:
    """Every contender into every engine, in blocks of each size."""
    with places(options.kinds, options.engines) as found:
        for kind in options.kinds:
            made = records(kind, options.rows)
            gc.collect()
            gc.freeze()  # the records are of the bench: nobody's garbage collector shall walk them
            for place in found:
                contenders = place.contenders[kind]
                sizes = [size for size in options.blocks if size <= options.rows]
                task = progress.add_task(f"{place.name}: {kind}", total=len(sizes) * options.rounds * len(contenders))
                for contender in contenders if options.same_gc else ():
                    contender.young_objects_max = YOUNG_OBJECTS_MAX
                for contender in contenders:  # what is loaded and cached at the first time
                    place.run(contender, kind, made[:1_000], 1_000)
                for size in sizes:
                    for number in range(options.rounds):
                        for contender in rotated(contenders, number):
                            report.rounds.append(place.run(contender, kind, made, size))
                            progress.advance(task)
    order = {
        contender.name: n for place in found for each in place.contenders.values() for n, contender in enumerate(each)
    }
    report.rounds.sort(key=lambda one: order[one.contender])  # stable: rounds stay in order


def pipeline(options: argparse.Namespace, report: Report, progress: Progress) -> None:
    """One sink process a round."""
    task = progress.add_task("sinks", total=len(options.kinds) * options.rounds)
    with broker() as bootstrap:
        for _ in range(options.rounds):
            for kind in options.kinds:
                report.flows.append(flow(bootstrap, kind, 5 * options.rows, max(options.blocks)))
                progress.advance(task)


if __name__ == "__main__":
    sys.exit(main())
