"""The SDK on pages that are hostile without meaning to be: patched globals, scripts twice, whatever people pass."""

import json
import re
from pathlib import Path

import pytest

from testkit.sdk_site import SCRIPTS, SdkSite, noted, wait, wait_for, wait_on, wander
from tests.browser.test_sdk import COUNT_STORED, context, page, site

__all__ = ["context", "page", "site"]
pytestmark = pytest.mark.browser

README = (Path(__file__).parents[2] / "sdk" / "README.md").read_text()


def stub():
    """The inline script that the README offers, without its tags."""
    return re.search(r"<script>(.*unjoin.*)</script>", README)[1]


def open_page(page, site, before="", after="", scripts=SCRIPTS):
    """A page whose own inline scripts run before and after the SDK's."""
    said = []
    page.on("console", lambda message: said.append(message.text))
    site.tag = f"<script>{before}</script>{scripts}<script>{after}</script>"
    page.goto(site.url + "/tag")
    return said


def moved_twice(events):
    samples = [(event["ts"], tuple(event["t"]), tuple(event["x"])) for event in events]
    return len(samples) != len(set(samples))


STREAMS = {
    "cuts_off": "{ readable: new ReadableStream({start(c) {c.enqueue(new Uint8Array([31, 139, 8])); c.close()}}), "
    "writable: new WritableStream() }",
    "breaks": "{ readable: new ReadableStream({start(c) {c.error(new Error('no'))}}), writable: new WritableStream() }",
    "never_ends": "{ readable: new ReadableStream(), writable: new WritableStream() }",
    "throws": "(() => { throw new Error('no') })()",
}


@pytest.mark.parametrize("stream", list(STREAMS))
def test_a_compression_that_does_not_work_costs_nothing(page, site, stream):
    """Polyfills cut off, break or never end; the body then goes as it is, and nothing behind it waits."""
    open_page(page, site, f"window.CompressionStream = function() {{ return {STREAMS[stream]} }}")
    page.evaluate("for (let n = 0; n < 3; n += 1) unjoin.track('n', {n, text: 'word '.repeat(1000)})")
    wait_on(page, lambda: len(site.stored) == 3)
    page.evaluate("unjoin.track('behind')")
    wait_on(page, lambda: len(site.stored) == 4)
    assert set(site.stored.values()) == {1}
    assert not any(posted.is_gzip for posted in site.posted)


def test_a_compression_that_lies_is_found_out_by_the_refusal(page, site):
    """Its trailer is right and its content is not: the collector cannot read it, and plain JSON follows."""
    lie = """window.CompressionStream = function() {
      let size = 0;
      return new TransformStream({transform(chunk) { size += chunk.byteLength },
        flush(c) { for (const part of [[31, 139, 8, 0], new Uint8Array(new Uint32Array([size]).buffer)])
          c.enqueue(new Uint8Array(part)) }});
    }"""
    open_page(page, site, lie)
    page.evaluate("unjoin.label('dogs-1', 'a '.repeat(1000))")
    wait_on(page, lambda: len(site.stored) == 1)


@pytest.mark.parametrize("twice", ["evaluated", "modules", "script_and_module"])
def test_a_page_has_one_collector_whatever_loads_it(page, site, node_build, twice):
    """Turbo and tag managers evaluate a script again, bundles hold copies: nothing is stored twice."""
    site.built = node_build
    options = json.dumps({"endpoint": site.collector_url, **site.options})
    module = (
        f"import('/built/index.js?%s').then((m) => {{ m.init({options}); window.ready = (window.ready || 0) + 1 }});"
    )
    if twice == "modules":
        open_page(page, site, module % 1, module % 2, "")
        wait_on(page, lambda: page.evaluate("window.ready === 2"))
    elif twice == "script_and_module":
        open_page(page, site, "", module % 1)
        wait_on(page, lambda: page.evaluate("window.ready === 1"))
    else:
        open_page(page, site, "", "", SCRIPTS + SCRIPTS)
    wander(page)
    wait_on(page, lambda: site.events("pointer"))
    page.goto("about:blank")
    assert not moved_twice(site.events("pointer"))


PROTOTYPE = """for (const type of [Array, Object, String, Number, Boolean, Date])
  Object.defineProperty(type.prototype, 'toJSON', {value() { return '"' + this + '"' }, writable: true});
  Array.prototype.reduce = function() { return this[0] }; Array.from = (list) => [].slice.call(list);"""


