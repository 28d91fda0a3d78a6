"""`python -m bench.consensus`: what `label_consensus` costs, merged and in many parts.

Votes are made by the engine itself and stored in the table of the migrations, some of them replaced once. Each question
is asked several times within the bounds of port 8123, first of as many parts as were inserted, then of the same rows
merged; the first run of each warms up and does not count.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.errors import QueryFailed
from testkit.machine import ms_cell
from testkit.sink_configs import query_bounds

REPLACED_SHARE = 0.02
RIGHT_SHARE = 0.8


class Size(msgspec.Struct, frozen=True):
    """How much is stored.

    Attributes:
        labels: votes, of which `REPLACED_SHARE` are stored a second time in another version.
        parts: of the layout that nothing has merged.
    """

    labels: int
    tasks: int
    parts: int


def main() -> int:
    """Measures, prints a table; 0 where every question was answered within the bounds of port 8123."""
    parser = argparse.ArgumentParser(prog="python -m bench.consensus", description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=10_000_000)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--parts", type=int, default=100)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    size = Size(options.labels, options.tasks, options.parts)
    console = Console(width=120)
    with tempfile.TemporaryDirectory(prefix="unjoin-consensus-") as folder:
        engine = Embedded(Path(folder))
        engine.migrate()
        with Progress(console=console, transient=True) as progress:
            fill(engine, size, progress)
            layouts = [(f"{parts_of(engine)} parts", measured(engine, size, options.runs, progress))]
            merge(engine, progress)
            layouts.append((f"{parts_of(engine)} part(s)", measured(engine, size, options.runs, progress)))
        console.print(table_of(engine, size, options.runs, layouts))
        engine.close()
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    console.print(f"{os.cpu_count()} cores, load average at the end {load}", highlight=False)
    return 0 if all(cell for _, cells in layouts for cell in cells.values()) else 1


def fill(engine: Embedded, size: Size, progress: Progress) -> None:
    """Stores the votes in as many inserts as there shall be parts, none of them merged; the last replaces some."""
    engine.select("SYSTEM STOP MERGES unjoin.labels", "Null")
    replaced = int(size.labels * REPLACED_SHARE)
    task = progress.add_task("storing votes", total=size.labels + replaced)
    each = -(-size.labels // max(1, size.parts - 1))
    starts = range(0, size.labels, each)
    for start in starts:
        count = min(each, size.labels - start)
        engine.select(insert(start, count, size.tasks, version=1), "Null")
        progress.advance(task, count)
    engine.select(insert(0, replaced, size.tasks, version=2), "Null")
    progress.remove_task(task)


def insert(start: int, count: int, tasks: int, version: int) -> str:
    """Votes in an order of their own per task, as they would arrive; each vote's row_id is its number's hash."""
    return f"""
        INSERT INTO unjoin.labels (row_id, day, task, kind, answer, version)
        SETTINGS max_threads = 2, max_insert_threads = 1, min_insert_block_size_rows = 1000000000,
            min_insert_block_size_bytes = 1000000000000, max_block_size = 65536, async_insert = 0
        SELECT
            reinterpretAsUUID(sipHash128(number)) AS row_id,
            toDate('2026-01-01') + intHash32(number) % 30 AS day,
            concat('task-', leftPad(toString(intHash64(number) % {tasks}), 8, '0')) AS task,
            'image_label' AS kind,
            concat('answer ', toString(if(intHash32(number + {version}) % 100 < {RIGHT_SHARE * 100:.0f}, 0,
                intHash32(number + 7) % 9))) AS answer,
            {version} AS version
        FROM numbers({start}, {count})"""


def merge(engine: Embedded, progress: Progress) -> None:
    """Lets the table come to rest: one part, replaced votes gone."""
    task = progress.add_task("merging", total=None)
    engine.select("SYSTEM START MERGES unjoin.labels", "Null")
    engine.select("OPTIMIZE TABLE unjoin.labels FINAL", "Null")
    progress.remove_task(task)


def parts_of(engine: Embedded) -> int:
    """Number of parts that a query has to look through."""
    return int(engine.select("SELECT count() FROM system.parts WHERE table = 'labels' AND active", "TSV"))


def measured(engine: Embedded, size: Size, runs: int, progress: Progress) -> dict[str, list[float]]:
    """Seconds of every run, by question; no seconds where the engine refused within its bounds."""
    questions: dict[str, Callable[[int], str]] = {
        "every task": lambda _: "SELECT * FROM label_consensus",
        "one task": lambda run: f"SELECT * FROM label_consensus WHERE task = 'task-{run * 7919 % size.tasks:08}'",
        "every task, label_export(k = 5)": lambda _: "SELECT * FROM label_export(k = 5)",
    }
    bounds = {name: str(value) for name, value in msgspec.structs.asdict(query_bounds()).items()}
    found: dict[str, list[float]] = {}
    for name, question in questions.items():
        task = progress.add_task(name, total=runs + 1)
        seconds = []
        for run in range(runs + 1):  # the first one warms caches up and is not counted
            began = time.perf_counter()
            try:
                engine.read(question(run), "Null", bounds)
            except QueryFailed as error:
                progress.console.print(f"{name}: refused with code {error.code}", highlight=False)
                seconds = []
                break
            seconds.append(time.perf_counter() - began)
            progress.advance(task)
        progress.remove_task(task)
        found[name] = seconds[1:]
    return found


def table_of(engine: Embedded, size: Size, runs: int, layouts: list[tuple[str, dict[str, list[float]]]]) -> Table:
    """Medians, with the fastest and the slowest run."""
    stored = int(engine.select("SELECT sum(bytes_on_disk) FROM system.parts WHERE table = 'labels' AND active", "TSV"))
    title = f"label_consensus: {size.labels:,} labels, {size.tasks:,} tasks, {runs} runs; {stored / 1e6:.0f} MB merged"
    table = Table("ms: median (fastest to slowest)", *(name for name, _ in layouts), title=title)
    for name in layouts[0][1]:
        table.add_row(name, *(ms_cell(cells[name]) for _, cells in layouts))
    return table


if __name__ == "__main__":
    sys.exit(main())
