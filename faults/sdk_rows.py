"""`python -m faults.sdk_rows`: what becomes of events on hostile pages, in every browser that is here.

One page a row, against a collector that validates as the real one does. `--sdk FILE` measures another build of the
script, as one of `ingest/sdk_releases/`. A cell is `made = stored + refused + dropped`, then how many of the made are
neither (lost), and how many came twice. Made is what the page asked for and the SDK said it made; refused and dropped
are told to the page.
"""

import argparse
import re
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from testkit import sdk_site
from testkit.browsers import Browser, Chromium, Firefox, WebKit
from testkit.sdk_site import SCRIPTS, SdkSite, noted

REFUSED = ("rejected", "refused")
README = Path(__file__).parents[1] / "sdk" / "README.md"
LATE = """addEventListener('pagehide', () => unjoin.track('late'));
document.addEventListener('visibilitychange', () => unjoin.track('hidden'));"""
LONG = "{text: 'word '.repeat(1000)}"
SIXTY = "for (let n = 0; n < 60; n += 1) unjoin.track('n', {text: 'x'.repeat(4000)})"
MANY = f"addEventListener('pagehide', () => {{ {SIXTY} }})"
CUTS = """window.CompressionStream = function() { return {writable: new WritableStream(), readable: new ReadableStream({
start(c) { c.enqueue(new Uint8Array([31, 139, 8])); c.close() }})} }"""
HANGS = """window.CompressionStream = function() { return {writable: new WritableStream(),
readable: new ReadableStream()} }"""
FAILS = "window.CompressionStream = function() { throw new TypeError('no') }"
TO_JSON = "Object.defineProperty(Array.prototype, 'toJSON', {value() { return 'a list' }})"
ODD = "[(() => { const c = {}; c.c = c; return c })(), document.body, {n: 10n}, {get a() { throw new Error('no') }}]"
THROWS = f"{ODD}.filter((odd) => {{ try {{ unjoin.track('odd', odd); return false }} catch {{ return true }} }}).length"


def row(browser: Browser, site: SdkSite, before: str = "", after: str = "", act: str = "1", wait: float = 1.5) -> str:
    """One page from its loading to its end: made, stored, told as lost, lost, twice."""
    site.tag = f"<script>{before}</script>{SCRIPTS}<script>{after}</script>"
    browser.goto(site.url + "/tag")
    said = browser.evaluate(act)
    time.sleep(wait)
    left(browser, site)
    notes = noted(browser)
    made = {note["event"]["id"] for note in notes}
    fates = {note["event"]["id"]: note["fates"][-1].partition(":")[0] for note in notes}
    refused = {key for key, fate in fates.items() if fate in REFUSED}
    dropped = {key for key, fate in fates.items() if fate == "dropped"}
    lost = made - site.stored.keys() - refused - dropped
    twice = sum(count > 1 for count in site.stored.values())
    extra = "" if said == 1 else f", {said} calls threw"
    posts = f"; {len(site.posted)} posts, {site.preflights} preflights"
    sums = f"{len(made)} = {len(made & site.stored.keys())} + {len(refused)} + {len(dropped)}"
    return f"{sums}, {len(lost)} lost, {twice} twice{extra}{posts}"


def unload(browser: Browser, site: SdkSite) -> str:
    """Without IndexedDB nothing is left to the next page."""
    site.options["persist"] = False
    return row(browser, site, after=MANY)


def left(browser: Browser, site: SdkSite) -> None:
    """Goes to another page, and waits for what the one before hands over."""
    browser.goto(site.url + "/pages/empty")
    time.sleep(1)


def moved(browser: Browser, site: SdkSite, tag: str) -> None:
    """A page on which a pointer moves, and that is left."""
    site.tag = tag
    browser.goto(site.url + "/tag")
    browser.move([(10, 10), (100, 100), (200, 150), (333, 222)])
    time.sleep(1.1)
    browser.move([(20, 40), (40, 240)])
    time.sleep(1.5)
    left(browser, site)


def patched_lists(browser: Browser, site: SdkSite) -> str:
    """As Prototype.js does: every list in JSON is something else."""
    moved(browser, site, f"<script>{TO_JSON}</script>{SCRIPTS}")
    made = {note["event"]["id"] for note in noted(browser) if note["event"]["type"] == "pointer"}
    return f"{len(made)} pointer events made, {len(made & site.stored.keys())} stored"


def wrong_key(browser: Browser, site: SdkSite) -> str:
    """The collector knows no such key."""
    count = "window.warned = 0; console.warn = console.error = () => { warned += 1 }"
    site.status, site.tag = 401, f"<script>{count}</script>{SCRIPTS}"
    browser.goto(site.url + "/tag")
    warned = browser.evaluate("(unjoin.track('n'), new Promise((done) => setTimeout(() => done(warned), 3000)))")
    return f"{warned} warnings in the console, {len(site.posted)} posts in 3 s"


