"""The page of `unjoin up`: on this machine only, labels as totals only, and streams that end."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ingest.kafka.producer import NotDurable
from tests.ingest.running_collector import RunningCollector, running
from unjoin.host.kafka import free_port
from unjoin.playground import routes as playground
from unjoin.playground.feed import CONSENSUS_VOTES_MIN, Feed

EVENTS = "/playground/events?session="
SECONDS_MAX = 20.0


class ClickHouse(ThreadingHTTPServer):
    """Answers as port 8123 does, from fixed rows."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict[str, list[str]]] = []
        self.status = 200
        self.labels = 3


class Handler(BaseHTTPRequestHandler):
    server: ClickHouse

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        self.server.asked.append(asked)
        query = asked["query"][0]
        rows: list[dict[str, Any]]
        if "votes" in query:
            rows = [{"task": "playground-fruit-1", "answer": "apple", "votes": "18", "total": 20}]
        elif "unjoin.labels" in query:
            rows = [{"n": str(self.server.labels)}]
        else:
            own = {"category": "signals", "type": "pointer", "n": "2"}
            rows = [{**own, "event_id": f"e-{n}", "received": str(n)} for n in (11, 12)]
            rows.append({"category": "analytics", "event_id": "a-1", "type": "usage", "received": "15", "n": "1"})
        body = "".join(json.dumps(row) + "\n" for row in rows).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Stream:
    """One page's, read as it comes."""

    def __init__(self, collector: RunningCollector, session: str = "s-1") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=SECONDS_MAX)
        self._connection.request("GET", EVENTS + session)
        self.answer = self._connection.getresponse()

    def told(self, where: Callable[[Any], bool] = bool, name: str = "message") -> Any:
        """The next data for which `where` holds."""
        deadline = time.monotonic() + SECONDS_MAX
        kind = "message"
        while time.monotonic() < deadline:
            line = self.answer.readline().decode()
            assert line, "the stream ended"
            if line.startswith("event: "):
                kind = line[7:].strip()
            elif line.startswith("data: "):
                data = json.loads(line[6:])
                if kind == name and where(data):
                    return data
                kind = "message"
        raise AssertionError("not told in time")

    def rest(self) -> bytes:
        return self.answer.read()

    def close(self) -> None:
        self.answer.close()
        self._connection.close()


@pytest.fixture(scope="module")
def clickhouse() -> Iterator[ClickHouse]:
    server = ClickHouse()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def collecting(folder: Path, clickhouse: ClickHouse) -> Iterator[RunningCollector]:
    url = f"http://127.0.0.1:{clickhouse.server_port}"
    metrics_port = free_port()
    metrics_urls = [f"http://127.0.0.1:{metrics_port}/metrics"]
    page_of = lambda view: playground.Playground(Feed(url, metrics_urls, "", view))  # noqa: E731
    with running(folder, page_of=page_of, metrics_port=metrics_port) as collector:
        yield collector


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory, clickhouse: ClickHouse) -> Iterator[RunningCollector]:
    with collecting(tmp_path_factory.mktemp("playground"), clickhouse) as collector:
        yield collector


@pytest.fixture
def stream(collector: RunningCollector) -> Iterator[Stream]:
    stream = Stream(collector)
    yield stream
    stream.close()


def test_page_is_served_to_this_machine(collector: RunningCollector) -> None:
    """What `make run` prints the address of."""
    for host in ("127.0.0.1:8080", "localhost", "[::1]:9", "LOCALHOST:80"):
        reply = collector.request("GET", "/", headers={"Host": host})
        assert reply.status == 200
        assert reply.headers["content-type"].startswith("text/html")


def test_page_may_load_nothing_but_the_collectors_own_files(collector: RunningCollector) -> None:
    """No inline script or style, nobody else's, and each file that the page names is there with its type."""
    page = collector.request("GET", "/")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';")
    assert "unsafe" not in policy
    for name in ("page.css", "flow.css"):
        assert collector.request("GET", f"/playground/{name}").headers["content-type"].startswith("text/css")
    for file in playground.FOLDER.glob("*.js"):
        reply = collector.request("GET", f"/playground/{file.name}")
        assert reply.body == file.read_bytes()
        assert reply.headers["content-type"].startswith("text/javascript")
    assert collector.request("GET", "/playground/..%2f__init__.py").status == 404


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
@pytest.mark.parametrize("path", ["/", "/playground/main.js", EVENTS + "s-1"])
def test_from_elsewhere_there_is_no_page(collector: RunningCollector, headers: dict[str, str], path: str) -> None:
    """A page whose name resolves to loopback, or a proxy on this machine, must not open it to the world."""
    reply = collector.request("GET", path, headers=headers)
    assert (reply.status, reply.json()["error"]) == (404, "not_found")


def test_page_of_another_site_cannot_use_up_the_streams(collector: RunningCollector) -> None:
    """It could not read them, but nobody else could look any more."""
    for site in ("cross-site", "same-site"):
        assert collector.request("GET", EVENTS + "s-1", headers={"Sec-Fetch-Site": site}).status == 404


