"""Delivery by the SDK in a real browser: retries, closing pages, several tabs, no network; every event arrives."""

import pytest

from testkit.sdk_site import STRICT, SdkSite, go_hidden, noted, wait, wait_for, wait_on, wander
from tests.browser.test_sdk import COUNT_STORED, context, page, site

__all__ = ["context", "page", "site"]
pytestmark = pytest.mark.browser


def made(page):
    return {note["event"]["id"] for note in noted(page)}


def test_refused_batch_goes_again_under_the_same_ids_and_not_before_retry_after(page, site):
    """503 says: send it again, same ids, and when."""
    site.status, site.headers = 503, {"Retry-After": "1"}
    page.goto(site.url)
    page.evaluate("unjoin.label('dogs-1', 'beagle')")
    wait_on(page, lambda: site.posted)
    site.status = 200
    wait_on(page, lambda: site.stored)
    first, last = site.posted[0], site.posted[-1]
    assert last.at - first.at >= 1.0
    assert first.batch["events"] == last.batch["events"]
    assert first.batch["sent_at"] < last.batch["sent_at"]
    assert set(site.stored.values()) == {1}
    wait_on(page, lambda: noted(page)[0]["fates"] == ["queued", "waiting", "accepted"])


@pytest.mark.parametrize("status", [400, 401, 413])
def test_what_another_try_cannot_mend_is_not_tried_again(page, site, status):
    """It would cost both sides the same request for ever."""
    site.status = status
    page.goto(site.url)
    page.evaluate("unjoin.track('one')")
    wait_on(page, lambda: site.posted)
    site.status = 200
    page.evaluate("unjoin.track('two')")
    wait_on(page, lambda: len(site.posted) == 2)
    assert site.posted[0].ids != site.posted[1].ids
    wait_on(page, lambda: sorted(note["fates"][-1] for note in noted(page)) == ["accepted", "refused: told_to"])


def test_rejected_events_are_counted_told_and_not_sent_again(page, site):
    """A bad event never sinks its batch, and never comes back."""
    site.reject = {"usage"}
    page.goto(site.url)
    page.evaluate("unjoin.track('no'); unjoin.label('dogs-1', 'beagle')")
    wait_on(page, lambda: page.evaluate("unjoin.counts().accepted") == 1)
    assert page.evaluate("unjoin.counts()") == {
        "queued": 2, "waiting": 0, "beaconed": 0, "accepted": 1, "rejected": 1, "refused": 0, "dropped": 0,
        "pending": 0,
    }  # fmt: skip
    assert ["queued", "rejected: category_not_allowed"] in [note["fates"] for note in noted(page)]
    assert len(site.posted) == 1


def test_a_200_that_is_not_the_collectors_is_no_receipt(context, page, site):
    """A hotel's sign-in page answers 200 to everything."""
    stranger = "**/v1/events?*"
    headers = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*, authorization"}
    page.route(stranger, lambda route: route.fulfill(status=200, body="<html>sign in</html>", headers=headers))
    page.goto(site.url)
    page.evaluate("unjoin.label('dogs-1', 'beagle')")
    wait_on(page, lambda: page.evaluate("unjoin.counts().waiting"))
    page.unroute(stranger)
    wait_on(page, lambda: site.stored)


def test_closing_sends_a_beacon(page, site):
    """The last seconds of a visit count, and a fetch would be cut off; a beacon needs no preflight."""
    site.options["interval"] = 30_000
    page.goto(site.url)
    page.evaluate("unjoin.track('last')")
    page.goto("about:blank")
    wait(lambda: site.events("usage"))
    assert [(posted.content_type, posted.is_gzip) for posted in site.posted] == [("text/plain", False)]


def test_what_a_closed_page_could_not_deliver_the_next_one_does(context, page, site):
    """Whether the beacon arrived nobody can say; IndexedDB keeps it, the ids make the second arrival harmless."""
    site.status = 0
    site.options["interval"] = 30_000
    page.goto(site.url)
    page.evaluate("for (let n = 0; n < 60; n += 1) unjoin.track('n', {n}); unjoin.label('dogs-1', 'beagle')")
    session = page.evaluate("unjoin.session()")
    wait_for(page, COUNT_STORED + ".then(() => true)")  # a page this young has no store yet
    page.close()
    wait(lambda: site.posted)
    assert site.stored == {}
    site.status = 200
    next_page = context.new_page()
    next_page.goto(site.url)
    wait_on(next_page, lambda: len(site.stored) == 61)
    assert set(site.stored) == made(next_page)
    assert {posted.batch["session"] for posted in site.posted if posted.status == 200} == {session}
    wait_for(next_page, COUNT_STORED + ".then((count) => count === 0)")


