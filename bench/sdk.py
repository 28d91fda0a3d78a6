"""`python -m bench.sdk`: what the browser SDK costs a page, beside public analytics SDKs in the same browser.

Bytes gzipped, and the main thread's milliseconds from loading the page to the end of a minute of busy mouse: 60 moves
a second, dispatched through the browser's debugging protocol. Two figures, both from a trace and in CPU time, so that
other programs on the machine do not count: *script* is all script that ran on the page, *task* all that its main thread
did. A page without any SDK is measured too: what remains there is the browser's own. Pages take turns, round after
round; medians count. A long task is one of over 50 ms of CPU. *took* is how long the moves needed: on a machine that
is busy longer than asked for, and then more samples are kept.

The other SDKs come from npm into a folder of their own (`--others`), pinned below, and talk to a server on this
machine. What they do is not the same: none of them records the mouse by default.
"""

import argparse
import gzip
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiohttp import web
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.progress import track
from rich.table import Table

from testkit.chromium import ARGUMENTS
from testkit.sdk_site import SDK, SdkSite

MOVES_PER_SECOND = 60
RENDERER = "CrRendererMain"
CATEGORIES = ["devtools.timeline", "v8", "disabled-by-default-devtools.timeline"]
SCRIPTS = {"EvaluateScript", "FunctionCall", "RunMicrotasks", "v8.compile"}
LONG_TASK_US = 50_000
OTHERS = {
    "@segment/analytics-next": ("1.84.3", "dist/umd/standalone.js"),
    "posthog-js": ("1.449.2", "dist/array.full.js"),
}
BODY = '<!doctype html><title>bench</title><link rel="icon" href="data:,"><div style="height:2000px">'
# Each started as its own documentation says; the bot filter off, because headless Chromium says what it is.
BEFORE = {
    "@segment/analytics-next": """window.analytics = [["page"]]; analytics._writeKey = "k";
        analytics._cdn = location.origin;"""
}
AFTER = {
    "posthog-js": """posthog.init("k", {api_host: location.origin, disable_external_dependency_loading: true,
        opt_out_useragent_filter: true});""",
}


class Pages(SdkSite):
    """The pages of the bench, and a server that answers everything with 200."""

    def __init__(self, others: dict[str, bytes]) -> None:
        super().__init__()
        self.options = {"key": "dev-browser-key"}
        self.others = others
        self.other_bytes = 0

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(text=BODY, content_type="text/html")

    async def _tag(self, request: web.Request) -> web.Response:
        name = request.query["sdk"]
        if name == "unjoin":
            scripts = (
                f'<script src="/unjoin.js" data-key="dev-browser-key" data-endpoint="{self.collector_url}"></script>'
            )
        else:
            before, after = BEFORE.get(name, ""), AFTER.get(name, "")
            scripts = f'<script>{before}</script><script src="/other.js?sdk={name}"></script><script>{after}</script>'
        return web.Response(text=BODY + scripts, content_type="text/html")

    def _more(self, pages: web.Application) -> None:
        pages.router.add_get("/other.js", self._other)
        pages.router.add_route("*", "/{rest:.*}", self._anything)

    async def _other(self, request: web.Request) -> web.Response:
        return web.Response(body=self.others[request.query["sdk"]], content_type="text/javascript")

    async def _anything(self, request: web.Request) -> web.Response:
        self.other_bytes += len(await request.read())
        return web.json_response(
            {"integrations": {"Segment.io": {"apiKey": "k", "protocol": "http", "apiHost": request.host + "/v1"}}}
        )


