"""Giving an aiokafka producer up, and what of aiokafka 0.14 makes that necessary.

When a test named `aiokafka_still_...` fails after an upgrade, the workaround that it names can go; they are all in
ingest/kafka/aiokafka_client.py.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, OutOfOrderSequenceNumber, ProducerClosed
from aiokafka.producer.message_accumulator import BatchBuilder

from ingest.kafka.aiokafka_client import (
    REPEAT_SECONDS_MIN,
    RETRY_BACKOFF_MS,
    BrokerAccess,
    ProducerSession,
    RepeatFilter,
    delay_metadata_retries,
    end_tasks,
    limit_aiokafka_logs,
)
from schemas.kafka_access import KafkaAccess
from testkit.clean_loop import run, seconds_of
from testkit.kafka_node import KafkaNode, create_topic

pytestmark = pytest.mark.kafka


@pytest.fixture
def node(kafka_node: KafkaNode) -> Iterator[KafkaNode]:
    yield kafka_node
    kafka_node.resume()


def access(bootstrap: str, request_ms_max: int = 10_000) -> BrokerAccess:
    return BrokerAccess(KafkaAccess(bootstrap), "none", request_ms_max)


@asynccontextmanager
async def begun(bootstrap: str, request_ms_max: int = 10_000) -> AsyncIterator[ProducerSession]:
    session = await ProducerSession.begin(access(bootstrap, request_ms_max))
    try:
        yield session
    finally:
        await session.abandon()


def closed_batch(size: int = 10) -> BatchBuilder:
    builder = BatchBuilder(1_000_000, 0)
    builder.append(timestamp=1, key=None, value=b"." * size)
    builder.close()
    return builder


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """Accepts connections and never says a word, as a paused broker or a wrong port does."""
    writers = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.sleep(0)


def test_abandoned_while_its_broker_is_silent_it_ends_at_once_and_fails_what_it_holds(node: KafkaNode) -> None:
    """At exit during an outage; the batch may still have arrived, so its outcome is unknown."""

    async def main() -> None:
        topic = await asyncio.to_thread(create_topic, node.bootstrap, 2)
        async with begun(node.bootstrap) as session:
            await (await session.submit(closed_batch(), topic, 0))
            node.pause()
            in_flight = await session.submit(closed_batch(), topic, 0)
            behind_it = await session.submit(closed_batch(), topic, 1)
            await asyncio.sleep(0)
            seconds, error = await seconds_of(session.abandon())
            assert error is None
            assert seconds < 1.0
            for future in (in_flight, behind_it):
                with pytest.raises(ProducerClosed):
                    await future
            assert not session.alive

    run(main())


def test_abandoned_while_it_retries_it_ends_at_once(node: KafkaNode) -> None:
    """A batch that went back to be sent again is counted in another place of aiokafka than one in flight."""

    async def main() -> None:
        topic = await asyncio.to_thread(create_topic, node.bootstrap)
        async with begun(node.bootstrap, request_ms_max=500) as session:
            await (await session.submit(closed_batch(), topic, 0))
            node.pause()
            waiting = await session.submit(closed_batch(), topic, 0)
            assert not (await asyncio.wait({waiting}, timeout=1.2))[0]
            seconds, _ = await seconds_of(session.abandon())
            assert seconds < 1.0
            with pytest.raises(ProducerClosed):
                await waiting

    run(main())


def test_begin_fails_in_time_when_nobody_listens_or_nobody_answers() -> None:
    """The collector comes up before Kafka; a try that hangs would be the last one."""

    async def main() -> None:
        seconds, error = await seconds_of(ProducerSession.begin(access("127.0.0.1:1")))
        assert isinstance(error, KafkaError)
        assert seconds < 1.0
        async with silent_server() as bootstrap:
            seconds, error = await seconds_of(ProducerSession.begin(access(bootstrap, request_ms_max=300)))
            assert isinstance(error, KafkaError | TimeoutError)
            assert seconds < 1.5

    run(main())


def test_begin_that_is_cancelled_at_any_moment_leaves_no_connection_open(node: KafkaNode) -> None:
    """aiokafka forgets the bootstrap connection when it is cancelled between two answers; `run` sees it."""

    async def main() -> None:
        for turns in range(60):
            begin = asyncio.create_task(ProducerSession.begin(access(node.bootstrap)))
            for _ in range(turns):
                await asyncio.sleep(0.0001)
            begin.cancel()
            (outcome,) = await asyncio.gather(begin, return_exceptions=True)
            if isinstance(outcome, ProducerSession):
                await outcome.abandon()

    run(main())


def test_refused_batch_spends_the_producer_id_and_a_new_one_goes_on(node: KafkaNode) -> None:
    """What `mark_spent` is for: aiokafka still counts a refused batch's sequence numbers."""

    async def main() -> None:
        topic = await asyncio.to_thread(create_topic, node.bootstrap, 1, max_message_bytes="2000")
        async with begun(node.bootstrap) as spent, begun(node.bootstrap) as fresh:
            await (await spent.submit(closed_batch(), topic, 0))
            with pytest.raises(MessageSizeTooLargeError):
                await (await spent.submit(closed_batch(5_000), topic, 0))
            with pytest.raises(OutOfOrderSequenceNumber):
                await (await spent.submit(closed_batch(), topic, 0))
            await (await fresh.submit(closed_batch(), topic, 0))

    run(main())


