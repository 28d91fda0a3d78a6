"""Every row of the contract's HTTP section, over real sockets."""

import gc
import gzip
import http.client
import json
import logging
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import brotli
import pytest
from backports import zstd

from ingest.kafka.producer import NotDurable
from schemas.codec import decode
from schemas.events import Pointer
from schemas.outcomes import UnjoinError
from schemas.topics import ANALYTICS
from tests.ingest.configs import request_limits
from tests.ingest.running_collector import (
    ORIGIN,
    SECONDS_MAX,
    SERVER_KEY,
    RunningCollector,
    read_all,
    read_reply,
    running,
)

TS = 1_790_000_000_123
POINTER = {"id": "e-1", "type": "pointer", "ts": TS, "t": [0, 16], "x": [1, 2.5], "y": [3, 4]}
ANSWER = {"id": "e-2", "type": "image_label", "ts": TS, "task": "dogs-0017", "answer": "beagle"}
PAGE = {
    "id": "e-3",
    "type": "page_view",
    "ts": TS,
    "url": "https://shop.example/",
    "properties": {"plan": "free", "é": [1]},
}
CONTACT = {
    "id": "e-4",
    "type": "contact",
    "ts": TS,
    "account": "acme",
    "role": "integrator",
    "name": "N",
    "email": "n@acme.example",
    "country": "DE",
}
VERDICT = {"id": "e-5", "type": "verdict", "ts": TS, "session": "s-1", "human": False}
LABELER = {
    "id": "e-6",
    "type": "labeler_application",
    "ts": TS,
    "name": "L",
    "email": "l@x.example",
    "country": "FR",
    "languages": ["fr"],
}
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}
SHORT = request_limits(body_seconds_max=0.4, header_seconds_max=0.4)


def batch(*events: Any, session: str = "s-1") -> dict[str, Any]:
    return {"sent_at": TS, "session": session, "events": list(events)}


def until(condition: Callable[[], Any]) -> None:
    """Waits for what another thread does; fails when it never does."""
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    with running(tmp_path_factory.mktemp("collector"), limits=SHORT) as collector:
        yield collector


@pytest.fixture
def collector(shared: RunningCollector, caplog: pytest.LogCaptureFixture) -> Iterator[RunningCollector]:
    """The module's collector, its producer emptied; nothing of a body may be in the logs of any test."""
    shared.producer.records.clear()
    shared.producer.refusal = None
    shared.closed_days = set()
    shared.key_error = None
    shared.lost_days = set()
    caplog.set_level(logging.DEBUG)
    yield shared
    for record in caplog.get_records("call"):  # here, `caplog.records` are those of the teardown
        text = record.getMessage() + (record.exc_text or "")
        assert not any(trace in text for trace in ("beagle", "dogs-0017", "canary", "e-1", "s-1", "dev-browser-key"))


def error_of(reply: Any) -> tuple[int, str]:
    """Status and error of an answer that is exactly `{"error", "detail"}`."""
    body = reply.json()
    assert body.keys() == {"error", "detail"}
    assert reply.headers["content-type"] == "application/json"
    assert body["detail"].endswith(".")
    return reply.status, body["error"]


def test_batch_is_accepted_and_what_was_accepted_is_durable(collector: RunningCollector) -> None:
    """The one promise of a 200."""
    reply = collector.post(batch(POINTER, ANSWER))
    assert (reply.status, reply.json()) == (200, {"accepted": 2, "rejected": []})
    assert [record.topic for record in collector.producer.records] == ["events.signals", "events.labeled"]


def test_bad_event_never_sinks_its_batch_and_all_bad_is_200(collector: RunningCollector) -> None:
    """A client's bug in one event costs that event alone."""
    bad = {**ANSWER, "id": "e-9", "canary": "canary-1"}
    reply = collector.post(batch(POINTER, bad, 5, ANSWER))
    assert reply.json() == {
        "accepted": 2,
        "rejected": [
            {
                "index": 1,
                "id": "e-9",
                "reason": "unknown_field",
                "field": None,
                "detail": "`image_label` has these fields and no others: id, type, ts, task, answer.",
            },
            {
                "index": 2,
                "id": None,
                "reason": "not_an_object",
                "field": None,
                "detail": "An event must be a JSON object.",
            },
        ],
    }
    assert collector.post(batch(bad)).json()["accepted"] == 0
    assert collector.post(batch()).json() == {"accepted": 0, "rejected": []}


