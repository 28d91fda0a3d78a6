"""The SDK in a real browser, the real collector, Kafka, ClickHouse: what was done on pages against the rows stored."""

import os
import re
import signal
import time
import uuid
from collections import Counter

import pytest

from testkit.sdk_site import STRICT, Device, SdkSite, noted, touch, wait_on, wander
from testkit.stack_collector import collector_of, stack_answers

pytestmark = [pytest.mark.browser, pytest.mark.kafka]


@pytest.fixture(scope="module")
def site(stack):
    """Pages on an origin of their own, with a key of their own."""
    site = SdkSite()
    site.start()
    name = f"sdk-{uuid.uuid4().hex[:8]}"
    added = stack.command("sites", "add", name, "--origin", site.url, "--categories", "signals,labeled,analytics")
    assert added.returncode == 0, added.stderr
    site.name = name
    site.options = {"key": re.search(r"ub_\S+", added.stdout)[0], "endpoint": stack.http, "interval": 500}
    deadline = time.monotonic() + 20
    while stack.post({"session": "s-1", "events": []}, site.options["key"])[0] != 200:  # collectors look every second
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield site
    site.stop()


@pytest.fixture
def context(chromium):
    context = chromium.new_context(viewport={"width": 800, "height": 900}, has_touch=True)
    yield context
    context.close()


def act(context, page, mark, device, turn, answers_first=False):
    """Something of every type; on `turn` depends where and what."""
    if answers_first:
        answer(page, mark, turn)
        page.evaluate("unjoin.flush()")
    wander(page, 400 + turn, 500)
    page.mouse.wheel(0, 200 + turn)
    page.locator("#text").press_sequentially("seven ", delay=5)
    touch(context, page, [{"x": 50 + n * 9, "y": 400 + turn, "force": 0.5} for n in range(12)])
    device.move(turn, 2, 9.8)
    if not answers_first:
        answer(page, mark, turn)


def answer(page, mark, turn):
    """An answer of each kind, a page view and a use."""
    page.evaluate(
        """([mark, turn]) => { unjoin.label(`${mark}-i${turn}`, "beagle");
        unjoin.label(`${mark}-a${turn}`, "hello", "audio_transcript");
        unjoin.label(`${mark}-t${turn}`, "stop", "text_answer");
        unjoin.page({turn}); unjoin.track("acted", {turn}); }""",
        [mark, turn],
    )


def fill_crowds(stack, mark, round_):
    """Labels of other sessions, so that those of the pages may leave the door with them."""
    for number in range(24):
        tasks = [f"{mark}-filler-{n}" for n in range(2)]
        events = [
            {"id": f"{mark}-{round_}-{number}-{task}", "type": "image_label", "ts": time.time_ns() // 1_000_000,
             "task": task, "answer": "word"}
            for task in tasks
        ]  # fmt: skip
        assert stack.post({"session": f"{mark}-{round_}-{number}", "events": events})[0] == 200