def test_prototype_js_changes_nothing_of_what_is_sent(page, site):
    """Its `toJSON` on arrays made strings of all samples."""
    site.pages["p"] = (
        f"<!doctype html><input id=text><script>{PROTOTYPE}</script><script src='/unjoin.js' data-interval='200'"
        f" data-key='dev-browser-key' data-endpoint='{site.collector_url}'></script>"
    )
    page.goto(site.url + "/pages/p")
    wander(page)
    page.evaluate("unjoin.track('used', {list: [1, 'a', null], inner: {yes: true}})")
    page.evaluate("unjoin.flush()")
    wait_on(page, lambda: site.events("usage") and site.events("pointer"))
    (used,) = site.events("usage")
    assert used["properties"] == {"list": [1, "a", None], "inner": {"yes": True}, "event": "used"}


BROKEN = """window.fetch = () => { throw new Error('mine') }; JSON.stringify = () => 'mine'; Date.now = () => NaN;
  setTimeout = () => 0; EventTarget.prototype.addEventListener = () => {}; Array.from = () => [];
  Navigator.prototype.sendBeacon = () => false; window.CompressionStream = undefined;
  performance.now = () => NaN; Element.prototype.remove = null;"""


def test_what_a_page_breaks_later_was_taken_before(page, site):
    """Test tools and other SDKs replace globals while the page lives."""
    open_page(page, site, "", BROKEN)
    wander(page)
    page.evaluate("unjoin.label('dogs-1', 'beagle')")
    wait_on(page, lambda: site.events("image_label") and site.events("pointer"))
    assert set(site.stored.values()) == {1}


def test_half_an_emoji_is_replaced_and_the_rest_arrives(page, site):
    """An input's `maxlength` cuts emoji in two; no UTF-8 text can hold a half."""
    open_page(page, site)
    page.evaluate(
        r"unjoin.label('t-1', 'a \ud83d b \ude00 \ud83d\ude00', 'text_answer'); unjoin.track('\ud83d', {'\ud83d': 1})"
    )
    wait_on(page, lambda: site.events("text_answer") and site.events("usage"))
    assert site.events("text_answer")[0]["answer"] == "a \ufffd b \ufffd \U0001f600"
    assert site.events("usage")[0]["properties"] == {"\ufffd": 1, "event": "\ufffd"}


ANYTHING = {
    "circular": "(() => { const c = {fine: 1}; c.c = c; return c })()",
    "element": "document.body",
    "window": "window",
    "bigint": "{n: 10n}",
    "getter": "{fine: 1, get bad() { throw new Error('no') }}",
    "proxy": "new Proxy({}, {get() { throw new Error('no') }, ownKeys() { throw new Error('no') }})",
    "symbol": "Symbol('no')",
    "function": "() => 1",
    "null": "null",
    "text": "'text'",
    "deep": "(() => { let d = 1; for (let n = 0; n < 10000; n += 1) d = {d}; return {d} })()",
    "huge": "{list: new Array(1e6).fill(1)}",
    "to_json": "{toJSON() { throw new Error('no') }}",
    "date": "{at: new Date(NaN), on: new Date(0)}",
    "map": "new Map([[1, 2]])",
}


def test_nothing_that_a_page_passes_throws_or_goes_without_a_fate(page, site):
    """A statistic must never be what breaks a shop."""
    open_page(page, site)
    for given in ANYTHING.values():
        page.evaluate(f"{{ unjoin.track('anything', {given}); unjoin.page({given}); }}")
        page.evaluate(
            f"{{ unjoin.label({given}, {given}, {given}); unjoin.init({given}); unjoin.init({{key: {given}}}); }}"
        )
    wait_on(page, lambda: page.evaluate("unjoin.counts().pending") == 0)
    counts = page.evaluate("unjoin.counts()")
    assert counts["queued"] >= 2 * len(ANYTHING)
    final = ("accepted", "rejected", "refused", "dropped")
    assert counts["queued"] == sum(counts[fate] for fate in final)
    shown = [event.get("properties") for event in site.events("usage")]
    assert {"fine": 1, "c": {"fine": 1, "c": "[circular]"}, "event": "anything"} in shown
    assert {"fine": 1, "event": "anything"} in shown
    assert {"n": "10", "event": "anything"} in shown
    assert {"at": None, "on": "1970-01-01T00:00:00.000Z", "event": "anything"} in shown


