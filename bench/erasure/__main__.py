"""`python -m bench.erasure`: seconds until the rows of 1 person, and of 1,000, are gone; what a query costs meanwhile.

An embedded engine with `signals` in the table of the migrations. First each way to delete up to 1,000 sessions' rows,
on a tenth of the rows: a mutation, and a lightweight delete with what takes its masked rows off the disk. Then the
erasure itself: the look for rows, the mutation, the look again; and two questions, one after the other, before and
during.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from schemas.subjects.erasures import Erasure, erasure_of
from schemas.subjects.selectors import SessionSelector
from sinks.clickhouse.embedded import Embedded
from sinks.erasure import statements
from sinks.erasure.rows import Rows
from testkit.machine import ms_cell

SALT = bytes(range(32))
SESSION_ROWS = 100
QUESTIONS = {
    "count by type": "SELECT type, count() FROM unjoin.signals GROUP BY type SETTINGS final = 1",
    "one session": "SELECT * FROM unjoin.signals WHERE site = 'shop' AND session = 's-77' SETTINGS final = 1",
}


def main() -> int:
    """Measures and prints; 0 where no row of theirs is left and no other is missing."""
    parser = argparse.ArgumentParser(prog="python -m bench.erasure", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--parts", type=int, default=20)
    options = parser.parse_args()
    console = Console(width=120)
    with (
        tempfile.TemporaryDirectory(prefix="unjoin-erasure-") as folder,
        Progress(console=console, transient=True) as progress,
    ):
        engine = Embedded(Path(folder))
        engine.migrate()
        small = options.rows // 10
        fill(engine, small, options.parts, progress)
        ways = ways_to_delete(engine, small)
        engine.select("TRUNCATE TABLE unjoin.signals", "Null")
        fill(engine, options.rows, options.parts, progress)
        right = report(engine, options.rows, console)
        engine.close()
    for name, seconds in ways.items():
        console.print(f"{many(small):,} sessions of {small:,} rows by {name}: {seconds:.1f} s", highlight=False)
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    console.print(f"{os.cpu_count()} cores, load average at the end {load}", highlight=False)
    return 0 if right else 1


def fill(engine: Embedded, rows: int, parts: int, progress: Progress) -> None:
    """Sessions of 100 events, in no order, so that every part has rows of each."""
    task = progress.add_task(f"storing {rows:,} rows", total=parts)
    sessions, each = rows // SESSION_ROWS, rows // parts
    samples = "arrayMap(n -> toFloat64(cityHash64(number, n) % 1000), range(20))"
    for part in range(parts):
        engine.select(
            "INSERT INTO unjoin.signals (event_id, site, session, type, ts, received_at, t, x, y) "
            f"SELECT 'e-' || toString(number), 'shop', 's-' || toString(cityHash64(number) % {sessions}), 'pointer', "
            "1790000000000 + number, fromUnixTimestamp64Milli(1790000000000 + number), "
            f"{samples}, {samples}, {samples} FROM numbers({part * each}, {each})",
            "Null",
        )
        progress.advance(task)
    progress.remove_task(task)


def asked(first: int, count: int) -> list[Erasure]:
    """Requests about so many sessions."""
    return [
        erasure_of(SessionSelector("shop", f"s-{number}"), id=f"{number:016x}", reference="", salt=SALT, now_ms=1)
        for number in range(first, first + count)
    ]


def many(rows: int) -> int:
    """1,000 sessions, or as many as are an eighth of all."""
    return min(1_000, rows // SESSION_ROWS // 8)


def ways_to_delete(engine: Embedded, rows: int) -> dict[str, float]:
    """Seconds of each, until the rows are in no part that is in use."""

    def mutation(erasures: Sequence[Erasure]) -> None:
        engine.select(statements.delete("signals", erasures).replace("mutations_sync = 0", "mutations_sync = 1"))

    def lightweight(erasures: Sequence[Erasure]) -> None:
        condition = statements.delete("signals", erasures).partition(" WHERE ")[2].partition(" SETTINGS ")[0]
        engine.select(f"DELETE FROM unjoin.signals WHERE {condition}")
        engine.select("ALTER TABLE unjoin.signals APPLY DELETED MASK SETTINGS mutations_sync = 1")

    found = {}
    for name, way, first in (
        ("ALTER TABLE … DELETE", mutation, many(rows)),
        ("DELETE and APPLY DELETED MASK", lightweight, 2 * many(rows)),
    ):
        found[name] = timed(lambda way=way, first=first: way(asked(first, many(rows))))
    return found


def timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def report(engine: Embedded, rows: int, console: Console) -> bool:
    """The two erasures, and queries before and during."""
    store = Rows(engine.select)
    table = Table("", "look for rows, s", "delete, s", "look again, s", "rows gone")
    idle = {name: [timed(lambda sql=sql: engine.select(sql)) for _ in range(6)][1:] for name, sql in QUESTIONS.items()}
    during: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    right = True
    for name, erasures in (("1 session", asked(0, 1)), (f"{many(rows):,} sessions", asked(1, many(rows)))):
        before = count(engine)
        began = time.monotonic()
        found = store.find(erasures)
        looked = time.monotonic()
        doomed = [one.counted(found.get(one.id, {})) for one in erasures]
        stop = threading.Event()
        asking = threading.Thread(target=keep_asking, args=(engine, during, stop))
        asking.start()
        store.delete(doomed)
        while store.mutating(["signals"]).left:
            time.sleep(0.05)
        deleted = time.monotonic()
        stop.set()
        asking.join()
        checked = time.monotonic()
        left = store.find(erasures)
        ended = time.monotonic()
        gone = sum(rows["signals"] for rows in found.values())
        right &= not left and count(engine) == before - gone
        table.add_row(name, f"{looked - began:.1f}", f"{deleted - looked:.1f}", f"{ended - checked:.1f}", f"{gone:,}")
    console.print(table)
    costs = Table("a query, ms: median (fastest to slowest)", "before", "while rows are deleted")
    for name in QUESTIONS:
        costs.add_row(name, ms_cell(idle[name]), ms_cell(during[name]))
    console.print(costs)
    return right


def keep_asking(engine: Embedded, seconds: dict[str, list[float]], stop: threading.Event) -> None:
    while not stop.is_set():
        for name, sql in QUESTIONS.items():
            seconds[name].append(timed(lambda sql=sql: engine.select(sql)))


def count(engine: Embedded) -> int:
    return int(engine.select("SELECT count() FROM unjoin.signals", "TabSeparated"))


if __name__ == "__main__":
    sys.exit(main())
