"""The playground page against a collector with moods: what a visitor sees, and what leaves the browser."""

import re
import time

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def _move(page):
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.move(box["x"] + 180, box["y"] + 90, steps=25)


def _wait(condition, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_everything_on_the_page_becomes_a_valid_event(page, moody):
    """Each control shows one type; a rejected one would teach visitors that the pipeline is broken."""
    page.goto(moody.url)
    _move(page)
    page.locator("#scroller").focus()
    page.keyboard.press("PageDown")
    page.locator("#typing").press_sequentially("seven keys", delay=15)
    page.get_by_role("button", name="lemon").click()
    page.get_by_role("button", name="Page view").click()
    page.get_by_role("button", name="Usage").click()
    for kind in ("pointer", "scroll", "key", "image_label", "page_view", "usage"):
        _wait(lambda kind=kind: moody.events(kind))
    _wait(lambda: sum(len(event.t_down) for event in moody.events("key")) == 10)
    expect(page.locator("#sent-sum")).to_have_text(re.compile(r"^(\d+) of \1 accepted$"))
    session = page.locator("#session").inner_text()
    assert {name for name, _ in moody.stored.values()} == {session}
    assert len(moody.events("pointer")[0].t) > 5
    assert max(moody.events("pointer")[0].x) <= 190


def test_which_key_was_pressed_never_leaves_the_browser(page, moody):
    """A key event carries timings only; the promise is kept at its source, not by the collector's refusal."""
    page.goto(moody.url)
    page.locator("#typing").press_sequentially("Qz", delay=15)
    _wait(lambda: moody.events("key"))
    (event,) = [event for _, _, batch in moody.batches for event in batch["events"] if event["type"] == "key"]
    assert set(event) == {"id", "type", "ts", "t_down", "t_up"}
    assert all(down <= up for down, up in zip(event["t_down"], event["t_up"], strict=True))


def test_touch_is_recorded_with_its_force(chromium, moody):
    """Phones have fingers, not pointers."""
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(moody.url)
    box = page.locator("#pad").bounding_box()
    cdp = context.new_cdp_session(page)
    points = [{"x": box["x"] + 20 + step * 5, "y": box["y"] + 30 + step, "force": 0.5} for step in range(20)]
    cdp.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points[:1]})
    for point in points[1:]:
        cdp.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    cdp.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    _wait(lambda: moody.events("touch"))
    assert set(moody.events("touch")[0].force) == {0.5}
    context.close()


def test_stored_rows_are_counted_and_labels_only_as_a_total(page, moody):
    """Labels never appear next to who sent them, on the page neither."""
    page.goto(moody.url)
    expect(page.locator("#state")).to_have_text("live")
    expect(page.locator("#stored-empty")).to_be_visible()
    page.get_by_role("button", name="Usage").click()
    page.get_by_role("button", name="pear").click()
    expect(page.locator("#n-analytics")).to_have_text("1")
    expect(page.locator("#n-labels")).to_have_text("41")
    expect(page.locator("#recent li")).to_have_count(1)
    expect(page.locator("#stored-empty")).to_be_hidden()
    expect(page.locator("#sent li", has_text="usage").locator(".became")).to_have_text("stored")
    expect(page.locator("#sent li", has_text="image_label").locator(".became")).to_have_text("accepted")


def test_rows_beyond_the_latest_are_shown_as_stored_once_the_count_says_so(page, moody):
    """The collector shows the latest rows alone; the others must not look as if they were still on their way."""
    page.goto(moody.url)
    page.evaluate("for (let i = 0; i < 30; i += 1) document.getElementById('usage').click()")
    page.get_by_role("button", name="pear").click()
    expect(page.locator("#sent .became[data-is=stored]")).to_have_count(30)
    expect(page.locator("#sent .became[data-is=accepted]")).to_have_count(1)


def test_clickhouse_away_is_said_and_events_are_still_accepted(page, moody):
    """Accepted means durable; the page must not suggest that something was lost."""
    moody.available = False
    page.goto(moody.url)
    expect(page.locator("#state")).to_have_text("ClickHouse away")
    expect(page.locator("#clickhouse-away")).to_be_visible()
    page.get_by_role("button", name="Usage").click()
    expect(page.locator("#sent .became")).to_have_text("accepted")
    moody.available = True
    expect(page.locator("#state")).to_have_text("live")
    expect(page.locator("#n-analytics")).to_have_text("1")


def test_refused_batch_waits_on_the_page_and_goes_again_with_the_same_ids(page, moody):
    """503 says: send it again, same ids."""
    moody.status = 503
    page.goto(moody.url)
    page.get_by_role("button", name="Usage").click()
    expect(page.locator("#sent .became")).to_have_text("waiting")
    expect(page.locator("#state")).to_have_text("collector away")
    moody.status = 200
    expect(page.locator("#sent .became")).to_have_text(re.compile("accepted|stored"))
    expect(page.locator("#state")).to_have_text("live")
    ids = [[event["id"] for event in batch["events"]] for _, _, batch in moody.batches]
    assert len(ids) >= 2
    assert all(sent == ids[0] for sent in ids)


def test_rejected_event_shows_its_reason(page, moody):
    """The reasons are a closed, documented list; a visitor can look them up."""
    moody.reject = [0]
    page.goto(moody.url)
    page.get_by_role("button", name="Usage").click()
    expect(page.locator("#sent .became")).to_have_text("rejected: invalid_value")
    expect(page.locator("#sent-sum")).to_have_text("0 of 1 accepted, 1 rejected")


def test_leaving_the_page_sends_what_is_open_as_a_beacon(page, moody):
    """The last second of a visit counts; fetch would be cut off."""
    page.goto(moody.url)
    page.get_by_role("button", name="Usage").click()
    page.goto("about:blank")
    _wait(lambda: moody.events("usage"))
    assert moody.batches[-1][1] == "text/plain"


def test_batches_have_at_most_50_events(page, moody):
    """The contract's limit is 500; a page that sends less at a time loses less at a time."""
    page.goto(moody.url)
    page.evaluate("for (let i = 0; i < 120; i += 1) document.getElementById('usage').click()")
    _wait(lambda: len(moody.events("usage")) == 120)
    assert max(len(batch["events"]) for _, _, batch in moody.batches) == 50
    assert len({event["id"] for _, _, batch in moody.batches for event in batch["events"]}) == 120


def test_every_control_can_be_reached_and_used_with_the_keyboard(page, moody):
    """Not everybody has a mouse."""
    page.goto(moody.url)
    reached = []
    for _ in range(9):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert reached[:8] == ["scroller", "typing", "apple", "cherries", "lemon", "pear", "page-view", "usage"]
    page.locator("#page-view").press("Enter")
    _wait(lambda: moody.events("page_view"))


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_runs_off_a_small_screen(page, moody, width):
    """Phones scroll down, not sideways."""
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(moody.url)
    page.get_by_role("button", name="Usage").click()
    expect(page.locator("#recent li")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_session_is_new_on_every_load(page, moody):
    """One visit, one session: nothing is kept in the browser that could tie two together."""
    page.goto(moody.url)
    first = page.locator("#session").inner_text()
    page.reload()
    assert re.fullmatch(r"pg-[0-9a-f]{16}", first)
    assert page.locator("#session").inner_text() != first
    assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
