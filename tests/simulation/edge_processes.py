"""The edge: `ingest/`'s producer, its lifecycle, spool and drain, on simulated producer sessions and a simulated disk.

A simulated session does what aiokafka 0.14's idempotent producer does: it sends a batch again for as long as it lives,
counts the sequence numbers of a batch even if the batch fails, and dies of OutOfOrderSequenceNumber.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

from aiokafka.errors import KafkaError, MessageSizeTooLargeError, OutOfOrderSequenceNumber, ProducerClosed
from aiokafka.record import MemoryRecords

from ingest.encode.records import Record
from ingest.kafka.producer import KafkaProducer, NotDurable, ProducerConfig
from ingest.spool.producer import SpoolingProducer
from ingest.spool.writer import SpoolConfig
from schemas.kafka_access import KafkaAccess
from tests.simulation.broker import Broker, Connection
from tests.simulation.clock import SimulatedLoop, Universe
from tests.simulation.disk import Disk, SimulatedSpool, SimulatedThread
from tests.simulation.kafka_clients import RETRY_SECONDS, ask_nothing, type_of_error

ANSWER_SECONDS_MAX = 2.0


class SimulatedSession:
    """As `ingest.kafka.aiokafka_client.ProducerSession`."""

    def __init__(self, access: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = Connection(self._loop)
        self._broker: Broker = self._connection.broker
        self._universe = self._connection.universe
        self._access = access
        self.spent: asyncio.Future[None] = self._loop.create_future()
        self.alive = True
        self._id = 0
        self._sequences: Counter[tuple[str, int]] = Counter()
        self._sending: dict[asyncio.Task[None], asyncio.Future[Any]] = {}
        self._notices: list[Callable[[], None]] = []
        self._known: set[str] = set()

    @classmethod
    async def begin(cls, access: Any) -> "SimulatedSession":
        self = cls(access)
        async with asyncio.timeout(access.begin_seconds_max):
            await self._connection.ask(ask_nothing)
        self._broker.producers += 1
        self._id = self._broker.producers
        return self

    refused_topics = frozenset[str]()

    def partitions(self, topic: str) -> int | None:
        return len(self._broker.topics[topic]) if topic in self._known else None

    def on_metadata(self, notice: Callable[[], None]) -> None:
        self._notices.append(notice)
        notice()

    async def reach(self, topics: Sequence[str], seconds_max: float) -> bool:
        asked = asyncio.ensure_future(self._connection.ask(ask_nothing))
        await asyncio.wait({asked, self.spent}, timeout=seconds_max, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            asked.cancel()
            return False
        if asked.exception() is not None:
            return False
        self._known |= set(topics) & self._broker.topics.keys()
        for notice in self._notices:
            notice()
        return True

    async def submit(self, builder: Any, topic: str, partition: int) -> "asyncio.Future[Any]":
        if not self.alive:
            raise ProducerClosed
        future: asyncio.Future[Any] = self._loop.create_future()
        task = asyncio.create_task(self._send(topic, partition, builder, future))
        self._sending[task] = future
        task.add_done_callback(lambda _: self._sending.pop(task, None))
        return future

    async def _send(self, topic: str, partition: int, builder: Any, future: Any) -> None:
        log = self._broker.topics[topic][partition]
        if self._universe.odds("another request is under way", 0.3):
            await asyncio.sleep(RETRY_SECONDS)
        records = _records_of(builder)
        sequence = self._sequences[topic, partition]
        self._sequences[topic, partition] += len(records)

        def store(reply: Any) -> None:
            if self._broker.refuses(records):
                raise MessageSizeTooLargeError
            log.append_once(self._id, sequence, records)
            reply(None)

        seconds_max = self._access.request_ms_max / 1_000
        while not future.done():
            if self._universe.odds("sender died", self._broker.lossy / 4):
                self._die()
                return
            try:
                await self._connection.ask(store, seconds_max=seconds_max)
            except MessageSizeTooLargeError as error:
                _fail(future, error)
            except OutOfOrderSequenceNumber as error:
                _fail(future, error)
                self._die()
            except KafkaError:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                if not future.done():
                    future.set_result(None)

    def mark_spent(self) -> None:
        if not self.spent.done():
            self.spent.set_result(None)

    async def drain(self, seconds_max: float) -> None:
        if self.alive and self._sending:
            await asyncio.wait(set(self._sending.values()), timeout=seconds_max)
        await self.abandon()

    async def abandon(self) -> None:
        self.alive = False
        self.mark_spent()
        for task, future in list(self._sending.items()):
            task.cancel()
            _fail(future, ProducerClosed())

    def _die(self) -> None:
        """Ends the sender; its batches fail."""
        self.alive = False
        for task in list(self._sending):
            if task is not asyncio.current_task():
                task.cancel()
        self.mark_spent()
        for future in list(self._sending.values()):
            _fail(future, ProducerClosed())


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()


def _records_of(builder: Any) -> list[tuple[bytes | None, bytes | None, int, Any]]:
    batches, found = MemoryRecords(bytes(builder._build())), []
    while batches.has_next():
        found += [(one.key, one.value, one.timestamp, ()) for one in batches.next_batch()]
    return found


class EdgeProcess:
    """One collector behind its HTTP handler."""

    def __init__(self, universe: Universe, disk: Disk, ledger: Any, topics: tuple[str, ...], lives_ms: Any) -> None:
        self.name = "edge"
        self.universe, self._disk, self._ledger = universe, disk, ledger
        self._topics, self._lives_ms = topics, lives_ms
        self._stopping = asyncio.Event()
        self.ready = False
        self.spool: SimulatedSpool | None = None
        self.loop: SimulatedLoop | None = None

    async def main(self) -> None:
        universe = self.universe
        self.loop = asyncio.get_running_loop()  # type: ignore[assignment]
        config = ProducerConfig(
            KafkaAccess("simulated"),
            produce_seconds_max=1.0,
            compression="none",
            in_flight_bytes_max=20_000,
            topics=self._topics,
        )
        spool_config = SpoolConfig(folder=self._disk.folder, bytes_max=600_000, lives_ms=self._lives_ms)
        assert self.loop is not None
        self.spool = SimulatedSpool(spool_config, self._disk, self._ledger, self.loop)
        self.producer = SpoolingProducer(
            KafkaProducer(config, clock=lambda: universe.now), self.spool, config.produce_seconds_max
        )
        await self.producer.start()
        self.ready = True
        await self._stopping.wait()
        self.ready = False
        await self.producer.stop(5.0)

    def stop(self) -> None:
        self._stopping.set()

    def post(self, records: list[Record], answered: Callable[[bool, float], None]) -> None:
        """Makes a request; `answered` is called with whether the answer is 200, and the seconds it took."""
        assert self.loop is not None
        self.loop.call_soon(lambda: self.loop.create_task(self._handle(records, answered)))  # type: ignore[union-attr]

    async def _handle(self, records: list[Record], answered: Callable[[bool, float], None]) -> None:
        began = self.universe.now
        try:
            await self.producer.produce(records)
        except NotDurable:
            answered(False, self.universe.now - began)
        else:
            answered(True, self.universe.now - began)

    def died(self) -> None:
        """Leaves the files as a kill does, or sometimes as a power failure does."""
        if self.spool is None:
            return
        if self.spool._file in self._disk.dead or self.spool._config.folder != self._disk.folder:
            return
        if self.universe.odds("power failure", 0.3):
            self.spool.lose_power()
        else:
            self._disk.crashed(self.spool._file)


@contextlib.contextmanager
def simulated_edge() -> Iterator[None]:
    """Gives `ingest/` the simulated session and thread."""
    with (
        mock.patch("ingest.kafka.producer_lifecycle.ProducerSession", SimulatedSession),
        mock.patch("ingest.kafka.producer_lifecycle.reason_of", type_of_error),
        mock.patch("ingest.spool.writer.threading.Thread", SimulatedThread),
    ):
        yield
