"""A producer that keeps its records in memory; one contract suite runs on it and on Kafka's."""

import asyncio
from collections.abc import Sequence

from ingest.encode.records import Record, Records
from ingest.kafka.batches import Settled
from ingest.kafka.producer import NotDurable


class MemoryProducer:
    """Durable is what is in `records`.

    Attributes:
        refusal: raised instead of keeping anything, while it is set.
        gate: while it is cleared, `produce` waits: brokers that do not answer.
        behind: what `congested` says.
        waiting: how many requests wait at the gate.
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.refusal: NotDurable | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0
        self.behind = False
        self.started = self.stopped = False

    async def start(self) -> None:
        self.started = True

    async def stop(self, deadline_s: float) -> None:
        self.stopped = True

    def ready(self) -> bool:
        return self.started and not self.stopped and self.refusal is None

    def congested(self) -> bool:
        return self.behind

    def partitions_of(self, topic: str) -> int | None:
        return None

    async def produce(self, records: Sequence[Record], seconds_max: float | None = None) -> None:
        self.waiting += 1
        try:
            await self.gate.wait()
        finally:
            self.waiting -= 1
        if self.refusal is not None:
            raise self.refusal
        self.records.extend(records)

    def begin(self, records: Records, settled: Settled) -> bool:
        if not self.gate.is_set():
            return False
        if self.refusal is not None:
            raise self.refusal
        self.records.extend(records)
        asyncio.get_running_loop().call_soon(settled, None)
        return True
