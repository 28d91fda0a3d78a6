"""Measures how long a batch takes from its first try to a row that a reader sees, which says when a fault is over."""

import asyncio
import time

import msgspec

from faults.chaos.ledger import Batch
from faults.chaos.reader import Away, Reader
from testkit.machine import percentile as nearest_rank

POLL_SECONDS = 0.4
POLL_ANSWER_SECONDS_MAX = 5.0
ASKED_AT_ONCE_MAX = 600
MARKER_EVERY = 3
TABLES = ("signals", "analytics", "labels")
_COLUMN = {"signals": "session", "analytics": "session", "labels": "task"}


class Seen(msgspec.Struct, frozen=True):
    """One marker in one table; seconds, monotonic."""

    table: str
    sent_at: float
    visible_at: float

    @property
    def seconds(self) -> float:
        return self.visible_at - self.sent_at


class Freshness:
    """Looks for every third browser batch until it is there, in each of its tables."""

    def __init__(self, reader: Reader) -> None:
        self.seen: list[Seen] = []
        self._reader = reader
        self._batches_seen = 0
        self._waiting: dict[str, dict[str, float]] = {table: {} for table in TABLES}

    async def run(self, batches: list[Batch]) -> None:
        """Looks for markers until it is cancelled.

        Args:
            batches: grows while it runs.
        """
        while True:
            await asyncio.sleep(POLL_SECONDS)
            for batch in batches[self._batches_seen :]:
                if batch.number % MARKER_EVERY == 0 and "signals" in batch.ids:
                    for table in TABLES:
                        key = batch.ids["labels"][0] if table == "labels" else batch.session
                        self._waiting[table][key] = batch.sent_at
            self._batches_seen = len(batches)
            if any(self._waiting.values()):
                await self._poll()

    async def _poll(self) -> None:
        asked = []
        for table, waiting in self._waiting.items():
            if waiting:
                keys = ", ".join(f"'{key}'" for key in list(waiting)[:ASKED_AT_ONCE_MAX])
                column = _COLUMN[table]
                asked.append(
                    f"SELECT '{table}', {column}, count() FROM {table} WHERE {column} IN ({keys}) GROUP BY {column}"
                )
        try:
            lines = await self._reader.lines(
                " UNION ALL ".join(asked), final=False, seconds_max=POLL_ANSWER_SECONDS_MAX
            )
        except Away:
            return
        now = time.monotonic()
        for line in lines:
            table, key, _ = line.split("\t")
            sent_at = self._waiting[table].pop(key, None)
            if sent_at is not None:
                self.seen.append(Seen(table, sent_at, now))

    def recovered(self, since: float, normal_seconds: float) -> Seen | None:
        """The marker that ends an outage, or None.

        Each table's first marker that was sent after `since` and seen in normal time counts; the last of these ends it.
        """
        first = []
        for table in TABLES:
            in_time = [
                one
                for one in self.seen
                if one.table == table and one.sent_at >= since and one.seconds <= normal_seconds
            ]
            if not in_time:
                return None
            first.append(min(in_time, key=lambda one: one.visible_at))
        return max(first, key=lambda one: one.visible_at)

    def seconds_between(self, begin: float, end: float) -> list[float]:
        """Seconds of the markers sent in that time; those not seen yet count with the time they have waited."""
        now = time.monotonic()
        waiting = [now - sent for waiting in self._waiting.values() for sent in waiting.values() if begin <= sent < end]
        return [one.seconds for one in self.seen if begin <= one.sent_at < end] + waiting


def percentile(values: list[float], percent: float) -> float | None:
    """Nearest rank; None of nothing."""
    return nearest_rank(values, percent) if values else None
