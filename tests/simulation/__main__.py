"""Runs the pipeline's own code on a seeded clock, network, disk, broker and engine, many seeds a minute.

python -m tests.simulation --seeds 10000              every world, all processors
python -m tests.simulation --world sink --seed 4711 --trace    one run again, with all that happened
"""

import argparse
import contextlib
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tests.simulation.runs import WORLDS, Outcome, run_seed, simulating

SHOWN_MAX = 20
_FOR_GOOD = contextlib.ExitStack()  # of a worker process


def main() -> int:
    """The exit code: 1 where a promise was broken."""
    arguments = _arguments()
    worlds = [arguments.world] if arguments.world else list(WORLDS)
    if arguments.seed is not None:
        return _replay(worlds, arguments.seed, trace=arguments.trace)
    runs = [(world, seed) for seed in range(arguments.first, arguments.first + arguments.seeds) for world in worlds]
    began, outcomes = time.monotonic(), []
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("runs", total=len(runs))
        violations = 0
        try:
            for outcome in _outcomes(runs, arguments.jobs):
                outcomes.append(outcome)
                if outcome.violation:
                    violations += 1
                    if violations <= SHOWN_MAX:
                        console.print(f"[red]{outcome.world} {outcome.seed}[/red] {outcome.violation}", highlight=False)
                progress.update(bar, advance=1, description=f"runs, {violations} violations")
        except KeyboardInterrupt:
            console.print("interrupted; what was run so far:")
    _print_summary(outcomes, time.monotonic() - began)
    return 1 if violations else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=1_000, help="how many, of each world (1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--world", choices=list(WORLDS), help="one only; all without it")
    parser.add_argument("--seed", type=int, help="runs this one alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: prints what happens")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one a CPU)")
    return parser.parse_args()


def _replay(worlds: list[str], seed: int, *, trace: bool) -> int:
    failed = 0
    with simulating():
        for world in worlds:
            outcome = run_seed(world, seed, print if trace else None)
            failed += bool(outcome.violation)
            print(f"{world} {seed}: {outcome.violation or 'holds'}, history {outcome.history}")
    return 1 if failed else 0


def _outcomes(runs: list[tuple[str, int]], jobs: int) -> Iterator[Outcome]:
    if jobs == 1:
        with simulating():
            yield from map(_run, runs)
        return
    with multiprocessing.get_context("fork").Pool(jobs, initializer=_simulate_for_good) as pool:
        yield from pool.imap_unordered(_run, runs, chunksize=8)


def _simulate_for_good() -> None:
    _FOR_GOOD.enter_context(simulating())


def _run(run: tuple[str, int]) -> Outcome:
    return run_seed(*run)


def _print_summary(outcomes: list[Outcome], real_s: float) -> None:
    table = Table("world", "runs", "violations", "simulated hours", title="Simulation")
    for world in WORLDS:
        of_world = [one for one in outcomes if one.world == world]
        if of_world:
            hours = sum(one.simulated_s for one in of_world) / 3_600
            violations = sum(bool(one.violation) for one in of_world)
            table.add_row(world, f"{len(of_world):,}", str(violations), f"{hours:,.1f}")
    faults: Counter[str] = Counter()
    for one in outcomes:
        faults.update(one.faults)
    injected = Table("fault", "times", title="Injected")
    for kind, times in faults.most_common():
        injected.add_row(kind, f"{times:,}")
    console = Console()
    console.print(table, injected)
    simulated_s = sum(one.simulated_s for one in outcomes)
    rate, speed = len(outcomes) / real_s * 60, simulated_s / real_s
    console.print(f"{len(outcomes):,} runs in {real_s:,.0f} s: {rate:,.0f} a minute, {speed:,.0f} s simulated a second")


if __name__ == "__main__":
    sys.exit(main())