def test_every_action_is_one_row_through_closed_pages_and_a_killed_collector(context, stack, site):
    """Actions against rows for every type, difference 0: a page closed in the middle, the collector killed and back."""
    mark = f"sdk-{uuid.uuid4().hex[:8]}"
    first = context.new_page()
    first.goto(site.url)
    device = Device(context, first)
    first.reload()
    for turn in (1, 2):
        act(context, first, mark, device, turn)
        first.wait_for_timeout(300)
    second = context.new_page()
    second.goto(site.url)
    act(context, second, mark, Device(context, second), 3)
    second.close()  # in the middle: nothing of it was sent but what its closing sends

    os.kill(collector_of(stack), signal.SIGKILL)
    act(context, first, mark, device, 4, answers_first=True)
    third = context.new_page()
    third.goto(site.url)
    act(context, third, mark, Device(context, third), 5)
    third.close()  # while nobody answers
    act(context, first, mark, device, 6)
    wait_on(first, lambda: stack_answers(stack), 60)
    last = context.new_page()  # finds what the closed ones left
    last.goto(site.url)

    made = {note["event"]["id"]: note["event"] for note in noted(last)}
    turns = Counter(event["type"] for event in made.values())
    assert any("waiting" in note["fates"] for note in noted(last)), "nobody noticed that the collector was away"
    assert {"pointer", "scroll", "key", "touch", "gyroscope", "accelerometer"} <= turns.keys()
    assert {kind: turns[kind] for kind in ("page_view", "usage", "image_label", "text_answer")} == dict.fromkeys(
        ("page_view", "usage", "image_label", "text_answer"), 6
    )
    wait_on(
        last,
        lambda: stack.count(f"SELECT count() FROM signals WHERE site = '{site.name}'") >= len(signals_of(last)),
        60,
    )
    signals = signals_of(last)
    rows = stack.rows(f"SELECT * FROM signals WHERE site = '{site.name}'")
    assert sorted(row["event_id"] for row in rows) == sorted(signals)
    for row in rows:
        event = signals[row["event_id"]]
        assert (row["type"], row["ts"]) == (event["type"], event["ts"])
        for name in ("x", "y", "z", "force", "t_up"):
            assert row[name] == event.get(name, [])
        assert row["t"] == event.get("t", event.get("t_down"))
    assert {len(event["t_up"]) for event in signals.values() if "t_up" in event} == {3}  # whatever was typed
    analytics = {key for key, event in made.items() if event["type"] in ("page_view", "usage")}
    of_site = f"FROM analytics WHERE site = '{site.name}'"
    in_analytics = f"SELECT event_id {of_site}"
    assert stack.wait_for_count(f"SELECT count() FROM ({in_analytics})", 12) == 12
    assert {row["event_id"] for row in stack.rows(in_analytics)} == analytics

    own = f"FROM labels WHERE task LIKE '{mark}-%' AND task NOT LIKE '%filler%'"
    labels = f"SELECT count() {own}"
    for round_ in range(6):
        fill_crowds(stack, mark, round_)
        if stack.wait_for_count(labels, 18, seconds_max=5) == 18:
            break
    kinds = stack.rows(f"SELECT kind, count() AS n {own} GROUP BY kind")
    assert {row["kind"]: row["n"] for row in kinds} == dict.fromkeys(
        ("image_label", "audio_transcript", "text_answer"), 6
    )
    made_of = Counter(event["type"] for event in signals.values()) + Counter({"page_view": 6, "usage": 6})
    stored = Counter(row["type"] for row in rows) + Counter(
        {row["type"]: row["n"] for row in stack.rows(f"SELECT type, count() AS n {of_site} GROUP BY type")}
    )
    print("made:  ", dict(sorted(made_of.items())), "labels: 18")  # `pytest -rP` shows it
    print("stored:", dict(sorted(stored.items())), f"labels: {stack.count(labels)}")
    assert made_of == stored


def signals_of(page):
    events = (note["event"] for note in noted(page))
    return {event["id"]: event for event in events if "t" in event or "t_down" in event}


def test_pinned_script_tag_works_under_a_strict_policy(context, stack, site):
    """What `unjoin sdk` prints is all that a page needs; the browser checks that the file is that one."""
    printed = stack.command("sdk", "--endpoint", stack.http, "--key", site.options["key"]).stdout
    assert re.search(r'src="\S+/sdk/[0-9a-f]{16}\.js" integrity="sha384-\S{64}" crossorigin="anonymous"', printed)
    policy = STRICT.format(script=f"'self' {stack.http}", connect=stack.http)
    mark = f"sdk-{uuid.uuid4().hex[:8]}"
    page = context.new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    site.tag, site.page_headers = printed, {"Content-Security-Policy": policy}
    page.goto(f"{site.url}/tag")
    site.page_headers = {}
    page.evaluate("(mark) => unjoin.track(mark)", mark)
    stored = f"SELECT count() FROM analytics WHERE site = '{site.name}' AND properties LIKE '%{mark}%'"
    assert stack.wait_for_count(stored, 1) == 1
    assert complaints == []


def test_key_of_another_origin_writes_nothing(context, stack, site):
    """A key is public, and bound to the origins of its site; the page goes on as if nothing were."""
    mark = f"sdk-{uuid.uuid4().hex[:8]}"
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    own, site.options = site.options, {**site.options, "key": "dev-browser-key"}
    page.goto(site.url)
    site.options = own
    page.evaluate("(mark) => unjoin.track(mark)", mark)
    wait_on(page, lambda: page.evaluate("unjoin.counts().waiting"))
    page.goto("about:blank")
    page.goto(site.url)
    page.evaluate("(mark) => unjoin.track(mark + '-own')", mark)
    marked = f"SELECT count() FROM analytics WHERE properties LIKE '%{mark}%'"
    assert stack.wait_for_count(marked + f" AND site = '{site.name}'", 1) == 1
    assert stack.count(marked) == 1
    assert errors == []
