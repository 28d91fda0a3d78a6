"""Segment's paths on a running collector: keys, types, statuses, and the records that come of calls."""

import asyncio
import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.access.sites import DEVELOPMENT_SITE, WatchedSites, write_development_sites
from ingest.decode.segment import PATHS
from ingest.encode.records import Record
from ingest.http.client_address import address_mark
from ingest.kafka.producer import NotDurable
from ingest.metrics.counters import Counters
from ingest.overload.fair_queue import ADDRESS_COUNT_MIN
from ingest.overload.scheduler import RequestScheduler, Waiting
from ingest.overload.shedding import Shedding
from schemas.codec import decode
from tests.ingest.configs import queue_bounds
from tests.ingest.decode.test_segment import BASE, IDENTIFY, PAGE, TRACK, TS
from tests.ingest.running_collector import ORIGIN, SERVER_KEY, WIDGET_KEY, Reply, RunningCollector, running
from tests.ingest.test_collector import until

KINDS = "`type` must be one of: track, page, screen, identify."
FORM = "application/x-www-form-urlencoded"  # what RudderStack's SDK says of its gzip


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    with running(tmp_path_factory.mktemp("segment")) as collector:
        yield collector


@pytest.fixture
def collector(shared: RunningCollector) -> RunningCollector:
    shared.producer.records.clear()
    shared.producer.refusal = None
    return shared


def datum_of(record: Record) -> dict[str, Any]:
    return decode(record.value, f"{record.topic}-value")


def basic(key: str) -> str:
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()


def post(collector: RunningCollector, path: str, body: Any, key: str | None = SERVER_KEY, **headers: str) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    all_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if key is not None:
        all_headers["Authorization"] = basic(key)
    return collector.request("POST", path, data, all_headers)


def test_calls_of_a_server_become_records_of_their_sessions_and_accounts(collector: RunningCollector) -> None:
    """The same records as of our own batches, an address of the connection's on analytics alone."""
    calls = [TRACK, PAGE | {"anonymousId": "s-2"}, IDENTIFY, {"type": "group", **BASE}]
    body = {"batch": calls, "context": {"ip": "203.0.113.7"}, "writeKey": SERVER_KEY}
    reply = post(collector, "/v1/batch", body, User_Agent="analytics-node")
    assert (reply.status, reply.json()) == (
        200,
        {
            "success": True,
            "accepted": 3,
            "rejected": [{"index": 3, "id": "m-1", "reason": "unknown_type", "field": "type", "detail": KINDS}],
        },
    )
    found = {(record.topic, record.key): datum_of(record) for record in collector.producer.records}
    assert found.keys() == {("events.analytics", b"s-1"), ("events.analytics", b"s-2"), ("events.personal", b"acme")}
    usage, contact = found["events.analytics", b"s-1"], found["events.personal", b"acme"]
    assert (usage["type"], usage["ts"], usage["ip"], usage["user_agent"]) == (
        "usage", TS, "127.0.0.1", "analytics-node"
    )  # fmt: skip
    assert json.loads(usage["properties"]) == {"n": 1, "event": "Opened"}
    assert (contact["type"], contact["email"]) == ("contact", "a@acme.example")
    assert b"203.0.113.7" not in b"".join(record.value for record in collector.producer.records)


@pytest.mark.parametrize("path", [path for paths in PATHS.values() for path in paths])
def test_every_path_of_segment_answers_as_its_sdks_expect(collector: RunningCollector, path: str) -> None:
    """One of the seven calls, or a batch, by both of its names."""
    calls: dict[str, Any] = {"track": TRACK, "page": PAGE, "screen": PAGE | {"type": "screen"}, "identify": IDENTIFY}
    kind = next(kind for kind, paths in PATHS.items() if path in paths)
    reply = post(collector, path, {"batch": [TRACK]} if kind == "batch" else calls.get(kind, BASE))
    assert (reply.status, reply.json()["success"]) == (200, True)
    assert reply.json()["accepted"] == len(collector.producer.records) == (kind not in ("group", "alias"))
    refused = collector.request("GET", path)
    assert (refused.status, refused.json()["error"]) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("key", "written", "status"),
    [(SERVER_KEY, None, 200), (None, SERVER_KEY, 200), (SERVER_KEY, "other", 200), ("other", SERVER_KEY, 401),
     (None, None, 401), (None, "other", 401)],
)  # fmt: skip
def test_key_is_the_headers_or_else_the_bodys(
    collector: RunningCollector, key: str | None, written: str | None, status: int
) -> None:
    """Scripts in browsers may leave the header out; a header that is there decides."""
    reply = post(collector, "/v1/t", TRACK | {"writeKey": written}, key)
    assert reply.status == status
    assert "Basic" not in reply.headers.get("www-authenticate", "")  # or a browser would ask its user for a password


