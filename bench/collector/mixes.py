"""The two fixed mixes of traffic, as requests that only want a number to be sent.

`small`: pointer events of one sample. `realistic`: 85 % pointer, scroll and key events of 30 to 60 samples (a key
event: as many as may be told), 10 % analytics with properties, 3 % labels, and 2 % of what servers post, in requests of
their own.
"""

import json
import random
import time
from typing import Any, Literal

import msgspec

from ingest.limits import KEY_STROKES_MAX

Mix = Literal["small", "realistic"]

MIXES: tuple[Mix, ...] = ("small", "realistic")
# Replaced in every id and in the session: each request is a session's, and no id is ever sent twice.
MARK = "@@@@@@@@@@"
POOL = 200
BROWSER_KEY, SERVER_KEY = "dev-browser-key", "dev-server-key"
USER_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 "
    "Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
)


class Template(msgspec.Struct, frozen=True):
    """A request cut where its number goes.

    Attributes:
        samples: of all its signals together.
    """

    pieces: list[bytes]
    events: int
    samples: int

    def numbered(self, number: bytes) -> bytes:
        """Head and body of the request; `number` is as long as the mark."""
        return number.join(self.pieces)


def templates(mix: Mix, events: int, seed: int = 1) -> list[Template]:
    """Makes the different requests of `events` events each that a generator sends in turn."""
    rng = random.Random(f"{mix} {events} {seed}")
    return [_template(rng, mix, events, server=mix == "realistic" and n % 50 == 49) for n in range(POOL)]


def _template(rng: random.Random, mix: Mix, events: int, *, server: bool) -> Template:
    made = [_event(rng, mix, n, server=server) for n in range(events)]
    body = json.dumps({"sent_at": _now(), "session": MARK, "events": made}, separators=(",", ":")).encode()
    lines = (
        "POST /v1/events HTTP/1.1",
        "Host: bench",
        f"Authorization: Bearer {SERVER_KEY if server else BROWSER_KEY}",
        f"User-Agent: {rng.choice(USER_AGENTS)}",
        "Content-Type: application/json",
        f"X-Request-Id: {MARK}",  # another one each time, as a proxy in front makes it
        f"Content-Length: {len(body)}",
    )
    head = "\r\n".join(lines) + "\r\n\r\n"
    samples = sum(len(event.get("t", event.get("t_down", ()))) for event in made)
    return Template((head.encode() + body).split(MARK.encode()), events, samples)


def _event(rng: random.Random, mix: Mix, number: int, *, server: bool) -> dict[str, Any]:
    common = {"id": f"{MARK}-{number:03}", "ts": _now()}
    if mix == "small":
        return {**common, "type": "pointer", "t": [0], "x": [rng.randrange(1_600)], "y": [rng.randrange(900)]}
    if server:
        return {**common, **_of_server(rng, number)}
    kind = rng.random() * 98
    if kind < 85:
        return {**common, **_signal(rng)}
    if kind < 95:
        plan = {"plan": rng.choice(["free", "team", "scale"]), "step": rng.randrange(9), "beta": rng.random() < 0.5}
        url = f"https://www.example.com/pricing/{rng.randrange(400)}?ref=nav"
        return {**common, "type": "page_view", "url": url, "referrer": "https://www.example.com/", "properties": plan}
    task = f"dogs-{rng.randrange(100_000):06}"
    return {**common, "type": "image_label", "task": task, "answer": rng.choice(["beagle", "pug", "a poodle"])}


def _signal(rng: random.Random) -> dict[str, Any]:
    samples = rng.randint(30, 60)
    times = [round(16.7 * n + rng.random(), 1) for n in range(samples)]
    kind = rng.choices(["pointer", "scroll", "key"], [60, 25, 15])[0]
    if kind == "key":
        samples = min(samples, KEY_STROKES_MAX)
        down = [round(180 * n + 60 * rng.random(), 1) for n in range(samples)]
        return {"type": kind, "t_down": down, "t_up": [round(at + 40 + 50 * rng.random(), 1) for at in down]}
    x, y = rng.randrange(1_600), rng.randrange(900)
    xs, ys = [], []
    for _ in range(samples):
        x, y = x + rng.randint(-12, 12), y + rng.randint(-12, 12)
        xs.append(x if kind == "pointer" else 0)
        ys.append(y)
    return {"type": kind, "t": times, "x": xs, "y": ys}


def _of_server(rng: random.Random, number: int) -> dict[str, Any]:
    account = f"acct-{rng.randrange(5_000)}"
    if number % 3 == 0:
        check = {"provider": "stripe", "method": "document", "outcome": "passed"}
        return {"type": "identity_check", "account": account, **check}
    if number % 3 == 1:
        person = {"name": "Ada Lovelace", "email": "ada@example.com", "country": "GB"}
        return {"type": "contact", "account": account, "role": "integrator", **person}
    person = {"name": "Alan Turing", "email": "alan@example.com", "country": "GB"}
    return {"type": "labeler_application", **person, "languages": ["en", "de"], "note": "evenings"}


def _now() -> int:
    return time.time_ns() // 1_000_000
