"""The playground page against the whole pipeline: what is done in a browser is read back from ClickHouse."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.kafka]


def _move(page):
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.move(box["x"] + 180, box["y"] + 90, steps=25)


def test_what_a_visitor_does_is_stored_and_shown(page, stack):
    """The page is the shortest proof that every part of the pipeline works."""
    page.goto(stack.http)
    expect(page.locator("#state")).to_have_text("live")
    _move(page)
    page.locator("#typing").press_sequentially("timings", delay=15)
    page.get_by_role("button", name="Page view").click()
    page.get_by_role("button", name="Usage").click()
    page.get_by_role("button", name="apple").click()
    for kind in ("pointer", "key", "page_view", "usage"):
        row = page.locator("#sent li", has_text=kind).first
        expect(row.locator(".became")).to_have_text("stored")
    # A label is accepted, and the page cannot know when it is stored.
    expect(page.locator("#sent li", has_text="image_label").locator(".became")).to_have_text("accepted")
    expect(page.locator("#sent-sum")).to_have_text(re.compile(r"^(\d+) of \1 accepted$"))
    expect(page.locator("#n-analytics")).to_have_text("2")
    expect(page.locator("#n-labels")).to_have_text(re.compile(r"^[\d,]+$"))
    assert "image_label" not in page.locator("#recent").inner_text()


def test_rows_are_what_the_browser_recorded(page, stack):
    """Samples of equal lengths, timings without keys, an address for analytics alone, and no session in any label."""
    page.goto(stack.http)
    session = page.locator("#session").inner_text()
    _move(page)
    page.locator("#typing").press_sequentially("seven", delay=15)
    page.get_by_role("button", name="Usage").click()
    page.get_by_role("button", name="pear").click()
    mine = f"session = '{session}'"
    assert stack.wait_until(f"SELECT sum(length(t)) > 10 FROM signals WHERE {mine} AND type = 'pointer'")
    assert stack.wait_for_count(f"SELECT sum(length(t_up)) FROM signals WHERE {mine} AND type = 'key'", 5) == 5
    assert stack.wait_for_count(f"SELECT count() FROM analytics WHERE {mine}", 1) == 1
    rows = stack.rows(f"SELECT t, x, y FROM signals WHERE {mine} AND type = 'pointer'")
    assert all(len(row["t"]) == len(row["x"]) == len(row["y"]) for row in rows)
    (usage,) = stack.rows(f"SELECT ip, browser FROM analytics WHERE {mine}")
    assert usage["ip"] == "127.0.0.1"
    assert "Chrom" in usage["browser"]
    assert stack.count(f"SELECT count() FROM labels WHERE concat(task, kind, answer) LIKE '%{session}%'") == 0


def test_a_label_waits_for_its_crowd_and_is_shown_as_a_number(page, stack):
    """Held labels are a count of sessions, never next to who sent them."""
    page.goto(stack.http)
    held = page.locator("#held")
    expect(held).to_have_text(re.compile(r"^held: \d+ of 20 sessions$"))
    before = held.inner_text()
    page.get_by_role("button", name="lemon").click()
    # One more, or none where this was the last of a crowd.
    expect(held).not_to_have_text(before)
    expect(held).to_have_text(re.compile(r"^held: \d+ of 20 sessions$"))
    assert page.locator("#session").inner_text() not in page.locator("#counts").inner_text()


def test_another_session_sees_none_of_it(page, stack):
    """The page shows the visitor's own session, and a reload begins another."""
    page.goto(stack.http)
    page.get_by_role("button", name="Usage").click()
    expect(page.locator("#n-analytics")).to_have_text("1")
    page.reload()
    expect(page.locator("#n-analytics")).to_have_text("0")
    expect(page.locator("#recent-part")).to_be_hidden()