@pytest.mark.parametrize("authorization", ["Basic", "Basic %%%", "Basic /w==", "Basic " + "A" * 5])
def test_credentials_that_are_none_are_an_unknown_key(collector: RunningCollector, authorization: str) -> None:
    """Not an error inside."""
    reply = collector.request("POST", "/v1/t", json.dumps(TRACK), {"Authorization": authorization})
    assert (reply.status, reply.json()["error"]) == (401, "unknown_key")


def test_own_batches_may_have_their_key_the_same_way(collector: RunningCollector) -> None:
    """One way in which a header has a key, for every path; a key in the body is Segment's alone."""
    event = {"id": "e-1", "type": "usage", "ts": TS}
    assert collector.post({"session": "s-1", "events": [event]}, None, Authorization=basic(SERVER_KEY)).status == 200
    assert collector.post({"session": "s-1", "events": [event], "writeKey": SERVER_KEY}, None).status == 401


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", FORM, FORM + ";charset=UTF-8"])
def test_gzip_and_the_types_that_sdks_really_send_are_taken(collector: RunningCollector, content_type: str) -> None:
    """RudderStack's posts JSON in gzip and calls it a form, because its HTTP client does."""
    packed = gzip.compress(json.dumps({"batch": [TRACK]}).encode())
    reply = post(collector, "/v1/batch", packed, Content_Type=content_type, Content_Encoding="gzip")
    assert (reply.status, reply.json()["accepted"]) == (200, 1)
    assert post(collector, "/v1/batch", packed, Content_Type="text/html").status == 415
    assert collector.post(b"{}", content_type=FORM).status == 415


def test_browser_key_identifies_nobody(collector: RunningCollector) -> None:
    """What is personal comes from servers alone; and a widget's key writes no analytics by this way either."""
    reply = post(collector, "/v1/i", IDENTIFY, WIDGET_KEY, Origin=ORIGIN)
    assert [(one["index"], one["reason"]) for one in reply.json()["rejected"]] == [(0, "category_not_allowed")]
    assert post(collector, "/v1/t", TRACK, WIDGET_KEY, Origin="https://evil.example").status == 403
    assert post(collector, "/v1/t", TRACK | {"writeKey": SERVER_KEY}, None, Origin=ORIGIN).status == 403
    assert collector.producer.records == []


def test_widget_key_posts_no_call(tmp_path: Path) -> None:
    """An End-User's session must never meet an address, whatever script a page carries."""
    with running(tmp_path) as collector:
        key = collector.sites.add("widgets", ["https://customer.example"])
        until(lambda: collector.post({"session": "s-1", "events": []}, key).status == 200)
        reply = post(collector, "/v1/t", TRACK, key, Origin="https://customer.example")
        assert reply.json()["accepted"] == 0
        assert [(one["id"], one["reason"]) for one in reply.json()["rejected"]] == [("m-1", "category_not_allowed")]
        assert collector.producer.records == []


