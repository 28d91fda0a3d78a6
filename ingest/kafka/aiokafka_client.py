"""One aiokafka producer from its birth to its end, and every private name of aiokafka that the edge touches.

aiokafka 0.14 offers no way to give a producer up: `stop()` waits for brokers that may never come back, a second one
does nothing, and the sender waits on a metadata future that nobody resolves once the client is closed. `abandon` does
it by hand. Pinned to 0.14 in pyproject.toml; tests/ingest/kafka/test_aiokafka_client.py shows
when they can go.
"""

import asyncio
import logging
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerClosed

log = logging.getLogger(__name__)

# How long to wait for cancelled tasks and aborted connections to end; both need a few turns of the loop and no broker.
ABANDON_SECONDS_MAX = 1.0
RETRY_BACKOFF_MS = 100
SAID_AGAIN_SECONDS = 30.0


class BrokerAccess(msgspec.Struct, frozen=True):
    """How an incarnation reaches its brokers.

    Attributes:
        bootstrap: host:port, separated by commas.
        compression: as aiokafka names it, or "none".
        request_ms_max: until a request that is not answered is sent again on a new connection.
    """

    bootstrap: str
    compression: str
    request_ms_max: int

    @property
    def begin_seconds_max(self) -> float:
        """Long enough to find every broker but the last one dead, and too short to wait for a producer id for ever."""
        return (self.bootstrap.count(",") + 2) * self.request_ms_max / 1_000


async def end_tasks(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancels tasks until they have ended, for a bounded time: aiokafka's `client.close` may swallow a cancellation."""
    left = set(tasks)
    turns = 10
    while left and turns:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=ABANDON_SECONDS_MAX / 10)
        turns -= 1


class Sparing(logging.Filter):
    """Lets a message through once in a while, whatever it is filled with: of an outage aiokafka tells at every try."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the message has not been said for a while."""
        message = str(record.msg)
        if record.created - self._said.get(message, float("-inf")) < SAID_AGAIN_SECONDS:
            return False
        self._said[message] = record.created
        return True


def quiet_aiokafka() -> None:
    """Keeps keys and values out of the log, which aiokafka writes at DEBUG, and what it says over and over."""
    logger = logging.getLogger("aiokafka")
    if logger.getEffectiveLevel() < logging.INFO:
        logger.setLevel(logging.INFO)
    if not any(isinstance(one, Sparing) for one in logger.filters):
        logger.addFilter(Sparing())


def pace_metadata(client: Any) -> None:
    """Makes an aiokafka client wait before it looks for brokers again that it could not find.

    A connection that fails asks for new metadata, and asking for metadata connects: while no broker answers, that goes
    round as fast as the processor can, a few hundred times a second.
    """
    look = client._metadata_update

    async def paced(cluster: Any, topics: Any) -> bool:
        found: bool = await look(cluster, topics)
        if not found:
            await asyncio.sleep(RETRY_BACKOFF_MS / 1_000)
        return found

    client._metadata_update = paced


