"""`python -m faults.outage --part clickhouse`: a server away under load, and every record in its table afterwards.

A broker, a sink process with the limits it has by default, and a ClickHouse server with a plain MergeTree, in
which nothing collapses. Records are produced all the time at one rate; the server is killed, or paused with its
connections open, and comes back. The sink is neither touched nor restarted.
"""

import argparse
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
from clickhouse_driver import Client
from confluent_kafka import Producer
from rich.console import Console
from rich.table import Table

from sinks.clickhouse.address import address_of
from testkit.clickhouse_server import ClickHouseServer, missing
from testkit.contract_table import PLAIN, datum
from testkit.kafka_node import QUIET, KafkaNode, create_topic, kafka_home
from testkit.processes import cpu_seconds, memory_bytes, wait_for
from testkit.server_sink import ServerSinkConfig

ROOT = Path(__file__).parents[1]
PARTITIONS = 2
SETTLE_SECONDS = 5.0
CATCH_UP_SECONDS_MAX = 600.0
TICK_SECONDS = 0.05


class Source:
    """Produces records numbered from 0 on at a steady rate until it is left."""

    def __init__(self, bootstrap: str, topic: str, rate: int) -> None:
        self.acknowledged = self.produced = 0
        self._topic, self._rate = topic, rate
        settings = {"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True}
        self._producer = Producer({**settings, **QUIET})
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._produce)

    def __enter__(self) -> "Source":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._producer.flush(30)

    def _produce(self) -> None:
        began = time.monotonic()
        while not self._done.wait(TICK_SECONDS):
            due = int((time.monotonic() - began) * self._rate)
            for number in range(self.produced, due):
                self._producer.produce(
                    self._topic, datum(number), partition=number % PARTITIONS, on_delivery=self._delivered
                )
            self.produced = max(due, self.produced)
            self._producer.poll(0)

    def _delivered(self, error: object, _message: object) -> None:
        if error is None:
            self.acknowledged += 1


class Phases:
    """A table of the sink's way through an outage."""

    def __init__(self, source: Source, stored: "Stored", sink: int) -> None:
        self.table = Table("phase", "s", "acknowledged", "stored", "stored/s", "behind", "sink RSS MB", "sink CPU s")
        self._source, self._stored, self._sink = source, stored, sink
        self._began, self._rows, self._acknowledged = time.monotonic(), 0, 0
        self._cpu = cpu_seconds(sink)

    def end(self, name: str) -> None:
        """Ends a phase and begins the next one."""
        now, acknowledged, rows = time.monotonic(), self._source.acknowledged, self._stored.rows()
        took = now - self._began
        cpu = cpu_seconds(self._sink)
        self.table.add_row(
            name,
            f"{took:.0f}",
            f"{acknowledged - self._acknowledged:,}",
            "" if rows is None else f"{rows - self._rows:,}",
            "" if rows is None else f"{(rows - self._rows) / took:,.0f}",
            "" if rows is None else f"{max(0, acknowledged - rows):,}",
            f"{memory_bytes(self._sink) / 1e6:,.0f}",
            f"{cpu - self._cpu:.1f}",
        )
        self._began, self._acknowledged, self._cpu = now, acknowledged, cpu
        self._rows = self._rows if rows is None else rows


class Stored:
    """What the table holds, asked on a connection of its own."""

    def __init__(self, server: ClickHouseServer) -> None:
        self._address = address_of(server.url)
        self.away = False

    def ask(self, sql: str) -> list[tuple[int, ...]]:
        """The rows of an answer."""
        address = self._address
        with Client(address.host, port=address.port, user=address.user, password=address.password) as client:
            rows: list[tuple[int, ...]] = client.execute(sql)
            return rows

    def rows(self) -> int | None:
        """None while the server is away."""
        return None if self.away else self.ask("SELECT count() FROM unjoin.contract")[0][0]


def run(arguments: argparse.Namespace, folder: Path, console: Console) -> int:
    """One outage; 1 where a record is missing or twice, or the sink did not live through it."""
    if reason := missing():
        console.print(reason)
        return 1
    for name in ("kafka", "server"):
        (folder / name).mkdir()
    node = KafkaNode(kafka_home(), folder / "kafka")
    server = ClickHouseServer(folder / "server")
    node.start()
    server.start()
    sink: subprocess.Popen[bytes] | None = None
    try:
        stored = Stored(server)
        for statement in ("CREATE DATABASE unjoin", PLAIN.format(by="tuple()")):
            stored.ask(statement)
        topic = create_topic(node.bootstrap, PARTITIONS)
        config = ServerSinkConfig(
            bootstrap=node.bootstrap, url=server.url, topic=topic, group="outage", rows_max=100_000, ms_max=1_000
        )
        command = [sys.executable, "-m", "testkit.server_sink", msgspec.json.encode(config).decode()]
        with (folder / "sink.log").open("wb") as log:
            sink = subprocess.Popen(command, cwd=ROOT, stderr=log)
        with Source(node.bootstrap, topic, arguments.rate) as source:
            phases = Phases(source, stored, sink.pid)
            wait_for(lambda: bool(stored.rows()), "the sink does not catch up", CATCH_UP_SECONDS_MAX)
            time.sleep(SETTLE_SECONDS)
            phases.end("ClickHouse there")
            caught_up = outage(arguments, server, stored, source, phases)
            time.sleep(SETTLE_SECONDS)
            phases.end("afterwards")
        wait_for(lambda: stored.rows() == source.acknowledged, "the sink does not catch up", CATCH_UP_SECONDS_MAX)
        ((rows, different),) = stored.ask("SELECT count(), uniqExact(number) FROM unjoin.contract")
        console.print(phases.table)
        alive = sink.poll() is None
        sink.terminate()
        code = sink.wait(30)
        said = (folder / "sink.log").read_text()
    finally:
        if sink is not None and sink.poll() is None:
            sink.kill()
            sink.wait()
        server.stop()
        node.stop()
    lost, doubled = source.acknowledged - different, rows - different
    console.print(
        f"caught up {caught_up:.1f} s after the server answered; acknowledged {source.acknowledged:,}, stored"
        f" {rows:,}: lost {lost:,}, doubled {doubled:,}; the sink {'lived' if alive else 'died'}, ended with {code}"
    )
    console.print("".join(line + "\n" for line in said.splitlines() if "ClickHouse" in line))
    return 0 if alive and code == 0 and not lost and not doubled else 1


def outage(
    arguments: argparse.Namespace, server: ClickHouseServer, stored: Stored, source: Source, phases: Phases
) -> float:
    """Takes the server away and brings it back; gives the seconds until no more than a block's age was behind."""
    stored.away = True
    server.kill() if arguments.fault == "kill" else server.pause()
    time.sleep(arguments.away)
    phases.end("away")
    server.start() if arguments.fault == "kill" else server.resume()
    stored.away = False
    began = time.monotonic()
    wait_for(
        lambda: source.acknowledged - (stored.rows() or 0) < 3 * arguments.rate,
        "the sink does not catch up",
        CATCH_UP_SECONDS_MAX,
    )
    phases.end("catching up")
    return time.monotonic() - began
