"""The command: `python -m faults.overload --seconds 20 --times 3`.

A broker and `unjoin collect` of its own. First as many requests as are answered, for the capacity; then an honest
client alone; then `--times` the capacity beside it, from two keys that ignore Retry-After; then the honest one alone
again. 0 where nothing acknowledged is missing, every 429 and 503 said when to come back, memory stayed within its
bound, the honest client was never refused, and it was as fast as before within 60 s.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from faults.overload.traffic import Order, Second
from ingest.access.sites import SitesFile
from schemas.topics import SIGNALS
from testkit.collect_process import Collect
from testkit.kafka_node import kafka_home, node_with_topics, stored_records
from testkit.processes import cpu_seconds

ROOT = Path(__file__).parents[2]
RECOVER_SECONDS_MAX = 60.0
RSS_GROWTH_BYTES_MAX = 300_000_000
LOOK_SECONDS = 0.5
FLOODS = ("fa", "fb")


class Traffic:
    """A client process, and what it says each second."""

    def __init__(self, order: Order) -> None:
        self.seconds: list[tuple[float, Second]] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.overload.traffic", msgspec.json.encode(order).decode()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.seconds.append((time.monotonic(), msgspec.json.decode(line, type=Second)))

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Watch(threading.Thread):
    """Samples the collector's memory and its metrics."""

    def __init__(self, collect: Collect) -> None:
        super().__init__()
        self.memory: list[tuple[float, int]] = []
        self._collect = collect
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(LOOK_SECONDS):
            self.memory.append((time.monotonic(), self._collect.memory_bytes))

    def stop(self) -> None:
        self._done.set()
        self.join()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m faults.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of the overload")
    parser.add_argument("--times", type=float, default=3.0, help="the capacity")
    parser.add_argument("--connections", type=int, default=400, help="of both flooding keys together")
    parser.add_argument("--events", type=int, default=50, help="of a flooding request")
    parser.add_argument("--honest-rate", type=float, default=50.0, help="requests of 10 events a second")
    parser.add_argument("--settle", type=float, default=8.0, help="seconds of the quiet phases")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unjoin-overload-") as folder:
        return run(options, Path(folder), Console(width=140))


def run(options: argparse.Namespace, folder: Path, console: Console) -> int:
    """One flood."""
    with node_with_topics(kafka_home(), folder / "kafka") as node:
        collect = Collect(folder / "data", node.bootstrap)
        sites = SitesFile(folder / "data" / "sites" / "sites.json")
        keys = {name: sites.add(name, ["http://localhost"]) for name in ("honest", *FLOODS)}
        try:
            collect.start()
            flood = Flood(options, collect, keys, console)
            report = flood.run()
            found = Counter(number_of(message.value()) for message in stored_records(node.bootstrap, SIGNALS))
        finally:
            code, seconds = collect.stop()
    return conclude(options, report, flood, found, (code, seconds), console)