def evaluated_twice(browser: Browser, site: SdkSite) -> str:
    """As Turbo and tag managers do."""
    moved(browser, site, SCRIPTS + SCRIPTS)
    samples = [(event["ts"], tuple(event["t"]), tuple(event["x"])) for event in site.events("pointer")]
    return f"{len(samples)} pointer events, {len(samples) - len(set(samples))} of them twice"


def sandboxed(browser: Browser, site: SdkSite) -> str:
    """Its origin is `null`, which no site can list."""
    site.status = 403
    tell = "setInterval(() => parent.postMessage(unjoin.counts(), '*'), 200)"
    site.pages["frame"] = (
        f"<script src='/unjoin.js' data-key='dev-browser-key' data-endpoint='{site.collector_url}'></script>"
        f"<script>unjoin.label('a', 'b'); {tell}</script>"
    )
    site.pages["outer"] = (
        "<script>addEventListener('message', (event) => window.told = event.data)</script>"
        "<iframe sandbox='allow-scripts' src='/pages/frame'></iframe>"
    )
    browser.goto(site.url + "/pages/outer")
    time.sleep(6)
    told = browser.evaluate("window.told")
    return f"{told['queued']} made, {told['dropped']} dropped, {len(site.posted)} posts in vain in 6 s"


def referrers(browser: Browser, site: SdkSite) -> str:
    """Of the second view on a single-page site."""
    act = "(unjoin.page(), history.pushState(0, '', '/next'), unjoin.page(), 1)"
    sums = row(browser, site, act=act)
    views = sorted(site.events("page_view"), key=lambda event: event["ts"])
    right = bool(views) and views[-1]["referrer"] == site.url + "/tag"
    return f"{sums}; referrer of the second {'right' if right else 'wrong'}"


def stub() -> str:
    """The script that the README puts into the head."""
    found = re.search(r"<script>(.*unjoin.*)</script>", README.read_text())
    assert found
    return found[1]


UNSEEN = "Object.defineProperty(document, 'prerendering', {get: () => true})"
ROWS: dict[str, Callable[[Browser, SdkSite], str]] = {
    "events in pagehide and visibilitychange": lambda b, s: row(b, s, after=LATE),
    "compression that cuts off": lambda b, s: row(b, s, CUTS, act=f"(unjoin.track('n', {LONG}), 1)", wait=4),
    "compression that never ends": lambda b, s: row(b, s, HANGS, act=f"(unjoin.track('n', {LONG}), 1)", wait=5),
    "compression that fails": lambda b, s: row(b, s, FAILS, act=f"(unjoin.track('n', {LONG}), 1)", wait=4),
    "toJSON on arrays": patched_lists,
    "half an emoji": lambda b, s: row(b, s, act="(unjoin.label('a', '\\ud83d', 'text_answer'), 1)"),
    "odd properties": lambda b, s: row(b, s, act=THROWS),
    "240 KB at the end, no IndexedDB": unload,
    "8 batches of 5 KB": lambda b, s: row(
        b, s, act=f"(async () => {{ for (let n = 0; n < 8; n += 1) {{ unjoin.track('n', {LONG}); "
        "await unjoin.flush() } return 1 })()"
    ),
    "script evaluated twice": evaluated_twice,
    "label before the script is there": lambda b, s: row(b, s, stub() + ";unjoin.label('a', 'b')"),
    "a wrong key": wrong_key,
    "sandboxed frame, refused by the collector": sandboxed,
    "view of a prerendered page": lambda b, s: row(b, s, UNSEEN, act="(unjoin.page(), 1)"),
    "two views with pushState between": referrers,
}  # fmt: skip


def main() -> int:
    """Prints a table, browsers beside each other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sdk", type=Path, default=sdk_site.SDK)
    parser.add_argument("--markdown", action="store_true", help="the table as Markdown")
    options = parser.parse_args()
    sdk_site.SDK = options.sdk
    kinds: list[type[Browser]] = [kind for kind in (Chromium, Firefox, WebKit) if kind.is_there()]
    table = Table("row", *(kind.name for kind in kinds), title=str(options.sdk))
    cells: dict[str, list[str]] = {name: [] for name in ROWS}
    for kind in kinds:
        with kind() as browser:
            for name, measure in ROWS.items():
                site = SdkSite()  # an origin of its own: a page sends what one before it has kept
                site.start()
                site.pages["empty"] = "<!doctype html><title>empty</title>"
                cells[name].append(measure(browser, site))
                site.stop()
    if options.markdown:
        names = " | ".join(kind.name for kind in kinds)
        print(f"| {options.sdk.name} | {names} |\n|{'---|' * (len(kinds) + 1)}")
        print("\n".join(f"| {name} | {' | '.join(row_cells)} |" for name, row_cells in cells.items()))
        return 0
    for name, row_cells in cells.items():
        table.add_row(name, *row_cells)
    Console(width=200).print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
