"""An answer in one write, past ASGI: the same bytes, the same connection afterwards."""

import gc
import json
import re
import socket
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from ingest.http.fast_path import response_bytes
from ingest.http.responses import HttpResponse
from tests.ingest.running_collector import RunningCollector, read_all, running

BODY = json.dumps(
    {
        "session": "s",
        "events": [{"id": "e", "type": "text_answer", "ts": 1_790_000_000_123, "task": "t", "answer": "a"}],
    }
).encode()
HEAD = b"POST /v1/events?key=dev-browser-key HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
POST = HEAD % len(BODY) + BODY


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    with running(tmp_path_factory.mktemp("fast_path")) as collector:
        yield collector


def answers_of(connection: socket.socket, count: int) -> list[tuple[bytes, bytes]]:
    """So many heads and bodies off a connection that stays open."""
    data, found = b"", []
    while len(found) < count:
        head, separator, rest = data.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if separator and length and len(rest) >= int(length[1]):
            found.append((head, rest[: int(length[1])]))
            data = rest[int(length[1]) :]
        else:
            chunk = connection.recv(65_536)
            assert chunk, "the connection was closed"
            data += chunk
    assert not data
    return found


def test_answer_has_status_headers_length_and_body() -> None:
    """RFC 9112: who reads it knows nothing of how it was sent."""
    response = HttpResponse(200, [(b"content-type", b"application/json")], b"{}")
    assert response_bytes(response, [(b"date", b"now")], [(b"vary", b"Origin")], closes=False) == (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ndate: now\r\nvary: Origin\r\ncontent-length: 2\r\n\r\n{}"
    )
    assert (
        response_bytes(HttpResponse(204, [], b""), closes=True)
        == b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"
    )
    assert all(response_bytes(HttpResponse(status, [], b""), closes=False) for status in HTTPStatus)


def test_connection_serves_one_request_after_the_other(collector: RunningCollector) -> None:
    """Whatever uvicorn keeps of a request must be as after an answer of its own."""
    with collector.connect() as connection:
        for request, status in [(POST, b"200"), (POST.replace(b"session", b"SESSION"), b"400"), (POST, b"200")] * 3:
            connection.sendall(request)
            ((head, _),) = answers_of(connection, 1)
            assert head.startswith(b"HTTP/1.1 " + status)
            assert re.search(rb"\r\ndate: \w+, ", head)


def test_pipelined_batches_are_answered_in_order_beside_other_paths(collector: RunningCollector) -> None:
    """A request that waits for its turn is answered by whichever way it takes."""
    get = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    with collector.connect() as connection:
        connection.sendall(POST + get + POST + POST.replace(b"session", b"SESSION") + get + POST)
        answers = answers_of(connection, 6)
    assert [head.split(b" ", 2)[1] for head, _ in answers] == [b"200", b"200", b"200", b"400", b"200", b"200"]
    assert [json.loads(body).get("accepted") for _, body in answers] == [1, None, 1, None, None, 1]


def test_body_in_pieces_is_answered_like_one_in_one_piece(collector: RunningCollector) -> None:
    """Most bodies arrive whole, and are not waited for; one that does not goes the other way."""
    with collector.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(POST)
        ((whole, body),) = answers_of(connection, 1)
        for cut in (len(POST) - 1, len(POST) - len(BODY), len(POST) - len(BODY) - 1, 10):
            waiting = collector.producer.waiting
            connection.sendall(POST[:cut])
            collector.request("GET", "/healthz")  # another request is answered meanwhile: the first part was read
            assert collector.producer.waiting == waiting
            connection.sendall(POST[cut:])
            ((head, same),) = answers_of(connection, 1)
            assert (re.sub(rb"date: .*", b"", head), same) == (re.sub(rb"date: .*", b"", whole), body)


@pytest.mark.parametrize(
    "request_", [POST.replace(b"HTTP/1.1", b"HTTP/1.0"), POST.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)]
)
def test_connection_is_closed_where_the_client_wants_that(collector: RunningCollector, request_: bytes) -> None:
    """RFC 9112, 9.3: and the answer says so."""
    with collector.connect() as connection:
        connection.sendall(request_)
        answer = read_all(connection)
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.endswith(b'{"accepted":1,"rejected":[]}')


def test_chunked_body_that_arrived_whole_is_read(collector: RunningCollector) -> None:
    """It has no length to go by."""
    chunked = b"POST /v1/events?key=dev-browser-key HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with collector.connect() as connection:
        connection.sendall(chunked + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY) + POST)
        assert [body for _, body in answers_of(connection, 2)] == [b'{"accepted":1,"rejected":[]}'] * 2


def test_requests_leave_nothing_for_the_garbage_collector(collector: RunningCollector) -> None:
    """A collector process runs it seldom; objects that held each other in a ring would stay until then."""
    with collector.connect() as connection:
        connection.sendall(POST)
        answers_of(connection, 1)
        gc.collect()
        gc.disable()
        try:
            for _ in range(100):
                connection.sendall(POST)
                answers_of(connection, 1)
            assert gc.collect() < 100
        finally:
            gc.enable()
