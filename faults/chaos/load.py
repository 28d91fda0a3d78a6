"""Clients that post at a steady rate and, like the SDK, send a batch again under the same ids until it is answered."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import aiohttp
import msgspec

from faults.chaos.ledger import Batch, Ledger

EVENTS_PER_BATCH = 15  # of a browser's: 10 pointers, 3 page views, 2 labels
SERVER_EVERY = 5
CONNECTIONS_MAX = 64
ANSWER_SECONDS_MAX = 5.0
BACKOFF_SECONDS = (0.2, 0.5, 1.0)
BROWSER_KEY, SERVER_KEY = "dev-browser-key", "dev-server-key"


class Load:
    """Batches at their times, whether or not those before were answered; every batch is a session of its own.

    Args:
        https: collectors, asked in turn, as a balancer does that tries the next one.
        rate: events a second.
    """

    def __init__(self, https: Sequence[str], ledger: Ledger, rate: float) -> None:
        self.ledger = ledger
        self.statuses: Counter[str] = Counter()
        self._urls = itertools.cycle([f"{http}/v1/events" for http in https])
        self._interval = EVENTS_PER_BATCH / rate
        self._stopping = asyncio.Event()
        self._posting: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(CONNECTIONS_MAX)
        self._number = 0

    async def run(self) -> None:
        """Posts until `stop`, and then until every batch is answered."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
        connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as client:
            try:
                await self._begin_all(client, time.monotonic())
            finally:
                for task in self._posting:
                    task.cancel()
                await asyncio.gather(*self._posting, return_exceptions=True)

    def stop(self) -> None:
        """Begins no more batches."""
        self._stopping.set()

    async def _begin_all(self, client: aiohttp.ClientSession, due: float) -> None:
        while not self._stopping.is_set():
            due = max(due + self._interval, time.monotonic() - 1.0)  # never a flood after a pause of our own
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._send(client)
        while self._posting:
            await asyncio.wait(self._posting)

    async def close_crowds(self, http_session: aiohttp.ClientSession, sessions: int) -> None:
        """Posts labels that nobody waits for, so that those before them have a crowd to leave with."""
        for _ in range(sessions):
            self._number += 1
            name = f"z.{self._number}"
            body = _body(name, [_label(f"{name}.{place}") for place in range(2)])
            try:
                await self._attempt(http_session, body, BROWSER_KEY)
            except (aiohttp.ClientError, TimeoutError):
                continue  # the next one may arrive

    def _send(self, client: aiohttp.ClientSession) -> None:
        self._number += 1
        self._begin(client, *_browser_batch(self._number, self.ledger.round), BROWSER_KEY)
        if self._number % SERVER_EVERY == 0:
            self._number += 1
            self._begin(client, *_server_batch(self._number, self.ledger.round), SERVER_KEY)

    def _begin(self, client: aiohttp.ClientSession, batch: Batch, body: bytes, key: str) -> None:
        self.ledger.open(batch)
        task = asyncio.create_task(self._post(client, batch, body, key))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    async def _post(self, client: aiohttp.ClientSession, batch: Batch, body: bytes, key: str) -> None:
        while True:
            async with self._slots:
                batch.tries += 1
                try:
                    status, answer = await self._attempt(client, body, key)
                except (aiohttp.ClientError, TimeoutError) as error:
                    self.statuses[type(error).__name__] += 1
                else:
                    self.statuses[str(status)] += 1
                    if status == 200:
                        _settle(batch, answer)
                        return
            await asyncio.sleep(BACKOFF_SECONDS[min(batch.tries, len(BACKOFF_SECONDS)) - 1])

    async def _attempt(self, client: aiohttp.ClientSession, body: bytes, key: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        async with client.post(next(self._urls), data=body, headers=headers) as answer:
            return answer.status, msgspec.json.decode(await answer.read())


def _settle(batch: Batch, answer: Any) -> None:
    batch.rejected = len(answer["rejected"])
    assert answer["accepted"] + batch.rejected == batch.size, "the answer's numbers do not add up"
    rejected = {one["id"] for one in answer["rejected"]}
    if rejected:
        batch.ids = {table: [one for one in ids if one not in rejected] for table, ids in batch.ids.items()}
    batch.acknowledged_at = time.monotonic()


def _browser_batch(number: int, of_round: int) -> tuple[Batch, bytes]:
    mark = f"r{of_round}.{number}"
    ids = {
        "signals": [f"{mark}.p{place}" for place in range(10)],
        "analytics": [f"{mark}.v{place}" for place in range(3)],
        "labels": [f"{mark}.t{place}" for place in range(2)],
    }
    events: list[dict[str, Any]] = [
        *({"id": one, "type": "pointer", "t": [0, 8, 16], "x": [1, 2, 3], "y": [3, 2, 1]} for one in ids["signals"]),
        *(
            {"id": one, "type": "page_view", "url": "https://example.test/", "referrer": "", "properties": {}}
            for one in ids["analytics"]
        ),
        *(_label(one) for one in ids["labels"]),
    ]
    return Batch(number, of_round, ids, time.monotonic()), _body(mark, events)


def _server_batch(number: int, of_round: int) -> tuple[Batch, bytes]:
    mark = f"r{of_round}.{number}"
    ids = {"personal": [f"{mark}.c0", f"{mark}.c1", f"{mark}.k"], "labelers": [f"{mark}.a"]}
    contact = {"type": "contact", "account": mark, "role": "integrator", "name": "A B", "email": "a@example.test"}
    check = {"type": "identity_check", "account": mark, "provider": "p", "method": "document", "outcome": "passed"}
    labeler = {"type": "labeler_application", "name": "A B", "email": "a@example.test", "country": "DE", "note": ""}
    events: list[dict[str, Any]] = [
        *({"id": one, **contact, "country": "DE"} for one in ids["personal"][:2]),
        {"id": ids["personal"][2], **check},
        {"id": ids["labelers"][0], **labeler, "languages": ["de"]},
    ]
    return Batch(number, of_round, ids, time.monotonic()), _body(mark, events)


def _label(task: str) -> dict[str, Any]:
    return {"id": task, "type": "image_label", "task": task, "answer": "beagle"}


def _body(session: str, events: list[dict[str, Any]]) -> bytes:
    now_ms = time.time_ns() // 1_000_000
    stamped = [{**event, "ts": now_ms} for event in events]
    return msgspec.json.encode({"sent_at": now_ms, "session": session, "events": stamped})
