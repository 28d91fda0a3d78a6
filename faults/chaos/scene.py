"""The stack of a stage: started with merges held still, with wires, small disks or a clock of its own where needed."""

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
from faults.chaos.plan import Stage
from faults.chaos.server_sink import DDL, Config
from faults.chaos.wire import Wire
from sinks.clickhouse.server import Server, address_of
from testkit.clickhouse_server import ClickHouseServer
from testkit.kafka_node import KafkaNode
from testkit.running_stack import RunningStack

ROOT = Path(__file__).parents[2]
CHILD_SECONDS_MAX = 120.0


class SceneStack:
    """One stage's stack and what its faults reach into.

    Attributes:
        wire, server_wire: in front of Kafka, and of the ClickHouse server; None where the scene has none.
        disks: by part.
    """

    def __init__(self, stage: Stage, kafka_home: Path, folder: Path) -> None:
        self.stage = stage
        self.data_dir = folder / "data"
        self.data_dir.mkdir(parents=True)
        self.clock = FakeClock() if stage.scene == "clock" else None
        crowd = str(stage.crowd_min)
        # A second processor, which is no part of `up`, has to make the same crowds.
        settings = {"UNJOIN_CROWD_MIN": crowd, "UNJOIN_CROWD_TARGET": crowd}
        settings |= self.clock.environment() if self.clock else {}
        self.stack = RunningStack(kafka_home, self.data_dir, **settings)
        self.wire: Wire | None = None
        self.server: ClickHouseServer | None = None
        self.server_wire: Wire | None = None
        self.disks: dict[str, SmallDisk] = {}
        self._folder = folder
        self._node: KafkaNode | None = None
        self._server_sink: subprocess.Popen[bytes] | None = None
        self._kafka_home = kafka_home

    @property
    def clickhouse_dir(self) -> Path:
        return self.data_dir / "clickhouse"

    @property
    def bootstrap(self) -> str:
        """Of the log's own reader: past the wire for the first contact."""
        return self._node.bootstrap if self._node else self.stack.bootstrap

    def pid_of(self, part: str) -> int:
        """Of a part that runs, or is about to."""
        return running_pid_of(part, self.stack.pid)

    async def start_wires(self) -> None:
        """The part of `start` that belongs to the running loop; before it."""
        if self.stage.scene == "up":
            return
        state_dir = self.data_dir / "kafka"
        state_dir.mkdir()
        self._node = KafkaNode(self._kafka_home, state_dir)
        if self.stage.scene == "wires":
            server_dir = self._folder / "server"
            server_dir.mkdir()
            self.server = ClickHouseServer(server_dir)
            self.server_wire, self.wire = Wire(self.server.port), Wire(self._node.port)
            await self.server_wire.start()
            await self.wire.start()
            self._node.properties += f"advertised.listeners=PLAINTEXT://127.0.0.1:{self.wire.port}\n"

    def start(self) -> None:
        """Returns once everything is ready."""
        if self.stage.scene == "wires":
            self.disks = {
                "sink": SmallDisk(self.clickhouse_dir),
                "spool": SmallDisk(self.data_dir / "spool"),
            }
            for disk in self.disks.values():
                disk.mount()
        run_rows("still", str(self.clickhouse_dir))
        if self._node is not None:
            self._node.start()
            self.stack.environment["UNJOIN_KAFKA_BOOTSTRAP"] = self._roles_bootstrap()
        if self.server is not None:
            self._start_server()
        self.stack.start()
        if self.server is not None:
            self._start_server_sink()

    def stop(self) -> int:
        """Lets everything end in good order; gives the exit code of `unjoin up`."""
        try:
            return self.stack.stop()
        finally:
            self._end_server_sink()
            if self._node is not None:
                self._node.stop()

    async def close(self) -> None:
        """Lets go of whatever still stands; after `stop`, or instead of it."""
        with contextlib.suppress(Exception):
            self.stop()
        for wire in (self.wire, self.server_wire):
            if wire is not None and wire.port:
                await wire.close()
        if self.server is not None:
            with contextlib.suppress(Exception):
                self.server.stop()
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
        """Event ids and their physical rows, past the wire."""
        assert self.server is not None
        engine = Server(address_of(self.server.url))
        try:
            body = engine.select("SELECT event_id, count() FROM unjoin.signals GROUP BY event_id", "TabSeparated")
        finally:
            engine.close()
        lines = (line.split("\t") for line in body.decode().splitlines())
        return [(event, int(count)) for event, count in lines]

    def _roles_bootstrap(self) -> str:
        return f"127.0.0.1:{self.wire.port}" if self.wire else self.bootstrap

    def _start_server(self) -> None:
        assert self.server is not None
        self.server.start()
        engine = Server(address_of(self.server.url))
        for statement in DDL:
            engine._run(statement)
        engine.close()

    def _start_server_sink(self) -> None:
        assert self.server is not None
        assert self.server_wire is not None
        url = self.server.url.replace(f":{self.server.port}/", f":{self.server_wire.port}/")
        config = msgspec.json.encode(Config(self._roles_bootstrap(), url)).decode()
        with (self._folder / "server_sink.log").open("ab") as log:
            self._server_sink = subprocess.Popen(
                [sys.executable, "-m", "faults.chaos.server_sink", config], cwd=ROOT, stdout=log, stderr=log
            )

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
