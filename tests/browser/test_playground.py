"""The playground page against the whole pipeline: what is done in a browser is read back from ClickHouse."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.kafka]


def test_what_a_visitor_does_is_stored_and_shown(page, stack_url):
    """The page is the shortest proof that every part of the pipeline works."""
    page.goto(stack_url)
    expect(page.locator("#state")).to_have_text("live", timeout=30_000)
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.move(box["x"] + 180, box["y"] + 90, steps=25)
    page.locator("#typing").press_sequentially("timings", delay=15)
    page.get_by_role("button", name="Page view").click()
    page.get_by_role("button", name="Usage").click()
    page.get_by_role("button", name="apple").click()
    for kind in ("pointer", "key", "page_view", "usage"):
        row = page.locator("#sent li", has_text=kind).first
        expect(row.locator(".became")).to_have_text("stored", timeout=30_000)
    # A label is accepted, and the page cannot know when it is stored.
    expect(page.locator("#sent li", has_text="image_label").locator(".became")).to_have_text("accepted")
    expect(page.locator("#sent-sum")).to_have_text(re.compile(r"^(\d+) of \1 accepted$"))
    expect(page.locator("#n-analytics")).to_have_text("2")
    expect(page.locator("#n-labels")).to_have_text(re.compile(r"^[\d,]+$"))
    assert "image_label" not in page.locator("#recent").inner_text()


def test_another_session_sees_none_of_it(page, stack_url):
    """The page shows the visitor's own session, and a reload begins another."""
    page.goto(stack_url)
    page.get_by_role("button", name="Usage").click()
    expect(page.locator("#n-analytics")).to_have_text("1", timeout=30_000)
    page.reload()
    expect(page.locator("#n-analytics")).to_have_text("0", timeout=30_000)
    expect(page.locator("#recent-part")).to_be_hidden()