def test_accepted_is_never_said_before_the_producer_says_durable(collector: RunningCollector) -> None:
    """Fire-and-forget is the field's oldest complaint."""
    collector.producer.gate.clear()
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=SECONDS_MAX)
    connection.request("POST", "/v1/events", json.dumps(batch(POINTER)), {"Authorization": "Bearer dev-browser-key"})
    until(lambda: collector.producer.waiting)
    connection.sock.settimeout(0.05)
    with pytest.raises(TimeoutError):
        connection.sock.recv(1)
    connection.sock.settimeout(SECONDS_MAX)
    collector.loop.call_soon_threadsafe(collector.producer.gate.set)
    assert read_reply(connection).status == 200
    connection.close()


def test_events_are_freed_before_their_records_wait_for_kafka(collector: RunningCollector) -> None:
    """Freed later, they are out of the CPU's cache by then, and a slow Kafka holds the memory of all that wait."""
    collector.producer.gate.clear()
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=SECONDS_MAX)
    body = json.dumps(batch({**POINTER, "id": "e-freed"}))
    connection.request("POST", "/v1/events", body, {"Authorization": "Bearer dev-browser-key"})
    until(lambda: collector.producer.waiting)
    held = [found for found in gc.get_objects() if type(found) is Pointer and found.id == "e-freed"]
    collector.loop.call_soon_threadsafe(collector.producer.gate.set)
    assert read_reply(connection).status == 200
    connection.close()
    assert not held


def test_what_could_not_be_made_durable_is_a_503_with_retry_after(collector: RunningCollector) -> None:
    """For the whole batch: the client sends it again under the same ids."""
    collector.producer.refusal = NotDurable("timed_out")
    reply = collector.post(batch(POINTER, {"canary": 1}), origin=ORIGIN)
    assert error_of(reply) == (503, "not_durable")
    assert int(reply.headers["retry-after"]) >= 1
    assert collector.request("GET", "/readyz").status == 503
    assert collector.request("GET", "/healthz").status == 200


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'{"session":"s-1"}', b'{"a":NaN}', b"\xff", b"[" * 100_000])
def test_body_that_is_no_batch_is_a_400(collector: RunningCollector, body: bytes) -> None:
    """Never an echo of the input."""
    assert error_of(collector.post(body)) == (400, "not_a_batch")


def test_post_without_any_body_is_a_400(collector: RunningCollector) -> None:
    """No Content-Length, no chunks: there is nothing to wait for."""
    with collector.connect() as connection:
        connection.sendall(b"POST /v1/events?key=dev-browser-key HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 400 ")


# --- keys, origins, categories


@pytest.mark.parametrize("key", [None, "", "nobody", "us_" + "x" * 40, "dev-browser-key x", "é", "x" * 5_000])
def test_unknown_key_is_a_401(collector: RunningCollector, key: str | None) -> None:
    """Also a strange one, and none."""
    reply = collector.post(batch(POINTER), key=key)
    assert error_of(reply) == (401, "unknown_key")
    assert "bearer" in reply.headers["www-authenticate"].lower()


def test_key_may_come_in_the_query(collector: RunningCollector) -> None:
    """A beacon cannot set headers."""
    body = json.dumps(batch(POINTER))
    for query, status in (
        ("key=dev-browser-key", 200),
        ("a=1&key=dev%2Dbrowser%2Dkey", 200),
        ("key=nobody", 401),
        ("key=", 401),
        ("%ff&=&&", 401),
    ):
        assert (
            collector.request("POST", f"/v1/events?{query}", body, {"Content-Type": "text/plain;charset=UTF-8"}).status
            == status
        )


def test_foreign_origin_is_a_403_and_a_listed_one_is_echoed(collector: RunningCollector) -> None:
    """A public key is worth something only on its site's pages."""
    reply = collector.post(batch(POINTER), origin=ORIGIN)
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == ORIGIN
    assert reply.headers["vary"] == "Origin"
    for origin in (
        "https://evil.example",
        "null",
        "http://shop.example",
        ORIGIN + ":444",
        "https://SHOP.example",
        "https://shop.example.evil.example",
    ):
        reply = collector.post(batch(POINTER), origin=origin)
        assert error_of(reply) == (403, "forbidden_origin")
        assert "access-control-allow-origin" not in reply.headers
        assert reply.headers["vary"] == "Origin"


