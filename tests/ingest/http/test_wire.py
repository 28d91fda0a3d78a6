"""Valid but unusual HTTP is understood; what is no HTTP gets one clear refusal, and nothing is answered twice.

Each table: what is sent, the statuses that come back, in order, and how many events are stored. All of it is sent in
one piece and byte by byte, since the network may split it anywhere.
"""

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ingest.configs import request_limits
from tests.ingest.running_collector import RunningCollector, read_all, running

EVENT = {"id": "e", "type": "pointer", "ts": 1, "t": [0], "x": [1], "y": [2]}
BODY = json.dumps({"session": "s", "events": [EVENT]}).encode()
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
SMUGGLED = b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"  # a 404: shows that the connection is in step
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
KEY = b"Authorization: Bearer dev-browser-key\r\n"


def request(
    method: bytes = b"GET", target: bytes = b"/healthz", fields: bytes = b"", host: bytes = b"Host: a\r\n",
    version: bytes = b"HTTP/1.1", body: bytes = b"",
) -> bytes:  # fmt: skip
    return b"%b %b %b\r\n%b%b\r\n%b" % (method, target, version, host, fields, body)


def post(fields: bytes = b"", target: bytes = b"/v1/events", body: bytes = BODY, key: bytes = KEY) -> bytes:
    return request(b"POST", target, key + fields + b"Content-Length: %d\r\n" % len(body), body=body)


def chunked(
    fields: bytes = b"", coding: bytes = b"chunked", body: bytes = CHUNKED, version: bytes = b"HTTP/1.1"
) -> bytes:
    return request(
        b"POST", b"/v1/events", KEY + fields + b"Transfer-Encoding: %b\r\n" % coding, version=version, body=body
    )


