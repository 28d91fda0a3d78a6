"""What a row costs to store as the table grows.

The engine makes the rows that are already there, signals of one sample of ever new sessions; then the sink's own
function stores blocks on top, merges running as they do. CPU is that of the whole process: ours, the engine's insert,
and its merges meanwhile.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.growth.points import Point
from bench.sink.contenders import Unjoin
from bench.sink.rows import records
from sinks.clickhouse.embedded import Embedded
from sinks.rows.tables import SIGNALS

FILL_ROWS = 1_000_000  # at first; later what is there, up to so many
FILL_ROWS_MAX = 10_000_000
BLOCK_ROWS = 50_000
_FILL = """
INSERT INTO unjoin.signals (event_id, site, session, type, ts, received_at, t, x, y)
SELECT concat(lower(hex(sipHash64(number))), '-', toString(number)), concat('site-', toString(number % 10)),
    concat('s-', lower(hex(sipHash64(intDiv(number, 100))))), 'pointer', 1790000000000 + number * 25,
    fromUnixTimestamp64Milli(1790000000000 + toInt64(number) * 25, 'UTC'), [0.], [toFloat64(number % 1600)],
    [toFloat64(number % 900)]
FROM numbers({start}, {count})
"""
_SESSION = (
    "SELECT count(), sum(x[1]) FROM unjoin.signals FINAL WHERE site = 'site-3' AND session IN "
    "(SELECT session FROM unjoin.signals WHERE site = 'site-3' LIMIT 1)"
)


def rows(sizes: Sequence[int], rounds: int) -> Iterator[Point]:
    """CPU µs a stored row, and milliseconds of the question for one session, on top of each size."""
    with tempfile.TemporaryDirectory(prefix="unjoin-growth-") as folder:
        engine = Embedded(Path(folder))
        try:
            engine.migrate()
            sink = Unjoin(engine, SIGNALS)
            there = 0
            for size in sizes:
                while there < size:
                    count = min(max(FILL_ROWS, min(there, FILL_ROWS_MAX)), size - there)
                    engine.select(_FILL.format(start=there, count=count), "Null")
                    there += count
                stored = [_stored(sink, seed=size + number) for number in range(rounds)]
                yield Point("rows there", size, "CPU µs a row", stored)
                asked = [_milliseconds(engine, _SESSION) for _ in range(rounds)]
                yield Point("rows there", size, "ms to read a session", asked)
        finally:
            engine.close()


def _stored(sink: Unjoin, seed: int) -> float:
    block = records("small", BLOCK_ROWS, seed=seed)
    before = time.process_time()
    sink.store(block)
    return (time.process_time() - before) / BLOCK_ROWS * 1e6


def _milliseconds(engine: Embedded, sql: str) -> float:
    began = time.perf_counter()
    engine.select(sql, "Null")
    return (time.perf_counter() - began) * 1e3
