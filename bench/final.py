"""`python -m bench.final`: what it costs that a plain `SELECT` sees each row of `signals` once.

Rows are made by the engine itself and stored in the table of the migrations, in many parts; a share of them is stored
a second time, as a resend is. Each question is asked as port 8123 asks it (`final = 1`) and without, in turn, of the
table in parts and of the table merged; the first turn of each warms up and does not count.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.errors import QueryFailed
from testkit.machine import ms_cell
from testkit.sink_configs import query_bounds

SAMPLES = 8
QUESTIONS = {
    "count of all": "SELECT count() FROM signals",
    "count by type": "SELECT type, count() FROM signals GROUP BY type",
    "one session": "SELECT * FROM signals WHERE site = 'site-3' AND session = '{session}'",
    "mean of an array column": "SELECT avg(arraySum(x)) FROM signals",
}


def main() -> int:
    """Measures, prints a table; 0 where every question was answered within the bounds of port 8123."""
    parser = argparse.ArgumentParser(prog="python -m bench.final", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--parts", type=int, default=50)
    parser.add_argument("--again", type=float, default=0.02, metavar="SHARE", help="of the rows that are stored twice")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    console = Console(width=120)
    with tempfile.TemporaryDirectory(prefix="unjoin-final-") as folder:
        engine = Embedded(Path(folder))
        engine.migrate()
        with Progress(console=console, transient=True) as progress:
            fill(engine, options, progress)
            layouts = [(f"{parts_of(engine)} parts", measured(engine, options, progress))]
            task = progress.add_task("merging", total=None)
            engine.select("SYSTEM START MERGES unjoin.signals", "Null")
            engine.select("OPTIMIZE TABLE unjoin.signals FINAL", "Null")
            progress.remove_task(task)
            layouts.append((f"{parts_of(engine)} part(s)", measured(engine, options, progress)))
        title = f"signals: {options.rows:,} rows, {options.again:.0%} of them stored twice, {options.runs} runs"
        table = Table("ms: median (fastest to slowest)", title=title)
        for name, _ in layouts:
            table.add_column(f"{name}: FINAL")
            table.add_column(f"{name}: without")
        for question in QUESTIONS:
            found = [cells[question, final] for _, cells in layouts for final in (True, False)]
            table.add_row(question, *map(ms_cell, found))
        console.print(table)
        engine.close()
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    console.print(f"{os.cpu_count()} cores, load average at the end {load}", highlight=False)
    return 0 if all(seconds for _, cells in layouts for seconds in cells.values()) else 1


def fill(engine: Embedded, options: argparse.Namespace, progress: Progress) -> None:
    """Inserts once for each part that is asked for, merging none; the last inserts store some rows again."""
    engine.select("SYSTEM STOP MERGES unjoin.signals", "Null")
    again = int(options.rows * options.again)
    task = progress.add_task("storing", total=options.rows + again)
    each = -(-options.rows // max(1, options.parts - 1))
    for start, end in [*((at, options.rows) for at in range(0, options.rows, each)), (0, again)]:
        count = min(each, end - start) if end == options.rows else again
        if count:
            engine.select(insert(start, count, later=end != options.rows), "Null")
        progress.advance(task, count)
    progress.remove_task(task)


def insert(start: int, count: int, *, later: bool) -> str:
    """Rows in the order of their arrival: sessions of some hundred events, many at once."""
    return f"""
        INSERT INTO unjoin.signals (event_id, site, session, type, ts, received_at, t, x, y)
        SETTINGS max_threads = 2, max_insert_threads = 1, min_insert_block_size_rows = 1000000000,
            min_insert_block_size_bytes = 1000000000000, max_block_size = 65536, async_insert = 0
        SELECT
            lower(hex(sipHash128(number))) AS event_id,
            concat('site-', toString(intDiv(number, 200) % 10)) AS site,
            concat('s-', toString(intDiv(number, 200000) * 1000 + number % 1000)) AS session,
            ['pointer', 'scroll', 'key', 'touch'][1 + intHash32(number) % 4] AS type,
            1790000000000 + number AS ts,
            fromUnixTimestamp64Milli(toInt64(1790000000000 + number + {60_000 * later}), 'UTC') AS received_at,
            arrayMap(i -> i * 16.0, range({SAMPLES})) AS t,
            arrayMap(i -> toFloat64(intHash32(number + i) % 1000), range({SAMPLES})) AS x,
            arrayMap(i -> toFloat64(intHash32(number - i) % 800), range({SAMPLES})) AS y
        FROM numbers({start}, {count})"""


def parts_of(engine: Embedded) -> int:
    """Number of parts that a query has to look through."""
    return int(engine.select("SELECT count() FROM system.parts WHERE table = 'signals' AND active", "TSV"))


def measured(engine: Embedded, options: argparse.Namespace, progress: Progress) -> dict[tuple[str, bool], list[float]]:
    """Seconds by question and whether with FINAL, the two in turn; none where the engine refused within its bounds."""
    bounds = {name: str(value) for name, value in msgspec.structs.asdict(query_bounds()).items()}
    found: dict[tuple[str, bool], list[float]] = {}
    for name, question in QUESTIONS.items():
        task = progress.add_task(name, total=options.runs + 1)
        for run in range(options.runs + 1):
            for final in (True, False):
                seconds = found.setdefault((name, final), [])
                sql = question.format(session=f"s-{run * 7919 % 1000}")
                began = time.perf_counter()
                try:
                    engine.read(sql, "Null", {**bounds, "final": str(int(final))})
                except QueryFailed as error:
                    progress.console.print(f"{name}: refused with code {error.code}", highlight=False)
                    continue
                if run:
                    seconds.append(time.perf_counter() - began)
            progress.advance(task)
        progress.remove_task(task)
    return found


if __name__ == "__main__":
    sys.exit(main())