def test_aiokafka_still_hangs_in_stop_while_its_broker_is_silent(node: KafkaNode) -> None:
    """Why there is `abandon`: `AIOKafkaProducer.stop` waits for the batch, without a bound."""

    async def main() -> None:
        topic = await asyncio.to_thread(create_topic, node.bootstrap)
        async with begun(node.bootstrap, request_ms_max=500) as session:
            await (await session.submit(closed_batch(), topic, 0))
            node.pause()
            batch = await session.submit(closed_batch(), topic, 0)
            stopping = asyncio.create_task(session._producer.stop())
            assert not (await asyncio.wait({stopping}, timeout=1.2))[0]
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)
            assert not batch.done()
            await session.abandon()
            with pytest.raises(ProducerClosed):
                await batch
            # What stop() left behind waits for the same batch.
            await asyncio.sleep(0.05)

    run(main())


def test_cancellation_that_somebody_swallows_is_repeated() -> None:
    """`AIOKafkaClient.close` swallows a cancellation that meets it, and then nobody would ever end the task."""

    async def main() -> None:
        async def swallows_the_first() -> None:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(100)
            await asyncio.sleep(100)

        task = asyncio.create_task(swallows_the_first())
        await asyncio.sleep(0)
        await end_tasks({task})
        assert task.cancelled()

    run(main())


def test_keys_and_values_stay_out_of_the_log(node: KafkaNode, caplog: pytest.LogCaptureFixture) -> None:
    """aiokafka writes whole requests at DEBUG, and an operator may turn DEBUG on for everything."""

    async def main() -> None:
        topic = await asyncio.to_thread(create_topic, node.bootstrap)
        caplog.set_level(logging.DEBUG)
        limit_aiokafka_logs()
        async with begun(node.bootstrap) as session:
            await (await session.submit(closed_batch(4_000), topic, 0))

    run(main())
    assert "....." not in caplog.text
    assert logging.getLogger("aiokafka.conn").getEffectiveLevel() >= logging.INFO


def test_batches_are_idempotent_and_wait_for_every_replica(bootstrap: str) -> None:
    """What the request itself says: with one replica, no other test could see less than `all`."""

    async def main() -> None:
        async with begun(bootstrap) as session:
            sender = session._producer._sender
            assert sender._acks == -1
            assert sender._txn_manager is not None
            assert sender._txn_manager.has_pid()

    run(main())


def test_brokers_that_cannot_be_found_are_not_looked_for_again_at_once() -> None:
    """aiokafka goes round as fast as it can: an outage of two minutes was 24,000 tries, and as many lines of log."""

    async def look() -> tuple[bool, float]:
        client = AIOKafkaClient(bootstrap_servers="127.0.0.1:1")
        delay_metadata_retries(client)
        began = time.monotonic()
        found = await client._metadata_update(client.cluster, [])
        return found, time.monotonic() - began

    found, took = run(look())
    assert not found
    assert took >= RETRY_BACKOFF_MS / 1_000


def test_every_logger_of_the_library_is_sparing(caplog: pytest.LogCaptureFixture) -> None:
    """Each module has its own: with a token that is over, `aiokafka.producer.sender` complains ten times a second."""
    caplog.set_level(logging.WARNING, "aiokafka")  # a command that ran in this process may have made it silent
    limit_aiokafka_logs()
    for module in ("aiokafka", "aiokafka.producer.sender"):
        said = f"said by {uuid.uuid4()}"
        for _ in range(3):
            logging.getLogger(module).warning(said)
        assert caplog.text.count(said) == 1


def test_message_that_is_said_over_and_over_is_logged_once_in_a_while() -> None:
    sparing = RepeatFilter()

    def told(message: str, *of: object, at: float) -> bool:
        record = logging.LogRecord("aiokafka", logging.ERROR, "", 0, message, of, None)
        record.created = at
        return sparing.filter(record)

    assert told("Unable to update metadata from %s", [1], at=100.0)
    assert not told("Unable to update metadata from %s", [2], at=100.1)
    assert told("Unable connect to node", at=100.1)
    assert told("Unable to update metadata from %s", [1], at=100.0 + REPEAT_SECONDS_MIN)
