"""The live page against the whole pipeline: what is done in a browser is read back from ClickHouse, and counted."""

import re

import pytest
from playwright.sync_api import expect

from testkit.sdk_site import wait_on, wander

pytestmark = [pytest.mark.browser, pytest.mark.kafka]


def number(page, name):
    text = page.locator(f"#{name}").inner_text().replace(",", "")
    return int(text) if text.isdigit() else None


def move(page):
    wander(page, 480, 390)
    page.mouse.move(220, 180, steps=25)
    page.wait_for_timeout(300)  # the page's own interval: what is far from the hand by then is told


def test_every_counter_is_what_was_sent_and_stored(page, stack):
    """The page is the shortest proof that every part of the pipeline works; a wrong number would be a lie."""
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(stack.http)
    expect(page.locator("#state")).to_have_text("live")
    session = page.locator("#session").inner_text()
    move(page)
    page.locator("#typing").press_sequentially("timings", delay=15)
    page.get_by_role("button", name="Page view").click()
    page.get_by_role("button", name="Usage").click()
    page.get_by_role("button", name="apple").click()
    for kind in range(4):
        page.locator("#bad-kind").select_option(index=kind)
        page.get_by_role("button", name="Send it").click()
        expect(page.locator("#rejected")).to_have_text(str(kind + 1))
    for kind in ("pointer", "key", "page_view", "usage"):
        became = page.locator("#sent li").filter(has_text=kind).filter(has_not_text="rejected").first.locator(".became")
        expect(became).to_have_text("stored")
    wait_on(page, lambda: number(page, "made") == number(page, "accepted") + number(page, "rejected"))
    # Labels are accepted, and the page cannot know when which of them is stored.
    expect(page.locator("#sent li", has_text="image_label").locator(".became")).to_have_text("accepted")
    assert "image_label" not in page.locator("#stored").inner_text()
    wait_on(page, lambda: number(page, "n-signals") == number(page, "t-signals"))
    wait_on(page, lambda: number(page, "n-analytics") == number(page, "t-analytics"))
    for table in ("signals", "analytics"):
        assert stack.count(f"SELECT count() FROM {table} WHERE session = '{session}'") == number(page, f"n-{table}")
    assert number(page, "n-analytics") == 1 + 1 + 4  # one good event beside each bad one
    assert number(page, "accepted") == number(page, "t-signals") + number(page, "t-analytics") + 1
    for reason in ("forbidden_field", "unequal_arrays", "category_not_allowed", "unknown_type"):
        row = page.locator("#outcomes tr", has_text=f"rejected: {reason}")
        expect(row.locator("td").first).to_have_text("1")
    expect(page.locator("#fresh")).to_have_text(re.compile(r"^\d+\.\d s$"))
    assert said == []


def test_rows_are_what_the_browser_recorded(page, stack):
    """Samples of equal lengths, timings without keys, an address for analytics alone, and no session in any label."""
    page.goto(stack.http)
    session = page.locator("#session").inner_text()
    move(page)
    page.locator("#typing").press_sequentially("seven", delay=15)
    page.get_by_role("button", name="Usage").click()
    page.get_by_role("button", name="pear").click()
    mine = f"session = '{session}'"
    assert stack.wait_until(f"SELECT sum(length(t)) > 1 FROM signals WHERE {mine} AND type = 'pointer'")
    assert stack.wait_for_count(f"SELECT sum(length(t_up)) FROM signals WHERE {mine} AND type = 'key'", 3) == 3
    assert stack.wait_for_count(f"SELECT count() FROM analytics WHERE {mine}", 1) == 1
    rows = stack.rows(f"SELECT t, x, y FROM signals WHERE {mine} AND type = 'pointer'")
    assert all(len(row["t"]) == len(row["x"]) == len(row["y"]) for row in rows)
    (usage,) = stack.rows(f"SELECT ip, browser FROM analytics WHERE {mine}")
    assert usage["ip"] == "127.0.0.1"
    assert "Chrom" in usage["browser"]
    assert stack.count(f"SELECT count() FROM labels WHERE concat(task, kind, answer) LIKE '%{session}%'") == 0


def test_invented_sessions_fill_a_crowd_that_leaves_as_rows(page, stack):
    """Held labels are a count of sessions; what leaves, and what people agree on, are totals of whole crowds."""
    page.goto(stack.http)
    held = page.locator("#held")
    expect(held).to_have_text(re.compile(r"^held: \d+ of 20 sessions$"))
    rows = stack.count("SELECT count() FROM labels")
    page.get_by_role("button", name="lemon").click()
    for _ in range(4):  # with what other tests left, 20 to 39 sessions
        before = page.locator("#t-labeled").inner_text()
        page.get_by_role("button", name="Add 5 invented sessions").click()
        expect(page.locator("#invented")).to_have_text("5 sessions, 20 labels accepted.")
        expect(page.locator("#t-labeled")).not_to_have_text(before)
    wait_on(page, lambda: (number(page, "n-labels") or 0) >= rows + 20)
    expect(page.locator("#consensus li").first).to_have_text(re.compile(r"apple \d+ % of \d+ votes"))
    assert number(page, "n-labels") == stack.count("SELECT count() FROM labels")
    taken = page.locator("#seats .taken")
    wait_on(page, lambda: held.inner_text() == f"held: {taken.count()} of 20 sessions")
    assert page.locator("#session").inner_text() not in page.locator("#consensus").inner_text()
    apple = "task = 'playground-fruit-1' AND answer = 'apple'"
    votes = stack.count(f"SELECT count() FROM labels WHERE {apple}")
    total = stack.count("SELECT count() FROM labels WHERE task = 'playground-fruit-1'")
    text = f"apple {int(100 * votes / total + 0.5)} %"
    assert text in page.locator("#consensus li").first.inner_text()


def test_another_session_sees_none_of_it_and_leaving_loses_nothing(page, stack):
    """The page shows the visitor's own session, a reload begins another, and what was open leaves as a beacon."""
    page.goto(stack.http)
    session = page.locator("#session").inner_text()
    expect(page.locator("#state")).to_have_text("live")
    page.get_by_role("button", name="Usage").click()
    page.reload()
    assert stack.wait_for_count(f"SELECT count() FROM analytics WHERE session = '{session}'", 1) == 1
    expect(page.locator("#n-analytics")).to_have_text("0")
    expect(page.locator("#stored")).to_be_hidden()
    assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
