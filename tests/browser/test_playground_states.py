"""The live page against a collector with moods: what a visitor sees when parts are away, and what leaves the page."""

import re

import pytest
from playwright.sync_api import expect

from testkit.sdk_site import go_hidden, touch, wait, wait_on, wander

pytestmark = pytest.mark.browser


def became(page, kind, nth=0):
    return page.locator("#sent li", has_text=kind).nth(nth).locator(".became")


def test_everything_on_the_page_becomes_a_valid_event(page, moody):
    """Each control shows one type; a rejected one would teach visitors that the pipeline is broken."""
    page.goto(moody.url)
    expect(page.locator("#sent-empty")).to_be_visible()
    expect(page.locator("#stored-empty")).to_be_visible()
    expect(page.locator("#state")).to_have_text("live")
    wander(page, 480, 390)
    page.wait_for_timeout(300)
    page.mouse.wheel(0, 200)
    page.locator("#typing").press_sequentially("seven keys", delay=15)
    page.get_by_role("button", name="lemon").click()
    page.get_by_role("button", name="Page view").click()
    page.get_by_role("button", name="Usage").click()
    for kind in ("pointer", "scroll", "key", "image_label", "page_view", "usage"):
        wait(lambda kind=kind: moody.events(kind))
    assert {len(event.t_down) for event in moody.events("key")} == {3}  # whatever was typed
    expect(page.locator("#sent-sum")).to_have_text(re.compile(r"^(\d+) of \1 accepted$"))
    session = page.locator("#session").inner_text()
    assert re.fullmatch(r"pg-[0-9a-f]{16}", session)
    assert {name for name, _ in moody.stored.values()} == {session}
    expect(page.locator("#sent-empty")).to_be_hidden()
    expect(page.locator("#last-plot")).to_have_attribute("role", "img")


def test_last_signal_is_drawn_as_it_was_sent(page, moody):
    """What is collected is best explained by showing it: of keys, when, and never which."""
    page.goto(moody.url)
    page.locator("#typing").press_sequentially("Qzx", delay=15)
    wait(lambda: moody.events("key"))
    (event,) = moody.events("key")
    expect(page.locator("#last-what")).to_have_text(re.compile("^Your last key event as it was sent: 3 samples"))
    expect(page.locator("#last-plot rect")).to_have_count(len(event.t_down))
    (sent,) = [one for _, _, batch in moody.batches for one in batch["events"] if one["type"] == "key"]
    assert set(sent) == {"id", "type", "ts", "t_down", "t_up"}


def test_touch_is_recorded_on_a_phone(chromium, moody):
    """Phones have fingers, not pointers; and the page scrolls under them as any other."""
    context = chromium.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(moody.url)
    expect(page.locator("#state")).to_have_text("live")
    touch(context, page, [{"x": 60 + step * 5, "y": 300 + step, "force": 0.5} for step in range(20)])
    wait_on(page, lambda: moody.events("touch"))
    assert set(moody.events("touch")[0].force) <= {0.0, 0.5}
    expect(page.locator("#last-what")).to_have_text(re.compile("touch"))
    context.close()


def test_stored_rows_are_counted_and_labels_only_as_a_total(page, moody):
    """Labels never appear next to who sent them, on the page neither."""
    page.goto(moody.url)
    page.get_by_role("button", name="Usage").click()
    page.get_by_role("button", name="pear").click()
    expect(page.locator("#n-analytics")).to_have_text("1")
    expect(page.locator("#n-labels")).to_have_text("41")
    expect(page.locator("#stored li", has_text="usage")).to_have_count(1)
    expect(became(page, "usage")).to_have_text("stored")
    expect(became(page, "image_label")).to_have_text("accepted")
    expect(page.locator("#held")).to_have_text("held: 7 of 20 sessions")
    expect(page.locator("#seats .taken")).to_have_count(7)
    row = page.locator("#outcomes tr", has_text="labels accepted").locator("td")
    expect(row.first).to_have_text("–")
    expect(row.last).to_have_text("1")
    assert "pear" not in page.locator("#sent").inner_text()


def test_rows_beyond_the_latest_are_shown_as_stored_once_the_count_says_so(page, moody):
    """The collector tells the latest rows alone; the others must not look as if they were still on their way."""
    page.goto(moody.url)
    page.evaluate("for (let i = 0; i < 30; i += 1) document.getElementById('usage').click()")
    stored = page.locator("#sent li", has_text="usage", has=page.locator("[data-is=stored]"))
    expect(stored).to_have_count(30)


def test_clickhouse_away_is_said_and_events_are_still_accepted(page, moody):
    """Accepted means durable; the page must not suggest that something was lost."""
    moody.available = False
    page.goto(moody.url)
    expect(page.locator("#state")).to_have_text("ClickHouse away")
    expect(page.locator("#notice")).to_contain_text("safe in Kafka")
    page.get_by_role("button", name="Usage").click()
    expect(became(page, "usage")).to_have_text("accepted")
    moody.available = True
    expect(page.locator("#state")).to_have_text("live")
    expect(page.locator("#notice")).to_have_text("ClickHouse is back; what waited goes on.")
    expect(became(page, "usage")).to_have_text("stored")


