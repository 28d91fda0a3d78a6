"""The roles as processes on a broker, each from a checkout of its own: what is upgraded one after the other."""

import contextlib
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from faults.runbooks.stack import SECONDS_MAX, DrilledStack
from ingest.access.sites import write_development_sites
from testkit.processes import wait_for

COMMANDS = {"processor": "process", "sink": "sink", "collector": "collect"}
ROOT = Path(__file__).parents[2]
RATE = 200


class Roles(DrilledStack):
    """A broker, and one process of each role."""

    def __init__(self, kafka_home: Path, data_dir: Path, **settings: str) -> None:
        super().__init__(kafka_home, data_dir, UNJOIN_CROWD_TARGET="20", **settings)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, checkout: Path = ROOT) -> None:
        """Returns once every role is ready."""
        write_development_sites(self.data_dir / "sites" / "sites.json", [self.http])
        with contextlib.chdir(checkout):
            self.ok("topics")
        for role in COMMANDS:
            self.replace(role, checkout)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        for role in ("collector", "processor", "sink"):
            self.end(role, number)
        return 0

    def replace(self, role: str, checkout: Path = ROOT, *, ready: bool = True, **settings: str) -> None:
        """Ends a role, and starts it from a checkout.

        Args:
            ready: return once it is.
        """
        self.end(role)
        metrics_port = self.metrics_port + list(COMMANDS).index(role)
        with (self.data_dir / f"{role}.log").open("ab") as log:
            self._running[role] = subprocess.Popen(
                [sys.executable, "-m", "unjoin", COMMANDS[role]], cwd=checkout, stdout=log, stderr=log,
                env={**self.environment, "UNJOIN_METRICS_PORT": str(metrics_port), **settings},
            )  # fmt: skip
        self.commands += 1
        if ready:
            url = self.http if role == "collector" else f"http://127.0.0.1:{metrics_port}"
            wait_for(
                lambda: _answers(f"{url}/readyz"), lambda: self.log_of(role), SECONDS_MAX, [self._running[role]], 0.1
            )

    def end(self, role: str, number: signal.Signals = signal.SIGTERM) -> int:
        """Asks it to stop; gives its exit code, 0 where it does not run."""
        if (process := self._running.pop(role, None)) is None:
            return 0
        if process.poll() is None:
            process.send_signal(number)
        return process.wait(SECONDS_MAX)

    @property
    def spooled(self) -> int:
        """Records in the collector's spool, as it tells Prometheus."""
        url = f"http://127.0.0.1:{self.metrics_port + list(COMMANDS).index('collector')}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            (line,) = (line for line in answer.read().decode().splitlines() if line.startswith("unjoin_spool_records "))
        return int(float(line.partition(" ")[2]))

    def exit_code_of(self, role: str) -> int:
        """Of a role that ends by itself."""
        return self._running[role].wait(SECONDS_MAX)

    def log_of(self, role: str) -> str:
        """Its last lines."""
        return (self.data_dir / f"{role}.log").read_text()[-2_000:]

    @contextlib.contextmanager
    def loaded(self) -> Iterator[None]:
        """With events of every category all the time, of which some have to be acknowledged."""
        summary = self.data_dir / "summary.json"
        command = [*self.python, "simulate", "--rate", str(RATE), "--events", "10000000", "--summary", str(summary)]
        process = subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(SECONDS_MAX)
        sent = json.loads(summary.read_text())
        assert sent["accepted_total"] > 0, sent


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return bool(answer.status == 200)
    return False
