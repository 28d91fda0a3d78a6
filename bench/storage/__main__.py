"""The command: `python -m bench.storage --rows 1000000`.

The engine makes the rows itself; each variant of the tables gets the same, merged to one part. Printed are bytes a
row, by table and column, and milliseconds for each question of `docs/questions/` that one of the tables answers, asked
as an analyst asks through port 8123 (`final = 1`): cold is after the engine's own caches were dropped, warm is right
after that; the kernel's cache stays.
"""

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from bench.storage.variants import TABLES, VARIANTS, Variant, definitions, unchanged
from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.errors import QueryFailed
from testkit.analyst_rows import SHARES, insert
from testkit.machine import Spread, machine, spread
from testkit.questions import Question, questions, value_of

ROWS_EACH = 1_000_000
CACHES = ("MARK", "UNCOMPRESSED", "QUERY CONDITION")


class Measured(msgspec.Struct):
    """What became of one variant.

    Attributes:
        store_us: CPU µs a row, by table, to copy, sort, compress and merge; of the first one, to make the rows as well.
        bytes: a row, by table and by `table.column`.
    """

    name: str
    store_us: dict[str, float]
    bytes: dict[str, float]
    cold_ms: dict[str, list[float]]
    warm_ms: dict[str, list[float]]

    def milliseconds(self, question: str, *, cold: bool) -> Spread:
        """Times of all runs of a question, ms."""
        return spread((self.cold_ms if cold else self.warm_ms)[question])


def main() -> int:
    """Measures, prints, and writes JSON where told."""
    parser = argparse.ArgumentParser(prog="python -m bench.storage", description=__doc__)
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="of signals; a fifth as many of analytics and labels"
    )
    parser.add_argument("--runs", type=int, default=5, help="of each question and variant; variants take turns")
    parser.add_argument("--before", type=int, metavar="N", help="beside the tables as they were without migration N")
    parser.add_argument("--no-variants", action="store_true", help="the tables as they are alone")
    parser.add_argument("--folder", type=Path, help="where the data lies meanwhile; default the temporary folder")
    parser.add_argument("--out", type=Path, help="folder for storage.json")
    options = parser.parse_args()
    console = Console(width=220)
    found = machine("chdb")
    with (
        tempfile.TemporaryDirectory(prefix="unjoin-storage-", dir=options.folder) as folder,
        Progress(console=console) as bar,
    ):
        engine = Embedded(Path(folder))
        try:
            measured = measure(engine, options, bar)
        finally:
            engine.close()
    console.print(" · ".join(f"{name} {value}" for name, value in found.items()), highlight=False)
    show(console, measured, options)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        document = {"machine": found, "rows": options.rows, "variants": measured}
        text = msgspec.json.format(msgspec.json.encode(document), indent=1)
        (options.out / "storage.json").write_bytes(text + b"\n")
    return 0


