"""The SDK as sites of today use it: bundled by Vite, in React's StrictMode, in Vue and plain; and stock web-vitals."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from testkit.sdk_site import SCRIPTS, wait, wait_on, wander
from tests.browser.test_sdk import context, page, site
from tests.browser.test_sdk_hostile import moved_twice

__all__ = ["context", "page", "site"]
pytestmark = pytest.mark.browser

FRAMEWORKS = Path(__file__).parents[1] / "frameworks"


@pytest.fixture(scope="module")
def bundles(node_build, tmp_path_factory):
    """The three pages, built."""
    if not (FRAMEWORKS / "node_modules" / "vite").is_dir():
        pytest.skip("needs the packages of tests/frameworks: scripts/setup test")
    out = tmp_path_factory.mktemp("bundles")
    command = ["node", "node_modules/vite/bin/vite.js", "build", "--mode", "development", "--outDir", str(out)]
    built = subprocess.run(
        [*command, "--emptyOutDir"], cwd=FRAMEWORKS, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "UNJOIN_SDK": str(node_build / "index.js")},
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    return out


def open_bundle(page, site, bundles, framework):
    site.built = bundles
    options = json.dumps({"endpoint": site.collector_url, **site.options})
    site.pages[framework] = (bundles / framework / "index.html").read_text().replace("OPTIONS", options)
    page.goto(f"{site.url}/pages/{framework}")


@pytest.mark.parametrize("framework", ["react", "vue", "plain"])
def test_a_bundled_page_tells_each_thing_once(page, site, bundles, framework):
    """Effects that run twice, proxies that hold themselves, events of the framework as properties."""
    open_bundle(page, site, bundles, framework)
    wander(page)
    page.locator("#next").click()
    page.locator("#answer").click()
    page.locator("#use").click()
    wait_on(page, lambda: site.events("usage") and site.events("image_label") and site.events("pointer"))
    page.goto("about:blank")
    views = [(view["url"], view["referrer"]) for view in site.events("page_view")]
    first, second = f"{site.url}/pages/{framework}", f"{site.url}/built/task"
    assert views == [(first, ""), (second, first)]
    assert len(site.events("image_label")) == 1
    assert set(site.stored.values()) == {1}
    samples = [(event["ts"], *event["t"]) for event in site.events("pointer")]
    assert len(samples) == len(set(samples))


@pytest.mark.parametrize("persist", [True, False])
def test_stock_web_vitals_arrive(page, site, bundles, persist):
    """Layout shift and largest paint are known when the page hides, which is when most of them were lost."""
    site.options |= {"interval": 30_000, "persist": persist}
    open_bundle(page, site, bundles, "plain")
    page.locator("#next").click()
    page.wait_for_timeout(300)
    page.goto(site.url + "/examples/article.js")
    wait(lambda: {"CLS", "LCP"} <= {event["properties"]["event"] for event in site.events("usage")})


def test_turbo_evaluates_the_script_again_and_nothing_is_told_twice(page, site):
    """A visit by Turbo swaps the body in the same document and runs its scripts anew."""
    turbo = FRAMEWORKS / "node_modules" / "@hotwired" / "turbo" / "dist"
    if not turbo.is_dir():
        pytest.skip("needs the packages of tests/frameworks: scripts/setup test")
    site.built, site.options["views"] = turbo, True
    head = "<!doctype html><title>{0}</title><script src='/built/turbo.es2017-umd.js'></script>"
    count = "<script>window.runs = (window.runs || 0) + 1; unjoin.track('body', {run: window.runs})</script>"
    link = "<a id=next href='/pages/{1}'>{1}</a><p style='height:3000px'>"
    for here, there in (("first", "second"), ("second", "third"), ("third", "first")):
        site.pages[here] = f"{head}<body>{link}{SCRIPTS}{count}</body>".replace("{0}", here).replace("{1}", there)
    page.goto(site.url + "/pages/first")
    for run, title in ((2, "second"), (3, "third")):
        wander(page)
        page.locator("#next").click()
        wait_on(page, lambda title=title, run=run: page.evaluate("[document.title, window.runs]") == [title, run])
    wander(page)
    page.mouse.wheel(0, 500)
    page.evaluate("unjoin.flush()")
    wait_on(page, lambda: len(site.events("page_view")) == 3 and site.events("pointer") and site.events("scroll"))
    page.goto("about:blank")
    assert [view["url"].rpartition("/")[2] for view in site.events("page_view")] == ["first", "second", "third"]
    assert sorted(event["properties"]["run"] for event in site.events("usage")) == [1, 2, 3]
    assert not moved_twice(site.events("pointer"))
    assert not moved_twice(site.events("scroll"))
    assert set(site.stored.values()) == {1}
