"""The SDK in a real browser against a collector with moods: what it collects, and what never leaves the browser."""

import re

import pytest

from testkit.sdk_site import Device, SdkSite, noted, touch, wait_for, wait_on, wander

pytestmark = pytest.mark.browser


@pytest.fixture
def site():
    """On ports, and so an origin, of its own."""
    site = SdkSite()
    site.start()
    yield site
    site.stop()


@pytest.fixture
def context(chromium):
    context = chromium.new_context(viewport={"width": 800, "height": 600})
    yield context
    context.close()


@pytest.fixture
def page(context):
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert errors == []


def ends_at(site, kind, **fields):
    """Whether the last sample of a type is this one."""
    events = sorted(site.events(kind), key=lambda event: event["ts"])
    return bool(events) and {name: events[-1][name][-1] for name in fields} == fields


def test_pointer_tells_how_the_mouse_moved_and_not_where(page, site):
    """A way tells people from programs; a place tells which button was an answer."""
    page.goto(site.url)

    def places():
        return {place for event in site.events("pointer") for place in zip(event["x"], event["y"], strict=True)}

    def seen():
        """A busy browser may make one sample of many moves."""
        wander(page, 333, 222)
        return len(places()) > 2

    wait_on(page, seen)
    for event in site.events("pointer"):
        assert (event["t"][0], event["x"][0], event["y"][0]) == (0, 0, 0)
        assert event["t"] == sorted(event["t"])
    assert (333, 222) not in places()


def test_signals_and_answers_travel_apart(page, site):
    """What comes with an answer, or at its time, would be joined to it."""
    page.goto(site.url)
    for number in range(6):
        page.evaluate(f"unjoin.label('dogs-{number}', 'beagle')")
        wander(page, 300 + 9 * number, 222)
    wait_on(page, lambda: len(site.events("image_label")) == 6 and len(site.events("pointer")) > 1)
    kinds = [{event["type"] for event in posted.batch["events"]} for posted in site.posted]
    assert not [some for some in kinds if "image_label" in some and len(some) > 1]


def test_scroll_of_the_page_and_of_an_element_are_events_of_their_own(page, site):
    """Positions of two elements in one column would be a movement that nobody made."""
    page.goto(site.url)
    page.mouse.move(400, 400)
    page.mouse.wheel(0, 900)
    wait_on(page, lambda: ends_at(site, "scroll", x=0, y=900))
    page.evaluate("document.getElementById('inner').scrollTo(0, 77)")
    wait_on(page, lambda: ends_at(site, "scroll", x=0, y=77))


def test_no_name_of_a_key_ever_leaves(page, site):
    """Timings alone: not the key, not the code, not the text, and of a password not even the rhythm."""
    page.goto(site.url)
    page.locator("#secret").press_sequentially("xylophone", delay=15)
    page.goto(site.url)
    assert not site.events("key")
    page.locator("#text").press_sequentially("zebraQ", delay=15)
    page.locator("#text").press("Escape")
    wait_on(page, lambda: site.events("key"))
    page.goto("about:blank")
    events = site.events("key")
    assert {len(event["t_down"]) for event in events} == {3}
    for event in events:
        assert set(event) == {"id", "type", "ts", "t_down", "t_up"}
        assert all(down <= up for down, up in zip(event["t_down"], event["t_up"], strict=True))
    sent = "".join(str(posted.batch) for posted in site.posted)
    assert not re.search("zebra|xylophone|Key[A-Z]|Escape|keyCode", sent)


def test_keys_that_a_script_makes_up_are_not_recorded(page, site):
    """They say nothing about who is there."""
    page.goto(site.url)
    page.evaluate(
        """for (const code of ["KeyA", "KeyB", "KeyC", "KeyD"]) for (const type of ["keydown", "keyup"])
        document.body.dispatchEvent(new KeyboardEvent(type, {code, bubbles: true}))"""
    )
    page.evaluate("unjoin.track('after'); unjoin.flush()")
    wait_on(page, lambda: site.events("usage"))
    assert site.events("key") == []


def test_touch_carries_force(chromium, site):
    """Phones have fingers, not pointers."""
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(site.url)
    touch(context, page, [{"x": 20 + n * 5, "y": 300 + n, "force": 0.5} for n in range(20)])
    wait_on(page, lambda: site.events("touch"))
    assert {force for event in site.events("touch") for force in event["force"]} <= {0, 0.5}
    assert site.events("pointer") == []
    context.close()


def test_gyroscope_and_accelerometer_are_recorded_about_their_own_axes(context, page, site):
    """Degrees a second and metres a second squared, as the schemas say."""
    page.goto(site.url)
    device = Device(context, page)
    page.reload()

    def turned():
        device.move(1, 2, 3)
        return [event for event in site.events("gyroscope") if event["z"][-1]]

    wait_on(page, turned)
    turn, pull = site.events("gyroscope")[-1], site.events("accelerometer")[-1]
    # The sensor gives radians a second, and a browser rounds it so that no device can be told from another.
    assert [turn[axis][-1] for axis in "xyz"] == pytest.approx([57.3, 114.6, 171.9], abs=0.3)
    assert [pull[axis][-1] for axis in "xyz"] == pytest.approx([1, 2, 3], abs=0.1)


def test_only_what_is_asked_for_is_collected(page, site):
    """A page that needs no keys must not watch any."""
    site.options["collect"] = ["scroll"]
    page.goto(site.url)
    page.mouse.move(400, 400)
    page.mouse.move(200, 300, steps=10)
    page.locator("#text").press_sequentially("abc")
    page.mouse.wheel(0, 300)
    wait_on(page, lambda: ends_at(site, "scroll", x=0, y=300))
    assert {event["type"] for posted in site.posted for event in posted.batch["events"]} == {"scroll"}


