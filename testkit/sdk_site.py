"""Pages that carry the SDK, on an origin of their own, and a collector with moods on another."""

import asyncio
import threading
import time
from pathlib import Path

import msgspec
from aiohttp import web

from schemas.events import AnyEvent

ROOT = Path(__file__).parents[1]
SDK = ROOT / "ingest" / "sdk.js"
EXAMPLES = ROOT / "sdk" / "examples"
STRICT = (
    "default-src 'none'; script-src {script}; connect-src {connect}; base-uri 'none'; "
    "require-trusted-types-for 'script'"
)

PAGE = """<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>a page</title><link rel="icon" href="data:,">
<input id="text" autocomplete="off"><input id="secret" type="password" autocomplete="off">
<p id="inner" style="height:80px;overflow:scroll"><span style="display:block;height:900px"></span></p>
<div style="height:6000px"></div>
<script src="/unjoin.js"></script><script src="/start.js"></script>"""

SCRIPTS = '<script src="/unjoin.js"></script><script src="/start.js"></script>'
# What a page has kept is its own for two minutes, and WebKit does not finish giving it up while a page closes.
LATER = f"<script>const real = Date.now; Date.now = () => real() + 130000</script>{SCRIPTS}"

# What becomes of each event is noted where it survives the page: written at once, read by the next page.
START = """unjoin.init({...OPTIONS, onOutcome({fate, event, reason}) {
  const noted = JSON.parse(localStorage.getItem(event.id) || '{"fates": []}');
  const fates = [...noted.fates, reason ? fate + ": " + reason : fate];
  localStorage.setItem(event.id, JSON.stringify({event, fates}));
}});"""
NOTED = "Object.values(localStorage).map((text) => JSON.parse(text))"


class Posted(msgspec.Struct):
    """One request to the collector with moods."""

    at: float
    content_type: str
    is_gzip: bool
    body_bytes: int
    batch: dict
    status: int

    @property
    def ids(self):
        return [event["id"] for event in self.batch["events"]]


