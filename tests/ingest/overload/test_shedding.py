"""More than can be done, over real sockets: who is refused, what it says, and that it ends by itself."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.overload.fair_queue import ADDRESS_COUNT_MIN
from schemas.topics import SIGNALS
from tests.ingest.configs import queue_bounds, request_limits
from tests.ingest.running_collector import ORIGIN, SECONDS_MAX, WIDGET_KEY, RunningCollector, read_reply, running

BYTES_MAX = 400_000
WAIT_SECONDS = 0.05
CLIENTS = ADDRESS_COUNT_MIN + 16
PADDING = b" " * 8_000


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[RunningCollector]:
    bounds = queue_bounds(wait_seconds_max=WAIT_SECONDS, bytes_max=BYTES_MAX, late_seconds=60.0)
    with running(tmp_path, waiting=bounds, limits=request_limits(body_seconds_max=2.0)) as collector:
        yield collector


def body_of(name: str) -> bytes:
    event = {"id": name, "type": "pointer", "ts": 1, "t": [0], "x": [1], "y": [2]}
    return json.dumps({"session": name, "events": [event]}).encode() + PADDING


class Flood:
    """Clients that send again as soon as they are answered, whatever the answer says."""

    def __init__(self, collector: RunningCollector, key: str) -> None:
        self.accepted: list[str] = []
        self.refused: list[tuple[int, dict[str, str], bytes]] = []
        self._collector, self._key = collector, key
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._client, args=(n,)) for n in range(CLIENTS)]

    def __enter__(self) -> "Flood":
        """Some clients have waited for their turn for too long before the others come."""
        first, others = self._threads[:ADDRESS_COUNT_MIN], self._threads[ADDRESS_COUNT_MIN:]
        for thread in first:
            thread.start()
        try:
            until(lambda: self._collector.metric("unjoin_waiting_requests") >= ADDRESS_COUNT_MIN)
            came = time.monotonic()
            until(lambda: time.monotonic() - came > 1.5 * WAIT_SECONDS)
            for thread in others:
                thread.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._collector.producer.behind = False
        self._done.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(SECONDS_MAX)

    def _client(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._collector.port, timeout=SECONDS_MAX)
        turn = 0
        while not self._done.is_set():
            turn += 1
            name = f"f-{number}-{turn}"
            connection.request("POST", f"/v1/events?key={self._key}", body_of(name), {"Origin": ORIGIN})
            reply = read_reply(connection)
            if reply.status == 200:
                self.accepted.append(name)
            else:
                self.refused.append((reply.status, reply.headers, reply.body))
                self._done.wait(0.005)
        connection.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def ids_in(collector: RunningCollector) -> list[bytes]:
    return [
        record.value[6 : 6 + record.value[5] // 2] for record in collector.producer.records if record.topic == SIGNALS
    ]


def test_flood_is_refused_with_retry_after_nothing_acknowledged_is_lost_and_it_ends_with_the_flood(
    collector: RunningCollector,
) -> None:
    """The whole story: Kafka falls behind under a flood, catches up, and nobody has to do anything."""
    collector.producer.behind = True
    with Flood(collector, WIDGET_KEY) as flood:
        until(lambda: len(flood.refused) > 200)
        assert not flood.accepted
        gate_bytes = collector.metric("unjoin_waiting_bytes")
        assert 0 < gate_bytes <= 2 * BYTES_MAX
        collector.producer.behind = False
        until(lambda: len(flood.accepted) > 50)
    for status, headers, body in flood.refused:
        assert status == 503
        assert json.loads(body)["error"] == "overloaded"
        assert 1 <= int(headers["retry-after"]) <= 4
        assert headers["access-control-allow-origin"] == ORIGIN
        assert "Retry-After" in headers["access-control-expose-headers"]
        assert int(headers["content-length"]) == len(body)
    stored = ids_in(collector)
    assert sorted(stored) == sorted(name.encode() for name in flood.accepted)
    assert collector.post(json.loads(body_of("after")), WIDGET_KEY).status == 200
    assert (collector.metric("unjoin_waiting_requests"), collector.metric("unjoin_waiting_bytes")) == (0, 0)
    refused = collector.metric('unjoin_requests_total{outcome="overloaded"}')
    assert refused == len(flood.refused)
    assert refused == collector.metric("unjoin_overload_shed_early_total") + collector.metric(
        "unjoin_overload_shed_late_total"
    )


def test_key_that_sends_little_is_taken_while_another_is_refused(collector: RunningCollector) -> None:
    """One flooding key must not starve the others; while nothing moves at all, it waits and is not refused."""
    honest = collector.sites.add("honest", [ORIGIN])
    until(lambda: collector.post(b"{}", honest).status == 400)
    collector.producer.behind = True
    with Flood(collector, WIDGET_KEY) as flood:
        until(lambda: len(flood.refused) > 200)
        statuses: list[int] = []
        waiting = threading.Thread(target=lambda: statuses.append(collector.post(body_of("honest"), honest).status))
        waiting.start()
        before = len(flood.refused)
        until(lambda: len(flood.refused) > before + 100)
        assert not statuses
        collector.producer.behind = False
        waiting.join(SECONDS_MAX)
        assert statuses == [200]


def test_refused_client_keeps_its_connection_unless_it_waits_to_be_asked_for_its_body(
    collector: RunningCollector,
) -> None:
    """A new connection costs more than a refusal; but after 100-continue nobody knows whether a body will follow."""
    collector.producer.behind = True
    with Flood(collector, WIDGET_KEY) as flood:
        until(lambda: len(flood.refused) > 100)
        head = b"POST /v1/events?key=dev-browser-key HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n" % len(body_of("x"))
        with collector.connect() as connection:
            for _ in range(3):
                connection.sendall(head + b"\r\n" + body_of("x"))
                answer = connection.recv(65_536)
                assert answer.startswith(b"HTTP/1.1 503 ")
                assert b"connection: close" not in answer
        with collector.connect() as connection:
            connection.sendall(head + b"Expect: 100-continue\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"connection: close" in answer


def test_refused_client_that_never_ends_its_body_is_closed(
    collector: RunningCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its request has no task and so no deadline of one."""
    monkeypatch.setattr("ingest.http.protocol.REFUSED_BODY_SECONDS_MAX", 0.2)
    collector.producer.behind = True
    with Flood(collector, WIDGET_KEY) as flood:
        until(lambda: len(flood.refused) > 100)
        with collector.connect() as connection:
            connection.sendall(
                b"POST /v1/events?key=dev-browser-key HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"
            )
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
            assert answer.startswith(b"HTTP/1.1 503 ")


def test_bodies_on_their_way_are_bounded_and_small_ones_pass_all_the_same(collector: RunningCollector) -> None:
    """Large bodies that never end hold memory for as long as they may; beyond the bound each has its share."""
    head = b"POST /v1/events?key=dev-browser-key HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n"
    slow: list[socket.socket] = []
    try:
        refused = 0
        for _ in range(8):
            connection = collector.connect()
            slow.append(connection)
            connection.sendall(head + b" " * 200_000)
            connection.setblocking(False)
        deadline = time.monotonic() + SECONDS_MAX
        while not refused and time.monotonic() < deadline:
            for connection in slow:
                try:
                    refused += connection.recv(65_536).startswith(b"HTTP/1.1 503 ")
                except BlockingIOError:
                    continue
            time.sleep(0.01)
        assert refused
        assert collector.metric("unjoin_waiting_receiving_bytes") <= 2 * BYTES_MAX
        assert collector.post(body_of("small")).status == 200
    finally:
        for connection in slow:
            connection.close()
    until(lambda: collector.metric("unjoin_waiting_receiving_bytes") == 0)
