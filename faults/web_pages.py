"""`python -m faults.web_pages`: what a web page of another origin learns from a machine's local ports.

A real pipeline on loopback holds one stored address. A page in Chromium, of another site and of another port of the
same one, asks every local listener, as any page that an operator opens can. It cannot read the answers; it times them:
a question that is slow only where the address begins with the guessed letter reads it letter by letter. The control is
the same page in front of the same port behind a proxy that takes the browser's marks away: if that does not read the
address, the attack is blind and proves nothing. 0 where the control reads all of it and nothing else tells anything.
"""

import json
import sys
import tempfile
import uuid
from pathlib import Path
from urllib.parse import quote

from aiohttp import ClientSession, web
from rich.console import Console
from rich.table import Table

from testkit.browsers import Chromium
from testkit.kafka_node import kafka_home
from testkit.running_stack import RunningStack
from testkit.sdk_site import SdkSite

ADDRESS = "mika@example.org"
GUESSED = 3  # letters
LETTERS = "aeikmz"
TRIES = 5  # of a guess; the fastest counts
SLOW_MS = 20.0
MARKS = ("origin", "referer", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest")
# Slow where the guess is right. The scalar is known before the scan begins.
QUESTION = (
    "SELECT sum(sipHash64(number)) FROM numbers(60000000) "
    "WHERE (SELECT count() FROM unjoin.personal WHERE startsWith(email, '{guess}')) > 0"
)
TIMED = """(async () => {{
  const began = performance.now();
  await fetch({url}, {{mode: 'no-cors', cache: 'no-store'}}).catch(() => 0);
  return performance.now() - began;
}})()"""
READ = """fetch({url}, {{cache: 'no-store'}}).then((answer) => answer.text()).then((text) => text.length, () => 0)"""


class WithoutMarks(SdkSite):
    """Below `/passed/` a port of this machine, asked without what tells a browser's request for a page."""

    def __init__(self, to_port: int) -> None:
        super().__init__()
        self._to_port = to_port

    def _more(self, pages: web.Application) -> None:
        pages.router.add_get("/passed/", self._passed_on)

    async def _passed_on(self, request: web.Request) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in (*MARKS, "host")}
        url = f"http://127.0.0.1:{self._to_port}/"
        async with ClientSession() as session, session.get(url, params=request.query, headers=headers) as answer:
            return web.Response(body=await answer.read(), status=answer.status)


def read_by_time(browser: Chromium, base: str) -> str:
    """The letters whose questions took longest, each after those before it."""
    found = ""
    for _ in range(GUESSED):
        ms = {}
        for letter in LETTERS:
            url = f"{base}/?query={quote(QUESTION.format(guess=found + letter))}"
            ms[letter] = min(browser.evaluate(TIMED.format(url=json.dumps(url))) for _ in range(TRIES))
        slowest, second = sorted(ms.values(), reverse=True)[:2]
        if slowest < max(2 * second, SLOW_MS):  # nothing stands out
            return found
        found += max(ms, key=ms.__getitem__)
    return found


def store_address(stack: RunningStack) -> None:
    """One sign-up, stored."""
    who = {"account": "one", "role": "", "name": "", "email": ADDRESS, "country": ""}
    event = {"id": str(uuid.uuid4()), "type": "contact", "ts": 0, **who}
    status, answer = stack.post({"session": "server", "events": [event]}, key="dev-server-key")
    assert status == 200, answer
    assert answer["accepted"] == 1, answer
    assert stack.wait_for_count("SELECT count() FROM unjoin.personal", 1) == 1


def main() -> int:
    console = Console(width=120)
    table = Table("page of", "asks", "bytes read", "letters read by time", title=f"What a page reads of {ADDRESS!r}")
    with tempfile.TemporaryDirectory() as folder:
        stack = RunningStack(kafka_home(), Path(folder))
        stack.start()
        try:
            store_address(stack)
            other, without_marks = SdkSite(), WithoutMarks(stack.clickhouse_port)
            other.pages["blank"] = "<!doctype html><title>elsewhere</title>"
            other.start()
            without_marks.start()
            sql = f"http://127.0.0.1:{stack.clickhouse_port}"
            roles = ("collector", "processor", "sink")
            metrics = {
                f"{role}'s metrics": f"http://127.0.0.1:{stack.metrics_port + number}/metrics"
                for number, role in enumerate(roles)
            }
            told = 0
            with Chromium() as browser:
                for name in ("localhost", "127.0.0.1"):
                    page_of = other.url.replace("127.0.0.1", name)
                    browser.goto(f"{page_of}/pages/blank")
                    question = f"{sql}/?query={quote('SELECT email FROM unjoin.personal')}"
                    asked = {
                        "8123": question,
                        **metrics,
                        "the page's stream": f"{stack.http}/playground/events?session=s",
                    }
                    for listener, url in asked.items():
                        read = browser.evaluate(READ.format(url=json.dumps(url)))
                        letters = read_by_time(browser, sql) if listener == "8123" else ""
                        told += bool(read) + bool(letters)
                        table.add_row(page_of, listener, str(read), letters or "none")
                control = read_by_time(browser, f"{without_marks.url}/passed")
                table.add_row(page_of, "control: 8123 without the browser's marks", "", control or "none")
            other.stop()
            without_marks.stop()
        finally:
            stack.stop()
    console.print(table)
    return 0 if not told and control == ADDRESS[:GUESSED] else 1


if __name__ == "__main__":
    sys.exit(main())
