"""A request whose head was read before is answered as one that is parsed: the same answers, rows, order and end."""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.access.grants import Admission, Grant
from ingest.collector import Collector
from ingest.errors import Rejection
from ingest.http.known_heads import HEADS_MAX, SMALL_BYTES_MAX, KnownHeads, framed
from ingest.kafka.producer import NotDurable
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

    def noted(self: Collector, head: Any, body: bytes, peer: str, answer: Any) -> None:
        bodies.append(body)
        take(self, head, body, peer, answer)

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
    """What differs is the cost alone; a header that is new each time makes a head that nobody knows."""
    seen = []
    for is_known in (True, False):
        before = len(collector.producer.records)
        with collector.connect() as connection:
            known(connection, field)
            answers = []
            for number, body in enumerate(bodies):
                connection.sendall(request(body, field, *([] if is_known else [b"X-Number: %d" % number])))
                ((head, text),) = answers_of(connection, 1)
                answers.append((re.sub(rb"date: .*", b"", head), text))
        values = [record.value[5 : 6 + record.value[5] // 2] for record in collector.producer.records[before:]]
        seen.append((answers, values))
    assert seen[0] == seen[1]


def test_only_what_is_the_same_each_time_is_known(collector: RunningCollector, taken: list[bytes]) -> None:
    """A coding, a trailer, a wish to end or to be told to go on is read from each head anew."""
    for fields, count in [((b"X: 1",), 3), ((b"Content-Encoding: gzip",), 0), ((b"Expect: 100-continue",), 0)]:
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


LINES = st.lists(
    st.sampled_from([b"Content-Length: ", b"content-length: ", b"X: ", b"\n", b"\r", b"Content-Length:"]).flatmap(
        lambda name: st.binary(max_size=3).map(lambda value: name + value)
    ),
    max_size=4,
)


@given(LINES, LINES, st.integers(0, 12), st.integers(0, 12))
def test_heads_of_one_template_differ_in_their_length_alone(
    before: list[bytes], after: list[bytes], first: int, second: int
) -> None:
    """Else what was read of one would be taken for the other's: another framing, another request."""

    def message(length: int) -> bytes:
        return (
            b"\r\n".join([b"POST / HTTP/1.1", *before, b"Content-Length: %d" % length, *after, b"", b"."]) + b"." * 20
        )

    for one, other in (
        (message(first), message(second)),
        (message(first)[: first + 99], message(second)[: second + 99]),
    ):
        for data in (one, other):
            cut = framed(data)
            if cut is not None:
                end = cut.body_at - 4
                lengths = re.findall(rb"\r\n[Cc]ontent-[Ll]ength: (\d+)", data[:end])
                assert data.find(b"\r\n\r\n") == end
                assert len(data) - cut.body_at in map(int, lengths)
                assert len(cut.template) in {end - len(digits) for digits in lengths}


@given(st.integers(0, 2_000), st.binary(max_size=5))
def test_one_whole_message_is_split_and_none_else(length: int, more: bytes) -> None:
    """A body that is not whole, or something behind it, is for the parser."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nX: y" % length
    message = head + b"\r\n\r\n" + b"." * length
    found = framed(message)
    assert found is not None
    assert found.template == head.replace(b" %d\r" % length, b" \r")
    assert message[found.body_at :] == b"." * length
    known = KnownHeads()
    known.remember(found, "a")
    for _ in "once", "and again":  # then it may be known by its length
        assert known.find(message) == ("a", found.body_at)
        assert known.find(message.replace(b"X: y", b"X: z")) is None
        assert known.find(message.replace(b"Host: a", b"Host: b")) is None
    for other in (
        message[:-1],
        message + b"." + more,
        message.replace(b"h: ", b"h: +"),
        message.replace(b"h: ", b"h: 0x"),
    ):
        assert framed(other) is None
        assert known.find(other) is None


@given(st.data(), LINES, LINES, st.integers(0, 12))
def test_message_of_a_length_that_came_before_is_known_by_the_same_bytes(
    data: st.DataObject, before: list[bytes], after: list[bytes], length: int
) -> None:
    """What knows the whole head and the length must say what splitting it says."""
    lines = [b"POST / HTTP/1.1", *before, b"Content-Length: %d" % length, *after, b"", b"." * length]
    message = framed(b"\r\n".join(lines))
    if message is None:
        return
    known = KnownHeads()
    known.remember(message, "a")
    assert known.find(b"\r\n".join(lines)) == ("a", message.body_at)
    at = data.draw(st.integers(0, len(lines) - 1))
    other = data.draw(
        st.sampled_from(
            [b"Content-Length: 7", b"content-length: 007", b"Content-Length: 00000007", b"X: y", b"", lines[at]]
        )
    )
    lines[at] = other
    for sent in (b"\r\n".join(lines), b"\r\n".join(lines)[:-5] + b"." * 7, b"\r\n".join(lines)[: message.body_at - 3]):
        cut = framed(sent)
        same = cut is not None and cut.template == message.template
        assert known.find(sent) == (("a", cut.body_at) if cut is not None and same else None)


def test_heads_are_forgotten_at_the_bound() -> None:
    """Whoever sends another head each time fills no memory, whatever the length of what they send."""

    def message(number: int, length: int = 2) -> bytes:
        return b"POST /%d HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (number, length) + b"." * length

    heads = KnownHeads()
    for number in range(HEADS_MAX + 1):
        cut = framed(message(number))
        assert cut is not None
        heads.remember(cut, number)
        assert heads.find(message(number)) is not None
    held = heads._lengths
    assert len(held) == HEADS_MAX
    assert heads.find(message(HEADS_MAX, SMALL_BYTES_MAX)) is not None
    assert len(held) == HEADS_MAX
    assert heads.find(message(1, 3)) == (1, framed(message(1, 3)).body_at)  # type: ignore[union-attr]
    assert heads.find(message(0)) is None
