"""When the batches of a broker's partitions are sent: together, so that one request carries all of them.

    records come ──▶ batch open ──▶ nothing in flight to the broker ──▶ every batch that is open is closed, and sent

aiokafka has one request at a time on its way to a broker. A batch that is closed earlier waits for it all the same, and
takes no more records meanwhile: the partitions of a broker would take turns, each with a request of its own.

Clients that wait for an answer before they send again come back together, shortly after it. The first of them would
have a request for itself, and all others would wait for its acknowledgement. So where less than half as many records
are there as the last request held, the next one waits `GATHER_SECONDS`. Traffic that waits for nobody fills half of it
while the one before is under way.
"""

import asyncio
from typing import Protocol

# A request to a broker takes about as long as this, with its acknowledgement.
GATHER_SECONDS = 0.001
# Of fewer records a request is soon made, and somebody waits for it.
GATHER_RECORDS_MIN = 8
# A partition whose leader has changed must not wait for what is on its way to another broker.
HELD_SECONDS_MAX = 0.1


class Waiting(Protocol):
    """A partition's queue: `ingest.kafka.batches.PartitionQueue`."""

    @property
    def records(self) -> int:
        """How many records it could send now."""


class SendRounds:
    """The rounds of one broker. Belongs to one event loop."""

    def __init__(self) -> None:
        self._in_flight = 0
        self._records = self._records_before = 0  # of the round that is under way, and of the one before
        self._waiting: list[Waiting] = []
        self._begins = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def turn(self, queue: Waiting) -> None:
        """Returns when the queue's batch is to be closed and handed over, with a call of `sent`."""
        if not self._waiting:
            if not self._in_flight and not self._gathers(queue.records):
                return
            self._begins = asyncio.Event()
            self._call_later(HELD_SECONDS_MAX if self._in_flight else GATHER_SECONDS)
        self._waiting.append(queue)
        await self._begins.wait()

    def sent(self, records: int) -> None:
        """Notes a batch of so many records that is on its way now."""
        if not self._in_flight:
            self._records = 0
        self._in_flight += 1
        self._records += records

    def settled(self) -> None:
        """Notes that a batch is no longer on its way."""
        self._in_flight -= 1
        if self._in_flight:
            return
        self._records_before = self._records
        if self._waiting:
            if self._gathers(sum(queue.records for queue in self._waiting)):
                self._call_later(GATHER_SECONDS)
            else:
                self._begin()

    def _gathers(self, records: int) -> bool:
        return self._records_before >= GATHER_RECORDS_MIN and 2 * records < self._records_before

    def _call_later(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._begin)

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting.clear()
        self._begins.set()