class SdkSite:
    """A server of pages, and beside it a collector that validates as the real one does and answers as it is told.

    Attributes:
        options: of `unjoin.init`; `endpoint` is added.
        page_headers: of every page.
        tag: what the page at `/tag` consists of.
        pages: whole documents by path below `/pages/`.
        built: a folder of files below `/built/`, as bundlers made them.
        status: of every POST; 0 closes the connection without an answer.
        reject: types to refuse.
        stored: how often each event arrived and was taken.
        preflights: how many OPTIONS there were.
    """

    def __init__(self):
        self.url = self.collector_url = ""
        self.options, self.page_headers, self.tag = {"key": "dev-browser-key", "interval": 200}, {}, ""
        self.status, self.headers, self.reject = 200, {}, set()
        self.posted, self.stored, self.preflights = [], {}, 0
        self.pages, self.built = {}, None
        self._loop, self._ready = asyncio.new_event_loop(), threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self):
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self):
        asyncio.set_event_loop(self._loop)
        runners = self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()
        for runner in runners:
            self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _start(self):
        pages, collector = web.Application(), web.Application()
        pages.router.add_get("/", self._page)
        pages.router.add_get("/tag", self._tag)
        pages.router.add_get("/unjoin.js", self._file(self._sdk_script))
        pages.router.add_get("/start.js", self._file(self._start_script))
        pages.router.add_get("/examples/{name}", self._example)
        pages.router.add_get("/pages/{name:.*}", self._whole)
        pages.router.add_get("/built/{name:.*}", self._built_file)
        self._more(pages)
        collector.router.add_get("/sdk.js", self._file(self._sdk_script))
        collector.router.add_route("*", "/v1/events", self._collect)
        collector.router.add_route("*", "/m/e", self._collect)  # as behind a proxy that renames
        runners = []
        for app in (pages, collector):
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            runners.append(runner)
        self.url, self.collector_url = (f"http://127.0.0.1:{runner.addresses[0][1]}" for runner in runners)
        return runners

    def _more(self, pages):
        """More pages, for who derives from this."""

    async def _page(self, _):
        return web.Response(text=PAGE, content_type="text/html", headers=self.page_headers)

    async def _tag(self, _):
        body = f"<!doctype html><title>a page</title>{self.tag}"
        return web.Response(text=body, content_type="text/html", headers=self.page_headers)

    async def _whole(self, request):
        text = self.pages[request.match_info["name"]]
        return web.Response(text=text, content_type="text/html", headers=self.page_headers)

    async def _built_file(self, request):
        return web.FileResponse(self.built / request.match_info["name"])

    def _file(self, text):
        async def file(_):
            return web.Response(text=text(), content_type="text/javascript")

        return file

    def _sdk_script(self):
        return SDK.read_text()

    def _start_script(self):
        options = {"endpoint": self.collector_url, **self.options}
        return START.replace("OPTIONS", msgspec.json.encode(options).decode())

    async def _example(self, request):
        text = (EXAMPLES / request.match_info["name"]).read_text()
        text = text.replace("http://127.0.0.1:8080", self.options.get("endpoint", self.collector_url))
        hurried = f'data-interval="{self.options["interval"]}" data-key="{self.options["key"]}"'
        text = text.replace('data-key="YOUR-KEY"', hurried).replace("YOUR-KEY", self.options["key"])
        kind = "text/html" if request.path.endswith(".html") else "text/javascript"
        return web.Response(text=text, content_type=kind, headers=self.page_headers)

    async def _collect(self, request):
        cors = {"Access-Control-Allow-Origin": request.headers.get("Origin", "*")}
        if request.method == "OPTIONS":
            self.preflights += 1
            allowed = {"Access-Control-Allow-Headers": "authorization, content-encoding, content-type"}
            return web.Response(status=204, headers={**cors, **allowed, "Access-Control-Max-Age": "7200"})
        if request.method != "POST":
            return web.Response(status=405)  # without CORS: a page may only know that something answers
        key = request.query.get("key") or request.headers["Authorization"].removeprefix("Bearer ")
        assert key == self.options["key"]
        assert "Cookie" not in request.headers
        try:
            batch = msgspec.json.decode(await request.read())  # decompressed already
        except (msgspec.DecodeError, web.HTTPBadRequest):
            return web.json_response({"error": "not_a_batch"}, status=400, headers=cors)
        is_gzip = request.headers.get("Content-Encoding") == "gzip"
        length = request.content_length or 0
        self.posted.append(Posted(time.monotonic(), request.content_type, is_gzip, length, batch, self.status))
        if self.status == 0:
            request.transport.abort()
            return web.Response()
        headers = {**cors, "Access-Control-Expose-Headers": "Retry-After", **self.headers}
        if self.status == 403:
            headers.pop("Access-Control-Allow-Origin")  # as the real one: the page may not read it
        if self.status != 200:
            return web.json_response({"error": "told_to"}, status=self.status, headers=headers)
        rejected = []
        for index, plain in enumerate(batch["events"]):
            if str(plain.get("type")) in self.reject:
                rejected.append({"index": index, "id": plain["id"], "reason": "category_not_allowed"})
                continue
            try:
                event = msgspec.convert(plain, AnyEvent)
                assert len({len(getattr(event, name)) for name in event.samples}) <= 1
            except msgspec.ValidationError:
                rejected.append({"index": index, "id": plain["id"], "reason": "wrong_type"})
                continue
            self.stored[event.id] = self.stored.get(event.id, 0) + 1
        accepted = len(batch["events"]) - len(rejected)
        return web.json_response({"accepted": accepted, "rejected": rejected}, headers=headers)

    def events(self, kind):
        """Each event of a type that arrived, whatever the answer, once."""
        found = {event["id"]: event for posted in self.posted for event in posted.batch["events"]}
        return [event for event in found.values() if event.get("type") == kind]


def wait(condition, seconds=20):
    """Returns once the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_on(page, condition, seconds=20):
    """Waits as `wait` does, while the page's own events go on."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        page.wait_for_timeout(20)


def wait_for(page, expression, seconds=20):
    """Returns once a script's value is true; without `eval` inside the page, which a strict policy forbids."""
    wait_on(page, lambda: page.evaluate(expression), seconds)


def noted(page):
    """What the pages of this origin noted: `{event, fates}` each."""
    return page.evaluate(NOTED)


def go_hidden(page):
    """Does what a browser does when another tab comes to the front."""
    page.evaluate(
        """() => { Object.defineProperty(document, 'visibilityState', {value: 'hidden', configurable: true});
        document.dispatchEvent(new Event('visibilitychange')); }"""
    )


def wander(page, x=400, y=300):
    """The mouse to a place, and on."""
    page.mouse.move(10, 10)
    page.mouse.move(x, y, steps=10)
    page.mouse.move(x + 90, y - 90, steps=5)


def touch(context, page, points):
    """A finger along points, as a touch screen reports it."""
    cdp = context.new_cdp_session(page)
    cdp.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points[:1]})
    for point in points[1:]:
        cdp.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    cdp.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


SENSORS = ("accelerometer", "linear-acceleration", "gyroscope")


class Device:
    """The sensors of a phone, emulated."""

    def __init__(self, context, page):
        self._cdp = context.new_cdp_session(page)
        for kind in SENSORS:
            self._cdp.send("Emulation.setSensorOverrideEnabled", {"enabled": True, "type": kind})

    def move(self, x, y, z):
        for kind in SENSORS:
            reading = {"xyz": {"x": x, "y": y, "z": z}}
            self._cdp.send("Emulation.setSensorOverrideReadings", {"type": kind, "reading": reading})