def test_errors_can_be_read_by_a_listed_page(collector: RunningCollector) -> None:
    """A page that may not read a 429 cannot know how long to wait."""
    for reply in (
        collector.post(b"x", origin=ORIGIN),
        collector.post(batch(POINTER), key="nobody", origin=ORIGIN),
        collector.post(batch(POINTER), origin=ORIGIN, content_type="image/png"),
        collector.request("GET", "/v1/events", headers={"Origin": ORIGIN}),
    ):
        assert reply.status >= 400
        assert reply.headers["access-control-allow-origin"] == ORIGIN
        assert reply.headers["access-control-expose-headers"] == "Retry-After"


def test_server_key_in_the_url_is_a_401_that_says_where_it_goes(collector: RunningCollector) -> None:
    """Proxies and CDNs log URLs; a key that was in one has leaked, and the client should learn it at once."""
    reply = collector.request("POST", f"/v1/events?key={SERVER_KEY}", json.dumps(batch(CONTACT)))
    assert error_of(reply) == (401, "unknown_key")
    assert "Authorization: Bearer" in reply.json()["detail"]
    in_body = json.dumps({"writeKey": SERVER_KEY, "batch": []})
    assert error_of(collector.request("POST", f"/v1/batch?key={SERVER_KEY}", in_body)) == (401, "unknown_key")
    assert collector.producer.records == []


@pytest.mark.parametrize("key", ["dev-browser-key", SERVER_KEY])
@pytest.mark.parametrize("hops", ["203.0.113.9", "127.0.0.1, 203.0.113.9", "::1, nonsense"])
def test_development_key_that_a_proxy_passes_on_for_another_machine_is_a_401(
    collector: RunningCollector, key: str, hops: str
) -> None:
    """Everybody who has read the source knows it; a proxy on this machine makes every peer look local."""
    reply = collector.post(batch(POINTER), key, x_forwarded_for=hops)
    assert error_of(reply) == (401, "unknown_key")
    assert "sites add" in reply.json()["detail"]
    assert collector.post(batch(POINTER), key, x_forwarded_for="127.0.0.1, ::1").status == 200


def test_server_key_from_a_browser_is_a_403(collector: RunningCollector) -> None:
    """It has leaked; also the site's own origin does not help."""
    assert collector.post(batch(CONTACT), key=SERVER_KEY).json()["accepted"] == 1
    for origin in (ORIGIN, "https://evil.example"):
        reply = collector.post(batch(CONTACT), key=SERVER_KEY, origin=origin)
        assert error_of(reply) == (403, "forbidden_origin")
        assert "access-control-allow-origin" not in reply.headers


def test_category_that_the_key_may_not_write_is_rejected_event_by_event(collector: RunningCollector) -> None:
    """Browser keys are public: a stranger must not write contacts or verdicts with one."""
    every = [POINTER, ANSWER, PAGE, CONTACT, VERDICT, LABELER]
    rejected = {
        key: [(entry["index"], entry["reason"]) for entry in collector.post(batch(*every), key=key).json()["rejected"]]
        for key in ("dev-browser-key", SERVER_KEY)
    }
    assert rejected["dev-browser-key"] == [(index, "category_not_allowed") for index in (3, 4, 5)]
    assert rejected[SERVER_KEY] == [(index, "category_not_allowed") for index in (0, 1)]


def test_widget_key_writes_signals_and_labels_alone(collector: RunningCollector) -> None:
    """An End-User's session must never meet an address, and addresses come with analytics."""
    key = collector.sites.add("widgets", ["https://customer.example"])
    until(lambda: collector.post(batch(POINTER), key=key).status == 200)
    reply = collector.post(batch(POINTER, ANSWER, PAGE), key=key, origin="https://customer.example").json()
    assert [(one["index"], one["id"], one["reason"]) for one in reply["rejected"]] == [
        (2, "e-3", "category_not_allowed")
    ]
    assert collector.post(batch(POINTER), key=key, origin=ORIGIN).status == 403
    fresh = collector.sites.rotate("widgets", key)
    until(lambda: collector.post(batch(POINTER), key=key).status == 401)
    assert collector.post(batch(POINTER), key=fresh).status == 200


