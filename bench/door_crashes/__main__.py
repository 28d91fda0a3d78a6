"""The command: `python -m bench.door_crashes --kills 50 --seed 1`; 0 where nothing was found that must not be."""

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

from bench.door_crashes.run import Report, Run
from schemas.outcomes import UnjoinError
from unjoin.settings import settings_of

WORDS = {
    "incomplete": "labels released from an incomplete crowd",
    "too_small": "crowds of too few voters, or one with more than half",
    "differing": "released crowds that differ on replay",
    "unfinished": "crowds that were cut and never left whole",
    "lost": "votes lost",
    "doubled": "votes doubled",
    "bots": "labels of bots whose verdict lay before their crowd was complete",
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
        kills = progress.add_task("", total=options.kills)
        run = Run(
            kafka_home=settings_of().kafka_home,
            folder=Path(folder) if options.keep is None else options.keep,
            kills=options.kills,
            seed=options.seed,
            processors=options.processors,
            crowd_min=options.crowd_min,
            say=lambda text, done: progress.update(kills, description=text, completed=done),
        )
        report = asyncio.run(run.report())
    _print(report, console)
    if options.out is not None:
        options.out.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return 0 if report.holds else 1


def _print(report: Report, console: Console) -> None:
    found = report.findings
    table = Table(title=f"{report.kills} kills, seed {report.seed}, {report.processors} processors", show_header=False)
    for name, words in WORDS.items():
        table.add_row(words, str(getattr(found, name)))
    table.add_row("partitions whose commit is not where what is held begins", str(report.commits_differ))
    table.add_row("dead letters missing or too many", str(report.dead_letters_differ))
    table.add_section()
    for moment, number in report.moments.items():
        table.add_row(f"killed {moment}", str(number))
    table.add_section()
    table.add_row("records written, labels among them", f"{report.records:,}, {report.labels:,}")
    table.add_row("crowds, votes in them", f"{found.crowds:,}, {found.votes:,}")
    table.add_row("records released", f"{found.records_released:,}")
    table.add_row("times a partition began to repeat, in the middle of a crowd", f"{found.repeats}, {found.cut}")
    table.add_row("held at the end", str(report.held))
    table.add_row("suppressed", ", ".join(f"{why} {number:,}" for why, number in report.suppressed.items()))
    table.add_row(
        "labels of bots that were given after the verdict's crowd had left", str(found.bots_of_earlier_verdicts)
    )
    table.add_row("seconds", str(report.seconds))
    console.print(table)
    verdict = "[bold green]The door holds." if report.holds else "[bold red]The door does not hold."
    console.print(verdict)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.door_crashes", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processors", type=int, default=1, help="as many as partitions of the labeled topic")
    parser.add_argument("--crowd-min", type=int, default=20)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the report there, as JSON")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="an empty folder for logs and state, kept")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UnjoinError as error:
        sys.exit(f"door_crashes: {error}")