def test_a_listener_of_the_page_that_throws_costs_no_event(page, site):
    """`onOutcome` is the page's own code."""
    open_page(page, site, scripts='<script src="/unjoin.js"></script>')
    options = json.dumps({"endpoint": site.collector_url, **site.options})[:-1]
    page.evaluate(f"unjoin.init({options}, onOutcome() {{ throw new Error('mine') }}}})")
    page.evaluate("unjoin.label('dogs-1', 'beagle')")
    wait_on(page, lambda: page.evaluate("unjoin.counts().accepted") == 1)


def test_calls_before_the_script_and_before_init_wait_for_it(page, site):
    """With the stub in the head; times and addresses are those of the calls."""
    open_page(page, site, stub() + "; const {label} = unjoin; label('dogs-1', 'beagle'); unjoin.page({n: 1});", "")
    wait_on(page, lambda: site.events("image_label") and site.events("page_view"))
    page.evaluate("label('dogs-2', 'basset')")  # of the stub, kept by the page
    wait_on(page, lambda: len(site.events("image_label")) == 2)
    script, start = SCRIPTS.split("</script>")[:2]
    site.tag = f'{script}</script><script>unjoin.label("dogs-3", "pug")</script>{start}</script>'
    page.goto(site.url + "/tag")
    wait_on(page, lambda: len(site.events("image_label")) == 3)


def test_a_blocked_script_breaks_nothing(page, site):
    """Blockers are many; the page's own code goes on, and nothing grows without bound."""
    open_page(page, site, stub(), "", '<script src="http://127.0.0.1:1/blocked.js"></script>')
    done = """async () => { unjoin.init({key: 'k'}); for (let n = 0; n < 5000; n += 1) unjoin.label('a', 'b');
      await unjoin.flush(); await unjoin.stop(); unjoin.revoke();
      return [await unjoin.motion(), unjoin.session(), unjoin.counts(), unjoin.q.length <= 1000]; }"""
    assert page.evaluate(done) == [False, "", {}, True]


def test_the_stub_is_small_and_its_hash_is_the_documented_one():
    """It is inline on every page, and policies name it by hash."""
    import base64
    import hashlib

    assert len(stub()) < 500
    digest = base64.b64encode(hashlib.sha256(stub().encode()).digest()).decode()
    assert f"'sha256-{digest}'" in README


def test_a_busy_minute_has_at_most_one_preflight(page, site):
    """The answer to it is kept for two hours, unless a request says `no-store`."""
    open_page(page, site)
    for number in range(8):
        page.evaluate("(n) => { unjoin.track('n', {n, text: 'word '.repeat(1000)}); return unjoin.flush(); }", number)
    assert len(site.posted) == 8
    assert site.preflights <= 1


def test_small_batches_need_no_preflight(page, site):
    """Half of a short visit's requests would be OPTIONS."""
    open_page(page, site)
    page.evaluate("unjoin.label('dogs-1', 'beagle'); unjoin.flush()")
    wait_on(page, lambda: site.stored)
    assert site.preflights == 0


def test_a_sandboxed_frame_stops_and_says_so_once(page, site):
    """Its origin is `null`, which no site can list: it retried for ever."""
    said = []
    page.on("console", lambda message: said.append(message.text))
    frame = f"<script src='/unjoin.js' data-key='k' data-endpoint='{site.collector_url}'></script>"
    frame += "<script>unjoin.label('a', 'b'); unjoin.label('c', 'd');"
    frame += "setTimeout(() => parent.postMessage(unjoin.counts(), '*'), 500)</script>"
    site.pages["frame"] = frame
    site.pages["outer"] = (
        "<script>addEventListener('message', (event) => window.told = event.data)</script>"
        "<iframe sandbox='allow-scripts' src='/pages/frame'></iframe>"
    )
    page.goto(site.url + "/pages/outer")
    wait_on(page, lambda: page.evaluate("window.told"))
    counts = page.evaluate("window.told")
    assert (counts["queued"], counts["dropped"], counts["pending"]) == (2, 2, 0)
    assert site.posted == []
    assert len([text for text in said if "sandbox" in text]) == 1


@pytest.mark.parametrize(("status", "says"), [(401, "told_to"), (403, "unjoin sites add")])
def test_a_wrong_key_or_origin_says_once_what_to_do(page, site, status, says):
    """Whoever integrates it looks into the console; silence there costs hours."""
    site.status = status
    said = open_page(page, site)
    page.evaluate("unjoin.track('one'); unjoin.flush()")
    wait_on(page, lambda: [text for text in said if "unjoin:" in text and says in text])
    page.evaluate("unjoin.track('two'); unjoin.flush()")
    page.wait_for_timeout(300)
    assert len([text for text in said if "unjoin:" in text]) == 1