def test_what_a_visitor_declined_is_rejected_counted_and_never_written(collector: RunningCollector) -> None:
    """By the page's word or the browser's header; answers are tied to nobody, so there is nothing to decline."""
    series = 'unjoin_events_rejected_total{{reason="{}"}}'
    before = {reason: collector.metric(series.format(reason)) for reason in ("gpc", "no_consent")}
    declined = batch(POINTER, ANSWER, PAGE) | {"consent": {"analytics": False, "signals": True}}
    rejected = [
        *collector.post(batch(POINTER, ANSWER, PAGE), Sec_GPC="1").json()["rejected"],
        *collector.post(declined).json()["rejected"],
    ]
    assert [(one["index"], one["reason"]) for one in rejected] == [(2, "gpc"), (2, "no_consent")]
    assert {record.topic for record in collector.producer.records} == {"events.signals", "events.labeled"}
    assert collector.post(batch(PAGE) | {"consent": {"analytics": True}}, Sec_GPC="1").json()["accepted"] == 1
    assert {reason: collector.metric(series.format(reason)) - n for reason, n in before.items()} == {
        "gpc": 1,
        "no_consent": 1,
    }


def test_site_says_what_it_cannot_do_without_and_what_it_asks_for_first(collector: RunningCollector) -> None:
    """Running collectors see the change, as that of a key."""
    key = collector.sites.add("asks", ["https://asks.example"], ["signals", "analytics"])
    until(lambda: collector.post(batch(PAGE), key=key).status == 200)
    collector.sites.set_consent("asks", necessary=["signals"], opt_in=["analytics"])
    until(lambda: collector.post(batch(PAGE), key=key).json()["accepted"] == 0)
    declined = batch(POINTER, PAGE) | {"consent": {"signals": False}}
    reply = collector.post(declined, key=key).json()
    assert [(one["id"], one["reason"]) for one in reply["rejected"]] == [("e-3", "no_consent")]


def test_preflight_is_answered_for_a_listed_origin(collector: RunningCollector) -> None:
    """Content-Type application/json and Authorization both make a browser ask first."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    reply = collector.request("OPTIONS", "/v1/events", headers={"Origin": ORIGIN, **asked})
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in reply.headers["access-control-allow-methods"]
    assert {"authorization", "content-type", "content-encoding"} <= set(
        reply.headers["access-control-allow-headers"].split(", ")
    )
    assert reply.headers["vary"] == "Origin"
    refused = collector.request("OPTIONS", "/v1/events", headers={"Origin": "https://evil.example", **asked})
    assert error_of(refused) == (403, "forbidden_origin")
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_a_405(collector: RunningCollector, method: str) -> None:
    """With the ones that work."""
    reply = collector.request(method, "/v1/events")
    assert (reply.status, reply.headers["allow"]) == (405, "POST, OPTIONS")
    assert reply.body == b"" if method == "HEAD" else error_of(reply) == (405, "method_not_allowed")


# --- types and encodings


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("text/plain", 200),
        ("text/plain;charset=UTF-8", 200),
        ('text/plain; charset="utf-8"', 200),
        ("none", 200),
        ("application/json; charset=latin-1", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("text/html", 415),
        ("application/jsonp", 415),
        (";", 415),
    ],
)
def test_content_type(collector: RunningCollector, content_type: str, status: int) -> None:
    """JSON, plain text as beacons send it, or none, as a beacon of a bare Blob."""
    reply = collector.post(batch(POINTER), content_type=content_type)
    assert reply.status == status
    if status == 415:
        assert error_of(reply) == (415, "unsupported_type")


def test_every_coding_that_is_offered_is_read_and_others_are_a_415(collector: RunningCollector) -> None:
    """What is not undone cannot be read; saying so beats a 400."""
    body = json.dumps(batch(POINTER)).encode()
    for encoding, encode in ENCODERS.items():
        assert collector.post(encode(body), content_encoding=encoding).status == 200, encoding
    for encoding in ("x-gzip", "X-GZIP"):
        assert collector.post(gzip.compress(body), content_encoding=encoding).status == 200
    assert collector.post(body, content_encoding="identity").status == 200
    for encoding in ("compress", "snappy", "gzip, gzip", "gzip, br"):
        reply = collector.post(body, content_encoding=encoding)
        assert error_of(reply) == (415, "unsupported_encoding")
        assert reply.headers["accept-encoding"] == "gzip, deflate, br, zstd, identity"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "twice", "trailing", "not compressed", "empty"])
def test_what_is_not_one_compressed_document_is_a_400(collector: RunningCollector, coding: str, damage: str) -> None:
    """A tail, or a second document, would be seen by one reader and not by another."""
    plain = json.dumps(batch(POINTER)).encode()
    whole = ENCODERS[coding](plain)
    body = {
        "truncated": whole[:-4],
        "flipped": whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 255]) + whole[len(whole) // 2 + 1 :],
        "twice": whole + whole,
        "trailing": whole + b"x",
        "not compressed": plain,
        "empty": b"",
    }[damage]
    assert error_of(collector.post(body, content_encoding=coding)) == (400, "not_a_batch")


def test_gzip_in_several_members_and_padded_with_nuls_is_one_body(collector: RunningCollector) -> None:
    """RFC 1952 allows members, as concatenated files have them; tape blocks and some clients end in NULs."""
    plain = json.dumps(batch(POINTER)).encode()
    parts = [gzip.compress(plain[start : start + 20]) for start in range(0, len(plain), 20)]
    for body in (b"".join(parts), gzip.compress(plain) + bytes(512), b"\0\0\0".join(parts)):
        assert collector.post(body, content_encoding="gzip").status == 200


def test_byte_order_mark_before_a_batch_is_read_past(collector: RunningCollector) -> None:
    """Some platforms' UTF-8 encoders write one; RFC 8259 lets a reader ignore it."""
    body = b"\xef\xbb\xbf" + json.dumps(batch(POINTER)).encode()
    assert collector.post(body).json() == {"accepted": 1, "rejected": []}
    assert collector.post(gzip.compress(body), content_encoding="gzip").status == 200


