"""Batches of which nobody knows what became of them, on a real broker: replies that are lost, a log that lost its end.

A proxy stands where the broker says it is, and can keep the broker's replies to itself.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ingest.kafka.producer import KafkaProducer, NotDurable
from testkit.clean_loop import run, seconds_of, until
from testkit.kafka_node import KafkaNode, create_topic
from tests.ingest.kafka.test_producer import producing, record, values_of
from unjoin.host.kafka import free_port

pytestmark = pytest.mark.kafka

WAIT_SECONDS_MAX = 60.0


@pytest.fixture(scope="module")
def proxy_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def node(kafka_home: Path, tmp_path_factory: pytest.TempPathFactory, proxy_port: int) -> Iterator[KafkaNode]:
    """A broker to be cut off and hurt."""
    node = KafkaNode(kafka_home, tmp_path_factory.mktemp("lossy-kafka"), killable=True)
    node.start()
    yield node
    node.stop()


class Proxy:
    """Stands between clients and the broker.

    Attributes:
        deaf: while set, what the broker says is dropped; what clients say still reaches it.
        dropped: bytes of replies.
    """

    def __init__(self, port: int) -> None:
        self.deaf = False
        self.dropped = 0
        self._broker_port = port
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", self._broker_port)
        self._writers += [writer, broker_writer]
        await asyncio.gather(self._copy(reader, broker_writer, False), self._copy(broker_reader, writer, True))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, replies: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                if replies and self.deaf:
                    self.dropped += len(data)
                    continue
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self) -> None:
        """Ends every connection, as a network does."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


@asynccontextmanager
async def proxied(broker_port: int, port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(broker_port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", port)
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        await asyncio.sleep(0.05)


@asynccontextmanager
async def behind_proxy(node: KafkaNode, port: int, **config: object) -> AsyncIterator[tuple[Proxy, KafkaProducer]]:
    """A producer whose every connection goes through the proxy: aiokafka is told its port in place of the broker's."""
    async with (
        proxied(node.port, port) as proxy,
        producing(f"127.0.0.1:{port}", **config) as producer,
    ):
        await until(producer.ready)
        yield proxy, producer


def test_lost_reply_is_asked_for_again_and_the_batch_is_stored_once(
    node: KafkaNode, proxy_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored, and the connection ends before the reply: the same batch again under the same sequence numbers."""
    advertise(monkeypatch, node, proxy_port)
    topic = create_topic(node.bootstrap)

    async def main() -> None:
        config = {"produce_seconds_max": 15.0, "request_ms_max": 2_000, "topics": (topic,)}
        async with behind_proxy(node, proxy_port, **config) as (proxy, producer):
            await producer.produce([record(topic, b"before")])
            proxy.deaf = True
            call = asyncio.create_task(producer.produce([record(topic, b"unknown")]))
            while b"unknown" not in await asyncio.to_thread(values_of, node.bootstrap, topic):
                assert not call.done()
            assert not call.done()
            proxy.deaf = False
            proxy.cut()
            await call
            await producer.produce([record(topic, b"after")])
            assert producer.stats.rebuilds == 0

    run(main())
    assert values_of(node.bootstrap, topic) == Counter([b"before", b"unknown", b"after"])


def test_deadline_is_unknown_and_what_is_sent_again_for_it_lies_twice_under_one_id(
    node: KafkaNode, proxy_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a client does on 503, and the spool on a time-out; the table's key makes one row of it."""
    advertise(monkeypatch, node, proxy_port)
    topic = create_topic(node.bootstrap)

    async def main() -> None:
        config = {"produce_seconds_max": 0.5, "request_ms_max": 2_000, "topics": (topic,)}
        async with behind_proxy(node, proxy_port, **config) as (proxy, producer):
            await producer.produce([record(topic, b"before")])
            proxy.deaf = True
            seconds, error = await seconds_of(producer.produce([record(topic, b"unknown")]))
            assert isinstance(error, NotDurable)
            assert error.reason == "timed_out"
            assert seconds < 1.5
            proxy.deaf = False
            proxy.cut()
            await until(producer.ready)
            await producer.produce([record(topic, b"unknown")])
            await until(lambda: producer.stats.bytes_in_flight == 0)

    run(main())
    assert values_of(node.bootstrap, topic) == Counter({b"before": 1, b"unknown": 2})


def test_broker_that_lost_the_end_of_its_log_refuses_the_sequence_and_a_new_producer_goes_on(
    node: KafkaNode, caplog: pytest.LogCaptureFixture
) -> None:
    """OutOfOrderSequenceNumber for real: power went away before the last batch was on the disk.

    That batch had been acknowledged, and is gone: one replica without a sync promises no more, and the README says so.
    What must not happen is that the collector's producer is dead from then on.
    """
    topic = create_topic(node.bootstrap)
    bootstrap = node.bootstrap

    async def main() -> list[str]:
        reasons = []
        config = {"produce_seconds_max": 5.0, "request_ms_max": 2_000, "topics": (topic,)}
        async with producing(bootstrap, **config) as producer:
            for value in (b"kept", b"lost"):
                await producer.produce([record(topic, value)])
            assert producer._lifecycle.current is not None
            log = log_of(node, topic)
            await asyncio.to_thread(node.kill)
            await asyncio.to_thread(forget_last_batch, log)
            await asyncio.to_thread(node.start)
            await until(producer.ready, WAIT_SECONDS_MAX)
            error: BaseException | None = NotDurable("failed")
            while error is not None:
                _, error = await seconds_of(producer.produce([record(topic, b"after")]))
                if error is not None:
                    assert isinstance(error, NotDurable)
                    reasons.append(error.reason)
            await producer.produce([record(topic, b"at last")])
            assert producer.stats.rebuilds >= 1
            assert producer.stats.bytes_in_flight == 0
        return reasons

    reasons = run(main(), 2 * WAIT_SECONDS_MAX)
    assert "failed" in reasons
    assert "OutOfOrderSequenceNumber" in caplog.text  # the fault that this is about, and no other
    assert values_of(node.bootstrap, topic) == Counter([b"kept", b"after", b"at last"])


def advertise(monkeypatch: pytest.MonkeyPatch, node: KafkaNode, port: int) -> None:
    """Whatever address the broker names itself by, aiokafka is given the proxy's: brokers are one, and on one port."""
    from aiokafka.cluster import ClusterMetadata

    known = ClusterMetadata.broker_metadata

    def through_proxy(cluster: ClusterMetadata, broker_id: int) -> object:
        broker = known(cluster, broker_id)
        return broker._replace(port=port) if broker is not None and broker.port == node.port else broker

    monkeypatch.setattr(ClusterMetadata, "broker_metadata", through_proxy)


def log_of(node: KafkaNode, topic: str) -> Path:
    (log,) = (node._state_dir / "data" / f"{topic}-0").glob("*.log")
    return log


def forget_last_batch(log: Path) -> None:
    """Cuts the last record batch off, and what the broker noted beside it: it makes that anew from the log.

    Source: a batch begins with its base offset (8 bytes) and the length of the rest (4 bytes); KIP-98.
    """
    data = log.read_bytes()
    starts, position = [], 0
    while position + 12 <= len(data):
        length = int.from_bytes(data[position + 8 : position + 12], "big")
        if not length:
            break
        starts.append(position)
        position += 12 + length
    assert len(starts) > 1
    log.write_bytes(data[: starts[-1]])
    for pattern in ("*.snapshot", "*.index", "*.timeindex"):
        for file in log.parent.glob(pattern):
            file.unlink()