def test_silent_is_silent(page, site):
    """For pages that ship with somebody else's console open."""
    site.status, site.options["silent"] = 401, True
    said = open_page(page, site)
    page.evaluate("unjoin.track('one'); unjoin.flush()")
    wait_on(page, lambda: page.evaluate("unjoin.counts().refused"))
    assert not [text for text in said if "unjoin:" in text]


def test_a_prerendered_page_counts_when_it_is_seen(page, site):
    """Browsers load pages that nobody opens; neither views nor signals of theirs are anybody's."""
    before = """let hidden = true; Object.defineProperty(document, 'prerendering', {get: () => hidden});
      window.show = () => { hidden = false; document.dispatchEvent(new Event('prerenderingchange')) };"""
    open_page(page, site, before, "unjoin.page()")
    page.wait_for_timeout(400)
    assert site.posted == []
    shown_at = page.evaluate("Date.now()")
    page.evaluate("show(); unjoin.flush()")
    wait_on(page, lambda: site.events("page_view"))
    (view,) = site.events("page_view")
    assert view["ts"] >= shown_at


def test_referrer_is_the_page_before_on_single_page_sites(page, site):
    """`document.referrer` does not move with `pushState`."""
    open_page(page, site)
    page.evaluate(
        "unjoin.page(); history.pushState(0, '', '/a?q=1'); unjoin.page(); unjoin.page(); unjoin.track('used')"
    )
    wait_on(page, lambda: len(site.events("page_view")) == 3 and site.events("usage"))
    tag = site.url + "/tag"
    assert [(view["url"], view["referrer"]) for view in site.events("page_view")] == [
        (tag, ""), (site.url + "/a", tag), (site.url + "/a", tag)
    ]  # fmt: skip
    assert site.events("usage")[0]["referrer"] == tag


@pytest.mark.parametrize("views", [True, "hash"])
def test_page_views_follow_the_address_by_themselves(page, site, views):
    """pushState, replaceState, popstate and, where asked for, hash routes; a change of the query alone is no view."""
    site.options["views"] = views
    open_page(page, site)
    page.evaluate(
        """async () => { history.pushState(0, '', '/a'); history.pushState(0, '', '/a?tab=2');
        history.replaceState(0, '', '/b');
        history.back(); await new Promise((resolve) => addEventListener('popstate', resolve));
        location.hash = '#/route?token=1'; }"""
    )
    expected = ["/tag", "/a", "/b", "/a", *(["/a#/route"] if views == "hash" else [])]
    wait_on(page, lambda: len(site.events("page_view")) == len(expected))
    seen = site.events("page_view")
    assert [view["url"] for view in seen] == [site.url + path for path in expected]
    assert [view["referrer"] for view in seen] == ["", *(site.url + path for path in expected[:-1])]


def test_nothing_is_collected_kept_or_sent_before_consent(page, site):
    """Pending calls wait in memory; `grant()` sends them, `revoke()` drops what is unsent."""
    site.options["consent"] = "pending"
    open_page(page, site)
    wander(page)
    page.evaluate("unjoin.label('dogs-1', 'beagle'); unjoin.flush()")
    page.wait_for_timeout(400)
    kept = "indexedDB.databases().then((all) => [all.length, sessionStorage.length, unjoin.session()])"
    assert page.evaluate(kept) == [0, 0, ""]
    assert site.posted == []
    page.evaluate("unjoin.grant()")
    wait_on(page, lambda: site.events("image_label"))
    assert site.events("pointer") == []
    assert {posted.batch["session"] for posted in site.posted} == {page.evaluate("unjoin.session()")} != {""}
    page.evaluate("unjoin.label('dogs-2', 'basset'); unjoin.revoke(); unjoin.label('dogs-3', 'pug')")
    page.mouse.move(20, 20)
    page.mouse.move(300, 200, steps=5)
    page.wait_for_timeout(400)
    counts = page.evaluate("unjoin.counts()")
    assert (counts["accepted"], counts["dropped"], counts["pending"]) == (1, 2, 0)
    assert [event["task"] for event in site.events("image_label")] == ["dogs-1"]
    assert page.evaluate("[sessionStorage.length, unjoin.session()]") == [0, ""]
    page.evaluate("unjoin.grant(); unjoin.label('dogs-4', 'pug')")
    wait_on(page, lambda: len(site.events("image_label")) == 2)