def fetch_others(folder: Path) -> dict[str, bytes]:
    """The other SDKs' files, by package."""
    wanted = [f"{name}@{version}" for name, (version, _) in OTHERS.items()]
    folder.mkdir(parents=True, exist_ok=True)
    npm = ["npm", "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run([*npm, *wanted], check=True)
    return {name: (folder / "node_modules" / name / file).read_bytes() for name, (_, file) in OTHERS.items()}


def measure(browser: Browser, address: str, seconds: float) -> dict[str, float]:
    """One page, from its loading to the end of the mouse's minute: CPU milliseconds, and how many long tasks."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    browser.start_tracing(page=page, categories=CATEGORIES)
    page.goto(address)
    began = time.monotonic()
    for place in places(seconds):
        page.mouse.move(*place)
    took = time.monotonic() - began
    page.wait_for_timeout(100)
    trace = json.loads(browser.stop_tracing())
    context.close()
    return main_thread_ms(trace["traceEvents"]) | {"took": took}


def main_thread_ms(events: list[dict[str, Any]]) -> dict[str, float]:
    """CPU milliseconds of scripts and of all tasks on the renderers' main threads, from the outermost events alone."""
    mains = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name" and e["args"]["name"] == RENDERER}
    complete = [e for e in events if e["ph"] == "X" and (e["pid"], e["tid"]) in mains]
    tasks = [e for e in complete if e["name"] == "RunTask"]
    script_us, until = 0.0, dict.fromkeys(mains, 0.0)
    for event in sorted((e for e in complete if e["name"] in SCRIPTS), key=lambda e: (e["ts"], -e["dur"])):
        thread = (event["pid"], event["tid"])
        if event["ts"] >= until[thread]:
            until[thread] = event["ts"] + event["dur"]
            script_us += event.get("tdur", 0)
    task_us = [event.get("tdur", 0) for event in tasks]
    assert script_us < sum(task_us), "the trace has no thread times"
    return {"script": script_us / 1000, "task": sum(task_us) / 1000, "long": sum(us > LONG_TASK_US for us in task_us)}


def places(seconds: float) -> Iterator[tuple[int, int]]:
    """Yields the mouse's place 60 times a second, in real time: a zigzag that never repeats a place at once."""
    began = time.monotonic()
    for move in range(int(seconds * MOVES_PER_SECOND)):
        time.sleep(max(0.0, began + move / MOVES_PER_SECOND - time.monotonic()))
        yield (move * 13) % 1279, (move * 7) % 799


def main() -> int:
    """Prints a table, and JSON with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="of busy mouse a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--others", type=Path, help="where npm puts the other SDKs; default a folder that goes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    console = Console(stderr=options.json)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None or shutil.which("npm") is None:
        console.print("bench.sdk: needs Chromium and npm: scripts/setup test", style="bold red")
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        others = fetch_others(options.others or Path(scratch))
    site = Pages(others)
    site.start()
    subjects = {"no SDK": site.url + "/"} | {name: f"{site.url}/tag?sdk={name}" for name in ("unjoin", *OTHERS)}
    results: dict[str, list[dict[str, float]]] = {name: [] for name in subjects}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        turns = [name for _ in range(options.rounds) for name in subjects]
        for name in track(turns, description="measuring", console=console):
            results[name].append(measure(browser, subjects[name], options.seconds))
        browser.close()
    bodies = [len(json.dumps(posted.batch, separators=(",", ":"))) for posted in site.posted]
    site.stop()
    files = {"unjoin": SDK.read_bytes(), **others}
    report = {
        name: {
            "gzipped_bytes": len(gzip.compress(files[name], 9)) if name in files else 0,
            "script_ms": round(statistics.median(run["script"] for run in runs), 1),
            "task_ms": round(statistics.median(run["task"] for run in runs), 1),
            "long_tasks": max(run["long"] for run in runs),
            "mouse_seconds": round(statistics.median(run["took"] for run in runs), 1),
        }
        for name, runs in results.items()
    }
    sent = {
        "sent_bytes": round(sum(bodies) / options.rounds),
        "requests": round(len(bodies) / options.rounds, 1),
        "preflights": round(site.preflights / options.rounds, 1),
    }
    if options.json:
        json.dump({"seconds": options.seconds, "rounds": options.rounds, "sdks": report, "unjoin": sent}, sys.stdout)
        return 0
    table = Table(
        "SDK", "bytes gzipped", "script ms", "task ms", "long tasks", "took s", title=f"{options.seconds:g} s of mouse"
    )
    for name, row in report.items():
        table.add_row(name, *(f"{value:,}" for value in row.values()))
    console.print(table)
    console.print(
        f"unjoin sent {sent['sent_bytes']:,} bytes before compression in {sent['requests']} requests "
        f"and {sent['preflights']} preflights a round"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