def test_time_that_cannot_be_true_is_accepted_with_a_warning(collector: RunningCollector) -> None:
    """Seconds in place of milliseconds are 1970: stored as they are, and their sender is told."""
    now = time.time_ns() // 1_000_000
    before = collector.metric('unjoin_events_warned_total{warning="implausible_ts"}')
    seconds, ahead = {**POINTER, "ts": now // 1_000}, {**ANSWER, "ts": now + 2 * 86_400_000}
    reply = collector.post(batch({**POINTER, "ts": now - 86_400_000 * 365}, seconds, ahead))
    assert reply.json() == {"accepted": 3, "rejected": [], "warnings": {"implausible_ts": 2}}
    assert collector.metric('unjoin_events_warned_total{warning="implausible_ts"}') == before + 2
    assert collector.post(batch({**POINTER, "ts": now})).json() == {"accepted": 1, "rejected": []}


def test_when_a_batch_was_sent_travels_with_its_events_but_never_with_a_label(collector: RunningCollector) -> None:
    """It corrects the client's clock; of a label no exact time is kept."""
    collector.post({**batch(POINTER, ANSWER, PAGE), "sent_at": 1_790_000_000_999})
    by_topic = {record.topic: decode(record.value, f"{record.topic}-value") for record in collector.producer.records}
    assert by_topic["events.signals"]["sent_at"] == by_topic["events.analytics"]["sent_at"] == 1_790_000_000_999
    assert "sent_at" not in by_topic["events.labeled"]
    collector.producer.records.clear()
    collector.post({"session": "s-1", "events": [POINTER]})
    assert decode(collector.producer.records[0].value, "events.signals-value")["sent_at"] == 0


# --- sizes


def padded(size: int) -> bytes:
    """A valid batch of exactly so many bytes."""
    return json.dumps(batch(POINTER)).encode().ljust(size)


def chunked(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 100_000):
        yield body[start : start + 100_000]


def test_body_of_1_mib_passes_and_a_byte_more_is_a_413(collector: RunningCollector) -> None:
    """Declared, in chunks of unknown length, and after decompression."""
    fits, large = padded(1_048_576), padded(1_048_577)
    for body, status in ((fits, 200), (large, 413)):
        assert collector.post(body).status == status
        assert collector.post(gzip.compress(body), content_encoding="gzip").status == status
        connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=SECONDS_MAX)
        connection.request(
            "POST", "/v1/events", chunked(body), {"Authorization": "Bearer dev-browser-key"}, encode_chunked=True
        )
        assert read_reply(connection).status == status
        connection.close()
    assert error_of(collector.post(large)) == (413, "body_too_large")