def test_a_page_that_is_hidden_while_it_sends_loses_nothing(context, page, site):
    """Phones end hidden pages without another word: what is not settled is written down before."""
    site.status, site.headers = 503, {"Retry-After": "60"}
    page.goto(site.url)
    page.evaluate("unjoin.track('one')")
    wait_on(page, lambda: site.posted)
    page.evaluate("unjoin.track('two')")
    go_hidden(page)
    wait_for(page, COUNT_STORED + ".then((count) => count === 2)")
    site.status, site.headers = 200, {}
    page.close()
    next_page = context.new_page()
    next_page.goto(site.url)
    wait_on(next_page, lambda: len(site.stored) == 2)
    assert set(site.stored) == made(next_page)


def test_hidden_page_sends_at_once(page, site):
    """Who switches tabs may not come back."""
    site.options["interval"] = 30_000
    page.goto(site.url)
    page.evaluate("unjoin.track('one')")
    go_hidden(page)
    wait_on(page, lambda: site.stored)
    assert site.posted[0].content_type == "text/plain"


def test_a_full_queue_drops_the_oldest_signals_first_and_says_so(page, site):
    """Memory is bounded; somebody's answer is the last to go."""
    site.status, site.headers = 503, {"Retry-After": "60"}
    page.goto(site.url)
    page.evaluate("unjoin.label('dogs-1', 'beagle')")
    wait_on(page, lambda: page.evaluate("unjoin.counts().waiting"))
    page.evaluate("for (let n = 0; n < 60; n += 1) unjoin.track('n', {n, text: 'x'.repeat(20000)})")
    page.evaluate("unjoin.flush()")
    counts = page.evaluate("unjoin.counts()")
    assert 10 <= counts["dropped"] <= 14
    dropped = [note["event"] for note in noted(page) if note["fates"][-1] == "dropped: queue_full"]
    assert sorted(event["properties"]["n"] for event in dropped) == list(range(counts["dropped"]))


def test_back_from_the_back_forward_cache_it_goes_on(context, page, site):
    """The page that comes back neither forgets what it held nor sends what another page sent meanwhile."""
    site.status, site.headers = 503, {"Retry-After": "1"}
    page.goto(site.url)
    page.evaluate("unjoin.track('one')")
    wait_on(page, lambda: page.evaluate("unjoin.counts().waiting"))
    wait_for(page, COUNT_STORED + ".then((count) => count === 1)")  # what is not kept yet goes with a beacon as well
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    site.status, site.headers = 200, {}
    other = context.new_page()
    other.goto(site.url)
    wait_on(other, lambda: site.stored)
    wait_for(other, COUNT_STORED + ".then((count) => count === 0)")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true})); unjoin.track('two')")
    wait_on(page, lambda: len(site.stored) == 2)
    assert set(site.stored.values()) == {1}


def test_example_works_under_a_strict_policy(page, site):
    """No eval, no inline script, no inline style: a policy that allows the collector alone is enough."""
    script = f"'self' {site.collector_url}"
    site.page_headers = {"Content-Security-Policy": STRICT.format(script=script, connect=site.collector_url)}
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(site.url + "/examples/form.html")
    wander(page)
    page.get_by_role("button", name="beagle").click()
    page.get_by_label("What does the sign say?").press_sequentially("stop")
    page.get_by_role("button", name="Send").click()
    for kind in ("pointer", "key", "image_label", "text_answer", "page_view", "usage"):
        wait_on(page, lambda kind=kind: site.events(kind))
    assert complaints == []


def test_page_without_referrers_delivers_too(page, site):
    """Its beacon may come without an origin; the next page sends what it held under its real one."""
    site.page_headers = {"Referrer-Policy": "no-referrer"}
    page.goto(site.url)
    page.evaluate("unjoin.track('one')")
    wait_on(page, lambda: site.stored)
    assert isinstance(site, SdkSite)