def length(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n" % len(body)


# An answer each, the last one 404; and the events stored.
UNDERSTOOD = {
    "h2c, as curl and Java offer it": (post(UPGRADE), [200], 1),
    "websocket": (post(b"connection: upgrade\r\nupgrade: websocket\r\n"), [200], 1),
    "an unknown protocol, chunked": (chunked(b"Connection: keep-alive, Upgrade\r\nUpgrade: foo/1\r\n"), [200], 1),
    "two offers": (
        post(b"UPGRADE: h2c\r\nUpgrade: websocket\r\nConnection: upgrade\r\nConnection: keep-alive\r\n"), [200], 1
    ),
    "an offer of a GET with a body": (
        request(fields=b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + length(SMUGGLED), body=SMUGGLED), [200], 0
    ),
    "an offer of a GET with a chunked body": (
        request(
            fields=b"Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
            body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
        ), [200], 0
    ),
    "offers one after another": (post(UPGRADE) + request(fields=UPGRADE) + post(UPGRADE), [200, 200, 200], 2),
    "an offer on another path": (request(b"PUT", b"/nothing", UPGRADE + length(SMUGGLED), body=SMUGGLED), [404], 0),
    "a trailer that offers": (
        chunked(b"Connection: upgrade\r\n", body=CHUNKED[:-2] + b"Upgrade: websocket\r\n\r\n"), [200], 1
    ),
    "chunks with an extension": (chunked(body=CHUNKED.replace(b"\r\n", b";a=b\r\n", 1)), [200], 1),
    "coding in capitals": (chunked(coding=b"CHUNKED"), [200], 1),
    "percent-encoded path": (post(target=b"/v1/%65vents"), [200], 1),
    "encoded slash, another path": (request(b"POST", b"/v1%2Fevents", b"Content-Length: 0\r\n"), [404], 0),
    "absolute form": (post(target=b"http://a.example:80/v1/events"), [200], 1),
    "absolute form without a path": (request(target=b"HTTP://a"), [404], 0),
    "absolute form with a query alone": (request(target=b"http://a?x"), [404], 0),
    "options of the server": (request(b"OPTIONS", b"*"), [204], 0),
    "empty host": (request(host=b"Host:\r\n"), [200], 0),
    "host with a port": (request(host=b"Host: [::1]:8080\r\n"), [200], 0),
    "bytes beyond ASCII in a value": (request(fields=b"X: \xff\xc3\xa9\r\n"), [200], 0),
    "empty lines before a request": (b"\r\n\r\n" + request(), [200], 0),
    "200 headers": (request(fields=b"X: a\r\n" * 200), [200], 0),
    "HEAD where the answer is an error": (request(b"HEAD", b"/v1/events"), [405], 0),
    "HEAD": (request(b"HEAD") + request(b"HEAD", b"/openapi.json"), [200, 200], 0),
    "a body that nobody reads": (request(fields=length(SMUGGLED), body=SMUGGLED), [200], 0),
    "expectation without a body": (request(fields=b"Expect: 100-continue\r\n"), [200], 0),
    "unknown expectation": (post(b"Expect: tea\r\n"), [200], 1),
    "trailers that would change the request": (
        chunked(body=CHUNKED[:-2] + b"Content-Encoding: gzip\r\nAuthorization: Bearer x\r\nHost: b\r\n\r\n"), [200], 1
    ),
    "32 requests ahead": (post() * 32, [200] * 32, 32),
}  # fmt: skip

# One answer, and the connection's end.
REFUSED = {
    "tunnel": (request(b"CONNECT", b"a:443"), 405),
    "tunnel with a body": (request(b"CONNECT", b"a:443", length(SMUGGLED), body=SMUGGLED), 405),
    "gzip, chunked": (chunked(coding=b"gzip, chunked"), 501),
    "gzip, chunked in two fields": (chunked(b"Transfer-Encoding: gzip\r\n"), 501),
    "identity": (chunked(coding=b"identity"), 400),
    "no coding": (chunked(coding=b"xchunked"), 400),
    "chunked twice": (chunked(coding=b"chunked, chunked"), 400),
    "chunked, then another": (chunked(coding=b"chunked, gzip"), 400),
    "coding in HTTP/1.0": (chunked(version=b"HTTP/1.0"), 400),
    "coding and length": (chunked(b"Content-Length: 5\r\n"), 400),
    "length and coding": (post(b"Transfer-Encoding: chunked\r\n"), 400),
    "two lengths": (post(length(BODY)), 400),
    "signed length": (request(b"POST", b"/v1/events", b"Content-Length: +5\r\n", body=b"12345"), 400),
    "length beyond 64 bits": (request(b"POST", b"/v1/events", b"Content-Length: %d\r\n" % 10**30), 400),
    "no host": (request(host=b""), 400),
    "two hosts": (request(host=b"Host: a\r\nHost: a\r\n"), 400),
    "host that is none": (request(host=b"Host: a b\r\n"), 400),
    "host with a path": (request(host=b"Host: a/b\r\n"), 400),
    "bare LF": (request().replace(b"\r\n", b"\n"), 400),
    "one bare LF": (request(host=b"Host: a\nX: b\r\n"), 400),
    "bare CR in a value": (request(fields=b"X: a\rY: b\r\n"), 400),
    "space before the colon": (request(fields=b"Content-Length : 5\r\n"), 400),
    "folded line": (request(fields=b"X: a\r\n b\r\n"), 400),
    "folded coding": (chunked(coding=b"\r\n chunked"), 400),
    "NUL in a value": (request(fields=b"X: a\0b\r\n"), 400),
    "NUL in a name": (request(fields=b"X\0: a\r\n"), 400),
    "NUL in the target": (request(target=b"/\0"), 400),
    "bytes beyond ASCII in the target": (request(target=b"/\xc3\xa9"), 400),
    "fragment": (request(target=b"/healthz#x"), 400),
    "asterisk of another method": (request(target=b"*"), 400),
    "another scheme": (request(target=b"ftp://a/healthz"), 400),
    "authority": (request(target=b"a:80"), 400),
    "HTTP/0.9": (b"GET /healthz\r\n\r\n", 400),
    "HTTP/2.0": (request(version=b"HTTP/2.0"), 400),
    "HTTP/1.2": (request(version=b"HTTP/1.2"), 400),
    "preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", 400),
    "TLS": (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n", 400),
    "PROXY protocol": (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + request(), 400),
    "unknown method": (request(b"BREW"), 400),
    "lower-case method": (request(b"get"), 400),
    "chunk with a bare LF": (chunked(body=CHUNKED.replace(b"\r\n", b"\n", 1)), 400),
    "chunk with a sign": (chunked(body=b"-" + CHUNKED), 400),
    "chunk with 0x": (chunked(body=b"0x" + CHUNKED), 400),
    "chunk beyond 64 bits": (chunked(body=b"f" * 17 + b"\r\n"), 400),
    "chunk longer than it says": (chunked(body=b"1\r\n{}\r\n0\r\n\r\n"), 400),
    "offer with two hosts": (post(b"Host: b\r\n" + UPGRADE), 400),
    "offer with coding and length": (chunked(UPGRADE + b"Content-Length: 5\r\n"), 400),
}  # fmt: skip


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    limits = request_limits(body_seconds_max=5.0, header_seconds_max=5.0)
    with running(tmp_path_factory.mktemp("wire"), limits=limits) as collector:
        yield collector


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", answer)]


def said(collector: RunningCollector, sent: bytes, step: int) -> tuple[bytes, int]:
    """What comes back until the end of the connection, and how many events were stored."""
    before = len(collector.producer.records)
    with collector.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(sent), step):
            try:
                connection.send(sent[start : start + step])
            except OSError:  # refused already, and the rest is not wanted
                break
        answer = read_all(connection)
    return answer, len(collector.producer.records) - before