def test_labels_pages_and_uses_are_as_documented(page, site):
    """Addresses without query and fragment: tokens and names travel there."""
    page.goto(site.url + "/?email=a@b.example#token")
    page.evaluate(
        """unjoin.label("dogs-0017", "beagle"); unjoin.label("clip-3", "hello", "audio_transcript");
        unjoin.label("signs-4", "stop", "text_answer"); unjoin.page({plan: "free"}); unjoin.track("opened", {n: 1})"""
    )
    wait_on(page, lambda: site.events("usage"))
    assert [(event["task"], event["answer"]) for event in site.events("image_label")] == [("dogs-0017", "beagle")]
    assert [event["answer"] for event in site.events("audio_transcript")] == ["hello"]
    assert [event["answer"] for event in site.events("text_answer")] == ["stop"]
    (view,), (usage,) = site.events("page_view"), site.events("usage")
    assert (view["url"], view["referrer"], view["properties"]) == (site.url + "/", "", {"plan": "free"})
    assert usage["properties"] == {"event": "opened", "n": 1}
    assert all(posted.batch["session"] == page.evaluate("unjoin.session()") for posted in site.posted)


@pytest.mark.parametrize(
    "asked",
    [
        "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})",
        "Object.defineProperty(Navigator.prototype, 'doNotTrack', {get: () => '1'})",
    ],
    ids=["GPC", "DNT"],
)
def test_who_asks_not_to_be_tracked_is_in_no_analytics(page, site, asked):
    """Signals and answers go on, as documented; page views and uses are not even made."""
    page.add_init_script(asked)
    page.goto(site.url)
    wander(page)
    page.wait_for_timeout(300)
    page.evaluate("unjoin.page(); unjoin.track('opened'); unjoin.label('dogs-1', 'beagle')")
    wait_on(page, lambda: site.events("image_label") and site.events("pointer"))
    page.goto("about:blank")
    assert site.events("page_view") == site.events("usage") == []


def test_a_session_is_a_tabs_own_and_nothing_else_is_kept(context, page, site):
    """No cookie, nothing in localStorage, and of IndexedDB nothing once all is accepted."""
    page.goto(site.url + "/")
    first = page.evaluate("unjoin.session()")
    assert re.fullmatch(r"s-[0-9a-f]{32}", first)
    page.evaluate("localStorage.clear(); unjoin.label('dogs-1', 'beagle')")
    wait_on(page, lambda: site.events("image_label"))
    page.reload()
    assert page.evaluate("unjoin.session()") == first
    other = context.new_page()
    other.goto(site.url)
    assert other.evaluate("unjoin.session()") != first
    assert page.evaluate("Object.keys(sessionStorage)") == ["unjoin-session"]
    assert page.evaluate("document.cookie") == ""
    wait_for(page, COUNT_STORED + ".then((count) => count === 0)")


# Answers after the SDK's own store is open, and after what the SDK wrote to it before.
COUNT_STORED = """new Promise((resolve) => { indexedDB.open("unjoin").onsuccess = ({target}) => {
    target.result.transaction("batches").objectStore("batches").count().onsuccess = (event) => {
      target.result.close(); resolve(event.target.result); }; }; })"""


def test_large_bodies_are_compressed_and_small_ones_are_not(page, site):
    """gzip pays from about a packet on."""
    page.goto(site.url)
    page.evaluate("unjoin.track('small')")
    wait_on(page, lambda: site.events("usage"))
    page.evaluate("unjoin.track('large', {text: 'word '.repeat(1000)})")
    wait_on(page, lambda: len(site.events("usage")) == 2)
    assert [posted.is_gzip for posted in site.posted] == [False, True]
    assert site.posted[1].body_bytes < 500


def test_batches_are_bounded_by_count_and_by_bytes(page, site):
    """A page that sends less at a time loses less at a time, and a batch fits into a beacon."""
    page.goto(site.url)
    page.evaluate("for (let n = 0; n < 120; n += 1) unjoin.track('n', {n})")
    wait_on(page, lambda: len(site.events("usage")) == 120)
    assert [len(posted.ids) for posted in site.posted] == [50, 50, 20]
    page.evaluate("for (let n = 0; n < 4; n += 1) unjoin.track('big', {text: 'é'.repeat(10000)})")
    wait_on(page, lambda: len(site.events("usage")) == 124)
    assert [len(posted.ids) for posted in site.posted[3:]] == [2, 2]


def test_an_event_that_no_collector_takes_is_refused_on_the_page(page, site):
    """A body over the limit would cost the events that travel with it."""
    page.goto(site.url)
    page.evaluate("unjoin.track('huge', {text: 'x'.repeat(40000)}); unjoin.track('fine')")
    wait_on(page, lambda: site.events("usage"))
    assert len(site.events("usage")) == 1
    assert page.evaluate("unjoin.counts()")["rejected"] == 1
    assert ["queued", "rejected: too_large"] in [note["fates"] for note in noted(page)]


def test_misuse_says_what_to_do(page, site):
    """Who integrates it reads the console first."""
    said = []
    page.on("console", lambda message: said.append(message.text))
    site.tag = '<script src="/unjoin.js"></script>'
    page.goto(site.url + "/tag")
    page.evaluate("unjoin.init({}); unjoin.init(); unjoin.init({})")
    assert [text for text in said if "sites list" in text]