def test_declared_length_is_refused_before_the_body_is_sent(collector: RunningCollector) -> None:
    """A client that says 1 GB learns at once, and while it sends still gets to read the answer."""
    with collector.connect() as connection:
        connection.sendall(
            b"POST /v1/events?key=dev-browser-key HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n"
        )
        connection.sendall(b" " * 300_000)
        answer = connection.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in answer.lower()
        connection.sendall(b" " * 300_000)


@pytest.mark.slow
def test_gigabyte_of_zeros_costs_a_mebibyte(collector: RunningCollector) -> None:
    """A bomb of 1 MB that would unfold to 1 GB: refused after the first mebibyte of it."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1_000_000)
    bomb = b"".join([compressor.compress(zeros) for _ in range(1_000)] + [compressor.flush()])
    assert len(bomb) < 1_048_576
    before = peak_kib()
    began = time.monotonic()
    assert error_of(collector.post(bomb, content_encoding="gzip")) == (413, "body_too_large")
    assert time.monotonic() - began < 5
    assert peak_kib() - before < 65_536


def peak_kib() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def test_501_events_are_a_413(collector: RunningCollector) -> None:
    """The other bound of a batch."""
    assert collector.post(batch(*[ANSWER] * 500)).json()["accepted"] == 500
    assert error_of(collector.post(batch(*[ANSWER] * 501))) == (413, "too_many_events")


# --- time


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked", b"Content-Encoding: gzip\r\nContent-Length: 100"]
)
def test_stalled_body_is_a_408_and_the_connection_ends(collector: RunningCollector, framing: bytes) -> None:
    """Slow clients must not hold what fast ones need."""
    with collector.connect() as connection:
        connection.sendall(b"POST /v1/events?key=dev-browser-key HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == "body_stalled"


def test_body_that_drips_is_a_408_too(collector: RunningCollector) -> None:
    """The deadline is for the whole body, not for the next byte of it."""
    with collector.connect() as connection:
        connection.sendall(b"POST /v1/events?key=dev-browser-key HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
        connection.settimeout(0.02)
        answer = b""
        deadline = time.monotonic() + SECONDS_MAX
        while not answer and time.monotonic() < deadline:
            connection.sendall(b" ")
            try:
                answer = connection.recv(65_536)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_client_that_leaves_in_mid_body_is_dropped_silently(
    collector: RunningCollector, caplog: pytest.LogCaptureFixture
) -> None:
    """Phones lose their network all day: no error, no log line, no event."""
    before = collector.metric('unjoin_requests_total{outcome="client_gone"}')
    with collector.connect() as connection:
        connection.sendall(
            b'POST /v1/events?key=dev-browser-key HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{"canary":'
        )
    until(lambda: collector.metric('unjoin_requests_total{outcome="client_gone"}') == before + 1)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert collector.producer.records == []


# --- what becomes of labels and of the connection's data


def test_label_of_a_day_whose_key_was_destroyed_is_rejected_alone(collector: RunningCollector) -> None:
    """Its voter cannot be told any more; its neighbours can."""
    now = datetime.now(UTC)
    collector.closed_days = {now.date() - timedelta(days=1), now.date()}
    reply = collector.post(batch(POINTER, ANSWER, {**PAGE, "properties": 5})).json()
    assert reply["accepted"] == 1
    assert [(entry["index"], entry["reason"]) for entry in reply["rejected"]] == [(1, "day_closed"), (2, "wrong_type")]


def test_key_of_the_day_that_cannot_be_had_is_a_503(collector: RunningCollector) -> None:
    """Lost is not destroyed: nothing may be dropped, and nobody may be told that it was stored."""
    collector.key_error = UnjoinError("the key is missing")
    reply = collector.post(batch(POINTER, ANSWER))
    assert error_of(reply) == (503, "not_durable")
    assert "retry-after" in reply.headers
    assert collector.post(batch(POINTER)).status == 200


def test_key_that_cannot_be_had_is_said_once_and_shown_until_it_is_back(
    collector: RunningCollector, caplog: pytest.LogCaptureFixture
) -> None:
    """Every label of the day asks for it: a line each would hide everything else. A balancer hears it from /readyz."""
    today = datetime.now(UTC).date()
    assert collector.request("GET", "/readyz").status == 200
    caplog.clear()
    collector.key_error = UnjoinError("the key is missing")
    for _ in range(3):
        assert collector.post(batch(ANSWER)).status == 503
    reply = collector.request("GET", "/readyz")
    assert (reply.status, reply.json()["detail"]) == (503, "a key that today's labels need is missing")
    assert collector.metric("unjoin_edge_keys_missing") >= 1
    collector.key_error = None
    reply = collector.request("GET", "/readyz")
    assert (reply.status, reply.json()) == (200, {"status": "ready"})
    assert collector.metric("unjoin_edge_keys_missing") == 0
    said = [record.getMessage() for record in caplog.records if "ingest.encode.edge_keys" in record.name]
    assert said.count(f"batches with labels of {today} are refused: the key is missing") == 1
    assert said.count(f"the key of {today} is back") == 1


def test_labels_that_no_door_could_open_are_a_503_and_all_else_is_taken(
    collector: RunningCollector, caplog: pytest.LogCaptureFixture
) -> None:
    """Without its public key nothing can be sealed; the log says what to do, and a balancer hears it."""
    today = datetime.now(UTC).date()
    collector.unannounced_days = {today}
    try:
        reply = collector.post(batch(POINTER, ANSWER))
        assert error_of(reply) == (503, "not_durable")
        assert "retry-after" in reply.headers
        assert collector.request("GET", "/readyz").status == 503
        assert collector.post(batch(POINTER)).status == 200
    finally:
        collector.unannounced_days = set()
    said = [record.getMessage() for record in caplog.records if "ingest.encode.edge_keys" in record.name]
    assert f"batches with labels of {today} are refused: no door has announced its public key" in said
    assert collector.post(batch(POINTER, ANSWER)).status == 200
    assert collector.request("GET", "/readyz").status == 200


def test_missing_key_of_yesterday_refuses_late_labels_and_nothing_else(collector: RunningCollector) -> None:
    """A balancer that took the collector out for it would lose everything else, too."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    yesterday = midnight.date() - timedelta(days=1)
    collector.lost_days = {yesterday}
    midnight_ms = int(midnight.timestamp() * 1000)
    assert collector.post(batch(ANSWER | {"ts": midnight_ms - 1})).status == 503
    assert collector.post(batch(ANSWER | {"ts": midnight_ms})).status == 200
    reply = collector.request("GET", "/readyz")
    assert (reply.status, reply.json()["status"]) == (200, "ready")
    assert str(yesterday) in reply.json()["detail"]