def test_consent_refused_from_the_start_sends_nothing_at_all(page, site):
    """Not even what an earlier page left in IndexedDB."""
    site.options["consent"] = "pending"
    open_page(page, site)
    page.evaluate("unjoin.track('one'); unjoin.revoke(); unjoin.track('two'); unjoin.flush()")
    page.goto("about:blank")
    assert site.posted == []


def test_revoke_drops_what_this_site_keeps_and_nothing_of_another(page, site):
    """Two sites may share an origin; who withdraws from one still wants what the other was told to arrive."""
    own, site.status, site.headers = site.options["key"], 503, {"Retry-After": "60"}
    page.goto(site.url)
    page.evaluate("unjoin.track('of one')")
    wait_for(page, COUNT_STORED + ".then((count) => count === 1)")
    site.options["key"] = "another"
    page.goto(site.url)
    page.evaluate("unjoin.track('of another')")
    wait_for(page, COUNT_STORED + ".then((count) => count === 2)")
    page.evaluate("unjoin.revoke()")
    wait_for(page, COUNT_STORED + ".then((count) => count === 1)")
    site.options["key"], site.status, site.headers = own, 200, {}
    page.goto(site.url)
    wait_on(page, lambda: site.stored)
    fates = {note["event"]["properties"]["event"]: note["fates"][-1] for note in noted(page)}
    assert fates["of another"] == "dropped: no_consent"
    assert [event["properties"]["event"] for event in site.events("usage") if event["id"] in site.stored] == ["of one"]


def test_revoke_at_once_drops_what_earlier_pages_left_and_tells_it(page, site):
    """The database opens a moment later than a page's first call."""
    site.status, site.headers = 503, {"Retry-After": "60"}
    page.goto(site.url)
    page.evaluate("unjoin.track('earlier')")
    wait_for(page, COUNT_STORED + ".then((count) => count === 1)")
    open_page(page, site, "", "unjoin.revoke()")
    wait_for(page, COUNT_STORED + ".then((count) => count === 0)")
    wait_on(page, lambda: noted(page)[0]["fates"][-1] == "dropped: no_consent")
    assert page.evaluate("unjoin.counts()")["pending"] == 0


def test_path_that_no_blocker_lists(page, site):
    """A proxy of the site's own serves the collector under a path of the site's choice."""
    site.options["path"] = "/m/e"
    open_page(page, site)
    page.evaluate("unjoin.label('dogs-1', 'beagle')")
    wait_on(page, lambda: site.events("image_label"))


def test_stop_and_init_again_collects_again(page, site):
    """Frameworks mount twice: React's StrictMode runs every effect, its cleanup, and the effect again."""
    open_page(page, site)
    options = json.dumps({"endpoint": site.collector_url, **site.options})
    page.evaluate(f"unjoin.stop(); unjoin.init({options})")
    wander(page)
    wait_on(page, lambda: site.events("pointer"))
    page.goto("about:blank")
    assert not moved_twice(site.events("pointer"))


def test_a_batch_of_whatever_proxies_answer_never_stops_the_queue(page, site):
    """JSON that is not the collector's, of any shape and status: told, and what is behind goes on."""
    open_page(page, site)
    bodies = ["null", "[]", '{"rejected": [null, 1, {}]}', "", "{"]
    answers = [{"status": 200 + 200 * (n % 2), "body": body} for n, body in enumerate(bodies)]
    headers = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*"}
    page.route(
        "**/v1/events?*",
        lambda route: route.fulfill(headers=headers, **(answers.pop() if answers else {"status": 503})),
    )
    for number in range(len(bodies)):
        page.evaluate("(n) => { unjoin.track('n', {n}); dispatchEvent(new Event('online')) }", number)
        page.wait_for_timeout(100)
    page.unroute("**/v1/events?*")
    page.evaluate("unjoin.track('last'); dispatchEvent(new Event('online'))")
    wait_on(page, lambda: page.evaluate("unjoin.counts().pending") == 0, 40)
    counts = page.evaluate("unjoin.counts()")
    assert counts["queued"] == counts["accepted"] + counts["refused"]


def test_the_site_is_what_these_tests_say(site, page):
    """What is noted on the page is what arrived."""
    page.goto(site.url)
    page.evaluate("unjoin.track('one')")
    wait(lambda: site.stored)
    assert set(site.stored) == {note["event"]["id"] for note in noted(page)}
    assert isinstance(site, SdkSite)
