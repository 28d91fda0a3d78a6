"""A request whose head was read before is answered as one that is parsed: the same answers, rows, order and end."""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.access.grants import Admission, Grant
from ingest.collector import Collector
from ingest.errors import Rejection
from ingest.http.headers import Client, client_in, client_of, request_headers
from ingest.http.known_heads import HEAD_BYTES_MAX, HEADS_MAX, PARSED, SAYS, KnownHeads, fast_split, plain_split
from ingest.kafka.producer import NotDurable
from ingest.request import Head
from schemas import codec
from schemas.outcomes import RequestError
from testkit.processes import wait_for
from tests.ingest.http.test_fast_path import answers_of
from tests.ingest.running_collector import ORIGIN, RunningCollector, read_all, running

HEAD = b"POST /v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer dev-browser-key\r\nContent-Length: %d\r\n%b\r\n"


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    with running(tmp_path_factory.mktemp("known_heads")) as collector:
        yield collector


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Bodies of the requests that were not parsed."""
    bodies: list[bytes] = []
    take = Collector.take

    def noted(self: Collector, head: Any, client: Client, body: bytes, answer: Any) -> None:
        bodies.append(body)
        take(self, head, client, body, answer)

    monkeypatch.setattr(Collector, "take", noted)
    return bodies


def body_of(name: str, **more: Any) -> bytes:
    event = {"id": name, "type": "pointer", "ts": 1_790_000_000_123, "t": [0], "x": [1], "y": [2], **more}
    return json.dumps({"session": "s", "events": [event]}).encode()


def request(body: bytes, *fields: bytes) -> bytes:
    return HEAD % (len(body), b"".join(field + b"\r\n" for field in fields)) + body


def known(connection: socket.socket, *fields: bytes) -> None:
    """Two requests: the head of a connection's second one is remembered."""
    for _ in range(2):
        connection.sendall(request(body_of("known"), *fields))
        answers_of(connection, 1)


def until_done(collector: RunningCollector, act: Callable[[], object]) -> None:
    """Returns once the collector's loop has done it."""
    done = threading.Event()
    collector.loop.call_soon_threadsafe(lambda: (act(), done.set()))
    assert done.wait(20)


def accepts(collector: RunningCollector) -> bool:
    """Whether it takes new connections."""
    try:
        collector.connect().close()
    except ConnectionError:
        return False
    return True


BODIES = st.sampled_from(
    [
        *(body_of("good"), body_of("bad", t=[0, 1]), body_of("unknown", surprise=1), body_of("long" * 30)),
        *(b"{", b"", b"[]", b"\xef\xbb\xbf" + body_of("marked"), b'{"session": "s", "events": []}'),
        *(body_of("old", ts=1), body_of("verdict", type="verdict")),
    ]
)