@pytest.mark.parametrize("step", [1, 1_000_000])
@pytest.mark.parametrize("name", UNDERSTOOD)
def test_valid_request_is_read_by_its_framing_and_leaves_the_connection_in_step(
    collector: RunningCollector, name: str, step: int
) -> None:
    """A body that is read as the next request is how requests are smuggled past a proxy."""
    sent, expected, stored = UNDERSTOOD[name]
    answer, events = said(collector, sent + LAST, step)
    assert (statuses(answer), events) == ([*expected, 404], stored), answer


@pytest.mark.parametrize("step", [1, 1_000_000])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_request_is_refused_once_and_ends_the_connection(
    collector: RunningCollector, name: str, step: int
) -> None:
    """What one program reads as an error and another as a request is smuggling, too."""
    sent, status = REFUSED[name]
    answer, events = said(collector, sent + SMUGGLED, step)
    assert (statuses(answer), events) == ([status], 0), answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["detail"]


def test_requests_before_a_malformed_one_are_answered_before_it_is_refused(collector: RunningCollector) -> None:
    """Their events are stored; without the answer the client would send them again, or believe them lost."""
    answer, events = said(collector, post() + post() + b"\0\r\n\r\n" + post(), 1_000_000)
    assert (statuses(answer), events) == ([200, 200, 400], 2)


def test_answer_to_a_head_is_a_head(collector: RunningCollector) -> None:
    """Whoever keeps the connection would take a body for the next answer, be it another client's."""
    answer, _ = said(collector, request(b"HEAD", b"/v1/events") + LAST, 1_000_000)
    assert re.search(rb"\r\n\r\nHTTP/1\.1 404 ", answer)
    assert b"method_not_allowed" not in answer


def test_refusal_after_a_head_has_its_body(collector: RunningCollector) -> None:
    """What is no request has no method, and that of the one before it says nothing."""
    answer, _ = said(collector, request(b"HEAD") + b"\x16\x03\x01\r\n\r\n", 1_000_000)
    assert statuses(answer) == [200, 400]
    assert json.loads(answer.rpartition(b"\r\n\r\n")[2])["error"] == "malformed_http"


