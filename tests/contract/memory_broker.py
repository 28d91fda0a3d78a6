"""A broker and a producer in memory that keep the same contract as the real ones, for tests of what stands on them."""

import asyncio
from collections.abc import Sequence

from ingest.encode.records import Record, Records
from ingest.kafka.batches import RECORD_OVERHEAD_BYTES, Settled
from ingest.kafka.partitioner import positive_hash
from ingest.kafka.producer import NotDurable, ProducerConfig, ProducerStats


class MemoryBroker:
    """Topics as lists of partitions as lists of records; `pause` makes it silent until `resume`."""

    def __init__(self) -> None:
        self.topics: dict[str, list[list[Record]]] = {}
        self.answering = asyncio.Event()
        self.answering.set()

    def create_topic(self, name: str, partitions: int = 1) -> None:
        self.topics[name] = [[] for _ in range(partitions)]

    def pause(self) -> None:
        self.answering.clear()

    def resume(self) -> None:
        self.answering.set()

    async def append(self, records: Sequence[Record], turn: int) -> None:
        """Stores the records once it answers."""
        await self.answering.wait()
        for record in records:
            partitions = self.topics[record.topic]
            which = turn if record.key is None else positive_hash(record.key)
            partitions[which % len(partitions) if record.partition is None else record.partition].append(record)


class MemoryProducer:
    """Stands for `ingest.kafka.producer.KafkaProducer`, with a list in memory for a broker."""

    def __init__(self, config: ProducerConfig, broker: MemoryBroker) -> None:
        self.stats = ProducerStats()
        self._config = config
        self._broker = broker
        self._stopping = False
        self._on_the_way: dict[asyncio.Task[None], asyncio.Future[bool]] = {}
        self._begun: set[asyncio.Task[None]] = set()
        self._turn = 0

    async def start(self) -> None:
        return

    def ready(self) -> bool:
        return (
            not self._stopping
            and self._broker.answering.is_set()
            and self.stats.bytes_in_flight < self._config.in_flight_bytes_max
            and all(topic in self._broker.topics for topic in self._config.topics)
        )

    def congested(self) -> bool:
        return False

    def partitions_of(self, topic: str) -> int | None:
        found = self._broker.topics.get(topic)
        return None if found is None else len(found)

    async def produce(self, records: Sequence[Record], seconds_max: float | None = None) -> None:
        if not records:
            return
        if self._stopping:
            raise NotDurable("stopped")
        size = sum(len(record.value) + len(record.key or b"") + RECORD_OVERHEAD_BYTES for record in records)
        if self.stats.bytes_in_flight + size > self._config.in_flight_bytes_max:
            self.stats.shed += 1
            raise NotDurable("full")
        deadline = asyncio.get_running_loop().time() + (seconds_max or self._config.produce_seconds_max)
        while not self._stopping and any(record.topic not in self._broker.topics for record in records):
            if asyncio.get_running_loop().time() >= deadline:
                raise NotDurable("no_topic")
            await asyncio.sleep(0.005)
        if any(
            record.partition is not None and record.partition >= len(self._broker.topics[record.topic])
            for record in records
        ):
            raise NotDurable("no_partition")
        durable = self._send(records, size)
        try:
            async with asyncio.timeout_at(deadline):
                acknowledged = await asyncio.shield(durable)
        except TimeoutError:
            self.stats.unknown += 1
            raise NotDurable("timed_out") from None
        if not acknowledged:
            self.stats.unknown += 1
            raise NotDurable("stopped")

    def begin(self, records: Records, settled: Settled) -> bool:
        if any(run.topic not in self._broker.topics for run in records.runs):
            return False
        if self._stopping:
            raise NotDurable("stopped")

        async def produce() -> None:
            try:
                await self.produce(records)
            except NotDurable as error:
                settled(error.reason)
            else:
                settled(None)

        self._begun.add(task := asyncio.create_task(produce()))
        task.add_done_callback(self._begun.discard)
        return True

    async def stop(self, deadline_s: float) -> None:
        self._stopping = True
        if self._on_the_way:
            await asyncio.wait(set(self._on_the_way), timeout=deadline_s)
        for task, durable in list(self._on_the_way.items()):
            task.cancel()
            durable.set_result(False)
        await asyncio.gather(*self._on_the_way, *self._begun, return_exceptions=True)

    def _send(self, records: Sequence[Record], size: int) -> "asyncio.Future[bool]":
        durable: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._turn += 1
        task = asyncio.create_task(self._broker.append(list(records), self._turn))
        self._on_the_way[task] = durable
        self.stats.bytes_in_flight += size

        def settle(task: "asyncio.Task[None]") -> None:
            del self._on_the_way[task]
            self.stats.bytes_in_flight -= size
            if not durable.done():
                self.stats.batches += 1
                self.stats.records += len(records)
                durable.set_result(True)

        task.add_done_callback(settle)
        return durable
