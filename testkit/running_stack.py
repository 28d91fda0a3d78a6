"""`unjoin up` as a child process, the way an operator runs it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from testkit.kafka_node import lend_storage
from unjoin.host.kafka import free_port

READY_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 60.0


class RunningStack:
    """A whole pipeline on free ports.

    Args:
        data_dir: its state; starting again on the same folder goes on where it ended.
    """

    def __init__(self, kafka_home: Path, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        self.http_port, self.clickhouse_port, self.kafka_port = free_port(), free_port(), free_port()
        self.metrics_port = free_port(3)
        self.http = f"http://127.0.0.1:{self.http_port}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("UNJOIN_")},
            "UNJOIN_DATA_DIR": str(data_dir),
            "UNJOIN_KAFKA_HOME": str(kafka_home),
            "UNJOIN_HTTP_PORT": str(self.http_port),
            "UNJOIN_CLICKHOUSE_HTTP_PORT": str(self.clickhouse_port),
            "UNJOIN_KAFKA_PORT": str(self.kafka_port),
            # Tests put rows of fixed times into these tables.
            "UNJOIN_SIGNALS_TTL_DAYS": "0",
            "UNJOIN_ANALYTICS_TTL_DAYS": "0",
            **settings,
        }
        self.python = [sys.executable, "-m", "unjoin"]
        self._process: subprocess.Popen[str] | None = None
        self._kafka_home = kafka_home
        self._log = data_dir / "up.log"

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.kafka_port}"

    def metrics(self) -> dict[str, bytes]:
        """What each role tells Prometheus."""
        found = {}
        for number, role in enumerate(("collector", "processor", "sink")):
            url = f"http://127.0.0.1:{self.metrics_port + number}/metrics"
            with urllib.request.urlopen(url, timeout=60) as answer:
                found[role] = answer.read()
        return found

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns once `unjoin up` says that everything is ready."""
        process = self.begin()
        deadline = time.monotonic() + READY_SECONDS_MAX
        while "unjoin is ready" not in self._log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"the stack is not ready: {self._log.read_text()}{self._last_logs()}")
            time.sleep(0.05)

    def begin(self) -> subprocess.Popen[str]:
        """Starts it, and waits for nothing; gives the process."""
        lend_storage(self._kafka_home, self.data_dir / "kafka")
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "unjoin", "up"],
                # Not of the other commands, which would find these ports taken.
                env={**self.environment, "UNJOIN_METRICS_PORT": str(self.metrics_port)},
                stdout=log,
                stderr=log,
                text=True,
            )
        return self._process

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Asks it to stop; gives its exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self._process.wait(STOP_SECONDS_MAX)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `unjoin ARGUMENTS` against this stack."""
        command = [sys.executable, "-m", "unjoin", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=600)

    def post(self, batch: Any, key: str = "dev-browser-key") -> tuple[int, dict[str, Any]]:
        """Posts one batch; gives status and answer."""
        request = urllib.request.Request(
            f"{self.http}/v1/events",
            data=json.dumps(batch, separators=(",", ":")).encode(),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a query, from port 8123's likeness."""
        parameters = urlencode(
            {"database": "unjoin", "default_format": "JSONEachRow", "output_format_json_quote_64bit_integers": "0"}
        )
        url = f"http://127.0.0.1:{self.clickhouse_port}/?{parameters}"
        with urllib.request.urlopen(urllib.request.Request(url, data=sql.encode()), timeout=60) as answer:
            return [json.loads(line) for line in answer.read().splitlines()]

    def count(self, sql: str) -> int:
        """The one number that a query gives."""
        ((value,),) = (row.values() for row in self.rows(sql))
        return int(value)

    def wait_for_count(self, sql: str, expected: int, seconds_max: float = 60.0) -> int:
        """The number a query gives once it is `expected`, or when time is up."""
        deadline = time.monotonic() + seconds_max
        while (found := self.count(sql)) != expected and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def wait_until(self, condition_sql: str, seconds_max: float = 60.0) -> bool:
        """Whether a query came to give a true value before time was up."""
        deadline = time.monotonic() + seconds_max
        while not self.count(condition_sql):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def processes(self) -> list[str]:
        """Command lines of running processes that have to do with this stack's folder."""
        mark = str(self.data_dir).encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes()
                about = command + (process / "environ").read_bytes()
            except OSError:
                continue  # gone meanwhile
            if int(process.name) != os.getpid() and mark in about and b"simulate" not in command:
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
        return found

    def _last_logs(self) -> str:
        logs = sorted((self.data_dir / "logs").glob("*.log"))
        return "".join(f"\n--- {log.name}\n{log.read_text()[-2000:]}" for log in logs)
