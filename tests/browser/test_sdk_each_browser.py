"""The SDK in Chromium, Firefox and WebKit alike, with a collector of moods: whatever happens, made is stored.

Of a freeze only Chromium's driver knows: `test_sdk_page_end.py`.
"""

import pytest

from testkit.browsers import Browser, Chromium, Firefox, WebKit
from testkit.sdk_site import LATER, SCRIPTS, SdkSite, noted, wait
from tests.browser.conftest import started
from tests.browser.test_sdk import site

__all__ = ["site"]
pytestmark = pytest.mark.browser

OTHER = "<!doctype html><title>another page</title>"
CLOCK = "let off = 0; const real = Date.now; Date.now = () => real() + off; window.jump = (ms) => { off = ms }"
FULL = """IDBObjectStore.prototype.put = () => { window.fails = (window.fails || 0) + 1;
  throw new DOMException('', 'QuotaExceededError') };"""
BREAKS = """const put = IDBObjectStore.prototype.put; IDBObjectStore.prototype.put = function(value) {
  window.fails = (window.fails || 0) + 1; put.call(this, value); this.transaction.abort() };"""
NO_STORAGE = """for (const name of ['indexedDB', 'sessionStorage'])
  Object.defineProperty(window, name, {get() { window.fails = (window.fails || 0) + 1; throw new Error('no') }});"""
# Firefox breaks a script off that runs this long in `pagehide`; what the page does next runs.
SLOW_END = """addEventListener('pagehide', () => { const owner = OWNER.prototype, fast = owner.METHOD;
  owner.METHOD = function(...values) { owner.METHOD = fast;
    const from = performance.now(); while (performance.now() - from < 100); return fast.apply(this, values); };
}, true);"""
RETRY_SOON = {"Retry-After": "1"}
# How long a page waits before it tries again is drawn anew each time, up to seconds: here a tenth of the longest.
EARLY = "Math.random = () => 0.1;"


@pytest.fixture(scope="module", params=[Chromium, Firefox, WebKit], ids=lambda kind: kind.name)
def running(request):
    """By module: a browser takes seconds to start."""
    yield from started(request.param)


@pytest.fixture
def browser(running):
    """With a tab in front."""
    running.open()
    yield running
    running.close_tab()


def open_page(browser: Browser, site: SdkSite, before: str = "") -> None:
    """A page whose own script runs before the SDK's."""
    site.tag = f"<script>{before}</script>{SCRIPTS}"
    browser.goto(site.url + "/tag")


def made(browser: Browser) -> set[str]:
    return {note["event"]["id"] for note in noted(browser)}


def each_once(browser: Browser, site: SdkSite, count: int) -> bool:
    """Whether so many were made, and each is stored, once."""
    assert len(made(browser)) == count
    return set(site.stored) == made(browser) and set(site.stored.values()) == {1}


def test_offline_and_back(browser, site):
    """A tunnel is not the end of a visit; back online it does not wait out its backoff."""
    open_page(browser, site)
    site.status = 0
    if isinstance(browser, Chromium):
        browser.offline(True)
    browser.evaluate("(unjoin.track('one'), unjoin.flush())")
    browser.wait_for("unjoin.counts().waiting > 0")
    browser.evaluate("(unjoin.track('two'), 1)")
    site.status = 200
    if isinstance(browser, Chromium):
        browser.offline(False)
    else:
        browser.evaluate("(dispatchEvent(new Event('online')), 1)")
    wait(lambda: len(site.stored) == 2)
    assert each_once(browser, site, 2)


def test_two_tabs_neither_lose_nor_take_each_others(browser, site):
    """What one tab still holds is its own; what it leaves when it closes, exactly one of the others sends."""
    site.status, site.headers = 503, RETRY_SOON
    for tab in range(3):
        if tab:
            browser.open()
        open_page(browser, site)
        browser.evaluate(f"([0, 1, 2, 3, 4].forEach((n) => unjoin.track('n', {{n, tab: {tab}}})), 1)")
        browser.wait_for("unjoin.counts().waiting > 0")
    browser.close_tab()  # asked to wait and kept, so without a beacon
    site.status = 200
    wait(lambda: len(site.stored) >= 10)
    browser.wait_for("unjoin.counts().pending === 0")
    site.pages["later"] = LATER
    browser.goto(site.url + "/pages/later")
    wait(lambda: len(site.stored) == 15)
    assert site.stored.keys() == made(browser)
    # A request of the closed tab may still have been under way: its events then go again, under the same ids.
    closed = {note["event"]["id"] for note in noted(browser) if note["event"]["properties"]["tab"] == 2}
    assert all(count == 1 or (count == 2 and key in closed) for key, count in site.stored.items())
    browser.close_tab()


