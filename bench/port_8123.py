"""What a small query costs on port 8123, by how it is asked, in turn: `python -m bench.port_8123 --queries 400`.

Each way asks the same rows over one connection kept alive. Printed: median and 95th percentile in ms, and CPU ms of the
whole process, which holds client, interface and engine.
"""

import argparse
import http.client
import statistics
import tempfile
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sinks.clickhouse.embedded import Embedded
from sinks.metrics import SinkMetrics
from testkit.http_interface import running_interface
from testkit.sink_records import signal, signals

SQL = "SELECT event_id, ts FROM signals WHERE type = 'pointer' LIMIT 100"
FORM = f'--b\r\nContent-Disposition: form-data; name="query"\r\n\r\n{SQL}\r\n--b--\r\n'
EXTERNAL = FORM.replace(
    "--b--\r\n", '--b\r\nContent-Disposition: form-data; name="t"; filename="t"\r\n\r\n1\r\n--b--\r\n'
)
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
# How it is asked: body, headers, fields of the URL.
WAYS: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {
    "plain": (SQL, {}, {}),
    "Accept-Encoding: zstd": (SQL, {"Accept-Encoding": "zstd"}, {}),
    "compress=1": (SQL, {}, {"compress": "1"}),
    "Native": (SQL, {}, {"default_format": "Native"}),
    "Native of a version": (SQL, {}, {"default_format": "Native", "client_protocol_version": "54460"}),
    "SETTINGS max_threads = 1": (f"{SQL} SETTINGS max_threads = 1", {}, {}),
    "a form": (FORM, MULTIPART, {}),
    "a form with an external table": (EXTERNAL, MULTIPART, {"t_types": "UInt8"}),
}


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and CPU seconds of the process."""
    began, began_cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - began, time.process_time() - began_cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=400)
    queries = parser.parse_args().queries
    took: dict[str, list[tuple[float, float]]] = {way: [] for way in ("the engine alone", *WAYS)}
    with tempfile.TemporaryDirectory() as folder:
        engine = Embedded(Path(folder))
        engine.migrate()
        engine.insert(signals([signal(number) for number in range(10_000)]))
        with running_interface(engine, SinkMetrics()) as port:
            connection = http.client.HTTPConnection("127.0.0.1", port)

            def ask(body: str, headers: dict[str, str], fields: dict[str, str]) -> None:
                connection.request("POST", f"/?{urllib.parse.urlencode(fields)}", body, headers)
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 200, answer.status

            for _ in range(queries):
                took["the engine alone"].append(timed(lambda: engine.read(SQL, "TSV", {"final": "1", "readonly": "1"})))
                for way, asked in WAYS.items():
                    took[way].append(timed(lambda asked=asked: ask(*asked)))  # type: ignore[misc]
            connection.close()
        engine.close()
    table = Table("asked", "median ms", "95 % ms", "CPU ms")
    for way, times in took.items():
        walls = sorted(wall * 1e3 for wall, _ in times)
        cpu = statistics.mean(cpu * 1e3 for _, cpu in times)
        table.add_row(way, f"{statistics.median(walls):.2f}", f"{walls[len(walls) * 95 // 100]:.2f}", f"{cpu:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