def test_session_is_told_its_own_rows_and_labels_as_totals(stream: Stream, clickhouse: ClickHouse) -> None:
    """Never next to who sent them; no address; and values travel beside the query, not in it."""
    clickhouse.asked.clear()
    told = stream.told()
    assert stream.answer.headers["content-type"].startswith("text/event-stream")
    assert told["own"] == {
        "signals": 2,
        "analytics": 1,
        "latest": [
            {"event_id": "a-1", "type": "usage"},
            {"event_id": "e-12", "type": "pointer"},
            {"event_id": "e-11", "type": "pointer"},
        ],
    }
    votes = [{"task": "playground-fruit-1", "answer": "apple", "votes": 18, "total": 20}]
    assert told["whole"]["labels"] == {"rows": clickhouse.labels, "votes": votes}
    asked_of_labels = [asked for asked in clickhouse.asked if "unjoin.labels" in asked["query"][0]]
    assert asked_of_labels  # how many, depends on when it was cleared
    for asked in clickhouse.asked:
        assert "s-1" not in asked["query"][0]
        assert " ip" not in asked["query"][0]
        if asked in asked_of_labels:
            assert "session" not in str(asked)
            assert asked.get("param_least", ["5"]) == [str(CONSENSUS_VOTES_MIN)]
        else:
            assert asked["param_session"] == ["s-1"]


def test_what_the_collector_says_to_events_is_told_as_totals(collector: RunningCollector, stream: Stream) -> None:
    """A counter for each outcome, of everybody together, as metrics have them."""
    before = stream.told()["whole"]["edge"]
    usage = {"type": "usage", "ts": 1, "url": "https://shop.example/", "referrer": "", "properties": {}}
    events = [{"id": f"u-{n}", **usage} for n in range(3)]
    assert collector.post({"session": "s-2", "events": [*events, {"id": "b", "type": "nothing"}]}).status == 200
    accepted = before["accepted"].get("analytics", 0) + 3
    after = stream.told(lambda told: told["whole"]["edge"]["accepted"].get("analytics") == accepted)["whole"]["edge"]
    assert after["rejected"]["unknown_type"] == before["rejected"].get("unknown_type", 0) + 1
    assert after["spooled"] == 0


def test_only_news_are_told_and_silence_is_broken(
    stream: Stream, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that hears nothing at all for long takes the collector for dead; the same again would be noise."""
    monkeypatch.setattr(playground, "HEARTBEAT_SECONDS", 0.2)
    first = stream.told()
    assert stream.told(lambda _: True, "still") == {}
    clickhouse.labels += 20
    assert stream.told()["whole"]["labels"]["rows"] == first["whole"]["labels"]["rows"] + 20


@pytest.mark.parametrize("session", ["", "a%27b", "a%20b", "x" * 65, "%00", "a%2Fb"])
def test_what_is_no_session_is_a_404(collector: RunningCollector, session: str) -> None:
    """Nothing that is none reaches the engine at all."""
    assert collector.request("GET", EVENTS + session).status == 404


@pytest.mark.slow
def test_parts_that_are_away_are_said_and_come_back(
    collector: RunningCollector, stream: Stream, clickhouse: ClickHouse
) -> None:
    """The page goes on sending, and says what is away."""
    assert stream.told()["whole"]["kafka"]
    clickhouse.status = 500
    try:
        told = stream.told(lambda told: told["own"] is None)
        assert told["whole"]["labels"] is None
    finally:
        clickhouse.status = 200
    assert stream.told(lambda told: told["own"] is not None)["own"]["signals"] == 2
    collector.producer.refusal = NotDurable("timed_out")
    try:
        assert stream.told(lambda told: not told["whole"]["kafka"])
    finally:
        collector.producer.refusal = None
    assert stream.told(lambda told: told["whole"]["kafka"])


def test_streams_are_bounded_and_make_room_when_pages_go(
    tmp_path: Path, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each costs queries twice a second; a page that is closed costs none."""
    monkeypatch.setattr(playground, "STREAMS_MAX", 2)
    with collecting(tmp_path, clickhouse) as collector:
        first, second = Stream(collector), Stream(collector)
        assert first.told() == second.told()
        refused = collector.request("GET", EVENTS + "s-3")
        assert (refused.status, refused.json()["error"]) == (503, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        first.close()
        deadline = time.monotonic() + SECONDS_MAX
        third = Stream(collector)
        while third.answer.status == 503 and time.monotonic() < deadline:
            third.close()
            third = Stream(collector)
        assert third.told()["own"]["signals"] == 2
        second.close()
        third.close()


def test_stop_ends_open_streams_at_once(tmp_path: Path, clickhouse: ClickHouse) -> None:
    """A page that is left open must not hold a collector up: whole answers, closed connections, no abort."""
    with collecting(tmp_path, clickhouse) as collector:
        streams = [Stream(collector, f"s-{n}") for n in range(4)]
        for stream in streams:
            stream.told()
        began = time.monotonic()
        collector.stop()
        assert time.monotonic() - began < 3.0  # connections would be aborted after 8 s
        for stream in streams:
            stream.rest()  # an aborted one raises IncompleteRead
            stream.close()