@pytest.mark.parametrize("hours", [-30, 30])
def test_a_clock_that_jumps_neither_stops_nor_hurries_the_queue(browser, site, hours):
    """People travel, and devices learn the time late; waits are by a clock that nobody sets."""
    site.status = 503
    open_page(browser, site, EARLY + CLOCK)
    browser.evaluate("(unjoin.track('one'), 1)")
    browser.wait_for("unjoin.counts().waiting > 0")
    browser.evaluate(f"(jump({hours} * 3600000), unjoin.track('two'), 1)")
    site.status = 200
    began = len(site.posted)
    wait(lambda: len(site.stored) == 2)
    assert len(site.posted) - began <= 3
    assert each_once(browser, site, 2)


@pytest.mark.parametrize("trouble", [FULL, BREAKS, NO_STORAGE], ids=["full", "aborts", "none"])
def test_without_a_place_to_write_it_works_from_memory(browser, site, trouble):
    """Full disks, private windows and blocked storage are no reason to lose what can be sent."""
    site.status = 503
    open_page(browser, site, EARLY + trouble)
    browser.evaluate("([0, 1, 2].forEach((n) => unjoin.track('n', {n, text: 'x'.repeat(20000)})), unjoin.flush())")
    browser.wait_for("unjoin.counts().waiting > 0 && window.fails > 0")
    site.status = 200
    wait(lambda: len(site.stored) == 3)
    assert each_once(browser, site, 3)


def test_back_from_the_back_forward_cache_it_goes_on(browser, site):
    """A page that comes back as it was goes on, and what it had left with a beacon is no second row."""
    site.options["interval"] = 30_000
    site.pages["other"] = OTHER
    back = "addEventListener('pageshow', (event) => event.persisted && (unjoin.track('two'), unjoin.flush()))"
    open_page(browser, site, back)
    browser.evaluate("(unjoin.track('one'), 1)")
    browser.goto(site.url + "/pages/other")
    wait(lambda: site.stored)
    # Of the page, and later: a driver that asks while a page goes waits for an answer that went with it.
    browser.evaluate("(setTimeout(() => history.back(), 200), 1)")
    wait(lambda: len(site.stored) == 2)
    assert set(site.stored) == made(browser)


def test_what_is_made_at_the_very_end_is_stored_or_told(browser, site):
    """With the collector away, and for a while: only what the browser may not have written down is told as unkept."""
    late = "addEventListener('pagehide', () => unjoin.track('late'));"
    late += "document.addEventListener('visibilitychange', () => unjoin.track('hidden'))"
    site.status, site.headers, site.options["interval"] = 503, {"Retry-After": "60"}, 30_000
    site.pages |= {"other": OTHER, "later": LATER}
    open_page(browser, site, late)
    browser.evaluate("(unjoin.track('early'), unjoin.flush())")
    browser.wait_for("unjoin.counts().waiting > 0")
    browser.goto(site.url + "/pages/other")
    site.status, site.headers = 200, {}
    browser.goto(site.url + "/pages/later")
    names = {note["event"]["properties"]["event"] for note in noted(browser)}
    assert names >= {"early", "late"}
    unkept = {note["event"]["id"] for note in noted(browser) if "beaconed: unkept" in note["fates"]}
    wait(lambda: made(browser) <= site.stored.keys() | unkept)
    early = [note["event"]["id"] for note in noted(browser) if note["event"]["properties"]["event"] == "early"]
    wait(lambda: set(early) <= site.stored.keys())


@pytest.mark.parametrize("slow", ["IDBObjectStore.put", "Storage.setItem"])
def test_an_end_that_the_browser_breaks_off_is_taken_up_again(browser, site, slow):
    """A browser that closes a page has no patience: what `pagehide` could not finish, its next event does.

    It breaks off what writes events down, or what tells the page of them.
    """
    site.options["interval"], site.pages["other"] = 30_000, OTHER
    owner, method = slow.split(".")
    browser.goto(site.url + "/pages/other")
    for _ in range(2):
        browser.open()
        open_page(browser, site, SLOW_END.replace("OWNER", owner).replace("METHOD", method))
        browser.move([(10, 10), (100, 100), (200, 150)])
        browser.evaluate("(indexedDB.open('unjoin').onsuccess = ({target}) => { target.result.close(); kept = 1 }, 1)")
        browser.wait_for("window.kept")
        browser.evaluate("(unjoin.track('one'), 1)")
        browser.close_tab()
    wait(lambda: len(site.events("usage")) == 2)
    used = {event["id"] for event in site.events("usage")}
    assert used <= site.stored.keys()
