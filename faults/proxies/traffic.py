"""Honest clients, each of whose answers names its request, beside hostile ones that try to shift the answers."""

import asyncio
import json
import random
from collections import Counter

import msgspec

from faults.http_model.client import Broken, read_body, read_head
from faults.http_model.grammar import script, smuggled_post

HONEST, HOSTILE = 4, 8
# Long enough for a proxy to have passed on what came before it.
PAUSE_SECONDS = 0.05
# A hostile client that is not answered any more leaves.
HOSTILE_SECONDS_MAX = 1.0
HONEST_SECONDS_MAX = 30.0


class Outcome(msgspec.Struct):
    """What came of it.

    Attributes:
        answers: of the honest, to their own requests.
        foreign: of the honest, to another request.
        statuses: of the honest, other than 200: a proxy's own, such as 502.
        lost: connections of the honest that ended without an answer.
        hostile: scripts.
        texts: of what was foreign.
    """

    answers: int = 0
    foreign: int = 0
    statuses: Counter[int] = msgspec.field(default_factory=Counter)
    lost: int = 0
    hostile: int = 0
    texts: list[str] = []


async def run_traffic(port: int, scripts: int, seed: int) -> Outcome:
    """Plays so many hostile scripts through a proxy, with honest clients beside them all the time."""
    outcome = Outcome()
    waiting = list(range(scripts))
    done = asyncio.Event()

    async def hostile() -> None:
        while waiting:
            number = waiting.pop()
            await _play(port, seed, number)
            outcome.hostile += 1

    honest = [asyncio.create_task(_honest(port, f"h{number}", outcome, done)) for number in range(HONEST)]
    await asyncio.gather(*(hostile() for _ in range(HOSTILE)))
    done.set()
    await asyncio.gather(*honest)
    return outcome


async def _play(port: int, seed: int, number: int) -> None:
    name = f"p{number}"
    pieces = [script(random.Random(f"{seed}-{number}").choice, name).sent] if number % 2 else _offer(name)
    try:
        async with asyncio.timeout(HOSTILE_SECONDS_MAX):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                for piece in pieces:
                    writer.write(piece)
                    await asyncio.sleep(PAUSE_SECONDS)
                while await reader.read(65_536):
                    pass
            finally:
                writer.transport.abort()
    except (TimeoutError, ConnectionError):
        pass  # the honest clients and the stored events say what came of it


def _offer(name: str) -> list[bytes]:
    """What was once two requests: an offer to upgrade, and its body, a whole request that comes a little later."""
    body = smuggled_post(name)
    head = b"GET /healthz HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    return [head + b"Content-Length: %d\r\n\r\n" % len(body), body]


async def _honest(port: int, name: str, outcome: Outcome, done: asyncio.Event) -> None:
    number = 0
    while not done.is_set():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while not done.is_set():
                number += 1
                writer.write(_named(f"{name}-{number}"))
                async with asyncio.timeout(HONEST_SECONDS_MAX):
                    status, headers = await read_head(reader)
                    body = await read_body(reader, status, headers, head_only=False)
                if status != 200:
                    outcome.statuses[status] += 1
                elif f'"id":"{name}-{number}"'.encode() in body:
                    outcome.answers += 1
                else:
                    outcome.foreign += 1
                    outcome.texts.append(f"{name}-{number} was answered {body[:200]!r}")
                if headers.get("connection", "").lower() == "close":
                    break
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            outcome.lost += 1
        except (Broken, ValueError) as error:
            outcome.foreign += 1
            outcome.texts.append(f"{name}-{number}: {error}")
        finally:
            writer.transport.abort()


def _named(name: str) -> bytes:
    """A request whose answer names it: its event is of no type, so the answer has its id."""
    body = json.dumps({"session": "s", "events": [{"id": name, "type": "none", "ts": 1}]}).encode()
    head = "POST /v1/events HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer dev-browser-key\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
