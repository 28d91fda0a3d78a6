"""The command: `python -m faults.chaos --rounds 200 --seed 1`; 0 where nothing was lost or doubled and all recovered.

`--round 17` replays one round of such a run, `--only sink:SIGKILL` plays one fault alone.
"""

import argparse
import asyncio
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from faults.chaos.clock import library_path
from faults.chaos.disks import can_mount
from faults.chaos.plan import CLUSTER, ONE_MACHINE, SERVER, PlanError, Scenario, plan
from faults.chaos.report import FILES, judge_kills, print_run, publish, write_run
from faults.chaos.results import Run
from faults.chaos.scenario import ScenarioRun
from schemas.outcomes import UnjoinError
from testkit.clickhouse_server import missing
from testkit.kafka_node import kafka_home

START_TRIES = 3
ERROR_SHOWN = 300


def main() -> int:
    options = _parser().parse_args()
    console = Console(width=max(160, Console().width))
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # its broker is killed under it
    folder = Path(tempfile.mkdtemp(prefix="unjoin-chaos-")) if options.out is None else options.out.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(seed=options.seed, rounds_asked=options.rounds, stop_seconds=options.stop_seconds, rate=options.rate)
    environments = possible_environments(options.environment or ONE_MACHINE, folder, run.skipped)
    scenarios = plan(options.seed, options.rounds, options.only or (), options.round, environments)
    began = time.monotonic()
    execute(run, scenarios, folder, lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True))
    run.seconds = round(time.monotonic() - began, 1)
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    run.machine = f"{os.cpu_count()} cores, load average at the end {load}"
    judge_kills(run)
    print_run(run, console)
    write_run(run, folder)
    if options.publish:
        publish(run, folder)
    console.print(f"written to {folder}: {', '.join(FILES)}", highlight=False)
    return 0 if run.holds else 1


def possible_environments(wanted: Sequence[str], folder: Path, skipped: list[str]) -> list[str]:
    """Those of the environments whose faults this machine can make; says why not of the others.

    Raises:
        PlanError: none of them can be.
    """
    possible = []
    for environment in wanted:
        if why_not := _why_not(environment, folder):
            skipped.append(f"{environment}: {why_not}")
        else:
            possible.append(environment)
    if not possible:
        raise PlanError("; ".join(skipped))
    return possible


def _why_not(environment: str, folder: Path) -> str:
    if environment == "proxies" and not can_mount(folder):
        return "this user may not mount a small disk; run it as root"
    if environment == "clock" and library_path() is None:
        return "libfaketime is missing: apt-get install faketime"
    return missing() if environment in ("proxies", SERVER, CLUSTER) else ""


def execute(run: Run, scenarios: tuple[Scenario, ...], folder: Path, say: Callable[[str], None]) -> None:
    """Plays the scenarios one after the other; the folder of one that did not hold stays for a look."""
    for number, scenario in enumerate(scenarios, 1):
        where = f"{scenario.environment}, crowds of {scenario.crowd_min}"
        say(f"scenario {number} of {len(scenarios)}: {where}, {len(scenario.rounds)} rounds")
        place = folder / f"scenario-{number}"
        found = len(run.findings) + len(run.failures)
        play(run, scenario, number, place, say)
        if len(run.findings) + len(run.failures) == found:
            shutil.rmtree(place, ignore_errors=True)
        else:
            say(f"its logs and data stay in {place}")


def play(run: Run, scenario: Scenario, number: int, place: Path, say: Callable[[str], None]) -> None:
    """One scenario; where it does not start it is tried again, for another program may have taken one of its ports."""
    for tries_left in reversed(range(START_TRIES)):
        shutil.rmtree(place, ignore_errors=True)
        scenario_run = ScenarioRun(scenario, run, place, kafka_home(), say)
        try:
            asyncio.run(scenario_run.execute())
        except (AssertionError, OSError, TimeoutError, UnjoinError) as error:
            # A part that never came back, or a broker that does not answer: other scenarios may still tell something.
            if scenario_run.started or not tries_left:
                why = str(error)[:ERROR_SHOWN] or type(error).__name__
                broke = f"scenario {number} broke off, and its rounds are not in the table: {why}"
                say(broke)
                run.failures.append(broke)
                return
            say("it did not start; trying again")
        else:
            return


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m faults.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--round", type=int, metavar="NUMBER", help="replay this one of the run")
    parser.add_argument("--only", action="append", metavar="PART:FAULT", help="these alone; can be repeated")
    every = (*ONE_MACHINE, SERVER, CLUSTER)
    parser.add_argument("--environment", action="append", choices=every, help=f"default: {', '.join(ONE_MACHINE)}")
    parser.add_argument("--rate", type=float, default=250.0, help="events a second")
    parser.add_argument("--stop-seconds", type=float, default=30.0, help="how long SIGSTOP lasts")
    parser.add_argument("--out", type=Path, metavar="DIR", help="tables, plot and logs (default: a new folder)")
    parser.add_argument("--publish", action="store_true", help="renew docs/faults.md and its figures")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UnjoinError as error:
        sys.exit(f"chaos: {error}")
