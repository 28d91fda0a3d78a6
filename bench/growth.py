"""`python -m bench.growth`: what a row costs to store as the table grows, 100,000 to 100,000,000 rows.

The engine makes the rows that are already there, signals of one sample of ever new sessions; then the sink's own
function stores blocks on top, merges running as they do, and an analyst asks for one session and for an hour. CPU is
that of the whole process: ours, the engine's insert, and its merges meanwhile.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.sink.contenders import Unjoin
from bench.sink.rows import records
from sinks.clickhouse.embedded import Embedded
from sinks.rows.tables import SIGNALS
from testkit.lists import numbers
from testkit.machine import Spread, machine, spread

SIZES = [100_000, 1_000_000, 10_000_000, 100_000_000]
FILL_ROWS = 1_000_000
_FILL = """
INSERT INTO unjoin.signals (event_id, site, session, type, ts, received_at, t, x, y)
SELECT concat(lower(hex(sipHash64(number))), '-', toString(number)), concat('site-', toString(number % 10)),
    concat('s-', lower(hex(sipHash64(intDiv(number, 100))))), 'pointer', 1790000000000 + number * 25,
    fromUnixTimestamp64Milli(1790000000000 + toInt64(number) * 25, 'UTC'), [0.], [toFloat64(number % 1600)],
    [toFloat64(number % 900)]
FROM numbers({start}, {count})
"""
QUESTIONS = {
    "one session": "SELECT count(), sum(x[1]) FROM unjoin.signals FINAL WHERE site = 'site-3' AND session IN "
    "(SELECT session FROM unjoin.signals WHERE site = 'site-3' LIMIT 1)",
    "count of all": "SELECT count() FROM unjoin.signals",
}


class Grown(msgspec.Struct):
    """One size of the table.

    Attributes:
        rows: that were there before.
        cpu_us, seconds: a row of each block, and a block.
        question_ms: by question.
    """

    rows: int
    cpu_us: Spread
    block_seconds: Spread
    question_ms: dict[str, Spread]


def main() -> int:
    """Measures, prints, and writes JSON where told."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--rows", type=numbers, default=SIZES, metavar="N,N", help="already there, ascending")
    parser.add_argument("--blocks", type=int, default=10, help="stored on top of each size")
    parser.add_argument("--block-rows", type=int, default=50_000)
    parser.add_argument("--out", type=Path, help="folder for growth.json")
    options = parser.parse_args()
    console = Console(width=140)
    found = machine("chdb")
    with tempfile.TemporaryDirectory(prefix="unjoin-growth-") as folder, Progress(console=console) as progress:
        engine = Embedded(Path(folder))
        try:
            engine.migrate()
            measured = list(grown(engine, options, progress))
        finally:
            engine.close()
    console.print(" · ".join(f"{name} {value}" for name, value in found.items()), highlight=False)
    table = Table("rows there", "CPU µs a row", f"seconds a block of {options.block_rows:,}", *QUESTIONS)
    for one in measured:
        table.add_row(
            f"{one.rows:,}", str(one.cpu_us), str(one.block_seconds), *(f"{ms} ms" for ms in one.question_ms.values())
        )
    console.print(table)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        report = {"machine": found, "block_rows": options.block_rows, "sizes": measured}
        (options.out / "growth.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return 0


def grown(engine: Embedded, options: argparse.Namespace, progress: Progress) -> Any:
    """One size after the other, each on top of the last."""
    sink = Unjoin(engine, SIGNALS)
    there = 0
    filling = progress.add_task("rows", total=max(options.rows))
    for size in options.rows:
        while there < size:
            count = min(FILL_ROWS, size - there)
            engine.select(_FILL.format(start=there, count=count), "Null")
            there += count
            progress.update(filling, completed=there)
        cpu, seconds = [], []
        for number in range(options.blocks):
            block = records("small", options.block_rows, seed=size + number)
            cpu_before, before = time.process_time(), time.perf_counter()
            sink.store(block)
            seconds.append(time.perf_counter() - before)
            cpu.append((time.process_time() - cpu_before) / options.block_rows * 1e6)
        asked = {name: spread([_milliseconds(engine, sql) for _ in range(5)]) for name, sql in QUESTIONS.items()}
        yield Grown(there, spread(cpu), spread(seconds), asked)


def _milliseconds(engine: Embedded, sql: str) -> float:
    began = time.perf_counter()
    engine.select(sql, "Null")
    return (time.perf_counter() - began) * 1e3


if __name__ == "__main__":
    sys.exit(main())
