"""Connections that send no request, or never end one."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.ingest.configs import request_limits
from tests.ingest.running_collector import RunningCollector, read_all, running

LIMITS = request_limits(body_seconds_max=0.4, header_seconds_max=0.4)


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    with running(tmp_path_factory.mktemp("connections"), limits=LIMITS) as collector:
        yield collector


def test_silent_connection_is_closed(collector: RunningCollector) -> None:
    """uvicorn has a timer between requests and none before the first."""
    with collector.connect() as connection:
        assert read_all(connection) == b""


@pytest.mark.parametrize(
    "head", [b"P", b"POST /v1/events HTTP/1.1\r\nHost: a\r\n", b"POST /v1/events HTTP/1.1\r\nX: canary", b"\r\n"]
)
def test_header_that_never_ends_is_closed(collector: RunningCollector, head: bytes) -> None:
    """Slowloris: thousands of half requests must not stay."""
    with collector.connect() as connection:
        connection.sendall(head)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"canary" not in answer


def test_header_that_never_ends_is_closed_on_a_used_connection_too(collector: RunningCollector) -> None:
    """The timer starts anew with each request."""
    with collector.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /hea")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in answer


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /" + b"a" * 20_000,
        b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000,
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 4_000 + b"\r\n",
    ],
)
def test_headers_beyond_16_kib_are_a_431(collector: RunningCollector, head: bytes) -> None:
    """Also when they do not end: the parser would gather them for ever."""
    with collector.connect() as connection:
        connection.sendall(head)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == "headers_too_large"


def test_what_is_not_http_is_a_400_in_json(collector: RunningCollector) -> None:
    """The contract's shape, from the first byte on."""
    with collector.connect() as connection:
        connection.sendall(b"\x16\x03\x01canary\r\n\r\n")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == "malformed_http"


def test_trailers_without_end_do_not_pass(collector: RunningCollector) -> None:
    """Trailers are headers too, and belong to a body that has its deadline."""
    with collector.connect() as connection:
        connection.sendall(
            b"POST /v1/events?key=dev-browser-key HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"1\r\n{\r\n0\r\n"
        )
        try:
            for _ in range(4_000):
                connection.sendall(b"content-encoding: gzip\r\n")
            answer = read_all(connection)
        except OSError:
            return
    assert not answer.startswith(b"HTTP/1.1 200 ")


def test_pipelined_requests_are_answered_in_order(collector: RunningCollector) -> None:
    """The bounds must not disturb who keeps them."""
    with collector.connect() as connection:
        connection.sendall(
            b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 3
            + b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )
        answer = read_all(connection)
    assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"200"] * 3 + [b"404"]
