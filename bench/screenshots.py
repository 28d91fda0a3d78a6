"""`python -m bench.screenshots`: pictures of the live page, as the README shows them.

Starts `unjoin up` on free ports with a folder of its own, uses the page as a visitor would, and writes PNGs: light,
dark, phone. What they show has happened: the events were sent, the crowds left the door. The fonts are this machine's.
"""

import argparse
import contextlib
import io
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console

from testkit.chromium import ARGUMENTS
from testkit.running_stack import RunningStack

ROOT = Path(__file__).parents[1]
BYTES_MAX = 250_000
SECONDS_MAX = 60.0
DESKTOP, PHONE = {"width": 1280, "height": 904}, {"width": 390, "height": 1240}
COLOURS = 256
DOTS = "many => document.querySelectorAll('.dot.labeled:not([visibility])').length >= many"


def use(page: Page, *, crowds: int, more: int) -> None:
    """What a visitor does: moves, types, answers; then fills `crowds` crowds, and adds `more` times five sessions."""
    page.wait_for_selector("#state[data-is=live]", timeout=SECONDS_MAX * 1_000)
    for button in ("Page view", "Usage", "Usage"):
        page.get_by_role("button", name=button).click()
    page.locator("#typing").press_sequentially("only when, never which", delay=45)
    for _ in range(2):
        page.locator("#answers button").first.click()
    page.get_by_role("button", name="Send it").click()
    for _ in range(crowds):
        before = _number(page, "#n-labels")
        deadline = time.monotonic() + SECONDS_MAX
        while _number(page, "#n-labels") == before:
            assert time.monotonic() < deadline, "no crowd has left the door"
            _add_sessions(page)
    for _ in range(more):
        _add_sessions(page)
    circle(page, turns=3)


def circle(page: Page, turns: int) -> None:
    """Moves the mouse in curves, at a hand's pace."""
    width = (page.viewport_size or DESKTOP)["width"]
    for step in range(turns * 60):
        angle = step / 60 * 2 * math.pi
        page.mouse.move(width / 2 + 220 * math.cos(angle), 330 + 90 * math.sin(2 * angle) + 20 * math.cos(angle * 0.7))
        page.wait_for_timeout(12)


def _add_sessions(page: Page) -> None:
    page.get_by_role("button", name="Add 5 invented sessions").click()
    page.wait_for_selector("#invent:not([aria-disabled])")
    page.wait_for_timeout(700)  # so that dots do not all travel at once


def _number(page: Page, selector: str) -> int:
    text = page.locator(selector).inner_text().replace(",", "")
    return int(text) if text.isdigit() else 0


def picture(page: Page, whole: bool) -> bytes:
    """A PNG with a palette, a third of the bytes."""
    page.evaluate("document.activeElement.blur()")
    shot = Image.open(io.BytesIO(page.screenshot(full_page=whole)))
    out = io.BytesIO()
    shot.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def take(browser: Browser, url: str, write: Callable[[str, bytes], None]) -> None:
    """Light, dark and phone, each from a visit of its own."""
    for name, scheme, size, crowds, more in (
        ("page-light", "light", DESKTOP, 1, 2),
        ("page-dark", "dark", DESKTOP, 0, 1),
        ("page-phone", "light", PHONE, 0, 0),
    ):
        is_phone = size is PHONE
        context = browser.new_context(
            viewport=size,  # type: ignore[arg-type]
            color_scheme=scheme,  # type: ignore[arg-type]
            device_scale_factor=2 if is_phone else 1.5,
            is_mobile=is_phone,
        )
        page = context.new_page()
        page.set_default_timeout(SECONDS_MAX * 1_000)
        page.goto(url)
        use(page, crowds=crowds, more=more)
        page.wait_for_selector("#fresh:not(:text-is('–'))")
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(2_500)  # until what the scrolling said has been sent
        circle(page, turns=2)
        for name_of_button in ("usage", "page-view", "invent"):
            page.locator("#" + name_of_button).evaluate("button => button.click()")  # without scrolling to it
        # Until some of the labels are on their way to the door.
        page.wait_for_function(DOTS, arg=5)
        page.wait_for_timeout(250)
        write(name, picture(page, whole=False))
        context.close()


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m bench.screenshots", description="Pictures of the live page.")
    arguments.add_argument("--out", type=Path, default=Path("docs/figures"), help="folder of the PNGs")
    arguments.add_argument("--url", help="of a collector that runs already, as `unjoin up` prints it")
    options = arguments.parse_args()
    console = Console(stderr=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        console.print("needs Chromium: apt-get install chromium")
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    too_large = []

    def write(name: str, png: bytes) -> None:
        (options.out / f"{name}.png").write_bytes(png)
        console.print(f"{options.out / name}.png  {len(png):,} bytes", highlight=False)
        if len(png) > BYTES_MAX:
            too_large.append(name)

    with contextlib.ExitStack() as open_things:
        url = options.url
        if url is None:
            folder = Path(open_things.enter_context(tempfile.TemporaryDirectory(prefix="unjoin-")))
            stack = RunningStack(ROOT / ".kafka", folder)
            with console.status("starting unjoin up"):
                stack.start()
            open_things.callback(stack.stop)
            url = stack.http
        playwright = open_things.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        open_things.callback(browser.close)
        with console.status("using the page"):
            take(browser, url, write)
    if too_large:
        console.print(f"over {BYTES_MAX:,} bytes: {', '.join(too_large)}")
    return 1 if too_large else 0


if __name__ == "__main__":
    sys.exit(main())
