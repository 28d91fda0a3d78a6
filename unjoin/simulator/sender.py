"""Delivers batches to a collector as a good client does: the same bytes until they are acknowledged.

UnjoinError
└── SimulateError   the run cannot begin, or an answer means that no resend can help; the text says what to change
"""

import asyncio
import time
from collections.abc import Iterator
from random import Random

import aiohttp
import msgspec

from schemas.outcomes import UnjoinError
from unjoin.simulator.counts import TrafficCounts
from unjoin.simulator.traffic import SimulatedBatch

# What a resend of the same ids can mend: the contract's 408, 429 and 503, a failure inside, and a proxy's 502 and 504.
RETRYABLE = frozenset({408, 429, 500, 502, 503, 504})
BACKOFF_SECONDS = 0.1
BACKOFF_SECONDS_MAX = 5.0
RETRY_AFTER_SECONDS_MAX = 30.0
REQUEST_SECONDS_MAX = 30.0

_ADVICE = {
    401: "it does not know the key; name one with --browser-key and --server-key (`unjoin sites list`)",
    403: "the key's site does not allow this origin",
    404: "there is no collector at this URL",
    413: "the batch is larger than its limit; lower --batch-events",
}


class SimulateError(UnjoinError):
    """The traffic cannot be sent; the text says what to change."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """Where batches go, and how hard.

    Attributes:
        rate: events a second; 0 for as fast as it goes.
        seconds_max: when the whole run is given up.
        retry_seconds_max: when a batch that nobody acknowledges is given up.
    """

    url: str
    browser_key: str
    server_key: str
    rate: float
    concurrency: int
    seconds_max: float
    retry_seconds_max: float


class CollectorReply(msgspec.Struct, frozen=True):
    """What the collector says about a batch: how many are durable, and which are not and why."""

    accepted: int
    rejected: list["Refused"]


class Refused(msgspec.Struct, frozen=True):
    """One event that was not accepted."""

    index: int
    reason: str


class Sender:
    """Workers that take the next batch and stay with it until it is acknowledged or given up."""

    def __init__(
        self,
        delivery: Delivery,
        http: aiohttp.ClientSession,
        batches: Iterator[SimulatedBatch],
        counts: TrafficCounts,
        rng: Random,
    ) -> None:
        self._delivery, self._http, self._batches, self._counts = delivery, http, batches, counts
        self._rng = rng
        self._url = delivery.url.rstrip("/") + "/v1/events"
        self._encode = msgspec.json.Encoder().encode
        self._issued = 0
        self.started = time.monotonic()

    async def run(self) -> None:
        """Returns when there is no batch left, or the run's time is up: what was under way then stays unknown.

        Raises:
            SimulateError: the first answer that no resend can mend; all else is abandoned.
        """
        self.started = time.monotonic()
        try:
            async with asyncio.timeout(self._delivery.seconds_max), asyncio.TaskGroup() as workers:
                for _ in range(self._delivery.concurrency):
                    workers.create_task(self._work())
        except TimeoutError:
            pass
        except BaseExceptionGroup as group:
            raise _first(group) from None

    async def _work(self) -> None:
        for batch in self._batches:
            await self._wait_for_turn(batch)
            self._counts.send(batch)
            await self._deliver(batch)

    async def _wait_for_turn(self, batch: SimulatedBatch) -> None:
        if self._delivery.rate > 0:
            due = self.started + self._issued / self._delivery.rate
            self._issued += len(batch.events)  # before the wait, so that the next worker waits for the next turn
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _deliver(self, batch: SimulatedBatch) -> None:
        """Posts a batch until it is acknowledged: the same bytes, so the same ids."""
        events = {"sent_at": time.time_ns() // 1_000_000, "session": batch.session, "events": batch.events}
        body = self._encode(events)
        key = self._delivery.browser_key if batch.key == "browser" else self._delivery.server_key
        headers = {"User-Agent": batch.user_agent, "Content-Type": "text/plain" if batch.beacon else "application/json"}
        if not batch.beacon:
            headers["Authorization"] = f"Bearer {key}"
        params = {"key": key} if batch.beacon else None
        begun = time.monotonic()
        attempt = 0
        while True:
            pause = await self._post(batch, body, headers, params)
            if pause is None:
                return
            if time.monotonic() + pause - begun > self._delivery.retry_seconds_max:
                return  # it stays counted as unknown: it may or may not have arrived
            wait = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS * 2 ** min(attempt, 10)) * self._rng.random()
            attempt += 1
            await asyncio.sleep(pause + wait)

    async def _post(
        self, batch: SimulatedBatch, body: bytes, headers: dict[str, str], params: dict[str, str] | None
    ) -> float | None:
        """One try. None when it was acknowledged, else the seconds that the collector asks to wait, 0 by default."""
        began = time.monotonic()
        try:
            # No redirects: a loopback collector must not send the traffic, and the keys, elsewhere.
            async with self._http.post(
                self._url, data=body, headers=headers, params=params, allow_redirects=False
            ) as response:
                answer = await response.read()
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            self._counts.retry("no_answer")
            return 0.0
        if response.status in RETRYABLE:
            self._counts.retry(str(response.status))
            return _retry_after(response.headers.get("Retry-After", ""))
        if response.status != 200:
            advice = _ADVICE.get(response.status, "no resend can mend that")
            raise SimulateError(f"the collector answered {response.status} for a whole batch: {advice}")
        latency = time.monotonic() - began
        self._counts.acknowledge(batch, _refused(answer, batch), latency, time.time_ns() // 1_000_000)
        return None


def _refused(answer: bytes, batch: SimulatedBatch) -> dict[int, str]:
    """Index to reason, of the events that were not accepted.

    Raises:
        SimulateError: the answer is not one, or does not add up to the batch.
    """
    try:
        said = msgspec.json.decode(answer, type=CollectorReply)
    except msgspec.DecodeError:
        raise SimulateError("what answered with 200 is not a collector; check --url") from None
    refused = {one.index: one.reason for one in said.rejected}
    in_batch = all(0 <= index < len(batch.events) for index in refused)
    if not in_batch or len(refused) != len(said.rejected) or said.accepted + len(refused) != len(batch.events):
        raise SimulateError("the collector's answer does not add up to the batch: accepted + rejected is not its size")
    return refused


def _retry_after(value: str) -> float:
    """Seconds, bounded; 0 where the header is missing or a date."""
    return min(float(value), RETRY_AFTER_SECONDS_MAX) if value.isascii() and value.isdigit() else 0.0


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What stopped the workers; when one fails the others are cancelled, so the first says it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
