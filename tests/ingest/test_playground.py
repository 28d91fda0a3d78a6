"""The page of `unjoin up`: on this machine only, and labels as counts only."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.ingest.running_collector import RunningCollector, running


class ClickHouse(ThreadingHTTPServer):
    """Answers as port 8123 does, from fixed rows."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict[str, list[str]]] = []
        self.status = 200


class Handler(BaseHTTPRequestHandler):
    server: ClickHouse

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        self.server.asked.append(asked)
        query = asked["query"][0]
        rows: list[dict[str, Any]]
        if "count()" in query:
            rows = [{"n": "3"} if "labels" in query else {"n": 2}]
        elif "unjoin.signals" in query:
            rows = [
                {
                    "category": "signals",
                    "event_id": f"e-{n}",
                    "type": "pointer",
                    "ts": n,
                    "received": str(n),
                    "samples": 3,
                }
                for n in range(20)
            ]
        else:
            rows = [
                {"category": "analytics", "event_id": "a-1", "type": "usage", "ts": 1, "received": "15", "url": "u"}
            ]
        body = "".join(json.dumps(row) + "\n" for row in rows).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def clickhouse() -> Iterator[ClickHouse]:
    server = ClickHouse()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory, clickhouse: ClickHouse) -> Iterator[RunningCollector]:
    url = f"http://127.0.0.1:{clickhouse.server_port}"
    with running(tmp_path_factory.mktemp("playground"), playground=True, clickhouse_http_url=url) as collector:
        yield collector


def test_page_is_served_to_this_machine(collector: RunningCollector) -> None:
    """What `make run` prints the address of."""
    for host in ("127.0.0.1:8080", "localhost", "[::1]:9", "LOCALHOST:80"):
        reply = collector.request("GET", "/", headers={"Host": host})
        assert reply.status == 200
        assert reply.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:80"},
        {"Host": "[::1].evil.example"},
        {"Host": ""},
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
        {"Via": "1.1 proxy"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/playground/session/s-1"])
def test_from_elsewhere_there_is_no_page(collector: RunningCollector, headers: dict[str, str], path: str) -> None:
    """A page whose name resolves to loopback, or a proxy on this machine, must not open it to the world."""
    reply = collector.request("GET", path, headers=headers)
    assert (reply.status, reply.json()["error"]) == (404, "not_found")


def test_session_shows_its_own_rows_and_labels_as_one_total(
    collector: RunningCollector, clickhouse: ClickHouse
) -> None:
    """Never next to who sent them; no address; and values travel beside the query, not in it."""
    clickhouse.asked.clear()
    shown = collector.request("GET", "/playground/session/s-1").json()
    recent = shown.pop("recent")
    assert shown == {"available": True, "signals": 2, "analytics": 2, "labels_total": 3}
    assert len(recent) == 20
    assert [row["event_id"] for row in recent[:7]] == ["e-19", "e-18", "e-17", "e-16", "e-15", "a-1", "e-14"]
    for asked in clickhouse.asked:
        assert asked["param_session"] == ["s-1"]
        assert "s-1" not in asked["query"][0]
        assert " ip" not in asked["query"][0]
    (labels,) = [asked["query"][0] for asked in clickhouse.asked if "unjoin.labels" in asked["query"][0]]
    assert "session" not in labels
    assert "WHERE" not in labels


@pytest.mark.parametrize("session", ["a%27b", "a%20b", "x" * 65, "%00", "a%2Fb"])
def test_what_is_no_session_is_a_404(collector: RunningCollector, session: str) -> None:
    """Nothing that is none reaches the engine at all."""
    assert collector.request("GET", f"/playground/session/{session}").status == 404


def test_engine_that_is_away_is_said(collector: RunningCollector, clickhouse: ClickHouse) -> None:
    """The page goes on sending, and shows it."""
    clickhouse.status = 500
    try:
        assert collector.request("GET", "/playground/session/s-1").json() == {"available": False}
    finally:
        clickhouse.status = 200
    assert collector.request("GET", "/playground/session/s-1").json()["available"]