def test_kafka_away_is_said_with_what_waits_in_the_spool(page, moody):
    """The collector goes on accepting; a page that said less would have people wonder where their events are."""
    page.goto(moody.url)
    expect(page.locator("#state")).to_have_text("live")
    moody.kafka, moody.spooled = False, 12
    expect(page.locator("#state")).to_have_text("Kafka away")
    expect(page.locator("#notice")).to_contain_text("waits in its spool, synced to disk")
    expect(page.locator("#durable")).to_have_text("durable in its spool: 12 wait")
    expect(page.locator("#node-t-signals")).to_contain_text("yours, with the spool’s")
    moody.kafka, moody.spooled = True, 0
    expect(page.locator("#notice")).to_have_text("Kafka is back; what waited goes on.")
    expect(page.locator("#state")).to_have_text("live")


def test_processor_away_is_said(page, moody):
    """The door's count would otherwise stand still without a reason."""
    page.goto(moody.url)
    expect(page.locator("#held")).to_have_text("held: 7 of 20 sessions")
    moody.door = None
    expect(page.locator("#state")).to_have_text("processor away")
    expect(page.locator("#held")).to_have_text("held: –")


def test_refused_batch_waits_on_the_page_and_goes_again_with_the_same_ids(page, moody):
    """503 says: send it again, same ids."""
    moody.status = 503
    page.goto(moody.url)
    page.get_by_role("button", name="Usage").click()
    expect(became(page, "usage")).to_have_text("waiting")
    expect(page.locator("#state")).to_have_text("collector busy")
    moody.status = 200
    expect(became(page, "usage")).to_have_text(re.compile("accepted|stored"))
    expect(page.locator("#state")).to_have_text("live")
    ids = [[event["id"] for event in batch["events"] if event["type"] == "usage"] for _, _, batch in moody.batches]
    assert len(ids) >= 2
    assert ids[0] == ids[1]


def test_collector_away_is_said_and_found_again(page, moody):
    """Who restarts the collector wants to see the page come back by itself."""
    page.goto(moody.url)
    expect(page.locator("#state")).to_have_text("live")
    moody.streams, moody.status = "gone", 0
    expect(page.locator("#state")).to_have_text("collector away")
    page.get_by_role("button", name="Usage").click()
    expect(page.locator("#under-way")).to_contain_text("on the way")
    moody.streams, moody.status = "open", 200
    expect(page.locator("#state")).to_have_text("live")
    expect(became(page, "usage")).to_have_text("stored")


def test_too_many_pages_is_said(page, moody):
    """Streams are bounded; the page that gets none still sends."""
    moody.streams = "full"
    page.goto(moody.url)
    expect(page.locator("#state")).to_have_text("live view full")
    page.get_by_role("button", name="Usage").click()
    expect(became(page, "usage")).to_have_text("accepted")


def test_hidden_page_holds_no_stream(page, moody):
    """A browser has six connections to a host; pages that nobody sees would use them up."""
    page.goto(moody.url)
    wait_on(page, lambda: moody.listeners == 1)
    go_hidden(page)
    wait_on(page, lambda: moody.listeners == 0)


def test_rejected_event_shows_its_reason(page, moody):
    """The reasons are a closed, documented list; a visitor can look them up."""
    page.goto(moody.url)
    expect(page.locator("#state")).to_have_text("live")
    moody.reject = [0]
    page.get_by_role("button", name="Usage").click()
    expect(page.locator("#sent .became[data-is=rejected]")).to_have_text("rejected: invalid_value")
    expect(page.locator("#sent-sum")).to_contain_text(", 1 rejected")
    expect(page.locator("#rejected")).to_have_text("1")


def test_leaving_the_page_sends_what_is_open_as_a_beacon(page, moody):
    """The last second of a visit counts; fetch would be cut off."""
    page.goto(moody.url)
    page.get_by_role("button", name="Usage").click()
    page.goto("about:blank")
    wait(lambda: moody.events("usage"))
    assert moody.batches[-1][1] == "text/plain"


def test_visitor_who_opted_out_is_told_what_does_not_happen(chromium, moody):
    """Two buttons that do nothing would look broken."""
    context = chromium.new_context()
    context.add_init_script("Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})")
    page = context.new_page()
    page.goto(moody.url)
    expect(page.locator("#opted-out")).to_be_visible()
    page.get_by_role("button", name="Usage").click()
    page.get_by_role("button", name="apple").click()
    wait_on(page, lambda: moody.events("image_label"))
    assert moody.events("usage") == []
    context.close()
