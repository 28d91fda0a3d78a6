"""Three kinds of rows, as the values that lie on Kafka: Confluent's header and an Avro datum."""

import random
from typing import Any, Literal, NamedTuple

from bench.collector.mixes import USER_AGENTS
from schemas import codec
from sinks.engine import Table
from sinks.rows.tables import ANALYTICS, SIGNALS

Kind = Literal["small", "realistic", "analytics"]

KINDS: tuple[Kind, ...] = ("small", "realistic", "analytics")
TABLE_OF: dict[Kind, Table] = {"small": SIGNALS, "realistic": SIGNALS, "analytics": ANALYTICS}
NOW_MS = 1_790_000_000_000


class Stored(NamedTuple):
    """What a sink uses of a record."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    value: bytes
    headers: tuple[()] = ()


def records(kind: Kind, count: int, seed: int = 1) -> list[Stored]:
    """So many different records: signals of one sample, or of 30 to 60; or page views."""
    rng = random.Random(f"{kind} {seed}")
    topic = TABLE_OF[kind].topics[0]
    made = (_analytics(rng, n) if kind == "analytics" else _signal(rng, n, small=kind == "small") for n in range(count))
    return [Stored(topic, 0, n, NOW_MS, codec.encode(f"{topic}-value", row)) for n, row in enumerate(made)]


def _event(rng: random.Random, number: int, kind: str) -> dict[str, Any]:
    return {
        "event_id": f"{rng.getrandbits(64):016x}-{number:08}",
        "site": f"site-{rng.randrange(10)}",
        "session": f"s-{rng.getrandbits(24):06x}-{number % 997}",
        "type": kind,
        "ts": NOW_MS + number,
        "received_at": NOW_MS + number + rng.randrange(2_000),
    }


def _signal(rng: random.Random, number: int, *, small: bool) -> dict[str, Any]:
    samples = 1 if small else rng.randint(30, 60)
    kind = "pointer" if small else rng.choices(["pointer", "scroll", "key"], [60, 25, 15])[0]
    empty: dict[str, list[float]] = {name: [] for name in ("t", "x", "y", "z", "force", "t_up")}
    row = _event(rng, number, kind) | empty
    if kind == "key":
        down = [round(180 * n + 60 * rng.random(), 1) for n in range(samples)]
        return row | {"t": down, "t_up": [round(at + 40 + 50 * rng.random(), 1) for at in down]}
    x, y = rng.randrange(1_600), rng.randrange(900)
    row["t"] = [round(16.7 * n + rng.random(), 1) for n in range(samples)]
    for _ in range(samples):
        x, y = x + rng.randint(-12, 12), y + rng.randint(-12, 12)
        row["x"].append(float(x if kind == "pointer" else 0))
        row["y"].append(float(y))
    return row


def _analytics(rng: random.Random, number: int) -> dict[str, Any]:
    return _event(rng, number, "page_view") | {
        "ip": f"198.51.100.{rng.randrange(256)}",
        "user_agent": rng.choice(USER_AGENTS),
        "url": f"https://www.example.com/pricing/{rng.randrange(400)}?ref=nav",
        "referrer": "https://www.example.com/",
        "properties": f'{{"plan":"{rng.choice(["free", "team"])}","step":{rng.randrange(9)}}}',
    }
