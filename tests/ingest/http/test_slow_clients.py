"""A thousand clients that send or read slowly, or nothing at all, and the honest one among them."""

import http.client
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from testkit.slow_clients import SlowClients
from tests.ingest.configs import request_limits
from tests.ingest.running_collector import SECONDS_MAX, read_all, read_reply, running

LIMITS = request_limits(body_seconds_max=0.6, header_seconds_max=0.6)
EVENT = {"id": "e", "type": "pointer", "ts": 1, "t": [0], "x": [1], "y": [2]}
BODY = json.dumps({"session": "s", "events": [EVENT]}).encode()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 2 * SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_thousand_slow_clients_are_closed_in_their_time_and_the_honest_one_is_served_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slowloris in four kinds; each connection is taken, each has a bound of its own, and none costs a request."""
    monkeypatch.setattr("ingest.http.protocol.UNREAD_SECONDS_MAX", 0.6)
    with running(tmp_path, limits=LIMITS) as collector:
        honest = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=SECONDS_MAX)
        with SlowClients(collector.port, 1_000) as slow:
            statuses = []
            deadline = time.monotonic() + 2 * SECONDS_MAX
            # Idle ones may stay: they are what browsers keep, and are closed after the keep-alive time.
            while any(slow.closed[kind] < 250 for kind in ("head", "body", "deaf")):
                honest.request("POST", "/v1/events?key=dev-browser-key", BODY)
                statuses.append(read_reply(honest).status)
                assert time.monotonic() < deadline, slow.closed
            assert set(statuses) == {200}
            assert slow.closed["idle"] == 0
        honest.close()
        assert len(collector.producer.records) == len(statuses)


def test_beyond_the_bound_the_longest_idle_connection_makes_room(tmp_path: Path) -> None:
    """Whoever holds connections must not lock others out, and who is being served is not cut off."""
    with running(tmp_path, connections_max=8) as collector:
        held = collector.connect()
        collector.producer.gate.clear()
        held.sendall(b"POST /v1/events?key=dev-browser-key HTTP/1.1\r\nHost: a\r\nConnection: close\r\n")
        held.sendall(b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
        until(lambda: collector.producer.waiting == 1)
        idle = [collector.connect() for _ in range(20)]
        for connection in idle[:10]:
            try:
                assert read_all(connection) == b""
            except ConnectionResetError:
                continue
        collector.loop.call_soon_threadsafe(collector.producer.gate.set)
        assert read_all(held).startswith(b"HTTP/1.1 200 ")
        assert collector.post(BODY).status == 200
        for connection in (held, *idle):
            connection.close()


def test_requests_sent_far_ahead_are_answered_up_to_the_bound_then_the_connection_ends(tmp_path: Path) -> None:
    """Thousands fit into what is read at once, and each would be kept until its turn."""
    with running(tmp_path) as collector, collector.connect() as connection:
        collector.producer.gate.clear()
        head = b"POST /v1/events?key=dev-browser-key HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(BODY)
        connection.sendall(head + BODY + b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 1_000)
        until(lambda: collector.producer.waiting == 1)
        collector.loop.call_soon_threadsafe(collector.producer.gate.set)
        assert read_all(connection).count(b"HTTP/1.1 200 ") == 33
        assert collector.post(BODY).status == 200
