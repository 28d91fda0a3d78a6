"""The command: `python -m mutants`; 0 where every mutant turned a test red that is green without it."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mutants.door import DOOR
from mutants.edge import EDGE
from mutants.erasure import ERASURE
from mutants.export import EXPORT
from mutants.mutant import Mutant, MutantError, mutated
from mutants.sink import SINK
from mutants.tree import ROOT, Outcome, Tree
from schemas.outcomes import UnjoinError

MUTANTS = (*EDGE, *DOOR, *SINK, *EXPORT, *ERASURE)


def main() -> int:
    options = _parser().parse_args()
    console = Console()
    mutants = _chosen(options.only)
    if options.list:
        for mutant in mutants:
            console.print(f"[bold]{mutant.name}[/]: {mutant.why}", highlight=False)
        return 0
    for mutant in mutants:
        mutated(mutant, ROOT)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with tempfile.TemporaryDirectory(prefix="unjoin-mutants-") as folder, Progress(*columns, console=console) as bar:
        trees = [Tree(Path(folder) / str(number)) for number in range(options.jobs)]
        for tree in trees:
            tree.check()
        if not options.no_baseline:
            task = bar.add_task("the tests without any mutant", total=1)
            _check_green(
                trees[0].run(
                    sorted({test for one in mutants for test in one.tests}), to_the_end=True, seconds_max=900.0
                )
            )
            bar.advance(task)
        outcomes = _outcomes(mutants, trees, bar)
    return _report(mutants, outcomes, console)


def _outcomes(mutants: Sequence[Mutant], trees: Sequence[Tree], bar: Progress) -> list[Outcome]:
    """Runs the mutants, one in each tree at a time; outcomes are in the mutants' order."""
    task = bar.add_task("mutants", total=len(mutants))
    free: SimpleQueue[Tree] = SimpleQueue()
    for tree in trees:
        free.put(tree)

    def outcome(mutant: Mutant) -> Outcome:
        tree = free.get()
        try:
            with tree.with_mutant(mutant):
                return tree.run(mutant.tests)
        finally:
            free.put(tree)
            bar.advance(task)

    with ThreadPoolExecutor(len(trees)) as pool:
        return list(pool.map(outcome, mutants))


def _check_green(outcome: Outcome) -> None:
    if outcome.red:
        raise MutantError(
            f"without any mutant these are red, so they prove nothing: {', '.join(outcome.failed) or 'hung'}"
        )


def _report(mutants: Sequence[Mutant], outcomes: Sequence[Outcome], console: Console) -> int:
    table = Table("mutant", "tests", "outcome", "seconds", "turned red")
    for mutant, outcome in zip(mutants, outcomes, strict=True):
        said = "[green]red[/]" if outcome.red else "[bold red]survives[/]"
        table.add_row(
            mutant.name, str(outcome.passed + len(outcome.failed)), said, f"{outcome.seconds}", _words(outcome)
        )
    console.print(table)
    survivors = [mutant.name for mutant, outcome in zip(mutants, outcomes, strict=True) if not outcome.red]
    if survivors:
        console.print(f"[bold red]{len(survivors)} of {len(mutants)} survive:[/] {', '.join(survivors)}")
        return 1
    console.print(f"[bold green]Each of {len(mutants)} broken guards turns a test red.")
    return 0


def _words(outcome: Outcome) -> str:
    if outcome.hung:
        return "did not end"
    if not outcome.passed and not outcome.red:
        return "no test ran: see why they are skipped here"
    return escape(", ".join(name.rpartition("::")[2] for name in outcome.failed))


def _chosen(names: Sequence[str]) -> tuple[Mutant, ...]:
    if not names:
        return MUTANTS
    chosen = tuple(mutant for mutant in MUTANTS if any(name in mutant.name for name in names))
    if not chosen:
        raise MutantError(f"no mutant is called {' or '.join(names)}; `--list` shows them")
    return chosen


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__)
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME", help="those whose name contains one of these")
    parser.add_argument("--list", action="store_true", help="names and reasons, and nothing is run")
    parser.add_argument(
        "--jobs", type=int, default=2, metavar="N", help="copies of the tree at work at once (default 2)"
    )
    parser.add_argument("--no-baseline", action="store_true", help="do not first run the tests without a mutant")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UnjoinError as error:
        sys.exit(f"mutants: {error}")
