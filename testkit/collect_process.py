"""`unjoin collect` as a process, clients that post all the time, and what of it is on the topics."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ingest.access.sites import write_development_sites
from schemas.topics import SIGNALS
from testkit.announced_door import announce
from testkit.kafka_node import stored_records
from testkit.processes import memory_bytes, wait_for
from unjoin.host.kafka import free_port

WAIT_SECONDS_MAX = 60.0


class Collect:
    """`unjoin collect`, as an operator runs it, on a folder that outlives it."""

    def __init__(self, data_dir: Path, bootstrap: str, **settings: str) -> None:
        self.port = free_port()
        self.workers = int(settings.get("UNJOIN_COLLECT_WORKERS", "1"))
        self.metrics_port = free_port(self.workers)
        self.data_dir = data_dir
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("UNJOIN_")},
            "UNJOIN_DATA_DIR": str(data_dir),
            "UNJOIN_HTTP_PORT": str(self.port),
            "UNJOIN_METRICS_PORT": str(self.metrics_port),
            "UNJOIN_KAFKA_BOOTSTRAP": bootstrap,
            **settings,
        }
        write_development_sites(data_dir / "sites" / "sites.json", ["http://localhost"])

    def start(self) -> None:
        """Returns once it says that it can accept durably; labels too, though no door runs."""
        announce(self._environment["UNJOIN_KAFKA_BOOTSTRAP"], self.data_dir, self.workers)
        with (self.data_dir / "collector.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "unjoin", "collect"], env=self._environment, stdout=log, stderr=log
            )
        self.until(lambda: self.get("/readyz")[0] == 200)

    def stop(self) -> tuple[int, float]:
        """Exit code, and how long it took."""
        began = time.monotonic()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(WAIT_SECONDS_MAX), time.monotonic() - began

    def get(self, path: str, port: int = 0) -> tuple[int, str]:
        """Status, 0 while nobody listens, and body."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=WAIT_SECONDS_MAX)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except ConnectionError:
            return 0, ""
        finally:
            connection.close()

    def post(self, connection: http.client.HTTPConnection, batch: Any) -> tuple[int, dict[str, str]]:
        """Status and headers."""
        connection.request("POST", "/v1/events?key=dev-browser-key", json.dumps(batch).encode())
        answer = connection.getresponse()
        answer.read()
        return answer.status, dict(answer.getheaders())

    @property
    def pid(self) -> int:
        """Process id of the collector that was started last."""
        return self._process.pid

    @property
    def memory_bytes(self) -> int:
        """Resident memory, bytes."""
        return memory_bytes(self._process.pid)

    def metric(self, name: str) -> float:
        """One series, as Prometheus would scrape it, added up over the workers."""
        found = [
            float(line.rpartition(" ")[2])
            for text in self.scrapes()
            for line in text.splitlines()
            if line.startswith(name + " ")
        ]
        assert len(found) == self.workers, name
        return sum(found)

    def scrapes(self) -> list[str]:
        """The metrics of each worker; nothing of one that does not answer."""
        return [self.get("/metrics", self.metrics_port + worker)[1] for worker in range(self.workers)]

    def until(self, condition: Callable[[], bool]) -> None:
        """Returns once the condition holds."""
        log = self.data_dir / "collector.log"
        wait_for(condition, lambda: log.read_text()[-2_000:], WAIT_SECONDS_MAX, [self._process])


class Load:
    """Clients that post all the time, each a session, and note what became of it."""

    def __init__(self, collect: Collect, clients: int = 6, events: int = 20, pause_seconds: float = 0.02) -> None:
        """
        Args:
            events: signals of a batch; a label comes on top.
        """
        self.collect = collect
        self.accepted: list[str] = []
        self.labels = 0
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []
        self._events = events
        self._pause_seconds = pause_seconds
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._client, args=(n,)) for n in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _client(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.collect.port, timeout=WAIT_SECONDS_MAX)
        turn = 0
        while not self._done.wait(self._pause_seconds):
            turn += 1
            ids = [f"{number}-{turn}-{i}" for i in range(self._events)]
            began = time.monotonic()
            status, _ = self.collect.post(connection, batch_of(f"session-{number}", ids, f"task-{turn}"))
            self.seconds.append(time.monotonic() - began)
            self.statuses[status] += 1
            if status == 200:
                self.accepted += ids
                self.labels += 1
        connection.close()


def batch_of(session: str, ids: list[str], task: str) -> dict[str, Any]:
    ts = time.time_ns() // 1_000_000
    signals = [{"id": event, "type": "pointer", "ts": ts, "t": [0, 16], "x": [1, 2], "y": [3, 4]} for event in ids]
    label = {"id": f"{ids[0]}-label", "type": "image_label", "ts": ts, "task": task, "answer": "beagle"}
    return {"session": session, "events": [*signals, label]}


def ids_on(bootstrap: str) -> Counter[str]:
    """Counts the records of each event id on the topics."""
    # Confluent header, then the id: its length as a zigzag varint, one byte for so short a text.
    values = [message.value() for message in stored_records(bootstrap, SIGNALS)]
    return Counter(value[6 : 6 + value[5] // 2].decode() for value in values)