def test_malformed_body_is_refused_in_its_turn(collector: RunningCollector) -> None:
    """The request before it is still under way; nothing of the malformed one may be stored or answered early."""
    collector.producer.gate.clear()
    collector.loop.call_soon_threadsafe(collector.loop.call_later, 0.1, collector.producer.gate.set)
    answer, events = said(collector, post() + chunked(body=CHUNKED.replace(b"\r\n", b"\n", 1)), 1_000_000)
    assert (statuses(answer), events) == ([200, 400], 1)


@pytest.mark.parametrize(
    ("sent", "expected", "stored"),
    [(post(), [200], 1), (chunked(), [200], 1), (post() * 3, [200] * 3, 3), (post() + post()[:-5], [200], 1),
     (post() + b"GET / HT", [200], 1), (post()[:-5], [], 0), (b"GET /hea", [], 0), (request() * 2, [200] * 2, 0)],
)  # fmt: skip
def test_client_that_ended_its_side_gets_its_answers(
    collector: RunningCollector, sent: bytes, expected: list[int], stored: int
) -> None:
    """Stored and not answered is sent again; half a request is none."""
    collector.producer.gate.clear()
    before = len(collector.producer.records)
    with collector.connect() as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        collector.loop.call_soon_threadsafe(collector.loop.call_later, 0.1, collector.producer.gate.set)
        answer = read_all(connection)
    assert (statuses(answer), len(collector.producer.records) - before) == (expected, stored)


@pytest.mark.parametrize("target", [b"/healthz", b"/nothing", b"/v1/events"])
def test_answer_instead_of_100_closes_since_the_body_may_come_or_not(
    collector: RunningCollector, target: bytes
) -> None:
    """Kept open, the body would be read as a request, or the next request as the body."""
    sent = request(b"GET", target, b"Expect: 100-continue\r\n" + length(SMUGGLED))
    answer, _ = said(collector, sent + SMUGGLED, 1_000_000)
    assert len(statuses(answer)) == 1
    assert b"connection: close\r\n" in answer


def test_http_1_0_is_never_told_to_continue(collector: RunningCollector) -> None:
    """It knows no 100. Source: RFC 9110, section 10.1.1."""
    head = request(b"POST", b"/v1/events", KEY + b"Expect: 100-continue\r\n" + length(BODY), b"", b"HTTP/1.0")
    answer, events = said(collector, head + BODY, 1)
    assert (statuses(answer), events) == ([200], 1)


def test_refusals_of_the_wire_are_counted_by_kind_and_logged_once(
    collector: RunningCollector, caplog: pytest.LogCaptureFixture
) -> None:
    """Anyone can send them at any rate: the counter says how many, the log must not grow with them."""
    kinds = {"malformed_http": b"canary\r\n\r\n", "headers_too_large": b"GET /" + b"c" * 20_000}
    counts = {kind: f'unjoin_requests_total{{outcome="{kind}"}}' for kind in kinds}
    before = {kind: collector.metric(line) for kind, line in counts.items()}
    for sent in kinds.values():
        for _ in range(20):
            said(collector, sent, 1_000_000)
    assert {kind: collector.metric(line) - before[kind] for kind, line in counts.items()} == dict.fromkeys(kinds, 20)
    assert len(caplog.records) <= len(kinds)
    assert "canary" not in caplog.text


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
def test_curl_that_offers_http2_stores_its_events(collector: RunningCollector, tmp_path: Path) -> None:
    """`curl --http2` offers h2c with every request to an http:// address; 400 is final for its user."""
    (tmp_path / "batch.json").write_bytes(BODY)
    before = len(collector.producer.records)
    url = f"http://127.0.0.1:{collector.port}/v1/events?key=dev-browser-key"
    command = ["curl", "-sS", "--http2", "-H", "Content-Type: application/json", "--data-binary", "@batch.json", url]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=20, check=True)
    assert json.loads(done.stdout)["accepted"] == 1
    assert len(collector.producer.records) == before + 1
