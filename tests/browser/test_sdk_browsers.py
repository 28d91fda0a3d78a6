"""The SDK in Firefox and WebKit on the real stack: what was made is what is stored, for what each browser can do."""

import os
import signal
import time
import uuid
from collections import Counter

import pytest

from testkit.browsers import Firefox, WebKit
from testkit.sdk_site import LATER, SCRIPTS, noted
from testkit.stack_collector import collector_of, stack_answers
from tests.browser.conftest import started
from tests.browser.test_sdk_to_clickhouse import signals_of, site

__all__ = ["site"]
pytestmark = [pytest.mark.browser, pytest.mark.kafka]

LATE = """<script>addEventListener('pagehide', () => unjoin.track('late pagehide'));
document.addEventListener('visibilitychange', () => unjoin.track('late visibilitychange'));</script>"""
LEFT = ("beaconed", "beaconed: unkept")
FATES = ("accepted", "rejected", "refused", "dropped")


@pytest.fixture(params=[Firefox, WebKit], ids=lambda kind: kind.name)
def browser(request):
    yield from started(request.param)


def act(browser, mark):
    """Something of every type that a desktop has."""
    browser.move([(10, 10), (100, 100), (200, 150), (333, 222)])
    time.sleep(1.1)  # what is younger than a moment is kept back, for there may be an answer the next moment
    browser.move([(20, 40), (40, 240)])
    time.sleep(0.6)
    browser.evaluate("(document.getElementById('text').focus(), scrollTo(0, 300))")
    browser.type("seven letters ")
    browser.evaluate(
        f"""(unjoin.label('{mark}', 'beagle'), unjoin.label('{mark}-t', 'half \\ud83d', 'text_answer'),
        unjoin.page(), unjoin.track('acted', {{text: 'word '.repeat(500)}}), true)"""
    )


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_made_is_stored_through_ends_of_pages_and_a_killed_collector(browser, stack, site):
    """Closed tabs, last moments, a killed collector, a page that finds what others left: made = stored, or told."""
    mark = f"b-{uuid.uuid4().hex[:8]}"
    in_signals = f"SELECT event_id FROM signals WHERE site = '{site.name}'"
    before = {row["event_id"] for row in stack.rows(in_signals)}
    site.pages["late"] = f"<!doctype html><title>late</title><input id=text><p style='height:3000px'>{SCRIPTS}{LATE}"
    site.pages["later"] = LATER
    browser.goto(site.url + "/pages/late")
    browser.evaluate("(localStorage.clear(), 1)")
    act(browser, mark + "-1")
    browser.goto(site.url + "/")  # with events of the last moment
    act(browser, mark + "-2")
    browser.evaluate("unjoin.flush()")
    browser.open()
    browser.goto(site.url + "/pages/late")
    act(browser, mark + "-3")
    browser.close_tab()
    os.kill(collector_of(stack), signal.SIGKILL)
    act(browser, mark + "-4")
    browser.evaluate("unjoin.flush()")
    browser.open()
    browser.goto(site.url + "/")
    act(browser, mark + "-5")
    browser.evaluate("unjoin.flush()")
    browser.close_tab()
    wait_until(lambda: stack_answers(stack))
    browser.goto(site.url + "/pages/later")  # finds what the closed ones left

    made = {note["event"]["id"]: note["event"] for note in noted(browser)}
    kinds = Counter(event["type"] for event in made.values())
    assert {kind: kinds[kind] for kind in ("page_view", "image_label", "text_answer")} == dict.fromkeys(
        ("page_view", "image_label", "text_answer"), 5
    )
    assert {"pointer", "scroll", "key"} <= kinds.keys()
    late = [event["properties"]["event"] for event in made.values() if event["type"] == "usage"]
    assert late.count("acted") == 5
    assert late.count("late pagehide") == 2, "no listener of the page's own ran at its end"

    def settled():
        events = {note["event"]["id"]: note["fates"] for note in noted(browser)}
        return all(set(fates) & {*FATES, *LEFT} for fates in events.values())

    try:
        wait_until(settled)
    except AssertionError:
        print([(note["event"], note["fates"]) for note in noted(browser) if note["fates"][-1] not in FATES])
        raise
    # What only a beacon carried, past a store that had not finished, may have met the killed collector: it is told so.
    unkept = {note["event"]["id"] for note in noted(browser) if note["fates"][-1] == "beaconed: unkept"}
    signals = signals_of(browser)
    wait_until(lambda: signals.keys() - unkept <= {row["event_id"] for row in stack.rows(in_signals)})
    analytics = {key for key, event in made.items() if event["type"] in ("page_view", "usage")} - unkept
    in_analytics = f"SELECT event_id FROM analytics WHERE site = '{site.name}'"
    wait_until(lambda: analytics <= {row["event_id"] for row in stack.rows(in_analytics)})
    labels = [note["fates"] for note in noted(browser) if "answer" in note["event"]]
    assert all(set(fates) & {"accepted", *LEFT} for fates in labels)
    fates = Counter(fate for note in noted(browser) for fate in note["fates"][-1:])
    print(browser.name, "made:", dict(sorted(kinds.items())), "last fates:", dict(fates))  # `pytest -rP` shows it
    assert not {"refused", "dropped"} & {fate.partition(":")[0] for fate in fates}
    assert {row["event_id"] for row in stack.rows(in_signals)} <= signals.keys() | before, "stored, and nobody made it"