def test_preflight_allows_what_sdks_send(collector: RunningCollector) -> None:
    """A retry of `analytics-next` counts in a header of its own; without leave for it no retry would leave the page."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-retry-count"}
    reply = collector.request("OPTIONS", "/v1/t", headers={"Origin": ORIGIN, **asked})
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (204, ORIGIN)
    allowed = reply.headers["access-control-allow-headers"].split(", ")
    assert {"authorization", "content-type", "x-retry-count"} <= set(allowed)


def test_what_cannot_be_durable_now_is_a_503_and_a_quota_a_429(collector: RunningCollector) -> None:
    """Both are what SDKs send again after, and a page may read when to."""
    collector.producer.refusal = NotDurable("timed_out")
    reply = post(collector, "/v1/t", TRACK, WIDGET_KEY, Origin=ORIGIN)
    assert (reply.status, reply.json()["error"]) == (503, "not_durable")
    assert int(reply.headers["retry-after"]) >= 1
    assert "Retry-After" in reply.headers["access-control-expose-headers"]
    collector.producer.refusal = None
    key = collector.sites.add("small", kind="server", events_per_second=1)
    until(lambda: collector.post({"session": "s-1", "events": []}, key).status == 200)
    calls = [TRACK | {"anonymousId": f"s-{number}"} for number in range(20)]
    statuses = [post(collector, "/v1/batch", {"batch": calls}, key).status for _ in range(2)]
    assert statuses == [200, 429]


def test_overload_is_refused_from_the_head_alone_as_elsewhere(tmp_path: Path) -> None:
    """By the same queue: what floods by this way must not cost more than by the other."""
    write_development_sites(tmp_path / "sites.json", [ORIGIN])
    sites = WatchedSites(tmp_path / "sites.json", 0)
    sites.look()
    scheduler = RequestScheduler(queue_bounds(wait_seconds_max=0.1), lambda: 10.0)
    loop = asyncio.new_event_loop()
    for _ in range(ADDRESS_COUNT_MIN):
        scheduler.queue.push(WIDGET_KEY, address_mark("192.0.2.1"), 100, 0.0, Waiting(loop=loop))
    shedding = Shedding(scheduler, sites, Counters(), ())
    headers = [(b"authorization", basic(WIDGET_KEY).encode())]
    for path in (b"/v1/t", b"/v1/batch", b"/v1/events"):
        answer = shedding.refusal_of(b"POST", path, headers, "192.0.2.1")
        assert answer is not None
        assert answer.status == 503
        assert int(dict(answer.headers)[b"retry-after"]) >= 1
    assert shedding.refusal_of(b"POST", b"/v1/t", headers, "192.0.2.2") is None
    assert shedding.refusal_of(b"POST", b"/v1/nothing", headers, "192.0.2.1") is None
    loop.close()


def test_settings_lead_the_browser_sdk_here_and_nowhere_else(collector: RunningCollector) -> None:
    """Else it would post to its maker what was called on a page that only says where its settings are."""
    path = f"/v1/projects/{WIDGET_KEY}/settings"
    reply = collector.request("GET", path, headers={"Origin": ORIGIN})
    host = f"127.0.0.1:{collector.port}/v1"
    assert reply.json() == {
        "integrations": {"Segment.io": {"apiKey": WIDGET_KEY, "apiHost": host, "protocol": "https"}},
        "metrics": {"sampleRate": 0},
    }
    assert reply.headers["access-control-allow-origin"] == ORIGIN
    assert collector.request("GET", path).json()["integrations"]["Segment.io"]["protocol"] == "http"


@pytest.mark.parametrize(
    ("key", "origin"), [("other", ORIGIN), (SERVER_KEY, ORIGIN), (WIDGET_KEY, "https://evil.example"), ("%22%0a", "")]
)
def test_settings_are_there_for_browser_keys_of_their_origins_alone(
    collector: RunningCollector, key: str, origin: str
) -> None:
    """A path is no place for a secret, so a server key is as unknown there as any other."""
    reply = collector.request("GET", f"/v1/projects/{key}/settings", headers={"Origin": origin})
    assert (reply.status, reply.json()["error"]) == (404, "unknown_key")
    assert "access-control-allow-origin" not in reply.headers
    assert key not in reply.body.decode()


def test_metrics_of_the_sdk_about_itself_are_not_taken(collector: RunningCollector) -> None:
    """Without an error in a page's console, and without a word that they were."""
    reply = collector.request("POST", "/v1/m", b'{"series": []}', {"Origin": ORIGIN, "Content-Type": "text/plain"})
    assert reply.json() == {"success": True, "accepted": 0, "rejected": []}
    assert reply.headers["access-control-allow-origin"] == ORIGIN
    stranger = collector.request("POST", "/v1/m", b"{}", {"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in stranger.headers


def test_examples_of_the_documents_are_accepted(collector: RunningCollector) -> None:
    """People paste them first."""
    document = collector.request("GET", "/openapi.json").json()
    assert {f"/v1/{kind}" for kind in PATHS} <= document["paths"].keys()
    for kind in ("batch", "track", "page", "screen", "identify"):
        content = document["paths"][f"/v1/{kind}"]["post"]["requestBody"]["content"]["application/json"]
        assert post(collector, f"/v1/{kind}", content["example"]).json() == {
            "success": True, "accepted": 1, "rejected": []
        }  # fmt: skip
    assert {datum_of(record)["site"] for record in collector.producer.records} == {DEVELOPMENT_SITE}
