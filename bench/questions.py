"""`python -m bench.questions`: milliseconds of every question of docs/questions, embedded and on a server.

The embedded engine makes the rows, stores them in blocks, merges each table; then a server opens the same files. Each
question is asked several times as port 8123 asks it (`final = 1`, its bounds of memory and time), its answer thrown
away; the first run warms up and does not count.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from sinks.clickhouse.address import address_of
from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.errors import QueryFailed
from sinks.clickhouse.server import Server
from testkit.analyst_rows import SHARES, insert
from testkit.clickhouse_server import ClickHouseServer
from testkit.machine import machine, ms_cell
from testkit.questions import Question, questions, value_of
from testkit.sink_configs import query_bounds

ROWS_EACH = 1_000_000
BOUNDS = {"final": 1, **msgspec.structs.asdict(query_bounds())}

Run = Callable[[str, dict[str, str]], object]


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.questions", description=__doc__)
    parser.add_argument(
        "--rows", type=int, default=10_000_000, help="of signals; a fifth as many page views and labels"
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--only", default="", metavar="PART", help="questions whose name has this part, and their tables"
    )
    options = parser.parse_args()
    console, found = Console(width=160), [question for question in questions() if options.only in question.name]
    if not found:
        parser.error(f"no question's name has {options.only!r} in it")
    read = {table for question in found for table in question.tables}
    tables = [table for table in SHARES if not options.only or table in read]
    measured: dict[str, dict[str, list[float]]] = {question.name: {} for question in found}
    with tempfile.TemporaryDirectory(prefix="unjoin-questions-") as folder, Progress(console=console) as bar:
        with closing(Embedded(Path(folder) / "data")) as engine:
            stored = fill(engine, options.rows, tables, bar)
            given = {
                name: value_of(name, lambda sql: engine.select(sql, "TSV").decode().strip()) for name in _names(found)
            }
            settings = {name: str(value) for name, value in BOUNDS.items()}
            ask(
                found,
                given,
                lambda sql, values: engine.read(sql, "Null", settings, values),
                "embedded",
                measured,
                options.runs,
                bar,
            )
        running = ClickHouseServer(Path(folder))
        running.start()
        try:
            with closing(Server(address_of(running.url), database="unjoin")) as server:
                ask(
                    found,
                    given,
                    lambda sql, values: server.run(f"{sql}\nFORMAT Null", BOUNDS, values),
                    "server",
                    measured,
                    options.runs,
                    bar,
                )
        finally:
            running.stop()
    table = Table(
        Column("ms: median (fastest to slowest)", no_wrap=True), "embedded", "server", title=", ".join(stored)
    )
    for name, cells in measured.items():
        table.add_row(name, ms_cell(cells["embedded"]), ms_cell(cells["server"]))
    console.print(table)
    console.print(" · ".join(f"{name} {value}" for name, value in machine("chdb").items()), highlight=False)
    return 0


def _names(found: list[Question]) -> set[str]:
    return {name for question in found for name in question.parameters}


def fill(engine: Embedded, rows: int, tables: list[str], bar: Progress) -> list[str]:
    """Stores and merges; tells how many rows each table has."""
    engine.migrate()
    wanted = {table: rows * SHARES[table] // 100 for table in tables}
    task = bar.add_task("storing", total=sum(wanted.values()))
    for table, count in wanted.items():
        for start in range(0, count, ROWS_EACH):
            some = min(ROWS_EACH, count - start)
            engine.select(insert(table, "unjoin", count, start, some), "Null")
            bar.advance(task, some)
        engine.select(f"OPTIMIZE TABLE unjoin.{table} FINAL", "Null")
    return [f"{count:,} {table}" for table, count in wanted.items()]


def ask(
    found: list[Question],
    given: dict[str, str],
    run: Run,
    where: str,
    measured: dict[str, dict[str, list[float]]],
    runs: int,
    bar: Progress,
) -> None:
    """Seconds of every run, by question."""
    task = bar.add_task(f"asking, {where}", total=len(found))
    for question in found:
        seconds: list[float] = []
        for _ in range(runs + 1):
            began = time.perf_counter()
            try:
                run(question.sql, {name: given[name] for name in question.parameters})
            except QueryFailed as error:
                bar.console.print(f"{question.name}, {where}: refused with code {error.code}", highlight=False)
                seconds = []
                break
            seconds.append(time.perf_counter() - began)
        measured[question.name][where] = seconds[1:]
        bar.advance(task)


if __name__ == "__main__":
    sys.exit(main())