class Incarnation:
    """A started producer with a producer id of its own.

    Attributes:
        over: ends when no new batch should be handed to it: its sender died, or a batch of it failed.
        alive: False once its sender died; what it holds will never be sent.
    """

    def __init__(self, access: BrokerAccess) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.alive = True
        self._pending: set[asyncio.Future[Any]] = set()
        self._producer = AIOKafkaProducer(
            bootstrap_servers=access.bootstrap,
            enable_idempotence=True,
            acks="all",
            compression_type=None if access.compression == "none" else access.compression,
            request_timeout_ms=access.request_ms_max,
            retry_backoff_ms=RETRY_BACKOFF_MS,
        )
        pace_metadata(self._producer.client)

    @classmethod
    async def begin(cls, access: BrokerAccess) -> "Incarnation":
        """A producer that reached a broker and has its producer id.

        Raises:
            KafkaError, OSError, TimeoutError: no broker could be reached in time.
        """
        self = cls(access)
        try:
            async with asyncio.timeout(access.begin_seconds_max):
                try:
                    await self._producer.start()
                except BaseException as error:
                    _close_bootstrap_connection(error)
                    raise
        except BaseException:
            await self.abandon()
            raise
        sender: asyncio.Task[None] = self._producer._sender.sender_task
        # aiokafka's own callback raises: it ends a transaction that is None, and KeyError for a batch that went back to
        # be sent again. `abandon` does its work.
        sender.remove_done_callback(self._producer._sender._fail_all)
        for task in (sender, self._producer.client._sync_task):
            task.add_done_callback(self._on_task_end)
        return self

    def partitions(self, topic: str) -> int | None:
        """How many partitions the topic has, or None when the brokers have not named it."""
        known = self._producer.client.cluster.partitions_for_topic(topic)
        return len(known) if known else None

    def on_metadata(self, notice: Callable[[], None]) -> None:
        """Calls `notice` now and after each answer about topics."""
        self._producer.client.cluster.add_listener(lambda _: notice())
        notice()

    async def reach(self, topics: Iterable[str], seconds_max: float) -> bool:
        """Whether a broker answered a question about these topics, and all asked about before, within that time."""
        client = self._producer.client
        for topic in topics:
            client.add_topic(topic)
        asked = client.force_metadata_update()
        await asyncio.wait({asked, self.over}, timeout=seconds_max, return_when=asyncio.FIRST_COMPLETED)
        return bool(asked.done() and not asked.cancelled() and asked.result())

    async def submit(self, builder: Any, topic: str, partition: int) -> "asyncio.Future[Any]":
        """Hands a closed batch to the sender; the future ends when all in-sync replicas have it, or with the error.

        Only one batch of a partition may be on its way at a time.

        Raises:
            KafkaError: it was not handed over.
        """
        future: asyncio.Future[Any] = await self._producer.send_batch(builder, topic, partition=partition)
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        return future

    def condemn(self) -> None:
        """A batch failed, so its partition's next sequence number is not the one that the broker expects.

        aiokafka counts a batch's sequence numbers when it takes it, whatever becomes of it, and every later batch of
        the partition would end in OutOfOrderSequenceNumber. Only a new producer id starts at 0 again.
        """
        if not self.over.done():
            self.over.set_result(None)

    async def retire(self, seconds_max: float) -> None:
        """Lets what is on its way arrive, for at most so long, and abandons the rest."""
        if self.alive and self._pending:
            await asyncio.wait(set(self._pending), timeout=seconds_max)
        await self.abandon()

    async def abandon(self) -> None:
        """Ends it now; what it holds fails here and may still have arrived there. Never hangs; can be repeated."""
        producer, client, sender = self._producer, self._producer.client, self._producer._sender
        self.alive = False
        self.condemn()
        producer._closed = True  # or its __del__ warns that it was not stopped
        tasks = {task for task in (sender.sender_task, client._sync_task) if task is not None}
        if sender.sender_task is not None:
            # A cancelled sender waits for its produce requests, and they wait for brokers: cancel them, too.
            tasks |= _produce_requests(sender.sender_task)
        await end_tasks(tasks)
        # Nobody answers questions about topics any more: let nobody wait for an answer, now or later.
        if client._md_update_fut is None:
            client._md_update_fut = asyncio.get_running_loop().create_future()
        if not client._md_update_fut.done():
            client._md_update_fut.set_result(False)
        for connection in client._conns.values():
            if connection._writer is not None:
                # close() would first flush to a peer that may never read again.
                connection._writer.transport.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(ABANDON_SECONDS_MAX):
                await client.close()
        self._fail_batches()

    def _fail_batches(self) -> None:
        accumulator = self._producer._message_accumulator
        for waiting in accumulator._batches.values():
            # A settled batch removes itself from the pending ones; one that went back to be sent again is not there.
            accumulator._pending_batches.update(waiting)
        accumulator._batches.clear()
        for batch in accumulator._pending_batches:
            if not batch._drain_waiter.done():
                batch._drain_waiter.set_result(None)  # or it gets an exception that nobody looks at
        accumulator.fail_all(ProducerClosed())
        for batch in accumulator._pending_batches:
            if not batch.future.cancelled():
                batch.future.exception()  # somebody looks at it, even where who waited for the batch is gone

    def _on_task_end(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("the Kafka sender died: %s", type(error).__name__)
        self.alive = False
        self.condemn()


def _close_bootstrap_connection(error: BaseException) -> None:
    """Closes the connection that `AIOKafkaClient.bootstrap` leaves open when it is cancelled waiting for an answer."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if (connection := frame.f_locals.get("bootstrap_conn")) is not None:
            connection.close()


def _produce_requests(sender_task: "asyncio.Task[None]") -> set["asyncio.Task[None]"]:
    """What the sender's routine started and only its local variable `tasks` knows, also when the routine has failed."""
    if not sender_task.done():
        frames = [sender_task.get_coro().cr_frame]  # type: ignore[union-attr]
    elif sender_task.cancelled() or (error := sender_task.exception()) is None:
        frames = []
    else:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return {task for frame in frames if frame is not None for task in frame.f_locals.get("tasks", ())}
