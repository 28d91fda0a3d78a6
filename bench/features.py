"""`python -m bench.features`: what `session_features` costs a session, and what a table of it would take.

The engine makes the rows (testkit/analyst_rows.py): sessions of a hundred signals of 30 to 60 samples. Asked within the
bounds of port 8123, of as many parts as were inserted and of one.
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.errors import QueryFailed
from testkit.analyst_rows import SESSION_EVENTS, insert
from testkit.machine import ms_cell
from testkit.sink_configs import query_bounds

PART_ROWS = 50_000
ONE = "(SELECT site, session FROM unjoin.signals LIMIT 1 OFFSET {offset})"
QUESTIONS = {
    "every session": "SELECT * FROM session_features",
    "of each, two columns": "SELECT session, hand_speed_px_s_q50, key_dwell_ms_q50 FROM session_features",
    "one session": f"SELECT * FROM session_features WHERE (site, session) IN {ONE}",
    "every row of signals, read": "SELECT * FROM signals",
}


def main() -> int:
    """Measures, prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.features", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of signals")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    console, sessions = Console(width=120), options.rows // SESSION_EVENTS
    table = Table(
        "question", "ms in parts: median (fastest to slowest)", "ms merged", "CPU ms merged", "CPU µs a session"
    )
    with (
        tempfile.TemporaryDirectory(prefix="unjoin-features-") as folder,
        closing(Embedded(Path(folder))) as engine,
    ):
        engine.migrate()
        engine.select("SYSTEM STOP MERGES unjoin.signals", "Null")
        for start in range(0, options.rows, PART_ROWS):
            engine.select(insert("signals", "unjoin", options.rows, start, PART_ROWS), "Null")
        in_parts = {name: _timed(engine, sql, options) for name, sql in QUESTIONS.items()}
        engine.select("SYSTEM START MERGES unjoin.signals", "Null")
        engine.select("OPTIMIZE TABLE unjoin.signals FINAL", "Null")
        for name, sql in QUESTIONS.items():
            wall, cpu = _timed(engine, sql, options)
            each = f"{1e3 * min(cpu) / (1 if name == 'one session' else sessions):,.0f}" if cpu else ""
            table.add_row(name, ms_cell(in_parts[name][0]), ms_cell(wall), f"{min(cpu):,.0f}" if cpu else "", each)
        engine.select(
            "CREATE TABLE unjoin.kept ENGINE = MergeTree ORDER BY (site, session) SETTINGS allow_nullable_key = 1 "
            "AS SELECT * FROM unjoin.session_features",
            "Null",
        )
        engine.select("OPTIMIZE TABLE unjoin.kept FINAL", "Null")
        size = "SELECT table, sum(bytes_on_disk) FROM system.parts WHERE active GROUP BY table"
        stored = dict(line.split("\t") for line in engine.select(size, "TSV").decode().splitlines())
    console.print(f"{options.rows:,} signals of {sessions:,} sessions, {options.runs} runs", highlight=False)
    console.print(table)
    a_session = {name: int(bytes_) / sessions for name, bytes_ in stored.items()}
    console.print(
        f"a table of it would take {a_session['kept']:,.0f} bytes a session, beside {a_session['signals']:,.0f} of "
        f"signals; {os.cpu_count()} cores, load average at the end {os.getloadavg()[0]:.1f}",
        highlight=False,
    )
    return 0


def _timed(engine: Embedded, sql: str, options: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Seconds, and CPU milliseconds, of each run; the first warms up and does not count. None where it was refused."""
    bounds = {name: str(value) for name, value in msgspec.structs.asdict(query_bounds()).items()} | {"final": "1"}
    wall, cpu = [], []
    for run in range(options.runs + 1):
        asked = sql.format(offset=run * options.rows // (options.runs + 1))
        began, began_cpu = time.perf_counter(), time.process_time()
        try:
            engine.read(asked, "Null", bounds)
        except QueryFailed as error:
            print(f"refused with code {error.code}: {asked}", file=sys.stderr)
            return [], []
        if run:
            wall.append(time.perf_counter() - began)
            cpu.append(1_000 * (time.process_time() - began_cpu))
    return wall, cpu


if __name__ == "__main__":
    sys.exit(main())
