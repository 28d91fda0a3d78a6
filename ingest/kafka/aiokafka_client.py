"""One aiokafka producer from its start to its end, and every private name of aiokafka that the collector touches.

aiokafka 0.14 cannot end a producer while brokers are away: `stop()` waits for brokers that may never come back, a
second `stop()` does nothing, and the sender waits for a metadata future that nobody resolves once the client is closed.
`ProducerSession.abandon` ends it by hand. aiokafka is pinned to 0.14 in pyproject.toml;
tests/ingest/kafka/test_aiokafka_client.py shows when the workarounds can go.
"""

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.errors import ProducerClosed
from aiokafka.protocol.admin import DescribeConfigsRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from schemas.kafka_access import KafkaAccess

log = logging.getLogger(__name__)

# Cancelled tasks and aborted connections end after a few turns of the loop; they need no broker.
ABANDON_SECONDS_MAX = 1.0
RETRY_BACKOFF_MS = 100
REPEAT_SECONDS_MIN = 30.0  # between two log lines of the same message
# aiokafka's 3 costs half as much again, for 10 % fewer bytes of arrays of samples and 10 % more of small events.
ZSTD_LEVEL = 1


class BrokerAccess(msgspec.Struct, frozen=True):
    """How a producer session reaches its brokers.

    Attributes:
        kafka: the brokers, and who asks them.
        compression: as aiokafka names it, or "none".
        request_ms_max: milliseconds until a request that is not answered is sent again on a new connection.
    """

    kafka: KafkaAccess
    compression: str
    request_ms_max: int

    @property
    def begin_seconds_max(self) -> float:
        """Seconds for a session to start: one request to each broker of `bootstrap`, and one for the producer id."""
        return (self.kafka.bootstrap.count(",") + 2) * self.request_ms_max / 1_000


