"""Starts the model's collector as a process, and reads what became of the requests."""

import os
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.http_model.collector import IDS, PORTS
from testkit.processes import memory_bytes, wait_for

WAIT_SECONDS_MAX = 30.0


class ModelCollector:
    """A running collector.

    Attributes:
        log: what it said.
    """

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], port: int, metrics_port: int) -> None:
        self.port = port
        self.log = folder / "log"
        self._process, self._ids, self._metrics_port = process, folder / IDS, metrics_port
        self._read = 0

    @property
    def memory_bytes(self) -> int:
        """Resident memory."""
        return memory_bytes(self._process.pid)

    @property
    def files(self) -> int:
        """Open files."""
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    def stored(self) -> list[str]:
        """The ids that were stored since the last call."""
        with self._ids.open("rb") as file:
            file.seek(self._read)
            fresh = file.read()
        self._read += len(fresh)
        return fresh.decode().split()

    def outcomes(self) -> Counter[str]:
        """Its requests, by outcome, as Prometheus would scrape them."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        prefix = 'unjoin_requests_total{outcome="'
        found = [line[len(prefix) :].partition('"} ') for line in lines if line.startswith(prefix)]
        return Counter({name: int(float(count)) for name, _, count in found})


@contextmanager
def model_collector(folder: Path) -> Iterator[ModelCollector]:
    """A collector of its own on a free port, for as long as the context lasts."""
    with (folder / "log").open("wb") as log:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("UNJOIN_")}
        command = [sys.executable, "-m", "faults.http_model.collector", str(folder)]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        wait_for((folder / PORTS).exists, lambda: (folder / "log").read_text()[-2_000:], WAIT_SECONDS_MAX, [process])
        port, metrics_port = map(int, (folder / PORTS).read_text().split())
        yield ModelCollector(folder, process, port, metrics_port)
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS_MAX)