@given(st.lists(BODIES, min_size=1, max_size=6), st.sampled_from([b"Origin: " + ORIGIN.encode(), b"A: b"]))
@settings(max_examples=60, deadline=None)
def test_answers_and_rows_are_those_of_requests_that_are_parsed(
    collector: RunningCollector, bodies: list[bytes], field: bytes
) -> None:
    """What differs is the cost alone. A field that is read, and is new each time, makes a head that nobody knows."""
    seen = []
    for is_known in (True, False):
        before = len(collector.producer.records)
        with collector.connect() as connection:
            known(connection, field)
            answers = []
            for number, body in enumerate(bodies):
                connection.sendall(
                    request(body, field, b"%b: %d" % (b"X-Number" if is_known else b"Sec-GPC", number + 2))
                )
                ((head, text),) = answers_of(connection, 1)
                answers.append((re.sub(rb"date: .*", b"", head), text))
        values = [record.value[5 : 6 + record.value[5] // 2] for record in collector.producer.records[before:]]
        seen.append((answers, values))
    assert seen[0] == seen[1]


def test_what_makes_another_message_is_parsed_each_time(collector: RunningCollector, taken: list[bytes]) -> None:
    """A coding, or a wish to be told to go on."""
    for fields, count in [((b"Sec-GPC: 9",), 3), ((b"Content-Encoding: gzip",), 0), ((b"Expect: 100-continue",), 0)]:
        taken.clear()
        with collector.connect() as connection:
            for number in range(5):
                if b"Expect" in fields[0]:
                    connection.sendall(request(body_of("e"), *fields))
                    data = connection.recv(65_536)
                    assert data.startswith(b"HTTP/1.1 ")
                    if number:
                        break
                else:
                    connection.sendall(request(body_of("e"), *fields))
                    answers_of(connection, 1)
        assert len(taken) == count


def test_what_comes_meanwhile_is_answered_in_order_and_so_is_an_end(
    collector: RunningCollector, taken: list[bytes]
) -> None:
    """RFC 9112, 9.3.2: and a client that has sent all may end its side at once."""
    with collector.connect() as connection:
        known(connection)
        until_done(collector, collector.producer.gate.clear)
        connection.sendall(request(body_of("first")))
        wait_for(lambda: collector.producer.waiting > 0, "no request waits", 20)
        connection.sendall(request(b"{") + request(body_of("third")) + b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        collector.request("GET", "/healthz")  # another connection is served meanwhile
        until_done(collector, collector.producer.gate.set)
        answers = read_all(connection)
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"400", b"200", b"200"]
    assert taken[-1] == body_of("first")


def test_client_that_goes_meanwhile_costs_nobody_anything(
    collector: RunningCollector, caplog: pytest.LogCaptureFixture
) -> None:
    """Its events are durable all the same."""
    before = len(collector.producer.records)
    with collector.connect() as connection:
        known(connection)
        until_done(collector, collector.producer.gate.clear)
        connection.sendall(request(body_of("gone")))
        wait_for(lambda: collector.producer.waiting > 0, "no request waits", 20)
    until_done(collector, collector.producer.gate.set)
    wait_for(lambda: len(collector.producer.records) == before + 3, "its records are missing", 20)
    assert not caplog.records


def test_key_that_is_revoked_meanwhile_is_refused(
    collector: RunningCollector, taken: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read of a head is what it says, not what it is allowed."""

    def unknown(self: Admission, key: str | None) -> Grant:
        raise Rejection(401, RequestError.UNKNOWN_KEY)

    with collector.connect() as connection:
        known(connection)
        monkeypatch.setattr(Admission, "grant_of", unknown)
        connection.sendall(request(body_of("late")))
        ((head, _),) = answers_of(connection, 1)
    assert head.startswith(b"HTTP/1.1 401")
    assert taken[-1] == body_of("late")


def test_what_is_not_durable_is_said(collector: RunningCollector, taken: list[bytes]) -> None:
    """503 with Retry-After, as without a known head."""
    with collector.connect() as connection:
        known(connection)
        collector.producer.refusal = NotDurable("full")
        try:
            connection.sendall(request(body_of("refused")))
            ((head, body),) = answers_of(connection, 1)
        finally:
            collector.producer.refusal = None
    assert head.startswith(b"HTTP/1.1 503")
    assert b"\r\nretry-after: 2\r\n" in head
    assert json.loads(body)["error"] == "not_durable"
    assert taken[-1] == body_of("refused")


def test_stop_answers_what_is_under_way(tmp_path_factory: pytest.TempPathFactory) -> None:
    """And says that the connection ends."""
    with running(tmp_path_factory.mktemp("stopping")) as collector, collector.connect() as connection:
        known(connection)
        until_done(collector, collector.producer.gate.clear)
        connection.sendall(request(body_of("last")))
        wait_for(lambda: collector.producer.waiting > 0, "no request waits", 20)
        collector.begin_stop()
        wait_for(lambda: not accepts(collector), "it goes on listening", 20)
        until_done(collector, collector.producer.gate.set)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"\r\nconnection: close\r\n" in answer


def test_client_is_read_of_each_request(tmp_path: Path, taken: list[bytes]) -> None:
    """A proxy's connection carries many clients, each with a trace of its own: their head is known all the same."""
    page = json.dumps(
        {"session": "s", "events": [{"id": "p", "type": "page_view", "ts": 1, "url": "https://shop.example/"}]}
    ).encode()
    with running(tmp_path, trusted_proxies="127.0.0.0/8") as collector:
        key = collector.sites.add("customer", ["https://customer.example"], ["analytics"])
        wait_for(lambda: collector.post(b"", key).status == 400, "its key is not known", 20)
        with collector.connect() as connection:
            for number in range(5):
                fields = [b"X-Forwarded-For: 203.0.113.%d" % number, b"User-Agent: n\xc3\xb6 %d" % number]
                sent = request(page, b"Traceparent: 00-%032x-01" % number, *fields)
                connection.sendall(sent.replace(b"dev-browser-key", key.encode()))
                answers_of(connection, 1)
        rows = [codec.decode(record.value, "events.analytics-value") for record in collector.producer.records]
    assert len(taken) == 3
    assert [(row["ip"], row["user_agent"]) for row in rows] == [(f"203.0.113.{n}", f"nö {n}") for n in range(5)]


def test_development_key_from_elsewhere_is_refused_whoever_used_it_before(
    collector: RunningCollector, taken: list[bytes]
) -> None:
    """From where a request comes is asked of each."""
    with collector.connect() as connection:
        known(connection)
        connection.sendall(request(body_of("far"), b"X-Forwarded-For: 203.0.113.9"))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 401")
    assert taken[-1] == body_of("far")


TOKENS = st.sampled_from(
    [
        *sorted(SAYS | PARSED), b"Host", b"AUTHORIZATION", b"Content-Length", b"X-Forwarded-For", b"user-agent",
        b"Accept", b"Connection", b"cookie", b"te", b"keep-alive", b"x!", b"", b"a b", b"h\xc3",
    ]
)  # fmt: skip
COLONS = st.sampled_from([b": ", b": ", b": ", b":", b" : ", b":\t", b""])
VALUES = st.one_of(
    st.sampled_from([b"a", b"7", b"keep-alive", b"Keep-Alive", b"close", b"", b"gzip", b"chunked", b"b c", b"\xff"]),
    st.binary(max_size=3),
)
ENDS = st.sampled_from([b"", b"", b"", b" ", b"\t"])
FIELDS = st.tuples(TOKENS, COLONS, VALUES, ENDS).map(b"".join)
LENGTHS = st.sampled_from([b"Content-Length: %d", b"Content-Length: %d", b"content-length: 0%d", b"Content-Length:%d"])
LINES = st.sampled_from(
    [
        b"POST / HTTP/1.1", b"POST /v1/events?key=k HTTP/1.1", b"POST /a b HTTP/1.1", b"GET / HTTP/1.1",
        b"POST / HTTP/1.0", b"post / HTTP/1.1", b"POST /\x7f HTTP/1.1", b"POST  HTTP/1.1", b"POST a HTTP/1.1",
    ]
)  # fmt: skip


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Nearly one message."""
    body = draw(st.sampled_from([b"", b"{}", b"\r\n\r\n", b"0123456"]))
    fields = draw(st.lists(FIELDS, max_size=4))
    length = draw(LENGTHS) % (len(body) + draw(st.sampled_from([0, 0, 0, 0, 1, -1])))
    fields.insert(draw(st.integers(0, len(fields))), length)
    data = b"\r\n".join([draw(LINES), b"Host: a", *fields, b"", body])
    at = draw(st.integers(0, len(data)))
    return data[:at] + draw(st.sampled_from([b"", b"", b"", b"", b"\r", b"\n", b" ", b"\0"])) + data[at:]


class Parsed:
    """What httptools says of some bytes."""

    def __init__(self, data: bytes) -> None:
        self.url, self.body, self.ended = b"", b"", 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.ended += 1


@given(messages(), st.sampled_from([16_384, 60, 61]))
@settings(max_examples=1_000)
def test_what_is_split_is_one_message_to_the_parser_as_well(data: bytes, head_bytes_max: int) -> None:
    """Else a proxy in front, or the checks of a head, would have seen another request than the one that is taken."""
    found = fast_split(data, head_bytes_max)
    assert found == plain_split(data, head_bytes_max)
    if found is None:
        return
    head, body_at, forwarded_for, user_agent = found
    assert body_at <= head_bytes_max
    parsed = Parsed(data)
    assert (parsed.parser.get_method(), parsed.parser.get_http_version()) == (b"POST", "1.1")
    assert parsed.parser.should_keep_alive()
    assert not parsed.parser.should_upgrade()
    assert (parsed.ended, parsed.body) == (1, data[body_at:])
    headers = request_headers(parsed.headers)
    assert client_of("", forwarded_for, user_agent) == client_in(headers, "")
    assert not {name for name, _ in parsed.headers} & PARSED
    # What it says of the head alone is what the parser says of the whole.
    alone = Parsed(head + b"\r\n\r\n")
    assert alone.url == parsed.url
    assert alone.headers == [field for field in parsed.headers if field[0] in SAYS]
    scope = {"path": "/v1/events", "method": "POST", "query_string": parsed.url.partition(b"?")[2]}
    said = [Head(scope, request_headers(one.headers)) for one in (parsed, alone)]
    assert len({tuple(getattr(one, name) for name in Head.__slots__) for one in said}) == 1


def test_ordinary_message_is_split() -> None:
    """As browsers send them, and proxies pass them on."""
    lines = [
        b"POST /v1/events?key=k HTTP/1.1", b"Host: a.example", b"Content-Length: 2", b"sec-ch-ua: \"A\";v=\"1\"",
        b"User-Agent: M/5.0 (X)", b"Content-Type: text/plain;charset=UTF-8", b"Origin: https://a", b"Accept: */*",
        b"authorization: Bearer k", b"Connection: Keep-Alive",
        b"Cookie: a=b; c=\xc3\xb6", b"X-Forwarded-For: 203.0.113.9, 10.0.0.1", b"Empty:",
    ]  # fmt: skip
    data = b"\r\n".join([*lines, b"", b"{}"])
    said = b"\r\n".join(lines[at] for at in (0, 1, 5, 6, 8))
    for one in (fast_split, plain_split):
        assert one(data, len(data) - 2) == (said, len(data) - 2, b"203.0.113.9, 10.0.0.1", b"M/5.0 (X)")
        assert one(data, len(data) - 3) is None


@pytest.mark.parametrize("split", [fast_split, plain_split])
@pytest.mark.parametrize(
    "field",
    [
        *(b"%b: chunked" % name.title() for name in sorted(PARSED)), b"Connection: close", b"Connection: keep-alive, x",
        b"Content-Length: 2", b"User-Agent: a\r\nUser-Agent: b", b"X-Forwarded-For: ::1\r\nX-Forwarded-For: ::2",
        b"X : y", b" folded", b"X: \0", b"X: a\nY: b",
    ],
)  # fmt: skip
def test_what_another_reader_may_take_otherwise_is_for_the_parser(split: Any, field: bytes) -> None:
    """Each of them beside what is split without it; so is a body that is not whole, or has something behind it."""
    data = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n%b\r\n\r\n{}"
    assert split(data % b"X: y", 16_384) is not None
    assert split(data % field, 16_384) is None
    assert split(data % b"X: y" + b".", 16_384) is None
    assert split((data % b"X: y")[:-1], 16_384) is None


def test_heads_are_forgotten_at_the_bound() -> None:
    """Whoever sends another head each time fills no memory."""
    heads = KnownHeads()
    for number in range(HEADS_MAX + 1):
        heads.remember(b"POST /%d" % number, number)
        assert heads[b"POST /%d" % number] == number
    assert len(heads) == HEADS_MAX
    assert b"POST /1" in heads
    assert b"POST /0" not in heads
    heads.remember(b"x" * (HEAD_BYTES_MAX + 1), 0)
    assert b"x" * (HEAD_BYTES_MAX + 1) not in heads
