"""Sends: the batches as fast as a collector takes them, and everything that is wrong on purpose."""

import asyncio
import contextlib
import datetime
import json
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import aiohttp
from confluent_kafka import Producer

from attacks.canaries.needles import Canaries
from attacks.canaries.traffic import Batch, analysts_queries, bad_requests
from schemas.codec import header
from schemas.outcomes import UnjoinError
from schemas.topics import DEIDENTIFIED, LABELED, SIGNALS
from testkit.seals import sealed_value

WORKERS = 6
TRIES = 50
ANSWER_S_MAX = 10.0


class CanaryError(UnjoinError):
    """The run proves nothing; the text says what went wrong."""


async def post_all(
    url: str, keys: tuple[str, str], batches: Iterator[Batch], on_posted: Callable[[int], None]
) -> Counter[str]:
    """Accepted events by category; every good event is, and no bad one.

    Args:
        keys: of the browser and of the server.
        on_posted: told how many more events were accepted.

    Raises:
        CanaryError: an answer is another than that.
    """
    accepted: Counter[str] = Counter()

    async def work(http: aiohttp.ClientSession) -> None:
        for batch in batches:
            await _post(http, f"{url}/v1/events", keys[batch.server], batch)
            accepted.update(batch.accepted)
            on_posted(sum(batch.accepted.values()))

    async with aiohttp.ClientSession() as http:
        await asyncio.gather(*(work(http) for _ in range(WORKERS)))
    return accepted


async def _post(http: aiohttp.ClientSession, url: str, key: str, batch: Batch) -> None:
    body = json.dumps({"session": batch.session, "events": batch.events})
    headers = {**batch.headers, "Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    for _ in range(TRIES):
        async with http.post(url, data=body, headers=headers) as answer:
            said = await answer.json()
            if answer.status in (401, 429, 503):  # a new key is known within a second
                await asyncio.sleep(float(answer.headers.get("Retry-After", "0.2")))
                continue
        if answer.status != 200 or said["accepted"] != sum(batch.accepted.values()):
            raise CanaryError(f"the collector answered {answer.status} and accepted {said.get('accepted')}")
        if len(said["rejected"]) != batch.rejected:
            raise CanaryError("the collector accepted an event that is wrong on purpose")
        return
    raise CanaryError("the collector kept refusing a batch")


def send_bad_requests(port: int, canaries: Canaries) -> Counter[int]:
    """How often which status was answered; 0 where the connection was closed without a word."""
    statuses: Counter[int] = Counter()
    for request in bad_requests(canaries):
        with socket.create_connection(("127.0.0.1", port), ANSWER_S_MAX) as connection:
            with contextlib.suppress(ConnectionError):  # the collector need not read all of what it refuses
                connection.sendall(request)
            statuses[_status(connection)] += 1
    return statuses


def _status(connection: socket.socket) -> int:
    with contextlib.suppress(ConnectionError):
        line = connection.makefile("rb").readline(100).split()
        if len(line) > 1 and line[0].startswith(b"HTTP/") and line[1].isdigit():
            return int(line[1])
    return 0


def send_queries(port: int, canaries: Canaries) -> Counter[int]:
    """How often port 8123 answered which status."""
    statuses: Counter[int] = Counter()
    for sql in analysts_queries(canaries):
        query = urllib.parse.urlencode({"param_x": canaries.text("analyst"), "database": "unjoin"})
        request = urllib.request.Request(f"http://127.0.0.1:{port}/?{query}", sql.encode())
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S_MAX) as answer:
                statuses[answer.status] += 1
        except urllib.error.HTTPError as error:
            statuses[error.code] += 1
    return statuses


def garbage(canaries: Canaries, tag: str, subject: str) -> Iterable[bytes]:
    """Record values that no decoder takes, each with a canary inside."""
    canary = canaries.text
    yield canary(tag).encode()
    yield b"\0\xff\xff\xff\xff" + canary(tag).encode()
    yield header(subject) + canary(tag).encode()
    yield header(subject) + b"\xff" * 9 + canary(tag).encode()
    for other in ("events.personal-value", "events.labelers-value"):
        yield header(other) + canary(tag).encode()


def produce_garbage(bootstrap: str, canaries: Canaries, voter: bytes, day: datetime.date, epoch_key: bytes) -> int:
    """Puts undecodable records on three topics, and a good label in a bad wrapping; gives how many are undecodable.

    Args:
        voter: of the good label, which the door will release without its wrapping.
        epoch_key: the door's of the day, so that what is bad inside a seal comes out of it as well.
    """
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    written = 0
    for topic, tag in ((LABELED, "labeledgarbage"), (SIGNALS, "signalsgarbage")):
        subject = f"{topic}-value"
        for value in garbage(canaries, tag, subject):
            producer.produce(topic, value, canaries.text(tag).encode(), headers=_headers(canaries, tag))
            written += 1
    good = {"kind": "text_answer", "task": "insider-1", "answer": "a"}
    value = sealed_value({"voter": voter, "day": day, "act": good}, epoch_key)
    bad_kind = {**good, "kind": canaries.text("labeledgarbage")}
    broken = sealed_value({"voter": voter, "day": day, "act": bad_kind}, epoch_key)
    for wrong in (value + canaries.text("labeledgarbage").encode(), broken):
        producer.produce(LABELED, wrong, canaries.text("labeledgarbage").encode(), partition=0)
        written += 1
    # And one without a canary, so that there is a dead letter of the released topic to be searched.
    producer.produce(DEIDENTIFIED, b"not a datum", partition=0)
    written += 1
    producer.produce(
        LABELED, value, canaries.text("insider").encode(), partition=0, headers=_headers(canaries, "insider")
    )
    producer.flush(ANSWER_S_MAX)
    return written


def _headers(canaries: Canaries, tag: str) -> dict[str, str | bytes | None]:
    return {canaries.text(tag): canaries.text(tag).encode()}
