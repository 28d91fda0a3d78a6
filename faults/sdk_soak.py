"""`python -m faults.sdk_soak`: many lives of pages with the SDK, against the real stack.

Each life makes page views, uses and answers, some of them in its last moment, and ends as a seeded dice says: its tab
is closed, it is reloaded, it goes to another page, or it hides first. Between them the network goes (Chromium alone)
and the collector is killed. At the end a page takes over what the others left. Then every event that any page made is
stored once, or was told as lost: made = stored + told as lost. Views and uses are compared with their rows by id;
answers, which nobody can find again, by their fates.
"""

import argparse
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import track

from testkit.browsers import Browser, Chromium, Firefox, WebKit
from testkit.running_stack import RunningStack
from testkit.sdk_site import SCRIPTS, SdkSite, noted
from testkit.stack_collector import collector_of, stack_answers

BROWSERS: dict[str, type[Browser]] = {"chromium": Chromium, "firefox": Firefox, "webkit": WebKit}
LATE = """<script>addEventListener('pagehide', () => unjoin.track('late'));
document.addEventListener('visibilitychange', () => unjoin.track('hidden'));</script>"""
# What a page has kept is its own for two minutes: those that come last are of three minutes later.
LATER = "<script>const real = Date.now; Date.now = () => real() + 180000</script>"
HIDE = """(Object.defineProperty(document, 'visibilityState', {value: 'hidden', configurable: true}),
document.dispatchEvent(new Event('visibilitychange')))"""
LOST = ("rejected", "refused", "dropped")
KILL_SHARE, OFFLINE_SHARE = 0.05, 0.1


def live(browser: Browser, site: SdkSite, dice: random.Random, life: int) -> None:
    """One life: some events, perhaps without a network, and an end."""
    browser.open()
    browser.goto(site.url + dice.choice(["/", "/pages/late"]))
    is_offline = isinstance(browser, Chromium) and dice.random() < OFFLINE_SHARE
    if isinstance(browser, Chromium) and is_offline:
        browser.offline(True)
    for _ in range(dice.randint(1, 3)):
        count = dice.randint(0, 5)
        browser.evaluate(f"[...Array({count}).keys()].forEach((n) => unjoin.track('n', {{n, life: {life}}}))")
        browser.evaluate(f"(unjoin.page(), unjoin.label('soak-{life}', 'word'), 1)")
        time.sleep(dice.choice([0, 0, 0.1, 0.4]))
    if isinstance(browser, Chromium) and is_offline:
        browser.offline(False)
    end = dice.choice(["close", "reload", "away", "hide"])
    if end == "reload":
        browser.goto(site.url + "/pages/late")
    elif end == "away":
        browser.goto(site.url + "/pages/empty")
    elif end == "hide":
        browser.evaluate(HIDE)
        browser.evaluate("(unjoin.track('behind'), 1)")
    browser.close_tab()


def prepared(stack: RunningStack) -> SdkSite:
    """A site with a key of its own, as its collector knows it."""
    site = SdkSite()
    site.start()
    added = stack.command("sites", "add", "soak", "--origin", site.url, "--categories", "signals,labeled,analytics")
    found = re.search(r"ub_\S+", added.stdout)
    assert found, added.stderr
    site.options = {"key": found[0], "endpoint": stack.http, "interval": 500}
    site.pages = {"late": f"<!doctype html>{SCRIPTS}{LATE}", "empty": "<!doctype html>", "later": LATER + SCRIPTS}
    while stack.post({"session": "s-1", "events": []}, found[0])[0] != 200:
        time.sleep(0.1)
    return site


def main() -> int:
    """Prints what was made and what became of it; 1 where the sums differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lives", type=int, default=200)
    parser.add_argument("--browser", choices=BROWSERS, default="chromium")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kafka-home", type=Path, default=Path(os.environ.get("UNJOIN_KAFKA_HOME", ".kafka")))
    options = parser.parse_args()
    console = Console(stderr=True)
    kind = BROWSERS[options.browser]
    if not kind.is_there():
        console.print(f"faults.sdk_soak: needs {kind.name}: scripts/setup test", style="bold red")
        return 1
    dice, kills = random.Random(options.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        stack = RunningStack(options.kafka_home.absolute(), Path(folder))
        stack.start()
        site = prepared(stack)
        try:
            with kind() as browser:
                for life in track(range(options.lives), description=kind.name, console=console):
                    if dice.random() < KILL_SHARE and stack_answers(stack):
                        os.kill(collector_of(stack), signal.SIGKILL)
                        kills += 1
                    live(browser, site, dice, life)
                while not stack_answers(stack):
                    time.sleep(0.1)
                return told(browser, stack, site, kills, options)
        finally:
            site.stop()
            stack.stop()


def is_loss(fate: str) -> bool:
    """Whether it says that the event will not be stored."""
    return fate.partition(":")[0] in LOST


def told(browser: Browser, stack: RunningStack, site: SdkSite, kills: int, options: argparse.Namespace) -> int:
    """Waits until a last page has sent what the others left, and compares."""
    rows: Counter[str] = Counter()
    deadline = time.monotonic() + 120
    while True:
        browser.goto(site.url + "/pages/later")
        time.sleep(5)
        notes = noted(browser)
        made = {note["event"]["id"]: note["event"]["type"] for note in notes}
        lost = {note["event"]["id"] for note in notes if any(map(is_loss, note["fates"]))}
        accepted = {note["event"]["id"] for note in notes if "accepted" in note["fates"]}
        rows = Counter(row["event_id"] for row in stack.rows("SELECT event_id FROM analytics WHERE site = 'soak'"))
        seen = {key for key, type_ in made.items() if type_ in ("page_view", "usage")}
        open_labels = {key for key, type_ in made.items() if type_ == "image_label"} - accepted - lost
        alone = {note["event"]["id"] for note in notes if "beaconed: unkept" in note["fates"]}
        missing = seen - rows.keys() - lost - alone
        if not (missing or open_labels) or time.monotonic() > deadline:
            break
    for note in notes:
        if note["event"]["id"] in missing:
            print(note["fates"], note["event"], file=sys.stderr)
    twice = sum(count > 1 for count in rows.values())
    gone = (seen & lost) - rows.keys()
    unkept = (seen & alone) - rows.keys() - lost
    reasons = Counter(fate for note in notes if note["event"]["id"] in gone for fate in note["fates"] if is_loss(fate))
    console = Console()
    console.print(f"{browser.name}, seed {options.seed}: {options.lives} lives, {kills} kills of the collector")
    console.print(
        f"views and uses: made {len(seen)} = stored {len(seen & rows.keys())} + told as lost {len(gone)} + told as "
        f"left with a beacon that nothing surely keeps, and not arrived {len(unkept)} + missing {len(missing)}"
    )
    though = len(seen & lost & rows.keys())
    console.print(f"why lost: {dict(reasons)}; told as lost, and stored: {though}")
    console.print(f"twice {twice}; answers without a receipt {len(open_labels)} (left with a beacon)")
    return int(bool(missing) or twice > 0)


if __name__ == "__main__":
    sys.exit(main())
