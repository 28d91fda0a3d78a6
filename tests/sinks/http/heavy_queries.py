"""Heavy queries on the HTTP interface while blocks are inserted, in a process of its own; prints what came of it.

python -m tests.sinks.http.heavy_queries DIRECTORY QUERY_BYTES_MAX QUERIES_BYTES_MAX
"""

import asyncio
import http.client
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from sinks.clickhouse.embedded import Embedded
from sinks.http.interface import serve_http
from sinks.metrics import SinkMetrics
from testkit.sink_configs import sink_config
from testkit.sink_records import signal, signals

CLIENTS = 5
ROWS = 2_000
WARM_UP_BLOCKS = 20
HEAVY = (
    "SELECT number, count() FROM numbers(1000000000) GROUP BY number FORMAT Null",
    "SELECT number FROM numbers(9000000) ORDER BY number DESC FORMAT Null",
    "SELECT groupArray(number) FROM numbers(1000000000) FORMAT Null",
    # Six times as long in JSON as in the engine.
    "SELECT repeat('\\0', 24) FROM numbers(300000) FORMAT JSONEachRow",
    "SELECT repeat('\\0', 24) FROM numbers(3000000) FORMAT JSONEachRow",
)


class Report(msgspec.Struct):
    """What came of it.

    Attributes:
        codes: ClickHouse's error code to how many queries ended with it; "" for those that were answered.
        blocks: inserted; every one was acknowledged at the first try.
        rows: that the table holds.
        grown_bytes: resident memory at most, beyond what it was before the first query.
    """

    codes: dict[str, int]
    blocks: int
    rows: int
    grown_bytes: int


def memory(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1_024 for line in lines if line.startswith(f"{name}:"))


def insert_until(stopping: threading.Event, engine: Embedded) -> int:
    blocks = WARM_UP_BLOCKS
    while not stopping.is_set():
        engine.insert(signals([signal(number) for number in range(blocks * ROWS, (blocks + 1) * ROWS)]))
        blocks += 1
    return blocks - WARM_UP_BLOCKS


def ask(port: int, client: int) -> Counter[str]:
    codes: Counter[str] = Counter()
    for number in range(2):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.request("POST", "/", HEAVY[(client + number) % len(HEAVY)])
        answer = connection.getresponse()
        while answer.read(1 << 16):
            pass
        codes[answer.headers.get("X-ClickHouse-Exception-Code", "")] += 1
        connection.close()
    return codes


def main() -> None:
    engine = Embedded(Path(sys.argv[1]))
    engine.migrate()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    config = sink_config("", Path(), query_bytes_max=int(sys.argv[2]), queries_bytes_max=int(sys.argv[3])).http()
    listening = asyncio.run_coroutine_threadsafe(serve_http(engine, config, SinkMetrics()), loop).result(60)
    stopping = threading.Event()
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        for number in range(WARM_UP_BLOCKS):  # what inserts alone take is not the queries'
            engine.insert(signals([signal(row) for row in range(number * ROWS, (number + 1) * ROWS)]))
        engine.release_memory()
        before = memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
        inserting = pool.submit(insert_until, stopping, engine)
        asked = [pool.submit(ask, listening.port, client) for client in range(CLIENTS)]
        codes: Counter[str] = sum((one.result() for one in asked), Counter())
        grown = memory("VmHWM") - before
        stopping.set()
        blocks = inserting.result()
    rows = int(engine.select("SELECT uniqExact(event_id) FROM unjoin.signals", "TSV"))
    asyncio.run_coroutine_threadsafe(listening.close(), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    engine.close()
    sys.stdout.buffer.write(msgspec.json.encode(Report(codes, blocks, rows, grown)))


if __name__ == "__main__":
    main()