async def end_tasks(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancels tasks again and again until they end, for at most `ABANDON_SECONDS_MAX`.

    Once is not enough: aiokafka's `client.close` may swallow a cancellation.
    """
    left = set(tasks)
    turns = 10
    while left and turns:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=ABANDON_SECONDS_MAX / 10)
        turns -= 1


class RepeatFilter(logging.Filter):
    """Logs the same message at most once in `REPEAT_SECONDS_MIN`, whatever its arguments.

    During an outage aiokafka logs at every try, several times a second.
    """

    def __init__(self) -> None:
        super().__init__()
        self._logged_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the message was not logged within the last `REPEAT_SECONDS_MIN`."""
        message = str(record.msg)
        if record.created - self._logged_at.get(message, float("-inf")) < REPEAT_SECONDS_MIN:
            return False
        self._logged_at[message] = record.created
        return True


def limit_aiokafka_logs() -> None:
    """Keeps keys and values, which aiokafka logs at DEBUG, and repeated messages out of the log."""
    logger = logging.getLogger("aiokafka")
    if logger.getEffectiveLevel() < logging.INFO:
        logger.setLevel(logging.INFO)
    if not any(isinstance(one, RepeatFilter) for one in logger.filters):
        repeated = RepeatFilter()
        logger.addFilter(repeated)
        for name in list(logging.root.manager.loggerDict):
            if name.startswith("aiokafka."):  # a logger's filter does not see what those below it log
                logging.getLogger(name).addFilter(repeated)


class _Zstd:
    """Compresses one batch after another with one context: to make one costs as much as to compress 50 events."""

    def __init__(self) -> None:
        self._compressor = zstd.ZstdCompressor(ZSTD_LEVEL)
        self._lock = threading.Lock()

    def __call__(self, payload: bytes) -> bytes:
        with self._lock:
            self._compressor.set_pledged_input_size(len(payload))
            return self._compressor.compress(payload, zstd.ZstdCompressor.FLUSH_FRAME)


def keep_zstd_context() -> None:
    """Gives aiokafka another `zstd_encode`, since its builder of batches takes neither a context nor a level."""
    sys.modules[DefaultRecordBatchBuilder.__module__].__dict__["zstd_encode"] = _Zstd()


def delay_metadata_retries(client: Any) -> None:
    """Makes an aiokafka client wait `RETRY_BACKOFF_MS` after a metadata request that no broker answered.

    aiokafka does not wait: a connection that fails asks for new metadata, and a metadata request opens connections.
    While no broker answers, that loop runs a few hundred times a second.
    """
    update = client._metadata_update

    async def delayed(cluster: Any, topics: Any) -> bool:
        found: bool = await update(cluster, topics)
        if not found:
            await asyncio.sleep(RETRY_BACKOFF_MS / 1_000)
        return found

    client._metadata_update = delayed


class ProducerSession:
    """One started producer with its own producer id, which Kafka numbers its batches by.

    Attributes:
        spent: done once the session should get no new batch, because its sender died or one of its batches failed.
        alive: False once its sender died; the batches that it holds will never be sent.
    """

    def __init__(self, access: BrokerAccess) -> None:
        self.spent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.alive = True
        self._pending: set[asyncio.Future[Any]] = set()
        self._producer = AIOKafkaProducer(
            **access.kafka.client(),
            enable_idempotence=True,
            acks="all",
            compression_type=None if access.compression == "none" else access.compression,
            request_timeout_ms=access.request_ms_max,
            retry_backoff_ms=RETRY_BACKOFF_MS,
        )
        delay_metadata_retries(self._producer.client)

    @classmethod
    async def begin(cls, access: BrokerAccess) -> "ProducerSession":
        """Starts a producer: it has reached a broker and has its producer id.

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
        # aiokafka's own callback raises: AttributeError since there is no transaction, and KeyError for a batch that
        # waits to be sent again. `abandon` does its work.
        sender.remove_done_callback(self._producer._sender._fail_all)
        for task in (sender, self._producer.client._sync_task):
            task.add_done_callback(self._on_task_end)
        return self

    def partitions(self, topic: str) -> int | None:
        """How many partitions the topic has, or None when the brokers have not named it."""
        known = self._producer.client.cluster.partitions_for_topic(topic)
        return len(known) if known else None

    @property
    def refused_topics(self) -> frozenset[str]:
        """The topics that this user may not even see, as the brokers last said."""
        return frozenset(self._producer.client.cluster.unauthorized_topics)

    def on_metadata(self, notice: Callable[[], None]) -> None:
        """Calls `notice` now and after each answer about topics."""
        self._producer.client.cluster.add_listener(lambda _: notice())
        notice()

    async def reach(self, topics: Iterable[str], seconds_max: float) -> bool:
        """Whether a broker answered a metadata request within `seconds_max`.

        The request names these topics, and those of all calls before.
        """
        client = self._producer.client
        for topic in topics:
            client.add_topic(topic)
        asked = client.force_metadata_update()
        await asyncio.wait({asked, self.spent}, timeout=seconds_max, return_when=asyncio.FIRST_COMPLETED)
        return bool(asked.done() and not asked.cancelled() and asked.result())

    async def topic_settings(self, topics: Sequence[str], name: str) -> dict[str, str | None]:
        """One setting of each topic, as a broker tells it; None where it does not.

        Raises:
            KafkaError: no broker answered.
        """
        client = self._producer.client
        asked = [(ConfigResourceType.TOPIC, topic, [name]) for topic in topics]
        answer = await client.send(client.get_random_node(), DescribeConfigsRequest(asked))
        told = ((topic, entries) for code, _, _, topic, entries in answer.resources if not code)
        return dict.fromkeys(topics) | {topic: entries[0][1] for topic, entries in told if entries}

    async def submit(self, builder: Any, topic: str, partition: int) -> "asyncio.Future[Any]":
        """Hands a batch to the sender; one that is open takes more records until the sender closes it.

        Only one batch of a partition may be in flight at a time.

        Returns:
            A future that is done when all in-sync replicas have the batch, or fails with the broker's error.

        Raises:
            KafkaError: the sender did not take it.
        """
        future: asyncio.Future[Any] = await self._producer.send_batch(builder, topic, partition=partition)
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        return future

    def mark_spent(self) -> None:
        """Says that the session should get no new batch; call it when a batch failed.

        aiokafka counts a batch's sequence numbers when it takes the batch, even if the batch fails. The broker then
        answers every later batch of the partition with OutOfOrderSequenceNumber. Only a new producer id starts at 0.
        """
        if not self.spent.done():
            self.spent.set_result(None)

    async def drain(self, seconds_max: float) -> None:
        """Waits at most `seconds_max` for the batches in flight, then abandons the session."""
        if self.alive and self._pending:
            await asyncio.wait(set(self._pending), timeout=seconds_max)
        await self.abandon()

    async def abandon(self) -> None:
        """Ends the session now, without waiting for a broker; may be called again.

        The batches that it holds fail with ProducerClosed; a broker may have stored them all the same.
        """
        producer, client, sender = self._producer, self._producer.client, self._producer._sender
        self.alive = False
        self.mark_spent()
        producer._closed = True  # or its __del__ warns that it was not stopped
        tasks = {task for task in (sender.sender_task, client._sync_task) if task is not None}
        if sender.sender_task is not None:
            # A cancelled sender waits for its produce requests, which wait for brokers; so they are cancelled, too.
            tasks |= _produce_requests(sender.sender_task)
        await end_tasks(tasks)
        # Nobody resolves this future any more: whoever waits for metadata, now or later, gets False.
        if client._md_update_fut is None:
            client._md_update_fut = asyncio.get_running_loop().create_future()
        if not client._md_update_fut.done():
            client._md_update_fut.set_result(False)
        for connection in client._conns.values():
            if connection._writer is not None:
                # close() would first flush to a broker that may never read again.
                connection._writer.transport.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(ABANDON_SECONDS_MAX):
                await client.close()
        self._fail_batches()

    def _fail_batches(self) -> None:
        accumulator = self._producer._message_accumulator
        for waiting in accumulator._batches.values():
            # `_pending_batches` lacks the batches that wait to be sent again.
            accumulator._pending_batches.update(waiting)
        accumulator._batches.clear()
        for batch in accumulator._pending_batches:
            if not batch._drain_waiter.done():
                batch._drain_waiter.set_result(None)  # or asyncio logs an exception that was never retrieved
        accumulator.fail_all(ProducerClosed())
        for batch in accumulator._pending_batches:
            if not batch.future.cancelled():
                batch.future.exception()  # retrieved here, in case whoever waited for the batch is gone

    def _on_task_end(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("the Kafka sender died: %s", type(error).__name__)
        self.alive = False
        self.mark_spent()


def _close_bootstrap_connection(error: BaseException) -> None:
    """Closes the connection that `AIOKafkaClient.bootstrap` leaves open when it is cancelled waiting for an answer."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if (connection := frame.f_locals.get("bootstrap_conn")) is not None:
            connection.close()


def _produce_requests(sender_task: "asyncio.Task[None]") -> set["asyncio.Task[None]"]:
    """The tasks of produce requests: only the local variable `tasks` of aiokafka's sender coroutine holds them."""
    if not sender_task.done():
        frames = [sender_task.get_coro().cr_frame]  # type: ignore[union-attr]
    elif sender_task.cancelled() or (error := sender_task.exception()) is None:
        frames = []
    else:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return {task for frame in frames if frame is not None for task in frame.f_locals.get("tasks", ())}
