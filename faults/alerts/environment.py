"""`unjoin up` before a ClickHouse server, on a small disk and a clock of its own, under load, watched by Prometheus."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from faults.chaos.clock import FakeClock
from faults.chaos.disks import SmallDisk
from faults.chaos.parts import running_pid_of
from sinks.clickhouse.address import address_of
from sinks.clickhouse.server import Server
from testkit.clickhouse_server import ClickHouseServer
from testkit.kafka_node import KafkaNode
from testkit.processes import wait_for
from testkit.prometheus import Prometheus, scaled
from testkit.running_stack import RunningStack

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
SCRAPE_SECONDS = 15
FIRST_SCRAPES_SECONDS_MAX = 300
SPOOL_BYTES = 4_194_304
ROLES = ("collector", "processor", "sink")


class Environment:
    """What faults act on.

    Args:
        factor: by how much every window of the rules is shorter.
    """

    def __init__(self, kafka_home: Path, folder: Path, factor: int) -> None:
        self.folder, self.factor = folder, factor
        self.disk = SmallDisk(folder / "data")
        self.clock = FakeClock()
        (folder / "engine").mkdir()
        self.engine = ClickHouseServer(folder / "engine")
        (folder / "kafka").mkdir()
        self.kafka = KafkaNode(kafka_home, folder / "kafka")  # apart: a Java machine does not start under libfaketime
        self.stack = RunningStack(
            kafka_home,
            folder / "data",
            UNJOIN_KAFKA_BOOTSTRAP=self.kafka.bootstrap,
            UNJOIN_CLICKHOUSE_URL=self.engine.url,
            UNJOIN_SPOOL_BYTES_MAX=str(SPOOL_BYTES),
            UNJOIN_LABELED_RETENTION_HOURS="1",
            UNJOIN_CROWD_WAIT_MINUTES="30",
            **self.clock.environment(),
        )
        self.audit_file = folder / "audit" / "unjoin.prom"
        self.audit_file.parent.mkdir()
        handler = partial(_Plain, directory=str(self.audit_file.parent))
        self._textfile = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        targets = {name: f"127.0.0.1:{self.stack.metrics_port + at}" for at, name in enumerate(ROLES)}
        targets["audit"] = f"http://127.0.0.1:{self._textfile.server_address[1]}/{self.audit_file.name}"
        scrape_seconds = max(3, SCRAPE_SECONDS // factor)  # which a busy machine keeps
        self.prometheus = Prometheus(folder / "prometheus", targets, scaled(RULES.read_text(), factor), scrape_seconds)
        self._load: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Environment":
        self.disk.mount()
        threading.Thread(target=self._textfile.serve_forever, daemon=True).start()
        try:
            self.engine.start()
            self.kafka.start()
            self.stack.start()
            self.audit()
            self.prometheus.start()
            seen = f"count_over_time(up[{FIRST_SCRAPES_SECONDS_MAX}s]) > 1"  # an increase is one over something
            wait_for(lambda: len(self.prometheus.query(seen)) > len(ROLES), "no scrapes", FIRST_SCRAPES_SECONDS_MAX)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.load(0)
        for part in (self.prometheus, self.stack, self.kafka, self.engine):
            with contextlib.suppress(Exception):  # the others are stopped all the same
                part.stop()
        self._textfile.shutdown()
        self.disk.unmount()
        self.clock.close()

    def pid(self, role: str) -> int:
        """Of a role that runs, or is about to."""
        return running_pid_of(role, self.stack.pid)

    @contextlib.contextmanager
    def paused(self, role: str) -> Iterator[int]:
        """A role that holds still for as long as the context lasts."""
        pid = self.pid(role)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def sql(self, statement: str) -> None:
        """Carried out by the server."""
        server = Server(address_of(self.engine.url))
        try:
            server.run(statement)
        finally:
            server.close()

    def audit(self) -> None:
        """As a timer does, until the door has told its totals."""
        for _ in range(30):
            if self.stack.command("audit", "--textfile", str(self.audit_file)).returncode != 3:
                return
            time.sleep(2)

    def load(self, rate: int, *arguments: str) -> None:
        """Events a second from now on; 0 for none."""
        if self._load is not None:
            self._load.kill()
            self._load.wait()
            self._load = None
        if rate:
            command = [*self.stack.python, "simulate", "--rate", str(rate), "--events", str(rate * 7_200), *arguments]
            with (self.folder / "load.log").open("ab") as log:
                self._load = subprocess.Popen(command, env=self.stack.environment, cwd=ROOT, stdout=log, stderr=log)


class _Plain(SimpleHTTPRequestHandler):
    """A folder of text, in place of node_exporter."""

    extensions_map = {"": "text/plain; version=0.0.4", ".prom": "text/plain; version=0.0.4"}  # noqa: RUF012

    def log_message(self, *_: object) -> None:
        """Nothing."""


def say(text: str) -> None:
    """A line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
