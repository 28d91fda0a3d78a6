"""Kills an engine inside its inserts, at every system call that matters, and counts what is left after the repair.

python -m faults.killed_inserts                 each rename, sync and mkdir of an insert, once, on every engine
python -m faults.killed_inserts --kills 400     as often as it takes, and half of it at random moments besides

A block has four parts in a plain MergeTree that never merges: whatever is stored twice stays two rows. After each kill
the engine starts again on the same data, the block is repaired (only missing rows are inserted), and every row counts.
"""

import argparse
import logging
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from testkit.aimed_kill import FOLDERS, MISSING, RENAMES, SYNCS, Aim, can_aim
from testkit.clickhouse_server import missing
from testkit.victims import Chdb, ChildServer, Experiment, Killed

ENGINES = {"chdb": Chdb, "server": ChildServer}
CALLS = {"rename": RENAMES, "fsync": SYNCS, "mkdir": FOLDERS, "write": "write,pwrite64", "reply": "sendto,sendmsg"}
SECONDS_MAX = {"chdb": 0.03, "server": 0.03}  # of an insert, about: where random moments lie
BLOCK_ROWS = 400


class Tally:
    """What became of the kills of one row of the table."""

    def __init__(self) -> None:
        self.points: Counter[int] = Counter()
        self.stored: Counter[str] = Counter()
        self.kills = self.missed = self.lost = self.doubled = 0

    def count(self, nth: int, killed: Killed) -> None:
        """One insert."""
        self.lost += killed.lost
        self.doubled += killed.doubled
        if not killed.hit:
            self.missed += 1
            return
        self.kills += 1
        self.points[nth] += 1
        self.stored["none" if not killed.stored else "all" if killed.stored == BLOCK_ROWS else "some"] += 1


def main() -> int:
    """Runs it; 1 where a row was lost or doubled, or nothing was hit."""
    parser = argparse.ArgumentParser(prog="python -m faults.killed_inserts", description=__doc__)
    parser.add_argument("--kills", type=int, default=0, help="at least so many; 0 for one round of every call")
    parser.add_argument("--engine", choices=[*ENGINES], action="append", help="default: all that are here")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    console = Console(width=110)
    logging.getLogger("clickhouse_driver").setLevel(logging.CRITICAL)  # it reports every connection to the dead
    if not can_aim():
        console.print(MISSING)
        return 1
    names = arguments.engine or [name for name in ENGINES if name != "server" or not missing()]
    tallies: dict[tuple[str, str], Tally] = {}
    with Progress(console=console, transient=True) as progress:
        for name in names:
            with tempfile.TemporaryDirectory(prefix="unjoin-kills-") as folder:
                share = -(-arguments.kills // len(names))
                run(name, Path(folder), share, random.Random(arguments.seed), tallies, progress)
    console.print(table_of(tallies))
    kills, lost, doubled = (
        sum(getattr(tally, what) for tally in tallies.values()) for what in ("kills", "lost", "doubled")
    )
    console.print(f"kills inside an insert {kills}, rows lost {lost}, rows doubled {doubled}")
    return 0 if kills and not lost and not doubled else 1


def run(
    name: str,
    folder: Path,
    kills: int,
    chance: random.Random,
    tallies: dict[tuple[str, str], Tally],
    progress: Progress,
) -> None:
    """One engine."""
    experiment = Experiment(ENGINES[name](folder), folder, BLOCK_ROWS)
    task = progress.add_task(name, total=kills or None)
    done = 0
    try:
        for kind, nth in aims(kills, chance):
            if kills and done >= kills:
                break
            tally = tallies.setdefault((name, kind), Tally())
            if kind == "moment":
                killed = experiment.kill_after(chance.random() * SECONDS_MAX[name])
            elif nth > 1 and tally.missed and nth > max(tally.points, default=0) + 1:
                continue  # an insert makes fewer of these calls
            else:
                killed = experiment.kill_before(Aim(CALLS[kind], nth))
            tally.count(nth, killed)
            done += killed.hit
            progress.update(task, completed=done, description=f"{name} {kind} {nth or ''}")
            if killed.lost or killed.doubled:
                progress.console.print(f"{name}: {kind} {nth}: lost {killed.lost}, doubled {killed.doubled}")
    finally:
        experiment.close()


def aims(kills: int, chance: random.Random) -> Iterator[tuple[str, int]]:
    """Every call in turn, then, for a number of kills, again and again, with random moments between."""
    for kind in CALLS:
        yield from ((kind, nth) for nth in range(1, 31))
    while kills:
        yield "moment", 0
        kind = chance.choice([*CALLS])
        yield kind, chance.randint(1, 20)


def table_of(tallies: dict[tuple[str, str], Tally]) -> Table:
    """A row an engine and kind of call."""
    table = Table(
        "engine", "killed before", "points", "kills", "none stored", "some", "all, no reply", "lost", "doubled"
    )
    for (name, kind), tally in tallies.items():
        points = "random" if kind == "moment" else f"1 to {max(tally.points)}" if tally.points else "none made"
        states = (str(tally.stored[state]) for state in ("none", "some", "all"))
        table.add_row(name, kind, points, str(tally.kills), *states, str(tally.lost), str(tally.doubled))
    return table


if __name__ == "__main__":
    sys.exit(main())
