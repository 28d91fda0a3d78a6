"""The live page for everybody: keyboard, screen reader, phone, light and dark, and whoever wants nothing to move."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from testkit.sdk_site import wait, wait_on

pytestmark = pytest.mark.browser

HERE = Path(__file__).parent
CONTRAST = (HERE / "contrast.js").read_text()
STRUCTURE = (HERE / "structure.js").read_text()


def fill(page, moody):
    """Every part of the page shows something."""
    moody.votes = [{"task": "playground-fruit-1", "answer": "apple", "votes": 18, "total": 20}]
    page.goto(moody.url)
    expect(page.locator("#state")).to_have_text("live")
    page.get_by_role("button", name="Usage").click()
    page.get_by_role("button", name="apple").click()
    expect(page.locator("#stored li", has_text="usage")).to_have_count(1)
    moody.available = False
    expect(page.locator(".notice")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast(page, moody, scheme):
    """WCAG AA, in either scheme; and dark is dark."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    fill(page, moody)
    page.mouse.move(5, 5)
    found = page.evaluate(CONTRAST)
    assert found["bad"] == []
    assert found["texts"] > 60
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(ground[4:].split(",")[0]) < 40) == (scheme == "dark")


def test_structure_is_there_for_who_does_not_see_it(page, moody):
    """Landmarks, headings, names; and live regions for what happens, none for numbers that change all the time."""
    fill(page, moody)
    assert page.evaluate(STRUCTURE) == []
    live = page.evaluate("[...document.querySelectorAll('[role=status], [aria-live]')].map((node) => node.id)")
    assert live == ["notice", "thanks", "invented", "refused"]


def test_every_control_can_be_reached_and_used_with_the_keyboard(page, moody):
    """Not everybody has a mouse; and focus shows."""
    page.goto(moody.url)
    expect(page.locator("#state")).to_have_text("live")
    reached = []
    for _ in range(11):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            "[document.activeElement.id || document.activeElement.textContent, "
            "getComputedStyle(document.activeElement).outlineStyle]"
        )
        reached.append(name)
        assert outline == "solid", name
    controls = ["typing", "apple", "cherries", "lemon", "pear", "invent", "page-view", "usage", "bad-kind", "bad"]
    assert reached[:10] == controls
    page.locator("#page-view").press("Enter")
    wait(lambda: moody.events("page_view"))
    page.locator("#invent").press("Space")
    wait_on(page, lambda: len({name for name, _ in moody.stored.values() if "invented" in name}) == 5)
    expect(page.locator("#invent")).to_be_focused()


def test_nothing_runs_off_a_small_screen(page, moody):
    """Phones scroll down, not sideways."""
    fill(page, moody)
    for width in (1280, 860, 768, 390, 360, 320):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        boxes = [node.bounding_box() for node in page.locator(".node").all()]
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
    heights = [button.bounding_box()["height"] for button in page.get_by_role("button").all()]
    assert min(heights) >= 44


def test_dots_travel_and_arrive(page, moody):
    """A picture that moves, from real counts; nothing is left behind on it."""
    page.goto(moody.url)
    expect(page.locator("#state")).to_have_text("live")
    page.get_by_role("button", name="Usage").click()
    expect(page.locator(".dot.analytics").first).to_be_attached()
    expect(page.locator(".dot")).to_have_count(0)


def test_who_wants_nothing_to_move_sees_lines_light_up(page, moody):
    """`prefers-reduced-motion` is often a matter of health."""
    page.emulate_media(reduced_motion="reduce")
    page.goto(moody.url)
    expect(page.locator("#state")).to_have_text("live")
    page.evaluate(
        """() => { globalThis.dots = 0; new MutationObserver((records) => records.forEach((record) => {
        dots += [...record.addedNodes].filter((node) => node.nodeName === 'circle').length; }))
        .observe(document.getElementById('lines'), {childList: true}); }"""
    )
    page.get_by_role("button", name="Usage").click()
    expect(page.locator("#lines path.on").first).to_be_attached()
    expect(page.locator("#n-analytics")).to_have_text("1")
    assert page.evaluate("dots") == 0
