"""A real Chromium, and a small collector whose moods a test can choose."""

import asyncio
import shutil
import threading
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from playwright.sync_api import expect, sync_playwright

from schemas.events import AnyEvent
from testkit.chromium import ARGUMENTS, chromium_path
from tests.sdk.conftest import SDK, Node
from unjoin.playground.routes import POLICY, page_files

ROOT = Path(__file__).parents[2]

# A whole pipeline and a browser may share two cores with others; whatever is quick is not waited for any longer.
expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def chromium():
    """By module, because Playwright keeps an event loop on this thread and tests elsewhere run their own."""
    path = chromium_path()
    if path is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A fresh page; an error in its script, or a request to anywhere but its own host, fails the test."""
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.set_default_timeout(30_000)
    errors, hosts = [], set()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]) if "://" in request.url else None)
    yield page
    context.close()
    assert errors == []
    assert len(hosts) <= 1


def started(kind):
    """The body of a fixture: a browser of that kind, or a skip that says what to install."""
    if not kind.is_there():
        pytest.skip(f"needs {kind.name}: apt-get install chromium firefox-esr webkit2gtk-driver xvfb")
    with kind() as browser:
        yield browser


class MoodyCollector:
    """Validates as the real one does; what it answers is for a test to choose.

    Attributes:
        status: of every POST; anything but 200 stores nothing, 0 closes the connection.
        available, kafka: whether ClickHouse and Kafka are there.
        spooled, door, votes: as the real one tells them; None for a door that is away.
        streams: "open", "full" (503) or "gone": connections are closed.
        reject: indices of the next batch to refuse.
        listeners: pages that look right now.
    """

    def __init__(self):
        self.status, self.available, self.kafka, self.streams, self.reject = 200, True, True, "open", []
        self.spooled, self.votes, self.listeners = 0, [], 0
        self.door = {
            "held_labels": 9,
            "held_voters": 7,
            "crowd_min": 20,
            "crowd_target": 20,
            "released": 40,
            "suppressed": {},
        }
        self.stored, self.batches, self.rejected, self.url = {}, [], 0, ""

    async def page(self, request):
        body, media_type = page_files()[request.match_info.get("name", "index.html")]
        return web.Response(body=body, content_type=media_type, headers={"Content-Security-Policy": POLICY})

    async def sdk(self, _):
        return web.FileResponse(ROOT / "ingest" / "sdk.js")

    async def health(self, request):
        if self.streams == "gone":
            request.transport.abort()
        return web.json_response({"status": "ok"})

    async def post(self, request):
        key = request.query.get("key") or request.headers["Authorization"].removeprefix("Bearer ")
        assert key == "dev-browser-key"
        batch = msgspec.json.decode(await request.read())
        self.batches.append((self.status, request.content_type, batch))
        if self.status == 0:
            request.transport.abort()
            return web.Response()
        if self.status != 200:
            return web.json_response({"error": "not_durable", "detail": ""}, status=self.status)
        reject, self.reject = self.reject, []
        for index, plain in enumerate(batch["events"]):
            if index not in reject:
                event = msgspec.convert(plain, AnyEvent)
                assert len({len(getattr(event, name)) for name in event.samples}) <= 1
                self.stored[event.id] = (batch["session"], event)
        rejected = [
            {"index": index, "id": batch["events"][index]["id"], "reason": "invalid_value"}
            for index in reject
            if index < len(batch["events"])
        ]
        self.rejected += len(rejected)
        return web.json_response({"accepted": len(batch["events"]) - len(rejected), "rejected": rejected})

    async def told(self, request):
        if self.streams == "gone":
            request.transport.abort()
        if self.streams != "open":
            return web.Response(status=503)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self.listeners += 1
        said = None
        try:
            while self.streams == "open":
                look = msgspec.json.encode(self.look(request.query["session"]))
                await response.write(b": \n\n" if look == said else b"data: %s\n\n" % look)
                said = look
                await asyncio.sleep(0.1)
        except ConnectionError:
            pass
        finally:
            self.listeners -= 1
        return response

    def look(self, name):
        own = [event for session, event in self.stored.values() if session == name and event.category != "labeled"]
        counts = {
            category: sum(event.category == category for _, event in self.stored.values())
            for category in ("signals", "analytics", "labeled")
        }
        edge = {
            "accepted": counts,
            "rejected": {"invalid_value": self.rejected} if self.rejected else {},
            "requests": {"answered": len(self.batches)},
            "spooled": self.spooled,
        }
        labels = {"rows": 40 + counts["labeled"], "votes": self.votes}
        stored = {
            "signals": sum(event.category == "signals" for event in own),
            "analytics": sum(event.category == "analytics" for event in own),
            "latest": [{"type": event.__struct_config__.tag, "event_id": event.id} for event in own[::-1][:10]],
        }
        is_there = self.available
        whole = {"kafka": self.kafka, "edge": edge, "door": self.door, "labels": labels if is_there else None}
        return {"whole": whole, "own": stored if is_there else None}

    def events(self, kind):
        return [event for _, event in self.stored.values() if event.__struct_config__.tag == kind]


@pytest.fixture
def moody():
    collector = MoodyCollector()
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def start():
        app = web.Application()
        app.router.add_get("/", collector.page)
        app.router.add_post("/v1/events", collector.post)
        app.router.add_get("/playground/events", collector.told)
        app.router.add_get("/playground/{name}", collector.page)
        app.router.add_get("/sdk.js", collector.sdk)
        app.router.add_get("/healthz", collector.health)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    def serve():
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(start())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(10)
    yield collector
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


@pytest.fixture(scope="session")
def node_build(tmp_path_factory):
    """A folder with the SDK's scripts, built from its sources."""
    if shutil.which("node") is None or not (SDK / "node_modules" / "terser").is_dir():
        pytest.skip("needs Node 18 or newer and the SDK's packages: scripts/setup sdk")
    folder = tmp_path_factory.mktemp("built")
    Node().run("node", "build.mjs", "--out", str(folder))
    return folder
