"""`python -m faults.sdk_rows`: what becomes of events on hostile pages, in every browser that is here.

One page a row, against a collector that validates as the real one does. `--sdk FILE` measures another build of the
script, as one of `ingest/sdk_releases/`. Made is what the SDK said it made; lost is made, not stored, and not told as
lost.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from testkit import sdk_site
from testkit.browsers import Browser, Chromium, Firefox, WebKit
from testkit.sdk_site import SCRIPTS, SdkSite, noted

TOLD = ("rejected", "refused", "dropped")
LATE = """addEventListener('pagehide', () => unjoin.track('late'));
document.addEventListener('visibilitychange', () => unjoin.track('hidden'));"""
LONG = "{text: 'word '.repeat(1000)}"
SIXTY = "for (let n = 0; n < 60; n += 1) unjoin.track('n', {text: 'x'.repeat(4000)})"
MANY = f"addEventListener('pagehide', () => {{ {SIXTY} }})"
CUTS = """window.CompressionStream = function() { return {writable: new WritableStream(), readable: new ReadableStream({
start(c) { c.enqueue(new Uint8Array([31, 139, 8])); c.close() }})} }"""
HANGS = """window.CompressionStream = function() { return {writable: new WritableStream(),
readable: new ReadableStream()} }"""
TO_JSON = "Object.defineProperty(Array.prototype, 'toJSON', {value() { return 'a list' }})"
ODD = "[(() => { const c = {}; c.c = c; return c })(), document.body, {n: 10n}, {get a() { throw new Error('no') }}]"
THROWS = f"{ODD}.filter((odd) => {{ try {{ unjoin.track('odd', odd); return false }} catch {{ return true }} }}).length"


def row(browser: Browser, site: SdkSite, before: str = "", after: str = "", act: str = "1", wait: float = 1.5) -> str:
    """One page from its loading to its end: made, stored, told as lost, lost, twice."""
    site.posted, site.stored, site.preflights = [], {}, 0
    site.tag = f"<script>{before}</script>{SCRIPTS}<script>{after}</script>"
    browser.goto(site.url + "/pages/empty")
    browser.evaluate("(localStorage.clear(), 1)")
    browser.goto(site.url + "/tag")
    said = browser.evaluate(act)
    time.sleep(wait)
    browser.goto(site.url + "/pages/empty")
    time.sleep(1)
    notes = noted(browser)
    made = {note["event"]["id"] for note in notes}
    told = {note["event"]["id"] for note in notes if note["fates"][-1].partition(":")[0] in TOLD}
    lost = made - site.stored.keys() - told
    twice = sum(count > 1 for count in site.stored.values())
    extra = "" if said == 1 else f", {said} calls threw"
    posts = f", {len(site.posted)} posts, {site.preflights} preflights"
    return (
        f"{len(made)} made, {len(site.stored)} stored, {len(told)} told, {len(lost)} lost, {twice} twice{extra}{posts}"
    )


def unload(browser: Browser, site: SdkSite) -> str:
    """Without IndexedDB nothing is left to the next page."""
    site.options["persist"] = False
    try:
        return row(browser, site, after=MANY)
    finally:
        del site.options["persist"]


ROWS: dict[str, Callable[[Browser, SdkSite], str]] = {
    "events in pagehide and visibilitychange": lambda b, s: row(b, s, after=LATE),
    "compression that cuts off": lambda b, s: row(b, s, CUTS, act=f"(unjoin.track('n', {LONG}), 1)", wait=4),
    "compression that never ends": lambda b, s: row(b, s, HANGS, act=f"(unjoin.track('n', {LONG}), 1)", wait=5),
    "toJSON on arrays": lambda b, s: row(b, s, TO_JSON, act="(unjoin.track('n', {list: [1]}), 1)"),
    "half an emoji": lambda b, s: row(b, s, act="(unjoin.label('a', '\\ud83d', 'text_answer'), 1)"),
    "odd properties": lambda b, s: row(b, s, act=THROWS),
    "240 KB at the end, no IndexedDB": unload,
    "8 batches of 5 KB": lambda b, s: row(
        b, s, act=f"(async () => {{ for (let n = 0; n < 8; n += 1) {{ unjoin.track('n', {LONG}); "
        "await unjoin.flush() } return 1 })()"
    ),
}  # fmt: skip


def main() -> int:
    """Prints a table, browsers beside each other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sdk", type=Path, default=sdk_site.SDK)
    options = parser.parse_args()
    sdk_site.SDK = options.sdk
    kinds: list[type[Browser]] = [kind for kind in (Chromium, Firefox, WebKit) if kind.is_there()]
    table = Table("row", *(kind.name for kind in kinds), title=str(options.sdk))
    cells: dict[str, list[str]] = {name: [] for name in ROWS}
    for kind in kinds:
        site = SdkSite()
        site.start()
        site.pages["empty"] = "<!doctype html><title>empty</title>"
        with kind() as browser:
            for name, measure in ROWS.items():
                cells[name].append(measure(browser, site))
        site.stop()
    for name, row_cells in cells.items():
        table.add_row(name, *row_cells)
    Console(width=200).print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
