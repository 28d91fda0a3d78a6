"""`python -m attacks.logs`: what somebody who holds every log, and no key, joins back; and how people write."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from attacks.logs.evidence import Attacker, Outcome
from attacks.logs.holdings import LoggedDay
from attacks.logs.traffic import HOUR_MS, Telling, posts_of_day
from attacks.logs.virtual_day import virtual_day
from schemas.outcomes import UnjoinError

SESSIONS_AN_HOUR = 1_000
ANSWERS_A_SESSION = 12
TARGETS = (20, 200)
STACK_SESSIONS, STACK_ANSWERS, STACK_TARGET = 100, 50, 20
TASKS = 3_000


def main(arguments: Sequence[str]) -> int:
    """Prints a table a day; 0 where the last state of each holds every bar, else 1."""
    parser = argparse.ArgumentParser(prog="python -m attacks.logs", description=__doc__)
    parser.add_argument("--stack", action="store_true", help="on a real pipeline, instead of in process")
    parser.add_argument("--seconds", type=float, default=200.0, help="in which the real pipeline gets its day")
    parser.add_argument(
        "--telling", choices=[one.name.lower() for one in Telling], help="with --stack: what pages send"
    )
    parser.add_argument("--answers", type=float, default=STACK_ANSWERS, help="with --stack: of a session on average")
    parser.add_argument("--hours", type=float, default=8.0, help="in process: of 1,000 sessions each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures there, as JSON")
    options = parser.parse_args(arguments)
    console = Console(width=150)
    days = _on_the_stack(options, console) if options.stack else _in_process(options)
    found: dict[str, list[Outcome]] = {}
    holds = True
    for name, day, is_promise in days:
        found[name] = Attacker(day).outcomes()
        _print(name, day, found[name], console)
        holds &= not is_promise or all(outcome.holds for outcome in found[name])
    if options.out is not None:
        options.out.write_text(json.dumps(msgspec.to_builtins(found), indent=2) + "\n")
    return 0 if holds else 1


def _in_process(options: argparse.Namespace) -> Iterator[tuple[str, LoggedDay, bool]]:
    for target in TARGETS:
        states = ((Telling.PLAIN, False), *((telling, True) for telling in Telling))
        for telling, is_sealed in states:
            rng = Random(options.seed)
            sessions = round(SESSIONS_AN_HOUR * options.hours)
            posts = posts_of_day(
                rng, telling, sessions=sessions, answers=ANSWERS_A_SESSION, span_ms=options.hours * HOUR_MS, tasks=TASKS
            )
            day = virtual_day(posts, rng, crowd_target=target, is_sealed=is_sealed)
            yield f"{day.source}; pages send {telling}", day, is_sealed and telling is Telling.REDUCED


def _on_the_stack(options: argparse.Namespace, console: Console) -> Iterator[tuple[str, LoggedDay, bool]]:
    from attacks.logs.stack_day import stack_day  # noqa: PLC0415 - in process needs no Kafka

    for telling in Telling:
        if options.telling in (None, telling.name.lower()):
            rng = Random(options.seed)
            posts = posts_of_day(
                rng, telling, sessions=STACK_SESSIONS, answers=options.answers, span_ms=HOUR_MS / 60, tasks=TASKS
            )
            with Progress(console=console, transient=True) as progress:
                day, parts = stack_day(posts, progress, crowd_target=STACK_TARGET, seconds=options.seconds)
            console.print(f"_part on port 8123: {parts}", highlight=False)
            yield f"{day.source}; pages send {telling}", day, telling is Telling.REDUCED


def _print(name: str, day: LoggedDay, outcomes: Sequence[Outcome], console: Console) -> None:
    table = Table("attack", "tries", "success", "99 % interval", "bar", "", title=name)
    for outcome in outcomes:
        found = outcome.found
        table.add_row(
            outcome.attack, f"{found.tries:,}", f"{found.value:.1%}", f"{found.lower:.1%} to {found.upper:.1%}",
            f"{outcome.bar:.1%}", "held" if outcome.holds else "above" if outcome.leaks else "undecided",
        )  # fmt: skip
    console.print(table)
    console.print(f"{len(day.holdings.rows):,} labels in {len(day.holdings.committed)} batches", highlight=False)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UnjoinError as error:
        sys.exit(f"attacks.logs: {error}")
