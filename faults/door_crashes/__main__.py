"""The command: `python -m faults.door_crashes --kills 50 --seed 1`; 0 where nothing was found that must not be.

`--processors 3 --kills 10 --stops 5 --pauses 10 --leaves 10 --broker-restarts 3` does all of it, in a seeded order.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from faults.door_crashes.faults import Fault
from faults.door_crashes.run import Report, Run
from schemas.outcomes import UnjoinError
from unjoin.settings import settings_of

OPTIONS = {
    Fault.KILL: ("kills", "SIGKILL, and started again (default 50)"),
    Fault.STOP: ("stops", "SIGTERM, and started again"),
    Fault.PAUSE: ("pauses", "SIGSTOP until others have its partitions, then SIGCONT"),
    Fault.HANG: ("hangs", "its loop stops for good, and its watchdog has to end it"),
    Fault.LEAVE: ("leaves", "SIGTERM, and started again once the others have gone on without it"),
    Fault.BROKER: ("broker_restarts", "the broker killed or stopped, and started again"),
}
WORDS = {
    "incomplete": "labels released from an incomplete crowd",
    "too_small": "crowds of too few voters, or one with more than half",
    "differing": "released crowds that differ on replay",
    "unfinished": "crowds that were cut and never left whole",
    "lost": "votes lost",
    "doubled": "votes doubled",
    "bots": "labels of bots whose verdict lay before their crowd left",
}


def main() -> int:
    options = _parser().parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # its broker is stopped under it
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="unjoin-crashes-") as folder,
        Progress(*columns, console=console) as progress,
    ):
        faults = {fault: getattr(options, option) for fault, (option, _) in OPTIONS.items()}
        done_so_far = progress.add_task("", total=sum(faults.values()))
        run = Run(
            kafka_home=settings_of().kafka_home,
            folder=Path(folder) if options.keep is None else options.keep,
            faults=faults,
            seed=options.seed,
            processors=options.processors,
            crowd_min=options.crowd_min,
            crowd_target=max(options.crowd_min, options.crowd_target),
            crowd_wait_ms=options.crowd_wait_ms,
            say=lambda text, done: progress.update(done_so_far, description=text, completed=done),
        )
        report = asyncio.run(run.report())
    _print(report, console)
    if options.out is not None:
        options.out.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return 0 if report.holds else 1


def _print(report: Report, console: Console) -> None:
    found = report.findings
    done = ", ".join(f"{number} {fault}" for fault, number in report.faults.items())
    table = Table(title=f"{report.processors} processors, seed {report.seed}: {done}", show_header=False)
    for name, words in WORDS.items():
        table.add_row(words, str(getattr(found, name)))
    table.add_row("partitions whose commit is not where what is held begins", str(report.commits_differ))
    table.add_row("commits past a label that had not left", str(report.commits.ahead))
    table.add_row("commits in the middle of a crowd's range", str(report.commits.astray))
    table.add_row("stops that did not end with 0", str(sum(code != 0 for code in report.exit_codes)))
    table.add_row("dead letters missing or too many", str(report.dead_letters_differ))
    table.add_section()
    for moment, number in report.moments.items():
        table.add_row(f"faults {moment}", str(number))
    table.add_section()
    table.add_row("records written, labels among them", f"{report.records:,}, {report.labels:,}")
    table.add_row("crowds, votes in them", f"{found.crowds:,}, {found.votes:,}")
    table.add_row("records released", f"{found.records_released:,}")
    table.add_row("times a partition began to repeat, in the middle of a crowd", f"{found.repeats}, {found.cut}")
    table.add_row("different commits seen", f"{report.commits.samples:,}")
    table.add_row("doors that their watchdog ended", str(report.ended_by_watchdog))
    table.add_row("held at the end", str(report.held))
    table.add_row("suppressed", ", ".join(f"{why} {number:,}" for why, number in report.suppressed.items()))
    table.add_row("seconds", str(report.seconds))
    console.print(table)
    verdict = "[bold green]The door holds." if report.holds else "[bold red]The door does not hold."
    console.print(verdict)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m faults.door_crashes", description=__doc__)
    for option, words in OPTIONS.values():
        default = 50 if option == "kills" else 0
        parser.add_argument(f"--{option.replace('_', '-')}", type=int, default=default, metavar="N", help=words)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processors", type=int, default=1, help="as many as partitions of the labeled topic")
    parser.add_argument("--crowd-min", type=int, default=20)
    parser.add_argument("--crowd-target", type=int, default=0, help="sessions with which a crowd leaves; the minimum")
    parser.add_argument("--crowd-wait-ms", type=int, default=2_000, help="after which the minimum is enough")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the report there, as JSON")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="an empty folder for logs and state, kept")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UnjoinError as error:
        sys.exit(f"door_crashes: {error}")
