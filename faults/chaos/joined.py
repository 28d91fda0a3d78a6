"""`python -m faults.chaos.joined FOLDER FOLDER --out DIR`: several runs as one, with one table and one plot."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from faults.chaos.report import print_run, publish, read_run, write_run
from faults.chaos.results import Run


def joined(runs: list[Run]) -> Run:
    """The runs' rounds behind each other; everything found in any of them is found in it."""
    first = runs[0]
    statuses: dict[str, int] = {}
    for run in runs:
        for status, count in run.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    return Run(
        seed=first.seed,
        rounds_asked=sum(run.rounds_asked for run in runs),
        stop_seconds=first.stop_seconds,
        rate=first.rate,
        rounds=[one for run in runs for one in run.rounds],
        findings=[one for run in runs for one in run.findings],
        failures=[f"seed {run.seed}: {one}" for run in runs for one in run.failures],
        normal_seconds=[one for run in runs for one in run.normal_seconds],
        merged_parts=sum(run.merged_parts for run in runs),
        physical_rows=sum(run.physical_rows for run in runs),
        records=sum(run.records for run in runs),
        server_rows=sum(run.server_rows for run in runs),
        statuses=statuses,
        skipped=list(dict.fromkeys(one for run in runs for one in run.skipped)),
        audits=[f"seed {run.seed}, {one}" for run in runs for one in run.audits],
        restarts=[one for run in runs for one in run.restarts],
        seconds=sum(run.seconds for run in runs),
        machine="; ".join(run.machine for run in runs),
    )


def main() -> int:
    """0 where all of them hold."""
    parser = argparse.ArgumentParser(prog="python -m faults.chaos.joined", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="FOLDER", help="of a run: its `--out`")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--publish", action="store_true", help="renew docs/faults.md and its figures")
    options = parser.parse_args()
    runs = [read_run(path) for path in options.runs]
    run = joined(runs)
    options.out.mkdir(parents=True, exist_ok=True)
    print_run(run, Console(width=160))
    write_run(run, options.out)
    if options.publish:
        publish(run, options.out)
    return 0 if run.holds else 1


if __name__ == "__main__":
    sys.exit(main())
