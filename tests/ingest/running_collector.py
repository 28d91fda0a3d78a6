"""A collector on a free port, in a thread with a loop of its own, so that tests drive it over real sockets."""

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from ingest.access.sites import SitesFile, write_development_sites
from ingest.encode.pseudonym import EdgeKeys
from ingest.encode.records import Record
from ingest.encode.seals import DoorKeys
from ingest.metrics.counters import Counters
from ingest.process.server import serve
from ingest.web.page import PageOf
from schemas.outcomes import UnjoinError
from schemas.seal import public_key_of
from testkit.seals import opened_datum
from tests.ingest.configs import collector_config
from tests.ingest.memory_producer import MemoryProducer

ORIGIN = "https://shop.example"


def epoch_key(day: date) -> bytes:
    """The door's."""
    return day.isoformat().encode().ljust(32, b"e")


WIDGET_KEY, SERVER_KEY = "dev-browser-key", "dev-server-key"
SECONDS_MAX = 20.0


class Reply(msgspec.Struct):
    """What came back; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class RunningCollector:
    """One collector and its producer.

    Attributes:
        sites: its file of sites, with site `dev` of `https://shop.example`.
        ready: set once it has said that it is.
    """

    def __init__(self, folder: Path, page_of: PageOf | None = None, **settings: Any) -> None:
        self.sites = SitesFile(folder / "sites.json")
        write_development_sites(folder / "sites.json", [ORIGIN])
        self.config = collector_config(folder, **settings)
        self.page_of = page_of
        self.counters = Counters()
        self.closed_days: set[date] = set()
        self.lost_days: set[date] = set()
        self.unannounced_days: set[date] = set()
        self.key_error: Exception | None = None
        self.edge_keys: EdgeKeys = self._edge_key
        self.door_keys: DoorKeys = self._door_key
        self.now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
        self.port = 0
        self.error: BaseException | None = None
        self.ready = threading.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _edge_key(self, day: date) -> bytes | None:
        if self.key_error is not None:
            raise self.key_error
        if day in self.lost_days:
            raise UnjoinError("the key is missing")
        return None if day in self.closed_days else day.isoformat().encode().ljust(32, b"k")

    def _door_key(self, day: date) -> bytes:
        if day in self.unannounced_days:
            raise UnjoinError("no door has announced its public key")
        return public_key_of(epoch_key(day))

    def opened(self, record: Record) -> dict[str, Any]:
        """What a label says to the door."""
        assert record.partition is not None
        return opened_datum(record.value, epoch_key, partition=record.partition)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            self.error = error
        finally:
            self._listening.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.producer = MemoryProducer()
        self._stop = asyncio.Event()
        await serve(
            self.config,
            self.edge_keys,
            self.door_keys,
            self.producer,
            counters=self.counters,
            page_of=self.page_of,
            stop=self._stop,
            on_listening=self._note,
            on_ready=self.ready.set,
            now_ms=self.now_ms,
        )

    def _note(self, _: str, port: int) -> None:
        self.port = port
        self._listening.set()

    def start(self) -> None:
        self._thread.start()
        assert self._listening.wait(SECONDS_MAX)
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        self.begin_stop()
        self._thread.join(SECONDS_MAX)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error

    def begin_stop(self) -> None:
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._stop.set)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS_MAX)

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS_MAX)
        try:
            connection.request(method, path, body, headers or {})
            return read_reply(connection)
        finally:
            connection.close()

    def post(self, body: Any, key: str | None = WIDGET_KEY, **headers: str) -> Reply:
        """Posts a batch; dicts and lists become JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        all_headers = {"Content-Type": "application/json"} | {
            name.replace("_", "-").title(): value for name, value in headers.items()
        }
        if key is not None:
            all_headers.setdefault("Authorization", f"Bearer {key}")
        return self.request(
            "POST", "/v1/events", data, {name: value for name, value in all_headers.items() if value != "none"}
        )

    def metric(self, line: str) -> float:
        """One series, as Prometheus would scrape it."""
        for found in self.counters.exposition().decode().splitlines():
            if found.startswith(line + " "):
                return float(found.rpartition(" ")[2])
        raise AssertionError(line)


def read_reply(connection: http.client.HTTPConnection) -> Reply:
    answer = connection.getresponse()
    return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def read_all(connection: socket.socket) -> bytes:
    """What the other side sends until it closes."""
    chunks = []
    while chunk := connection.recv(65_536):
        chunks.append(chunk)
    return b"".join(chunks)


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[RunningCollector]:
    collector = RunningCollector(folder, **settings)
    collector.start()
    try:
        yield collector
    finally:
        collector.stop()
