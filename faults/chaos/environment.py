"""Starts the stack of a scenario: with merges stopped, and the proxies, small disks or clock that it needs."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from faults.chaos.clock import FakeClock
from faults.chaos.disks import SmallDisk
from faults.chaos.parts import running_pid_of
from faults.chaos.plan import SERVER, Scenario
from faults.chaos.rows import dump_server, hold_server_still
from sinks.clickhouse.address import address_of
from sinks.clickhouse.server import Server
from testkit.clickhouse_server import ClickHouseServer
from testkit.fault_proxy import FaultProxy
from testkit.kafka_node import KafkaNode
from testkit.running_stack import RunningStack
from testkit.server_sink import SIGNAL_IDS_DDL, ServerSinkConfig

ROOT = Path(__file__).parents[2]
CHILD_SECONDS_MAX = 120.0


class Environment:
    """The stack of one scenario, and what its faults act on.

    Attributes:
        kafka_proxy, server_proxy: in front of Kafka, and of the ClickHouse server; None where the environment has none.
        server: of a second sink; None where there is none.
        engine: the server that the stack's sink writes to; None where that embeds its engine.
        disks: small ones, by the part that writes to them.
    """

    def __init__(self, scenario: Scenario, kafka_home: Path, folder: Path) -> None:
        self.scenario = scenario
        self.data_dir = folder / "data"
        self.data_dir.mkdir(parents=True)
        self.clock = FakeClock() if scenario.environment == "clock" else None
        crowd = str(scenario.crowd_min)
        # A second processor, which is no part of `up`, has to make the same crowds.
        settings = {"UNJOIN_CROWD_MIN": crowd, "UNJOIN_CROWD_TARGET": crowd}
        settings |= self.clock.environment() if self.clock else {}
        self.engine: ClickHouseServer | None = None
        if scenario.environment == SERVER:
            (folder / "engine").mkdir()
            self.engine = ClickHouseServer(folder / "engine")
            settings["UNJOIN_CLICKHOUSE_URL"] = self.engine.url
        self.stack = RunningStack(kafka_home, self.data_dir, **settings)
        self.kafka_proxy: FaultProxy | None = None
        self.server: ClickHouseServer | None = None
        self.server_proxy: FaultProxy | None = None
        self.disks: dict[str, SmallDisk] = {}
        self._folder = folder
        self._node: KafkaNode | None = None
        self._server_sink: subprocess.Popen[bytes] | None = None
        self._kafka_home = kafka_home

    @property
    def clickhouse_dir(self) -> Path:
        """Where the engine keeps its tables."""
        return self.engine.folder / "data" if self.engine else self.data_dir / "clickhouse"

    @property
    def https(self) -> list[str]:
        """Of its collectors."""
        return [self.stack.http]

    @property
    def reader_port(self) -> int:
        """Where ClickHouse answers over HTTP."""
        return self.engine.http_port if self.engine else self.stack.clickhouse_port

    @property
    def bootstrap(self) -> str:
        """Where the reader of the whole log asks first: Kafka itself, not its proxy."""
        return self._node.bootstrap if self._node else self.stack.bootstrap

    def pid_of(self, part: str) -> int:
        """Process id of a part that runs, or is about to."""
        return running_pid_of(part, self.stack.pid)

    def _prepare(self) -> None:
        """Makes Kafka, the server and the proxies in front of them, where the environment has them."""
        if self.scenario.environment in ("up", SERVER):
            return
        state_dir = self.data_dir / "kafka"
        state_dir.mkdir()
        self._node = KafkaNode(self._kafka_home, state_dir)
        if self.scenario.environment == "proxies":
            server_dir = self._folder / "server"
            server_dir.mkdir()
            self.server = ClickHouseServer(server_dir)
            self.server_proxy = FaultProxy(self.server.port)
            self.kafka_proxy = FaultProxy(self._node.port, owners=True)
            self._node.properties += f"advertised.listeners=PLAINTEXT://127.0.0.1:{self.kafka_proxy.port}\n"

    async def start(self) -> None:
        """Returns once everything is ready."""
        await asyncio.to_thread(self._start)

    async def stop(self) -> list[str]:
        """Lets everything end in good order; gives what was not as it must be."""
        code = await asyncio.to_thread(self._stop)
        return [f"`unjoin up` ended with {code}"] if code else []

    async def close(self) -> None:
        """Lets go of whatever still stands; after `stop`, or instead of it."""
        await asyncio.to_thread(self._close)

    def audit(self) -> "subprocess.CompletedProcess[str]":
        """Runs `unjoin audit`."""
        return self.stack.command("audit", "--format", "json")

    def dump(self, file: Path) -> None:
        """As `rows.dump`; after `stop`."""
        if self.engine:
            dump_server(self.engine.url, file)
        else:
            run_rows("dump", str(self.clickhouse_dir), str(file))

    def _start(self) -> None:
        self._prepare()
        if self.scenario.environment == "proxies":
            self.disks = {
                "sink": SmallDisk(self.clickhouse_dir),
                "spool": SmallDisk(self.data_dir / "spool"),
            }
            for disk in self.disks.values():
                disk.mount()
        if self.engine:
            self.engine.start()
            hold_server_still(self.engine.url)
        else:
            run_rows("still", str(self.clickhouse_dir))
        if self._node is not None:
            self._node.start()
            self.stack.environment["UNJOIN_KAFKA_BOOTSTRAP"] = self._roles_bootstrap()
        if self.server is not None:
            self._start_server()
        self.stack.start()
        if self.server is not None:
            self._start_server_sink()

    def _stop(self) -> int:
        try:
            return self.stack.stop()
        finally:
            self._end_server_sink()
            if self._node is not None:
                self._node.stop()

    def _close(self) -> None:
        with contextlib.suppress(Exception):
            self._stop()
        for proxy in (self.kafka_proxy, self.server_proxy):
            if proxy is not None:
                proxy.close()
        for server in (self.server, self.engine):
            if server is not None:
                with contextlib.suppress(Exception):
                    server.stop()
        for disk in self.disks.values():
            disk.unmount()
        if self.clock is not None:
            self.clock.close()

    def mind(self, failures: list[str]) -> None:
        """Starts the server's sink again where it has ended, as `unjoin up` does with its parts; that is a failure."""
        if self._server_sink is not None and self._server_sink.poll() is not None:
            failures.append(f"the server's sink ended with {self._server_sink.returncode}")
            self._start_server_sink()

    def server_rows(self) -> list[tuple[str, int]]:
        """Event ids and how many physical rows each has, asked without the proxy."""
        assert self.server is not None
        engine = Server(address_of(self.server.url))
        try:
            body = engine.select(
                "SELECT event_id, count() FROM unjoin.signals GROUP BY event_id", "TabSeparated", final=False
            )
        finally:
            engine.close()
        lines = (line.split("\t") for line in body.decode().splitlines())
        return [(event, int(count)) for event, count in lines]

    def _roles_bootstrap(self) -> str:
        return f"127.0.0.1:{self.kafka_proxy.port}" if self.kafka_proxy else self.bootstrap

    def _start_server(self) -> None:
        assert self.server is not None
        self.server.start()
        engine = Server(address_of(self.server.url))
        for statement in SIGNAL_IDS_DDL:
            engine.run(statement)
        engine.close()

    def _start_server_sink(self) -> None:
        assert self.server is not None
        assert self.server_proxy is not None
        url = self.server.url.replace(f":{self.server.port}/", f":{self.server_proxy.port}/")
        config = ServerSinkConfig(
            bootstrap=self._roles_bootstrap(), url=url, topic="events.signals", group="chaos-server", table="signals",
            rows_max=100_000, ms_max=300,
        )  # fmt: skip
        command = [sys.executable, "-m", "testkit.server_sink", msgspec.json.encode(config).decode()]
        with (self._folder / "server_sink.log").open("ab") as log:
            self._server_sink = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def _end_server_sink(self) -> None:
        if self._server_sink is None:
            return
        self._server_sink.send_signal(signal.SIGTERM)
        try:
            self._server_sink.wait(20)
        except subprocess.TimeoutExpired:
            self._server_sink.kill()
            self._server_sink.wait()
        self._server_sink = None


def run_rows(*arguments: str) -> None:
    """Runs `faults.chaos.rows` in a process of its own: a process has one embedded engine at most."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UNJOIN_")}
    done: Any = subprocess.run(
        [sys.executable, "-m", "faults.chaos.rows", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=CHILD_SECONDS_MAX,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
