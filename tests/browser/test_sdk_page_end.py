"""The SDK when a page ends, hides, freezes and comes back, in a real browser: every event stored, or told as lost."""

import pytest

from testkit.sdk_site import go_hidden, noted, wait, wait_for, wait_on
from tests.browser.test_sdk import COUNT_STORED, context, page, site
from tests.browser.test_sdk_delivery import made
from tests.browser.test_sdk_hostile import open_page

__all__ = ["context", "page", "site"]
pytestmark = pytest.mark.browser

LATE = {
    "pagehide": "addEventListener('pagehide', () => unjoin.track('late'))",
    "visibilitychange": "document.addEventListener('visibilitychange', () => unjoin.track('late'))",
    "beforeunload": "addEventListener('beforeunload', () => unjoin.track('late'))",
    "unload": "addEventListener('unload', () => unjoin.track('late'))",
    "later_turn": "addEventListener('pagehide', () => Promise.resolve().then(() => unjoin.track('late')))",
}


FAILS = """window.fails = []; const put = IDBObjectStore.prototype.put;
  IDBObjectStore.prototype.put = function(value) {
    this.transaction.addEventListener('abort', ({target}) => fails.push(target.error?.name));
    return put.call(this, value); };"""


@pytest.mark.parametrize("persist", [True, False])
@pytest.mark.parametrize("when", list(LATE))
def test_events_made_while_the_page_ends_leave_with_it(page, site, when, persist):
    """Listeners of the page's own run after the SDK's; what they make was only put on a timer."""
    site.options |= {"persist": persist, "interval": 30_000}
    open_page(page, site, "", LATE[when])
    page.goto(site.url + "/examples/article.js")
    wait(lambda: site.stored)
    assert len(site.events("usage")) == 1
    assert set(site.stored) == made(page)


def test_events_made_while_the_page_ends_wait_for_the_next_page_or_are_told(page, site):
    """When the collector is away, a beacon is nothing; and a browser may not finish what a closing page writes."""
    site.status, site.options["interval"] = 0, 30_000
    open_page(page, site, "", LATE["pagehide"] + ";" + LATE["visibilitychange"])
    wait_for(page, COUNT_STORED + ".then((count) => count === 0)")
    page.goto(site.url + "/examples/article.js")
    wait(lambda: site.posted)
    site.status = 200
    page.goto(site.url + "/")

    def unkept():
        return {note["event"]["id"] for note in noted(page) if "beaconed: unkept" in note["fates"]}

    wait_on(page, lambda: len(made(page)) == 2)  # a page that closes just now writes a moment later
    wait_on(page, lambda: made(page) <= site.stored.keys() | unkept())


@pytest.mark.parametrize("beacon", ["works", "refuses", "missing"])
def test_what_a_browser_does_not_take_at_the_end_is_told(page, site, beacon):
    """Browsers send 64 KiB for a page that is gone; without IndexedDB the rest is lost, and is said to be."""
    site.options |= {"persist": False, "interval": 30_000}
    before = {"works": "", "refuses": "Navigator.prototype.sendBeacon = () => false",
              "missing": "delete Navigator.prototype.sendBeacon"}[beacon]  # fmt: skip
    made_late = "for (let n = 0; n < 60; n += 1) unjoin.track('n', {text: 'x'.repeat(4000)})"
    late = f"addEventListener('pagehide', () => {{ {made_late} }})"
    open_page(page, site, before, late)
    page.goto(site.url + "/examples/article.js")
    told = [note["fates"][-1] for note in noted(page)]
    beaconed = told.count("beaconed: unkept")
    assert len(told) == 60
    assert beaconed + told.count("dropped: page_closed") == 60
    assert beaconed >= 14
    wait(lambda: len(site.stored) == beaconed)
    assert set(site.stored.values()) == {1}


def test_hidden_page_writes_down_what_it_makes_later(context, page, site):
    """A phone may end a hidden page without another word."""
    site.status, site.headers = 503, {"Retry-After": "60"}
    page.goto(site.url)
    page.evaluate("unjoin.track('one')")
    wait_on(page, lambda: page.evaluate("unjoin.counts().waiting"))
    go_hidden(page)
    page.evaluate("unjoin.track('two'); unjoin.track('three')")
    stored = """new Promise((resolve) => { indexedDB.open("unjoin").onsuccess = ({target}) => {
      target.result.transaction("batches").objectStore("batches").getAll().onsuccess = (event) => {
        target.result.close(); resolve(event.target.result.flatMap((batch) => batch.events).length); }; }; })"""
    wait_for(page, stored + ".then((count) => count === 3)")


def test_full_disk_is_no_end(context, page, site):
    """Nothing can be written down; what memory holds goes when the collector is back."""
    cdp = context.new_cdp_session(page)
    site.status, site.headers = 503, {"Retry-After": "1"}
    page.add_init_script(FAILS)
    page.goto(site.url)
    cdp.send("Storage.overrideQuotaForOrigin", {"origin": site.url, "quotaSize": 1})
    page.evaluate("for (let n = 0; n < 5; n += 1) unjoin.track('n', {text: 'x'.repeat(20000)}); unjoin.flush()")
    wait_on(page, lambda: page.evaluate("unjoin.counts().waiting"))
    wait_on(page, lambda: "QuotaExceededError" in page.evaluate("window.fails"))
    site.status = 200
    wait_on(page, lambda: len(site.stored) == 5)
    assert set(site.stored.values()) == {1}


def test_frozen_and_resumed(context, page, site):
    """Browsers stop background tabs for minutes; the queue goes on where it was."""
    cdp = context.new_cdp_session(page)
    page.goto(site.url)
    site.status = 503
    page.evaluate("unjoin.track('one'); unjoin.flush()")
    wait_on(page, lambda: page.evaluate("unjoin.counts().waiting"))
    cdp.send("Page.setWebLifecycleState", {"state": "frozen"})
    site.status = 200
    cdp.send("Page.setWebLifecycleState", {"state": "active"})
    page.evaluate("unjoin.track('two')")
    wait_on(page, lambda: len(site.stored) == 2)
    assert set(site.stored.values()) == {1}
