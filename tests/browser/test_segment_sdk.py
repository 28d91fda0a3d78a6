"""`@segment/analytics-next` in a real browser, unchanged: told where the collector is, and nothing else."""

import json
import re
import time
import uuid
from collections import Counter

import pytest
from aiohttp import web

from ingest.kafka.producer import NotDurable
from schemas.codec import decode
from testkit.sdk_site import SdkSite, wait_on
from tests.ingest.running_collector import running
from tests.segment.stock import package
from tests.segment.test_node_sdks import rejected

pytestmark = pytest.mark.browser

PAGE = '<!doctype html><title>Docs</title><link rel="icon" href="data:,"><script src="/analytics.js"></script>'
LOAD = """([key, collector, strategy]) => {
  const settings = strategy ? {deliveryStrategy: {strategy: "batching", config: {size: 4, timeout: 200}}} : {};
  window.analytics = AnalyticsNext.AnalyticsBrowser.load({writeKey: key, cdnURL: collector},
    {integrations: {"Segment.io": settings}});
  window.made = [];
  window.call = async (kind, ...more) => {
    const {event} = await analytics[kind](...more);
    made.push({kind, id: event.messageId, session: event.anonymousId});
  };
}"""
CALLS = """async (mark) => {
  await call("page", "Help", "Docs", {mark});
  await call("track", "Opened", {mark, nested: {list: [1, null, "é"]}});
  await call("screen", "Start", {mark});
  await call("identify", "acme", {name: "N", email: "n@acme.example"});
  await call("group", "g-1", {plan: "free"});
  await call("alias", "acme-2", "acme");
  await call("track", "Read", {mark});
  await call("page");
  return made;
}"""


class SegmentSite(SdkSite):
    """Pages that carry Segment's SDK as its package has it."""

    def _more(self, pages):
        script = package("@segment/analytics-next") / "dist" / "umd" / "index.js"
        pages.router.add_get("/analytics.js", self._file(script.read_text))
        pages.router.add_get("/docs", self._docs)

    async def _docs(self, _):
        return web.Response(text=PAGE, content_type="text/html")


@pytest.fixture(scope="module")
def site():
    package("@segment/analytics-next")
    site = SegmentSite()
    site.start()
    yield site
    site.stop()


@pytest.fixture
def open_page(chromium, site):
    """Opens a page of the site whose SDK is loaded; complaints of its console fail the test."""
    context = chromium.new_context()
    complaints = []

    def opened(key, collector, strategy=""):
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        hosts = {site.url, collector}
        page.on("request", lambda r: None if r.url.startswith(tuple(hosts)) else complaints.append(r.url))
        page.goto(f"{site.url}/docs")
        page.evaluate(LOAD, [key, collector, strategy])
        return page

    opened.complaints = complaints
    yield opened
    context.close()
    assert complaints == []


@pytest.mark.kafka
def test_every_call_in_a_browser_is_a_row_or_a_documented_rejection(open_page, stack, site):
    """Call by call and in batches, the last one sent as the page closes; from the page to ClickHouse, difference 0."""
    name = f"segment-{uuid.uuid4().hex[:8]}"
    added = stack.command("sites", "add", name, "--origin", site.url, "--categories", "analytics")
    assert added.returncode == 0, added.stderr
    key = re.search(r"ub_\S+", added.stdout)[0]
    deadline = time.monotonic() + 20
    while stack.post({"session": "s-1", "events": []}, key)[0] != 200:  # collectors look every second
        assert time.monotonic() < deadline
        time.sleep(0.1)
    before = rejected(stack)
    first = open_page(key, stack.http)
    made = first.evaluate(CALLS, name)
    second = open_page(key, stack.http, "batching")
    made += second.evaluate(CALLS, name)
    second.close(run_before_unload=True)
    stored = {entry["id"]: entry for entry in made if entry["kind"] in ("page", "screen", "track")}
    own = f"FROM analytics WHERE site = '{name}'"
    assert stack.wait_for_count(f"SELECT count() {own}", len(stored)) == len(stored) == 10
    rows = {row["event_id"]: row for row in stack.rows(f"SELECT * {own}")}
    assert rows.keys() == stored.keys()
    assert {row["session"] for row in rows.values()} == {entry["session"] for entry in made}
    assert {(row["url"], row["ip"], row["browser"] != "") for row in rows.values() if row["type"] == "usage"} == {
        (f"{site.url}/docs", "127.0.0.1", True)
    }
    opened = [json.loads(row["properties"]) for row in rows.values() if '"Opened"' in row["properties"]]
    assert opened == [{"mark": name, "nested": {"list": [1, None, "é"]}, "event": "Opened"}] * 2
    assert Counter(row["type"] for row in rows.values()) == {"page_view": 6, "usage": 4}
    difference = rejected(stack)
    difference.subtract(before)
    assert {reason: count for reason, count in difference.items() if count} == {
        "category_not_allowed": 2, "unknown_type": 4
    }  # fmt: skip
    assert stack.count(f"SELECT count() FROM personal WHERE site = '{name}'") == 0


@pytest.mark.parametrize("strategy", ["", "batching"])
def test_call_that_is_refused_for_now_is_sent_again_from_the_page_and_is_there_once(
    open_page, site, tmp_path_factory, strategy
):
    """It counts its tries in a header, which the preflight has to allow."""
    with running(tmp_path_factory.mktemp("segment")) as collector:
        key = collector.sites.add("docs", [site.url], categories=["analytics"])
        wait_until = time.monotonic() + 20
        while collector.post({"session": "s-1", "events": []}, key).status != 200:
            assert time.monotonic() < wait_until
            time.sleep(0.05)
        collector.producer.refusal = NotDurable("failed")
        page = open_page(key, f"http://127.0.0.1:{collector.port}", strategy)
        counts = []
        page.on("request", lambda request: counts.append(request.headers.get("x-retry-count")))
        page.evaluate("() => { call('track', 'Opened'); }")
        wait_on(page, lambda: collector.metric('unjoin_requests_total{outcome="not_durable"}') >= 1)
        collector.producer.refusal = None
        wait_on(page, lambda: collector.producer.records and counts.count("1") == 1)
        (record,) = collector.producer.records
        assert decode(record.value, "events.analytics-value")["event_id"].startswith("ajs-next-")
        # Of each 503 the browser itself says so; nothing else was said.
        open_page.complaints[:] = [text for text in open_page.complaints if "status of 503" not in text]