def measure(engine: Embedded, options: argparse.Namespace, bar: Progress) -> list[Measured]:
    """The tables as they are, and as they were or might be; what the engine refuses is said and left out."""
    asked: list[tuple[Variant, int | None]] = [(Variant("present", unchanged), None)]
    if options.before is not None:
        asked.append((Variant(f"before {options.before:04}", unchanged), options.before))
    if not options.no_variants:
        asked += [(variant, None) for variant in VARIANTS]
    databases: dict[str, Variant] = {}
    made: dict[str, Measured] = {}
    task = bar.add_task("storing", total=len(asked))
    for number, (variant, before) in enumerate(asked):
        database = f"v{number}"
        try:
            engine.select(f"CREATE DATABASE {database}", "Null")
            for statement in definitions(database, variant, before):
                engine.read(statement, "Null", {"enable_alp_codec": "1"})
            us = {table: fill(engine, database, table, options.rows * SHARES[table] // 100) for table in variant.tables}
        except QueryFailed as error:
            bar.console.print(f"{variant.name}: refused with code {error.code}: {error.detail[:300]}", highlight=False)
        else:
            databases[database] = variant
            made[database] = Measured(variant.name, us, sizes(engine, database), {}, {})
        bar.advance(task)
    asking = [question for question in questions() if len(question.tables) == 1 and question.tables[0] in TABLES]
    task = bar.add_task("asking", total=len(asking) * options.runs)
    for question in asking:
        asked_of = [database for database, variant in databases.items() if question.tables[0] in variant.tables]
        for _ in range(options.runs):
            for database in asked_of:
                for times, cold in ((made[database].cold_ms, True), (made[database].warm_ms, False)):
                    times.setdefault(question.name, []).append(ask(engine, database, question, cold=cold))
            bar.advance(task)
    return list(made.values())


def fill(engine: Embedded, database: str, table: str, rows: int) -> float:
    """CPU µs a row. Stored in blocks, as a sink does it, then merged."""
    began = time.process_time()
    if database == "v0":
        for start in range(0, rows, ROWS_EACH):
            engine.select(insert(table, database, rows, start, min(ROWS_EACH, rows - start)), "Null")
    else:
        engine.select(f"INSERT INTO {database}.{table} SELECT * FROM v0.{table} SETTINGS max_threads = 2", "Null")
    engine.select(f"OPTIMIZE TABLE {database}.{table} FINAL", "Null")
    return 1e6 * (time.process_time() - began) / max(1, rows)


def sizes(engine: Embedded, database: str) -> dict[str, float]:
    """Bytes a row on disk, by table and by column."""
    answer = engine.select(
        f"""SELECT table, column, sum(column_data_compressed_bytes + column_marks_bytes) AS bytes, sum(rows) AS rows
        FROM system.parts_columns WHERE active AND database = '{database}'
        GROUP BY table, column ORDER BY table, column"""
    )
    found: defaultdict[str, float] = defaultdict(float)
    for line in answer.splitlines():
        row: dict[str, Any] = msgspec.json.decode(line)
        each = float(row["bytes"]) / max(1, int(row["rows"]))
        found[row["table"]] += each
        found[f"{row['table']}.{row['column']}"] = each
    return dict(found)


def ask(engine: Embedded, database: str, question: Question, *, cold: bool) -> float:
    """Milliseconds of one question."""
    parameters = {
        name: value_of(name, lambda sql: engine.read(sql, "TSV", database=database).body.decode().strip())
        for name in question.parameters
    }
    if cold:
        for cache in CACHES:
            engine.select(f"SYSTEM DROP {cache} CACHE", "Null")
    began = time.perf_counter()
    engine.read(question.sql, "Null", {"final": "1", "max_threads": "2"}, parameters, database)
    return 1e3 * (time.perf_counter() - began)


def show(console: Console, measured: list[Measured], options: argparse.Namespace) -> None:
    """Bytes a row, then milliseconds; of columns, those that differ."""
    present = measured[0]
    table = Table(
        Column("bytes a row", no_wrap=True),
        *(each.name for each in measured),
        title=f"{options.rows:,} signals, merged",
    )
    for column, size in present.bytes.items():
        changed = len({round(each.bytes.get(column, size), 2) for each in measured}) > 1
        if "." not in column or changed:
            table.add_row(column, *(f"{each.bytes[column]:.2f}" if each.bytes.get(column) else "" for each in measured))
    for name in TABLES:
        times = [each.store_us.get(name) for each in measured[1:]]  # the first one's are of making the rows, too
        table.add_row(f"{name}: CPU µs to store", "", *(f"{us:.1f}" if us else "" for us in times))
    console.print(table)
    table = Table(
        Column("ms: cold / warm, median", no_wrap=True),
        *(each.name for each in measured),
        title=f"{options.runs} runs in turn, final = 1",
    )
    for question in present.cold_ms:
        cells = [
            " / ".join(f"{each.milliseconds(question, cold=cold).median:,.0f}" for cold in (True, False))
            if question in each.cold_ms
            else ""
            for each in measured
        ]
        table.add_row(question, *cells)
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