class Flood:
    """The phases."""

    def __init__(self, options: argparse.Namespace, collect: Collect, keys: dict[str, str], console: Console) -> None:
        self._options, self._collect, self._keys, self._console = options, collect, keys, console
        self.clients: list[tuple[str, Traffic]] = []
        self.events = {"ho": 10, **dict.fromkeys((*FLOODS, "ca"), options.events)}

    def _start(self, name: str, key: str, connections: int, rate: float, address: str = "127.0.0.1") -> Traffic:
        order = Order(self._collect.port, name, self._keys[key], connections, rate, self.events[name], address)
        traffic = Traffic(order)
        self.clients.append((name, traffic))
        return traffic

    def run(self) -> dict[str, object]:
        options, collect = self._options, self._collect
        capacity = self._start("ca", FLOODS[0], 16, 0.0)
        time.sleep(options.settle)
        capacity.stop()
        answered = sum(len(second.accepted) for _, second in capacity.seconds[2:-1])
        per_second = answered / max(1, len(capacity.seconds) - 3)
        self._console.print(f"capacity: {per_second:,.0f} requests/s of {options.events} events", highlight=False)
        self._until_drained()
        honest = self._start("ho", "honest", 64, options.honest_rate)
        watch = Watch(collect)
        watch.start()
        time.sleep(options.settle)
        spooled = collect.metric("unjoin_spool_spooled_total")
        cpu = cpu_seconds(self._collect.pid)
        began = time.monotonic()
        floods = [
            self._start(name, name, options.connections // 2, options.times * per_second / 2, f"127.0.0.{2 + i}")
            for i, name in enumerate(FLOODS)
        ]
        time.sleep(options.seconds)
        ended = time.monotonic()
        cpu = cpu_seconds(self._collect.pid) - cpu
        for traffic in floods:
            traffic.stop()
        time.sleep(max(options.settle, 2))
        drained = self._until_drained()
        time.sleep(2)
        honest.stop()
        watch.stop()
        return {
            "capacity": per_second, "began": began, "ended": ended, "honest": honest, "floods": floods,
            "memory": watch.memory, "drained_s": drained - ended, "cpu_share": cpu / (ended - began),
            "spooled": collect.metric("unjoin_spool_spooled_total") - spooled,
        }  # fmt: skip

    def _until_drained(self) -> float:
        deadline = time.monotonic() + 2 * RECOVER_SECONDS_MAX
        while self._collect.metric("unjoin_spool_records") and time.monotonic() < deadline:
            time.sleep(0.1)
        return time.monotonic()


def conclude(
    options: argparse.Namespace,
    report: dict[str, object],
    flood: Flood,
    found: Counter[bytes],
    stopped: tuple[int, float],
    console: Console,
) -> int:
    """Prints the figures; 0 where each promise was kept."""
    began, ended = float(report["began"]), float(report["ended"])  # type: ignore[arg-type]
    honest: Traffic = report["honest"]  # type: ignore[assignment]
    memory: list[tuple[float, int]] = report["memory"]  # type: ignore[assignment]
    phases = {"before": (0.0, began), "during": (began + 1, ended), "after": (ended + 1, float("inf"))}
    table = Table("honest client", "requests", "not 200", "p50 ms", "p99 ms", "max ms", "collector MB (max)")
    figures: dict[str, object] = {"capacity_requests_per_s": report["capacity"], "honest": {}}
    p99 = {}
    for phase, (since, until) in phases.items():
        seconds = [second for at, second in honest.seconds if since <= at < until]
        took = sorted(ms for second in seconds for ms in second.milliseconds)
        refused = sum(n for second in seconds for status, n in second.statuses.items() if status != 200)
        sizes = [size for at, size in memory if since <= at < until]
        row = {
            "requests": len(took) + refused, "refused": refused,
            "p50_ms": share(took, 0.5),
            "p99_ms": share(took, 0.99), "max_ms": share(took, 1.0), "memory_mb": max(sizes, default=0) / 1e6,
        }  # fmt: skip
        p99[phase] = row["p99_ms"]
        figures["honest"][phase] = row  # type: ignore[index]
        table.add_row(phase, *(f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" for value in row.values()))
    console.print(table)
    recovered = recovery_seconds(honest, ended, 2 * p99["before"] + 10)
    offered = Counter[str]()
    statuses = Counter[int]()
    for traffic in report["floods"]:  # type: ignore[attr-defined]
        for _, second in traffic.seconds:
            offered += Counter(due=second.offered, unsent=second.unsent, no_retry_after=second.no_retry_after)
            statuses += Counter(second.statuses)
    lost = doubled = acknowledged = 0
    for name, traffic in flood.clients:
        for _, second in traffic.seconds:
            for number in second.accepted:
                acknowledged += 1
                times = found[b"%s%08d" % (name.encode(), number)]
                lost += times < flood.events[name]
                doubled += times > flood.events[name]
    took = ended - began
    growth = max((size for _, size in memory), default=0) - (memory[0][1] if memory else 0)
    figures |= {
        "offered_per_s": offered["due"] / took, "unsent": offered["unsent"], "statuses": dict(statuses),
        "accepted_per_s": statuses[200] / took, "no_retry_after": offered["no_retry_after"],
        "spooled_records": report["spooled"], "drained_s": report["drained_s"], "recovered_s": recovered,
        "memory_growth_mb": growth / 1e6, "acknowledged_requests": acknowledged, "lost": lost,
        "on_topic_more_than_once": doubled, "collector_cpu_share": report["cpu_share"],
        "stopped": {"code": stopped[0], "seconds": stopped[1]},
    }  # fmt: skip
    for name, value in figures.items():
        if name != "honest":
            console.print(f"{name}: {value:,.1f}" if isinstance(value, float) else f"{name}: {value}", highlight=False)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    during: dict[str, float] = figures["honest"]["during"]  # type: ignore[index]
    good = (
        not lost and not offered["no_retry_after"] and growth < RSS_GROWTH_BYTES_MAX
        and not during["refused"] and recovered <= RECOVER_SECONDS_MAX and stopped[0] == 0
    )  # fmt: skip
    return 0 if good else 1


def recovery_seconds(honest: Traffic, ended: float, ms_max: float) -> float:
    """Seconds until the honest client's answers are, and stay, all 200 and under `ms_max` at each second's p99."""
    last = ended
    for at, second in honest.seconds:
        bad = any(status != 200 for status in second.statuses) or share(sorted(second.milliseconds), 0.99) > ms_max
        if at > ended and bad:
            last = at
    return last - ended


def share(values: list[float], part: float) -> float:
    return values[int(part * (len(values) - 1))] if values else 0.0


def number_of(value: bytes | None) -> bytes:
    """First ten bytes of a record's event id, which name its client; before them are header and length, six bytes."""
    assert value is not None
    return value[6:16]


if __name__ == "__main__":
    sys.exit(main())