def test_failure_inside_is_a_500_without_a_trace(collector: RunningCollector) -> None:
    """No traceback to clients, no value in the log; the client may send again."""
    collector.key_error = RuntimeError("canary")
    reply = collector.post(batch(ANSWER))
    assert error_of(reply) == (500, "internal")
    assert b"Traceback" not in reply.body


def test_address_is_the_peer_whatever_a_header_says(collector: RunningCollector) -> None:
    """Nobody is a trusted proxy unless a setting says so; and only analytics carries the address at all."""
    key = collector.sites.add("customer", ["https://customer.example"], ["signals", "labeled", "analytics"])
    until(lambda: collector.post(b"", key).status == 400)
    collector.post(
        batch(PAGE, POINTER, ANSWER),
        key,
        x_forwarded_for="203.0.113.9",
        user_agent="Mozilla/5.0 (canary)",
        forwarded="for=203.0.113.9",
    )
    [page] = [record for record in collector.producer.records if record.topic == ANALYTICS]
    others = [record for record in collector.producer.records if record is not page]
    assert len(others) == 2
    datum = decode(page.value, "events.analytics-value")
    assert (datum["ip"], datum["user_agent"]) == ("127.0.0.1", "Mozilla/5.0 (canary)")
    for record in others:
        assert b"127.0.0.1" not in record.value
        assert b"Mozilla" not in record.value


def test_metrics_count_each_outcome_and_name_nobody(collector: RunningCollector) -> None:
    """One series a reason, from the start; none of a site, a key, a session or a label type."""
    before = collector.metric('unjoin_events_rejected_total{reason="unknown_type"}')
    collector.post(batch(POINTER, {**POINTER, "type": "canary"}))
    assert collector.metric('unjoin_events_rejected_total{reason="unknown_type"}') == before + 1
    assert collector.metric('unjoin_events_accepted_total{category="signals"}') >= 1
    text = collector.counters.exposition().decode()
    assert 'unjoin_events_rejected_total{reason="day_closed"}' in text
    assert not any(name in text for name in ("dev-browser-key", "shop.example", "s-1", "image_label", "canary"))
