"""What the Kafka producer does beyond the contract that tests/contract/ holds every producer to."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import OutOfOrderSequenceNumber
from confluent_kafka import Producer as StockProducer
from confluent_kafka.admin import AdminClient, NewPartitions

from ingest.encode.records import Record
from ingest.kafka.producer import KafkaProducer, NotDurable
from testkit.clean_loop import run, seconds_of, until
from testkit.kafka_node import KafkaNode, create_topic, stored_records
from tests.ingest.configs import producer_config
from tests.ingest.kafka.test_aiokafka_client import silent_server
from unjoin.host.kafka import free_port

pytestmark = pytest.mark.kafka

# Of now, as the collector stamps: a broker that starts again forgets a producer whose last record's own timestamp is a
# day old (`producer.id.expiration.ms`), and then stores a batch that is sent again twice. And every minute it deletes
# what is older than a topic keeps, whenever it came.
NOW_MS = int(time.time() * 1_000)


@pytest.fixture(scope="module")
def own_node(kafka_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode]:
    """A broker to be hurt."""
    node = KafkaNode(kafka_home, tmp_path_factory.mktemp("own-kafka"), killable=True)
    yield node
    node.stop()


@asynccontextmanager
async def producing(bootstrap: str, **config: Any) -> AsyncIterator[KafkaProducer]:
    producer = KafkaProducer(producer_config(bootstrap, **{"compression": "none", **config}))
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop(5)


def record(topic: str, value: bytes, key: bytes | None = b"key") -> Record:
    return Record(topic, key, value, NOW_MS)


def values_of(bootstrap: str, topic: str) -> Counter[bytes]:
    return Counter(message.value() or b"" for message in stored_records(bootstrap, topic))


def test_records_share_batches_and_one_batch_of_a_partition_is_in_flight(bootstrap: str) -> None:
    """A batch per request costs seven times the CPU; the first goes alone, all that came meanwhile follow together."""

    async def main() -> None:
        topic = await asyncio.to_thread(create_topic, bootstrap)
        async with producing(bootstrap, topics=(topic,)) as producer:
            first = asyncio.create_task(producer.produce([record(topic, b"first")]))
            await until(lambda: producer.stats.bytes_in_flight > 0 or first.done())
            await asyncio.gather(*(producer.produce([record(topic, b"%d" % i)]) for i in range(1_000)))
            await first
            assert producer.stats.batches <= 3
            assert producer.stats.records == 1_001
            assert producer.stats.bytes_in_flight == 0

    run(main())


def test_stock_client_chooses_the_same_partitions(bootstrap: str) -> None:
    """Somebody else may write to the topic, and a consumer joins by partition."""
    ours, theirs = create_topic(bootstrap, 7), create_topic(bootstrap, 7)
    keys = [f"session-{i}".encode() for i in range(300)]

    async def main() -> None:
        async with producing(bootstrap, topics=(ours,)) as producer:
            await producer.produce([record(ours, b"", key) for key in keys])

    run(main())
    stock = StockProducer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    for key in keys:
        stock.produce(theirs, b"", key)
    stock.flush(10)
    chosen = [{(m.key(), m.partition()) for m in stored_records(bootstrap, topic)} for topic in (ours, theirs)]
    assert chosen[0] == chosen[1]
    assert len({partition for _, partition in chosen[0]}) == 7


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip"])
def test_compressed_batches_are_read_by_a_stock_client(bootstrap: str, compression: str) -> None:
    """The codec's number is written by us into the batch."""
    topic = create_topic(bootstrap)

    async def main() -> None:
        async with producing(bootstrap, topics=(topic,), compression=compression) as producer:
            await producer.produce([record(topic, b"%d" % i + b"." * 100) for i in range(1_000)])

    run(main())
    assert values_of(bootstrap, topic) == Counter(b"%d" % i + b"." * 100 for i in range(1_000))


def test_partition_added_while_running_gets_its_records(bootstrap: str) -> None:
    """A topic grows with its traffic; the collector must not be restarted for it."""
    topic = create_topic(bootstrap, 1)

    async def main() -> None:
        async with producing(bootstrap, topics=(topic,)) as producer:
            await producer.produce([record(topic, b"before")])
            admin = AdminClient({"bootstrap.servers": bootstrap})
            await asyncio.to_thread(admin.create_partitions([NewPartitions(topic, 3)])[topic].result)
            await until(lambda: len(producer._topics[topic].queues) == 3)
            await producer.produce([record(topic, b"after", f"{i}".encode()) for i in range(50)])

    run(main())
    assert {message.partition() for message in stored_records(bootstrap, topic)} == {0, 1, 2}


def test_collector_comes_up_before_kafka_and_serves_once_it_is_there(own_node: KafkaNode) -> None:
    """Nothing orders their starts; until then every answer is 503, in time."""

    async def main() -> None:
        async with producing(own_node.bootstrap, produce_seconds_max=1.0, topics=("early",)) as producer:
            assert not producer.ready()
            seconds, error = await seconds_of(producer.produce([record("early", b"0")]))
            assert isinstance(error, NotDurable)
            assert seconds < 2.0
            await asyncio.to_thread(own_node.start)
            await asyncio.to_thread(create_topic, own_node.bootstrap, name="early")
            await until(producer.ready)
            await producer.produce([record("early", b"1")])
        assert await asyncio.to_thread(values_of, own_node.bootstrap, "early") == Counter([b"1"])

    run(main())


def test_start_and_stop_return_in_time_when_something_listens_and_never_answers() -> None:
    """A paused broker, a wrong port: the connection stands and nothing comes."""

    async def main() -> None:
        async with silent_server() as bootstrap:
            producer = KafkaProducer(producer_config(bootstrap, produce_seconds_max=0.3, compression="none"))
            seconds, error = await seconds_of(producer.start())
            assert error is None
            assert seconds < 1.0
            assert not producer.ready()
            seconds, error = await seconds_of(producer.stop(1.0))
            assert error is None
            assert seconds < 1.0

    run(main())


@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_broker_lost_under_load_answers_every_request_in_time_and_loses_nothing_acknowledged(
    own_node: KafkaNode, fault: str
) -> None:
    """The fault the promise is made for: acknowledged is a subset of stored, and what was sent once is not twice."""
    if own_node._process is None:
        own_node.start()
    topic = create_topic(own_node.bootstrap, 2)
    acknowledged: list[bytes] = []
    refused: list[bytes] = []
    seconds_max = 0.0

    async def main() -> None:
        nonlocal seconds_max
        done = False

        async def client(producer: KafkaProducer, number: int) -> None:
            nonlocal seconds_max
            turn = 0
            while not done:
                turn += 1
                value = b"%d/%d" % (number, turn)
                records = [record(topic, value, b"%d" % number)]
                seconds, error = await seconds_of(producer.produce(records))
                seconds_max = max(seconds_max, seconds)
                assert error is None or (isinstance(error, NotDurable) and error.reason != "stopped"), error
                (acknowledged if error is None else refused).append(value)

        config = {"produce_seconds_max": 0.5, "request_ms_max": 1_000, "topics": (topic,)}
        async with producing(own_node.bootstrap, **config) as producer:
            clients = [asyncio.create_task(client(producer, number)) for number in range(30)]
            await until(lambda: len(acknowledged) > 500)
            if fault == "kill":
                await asyncio.to_thread(own_node.kill)
            else:
                own_node.pause()
            await until(lambda: len(refused) > 30)
            assert not producer.ready()
            if fault == "kill":
                await asyncio.to_thread(own_node.start)
            else:
                own_node.resume()
            await until(producer.ready)
            recovered = len(acknowledged)
            await until(lambda: len(acknowledged) > recovered + 500)
            done = True
            await asyncio.gather(*clients)

    run(main())
    stored = values_of(own_node.bootstrap, topic)
    assert set(acknowledged) <= set(stored)
    assert set(stored) <= set(acknowledged) | set(refused)
    assert max(stored.values()) == 1
    assert seconds_max < 1.5


def test_produce_does_not_return_while_its_broker_is_silent(kafka_node: KafkaNode) -> None:
    """Returning is the acknowledgement: a 200 follows at once. However long it takes, and no sooner."""

    async def main() -> None:
        topic = await asyncio.to_thread(create_topic, kafka_node.bootstrap)
        producer = KafkaProducer(producer_config(kafka_node.bootstrap, produce_seconds_max=60.0, topics=(topic,)))
        await producer.start()
        try:
            await producer.produce([record(topic, b"0")])
            kafka_node.pause()
            producing = asyncio.create_task(producer.produce([record(topic, b"1")]))
            done, _ = await asyncio.wait({producing}, timeout=0.5)
            assert not done
            kafka_node.resume()
            await producing
        finally:
            kafka_node.resume()
            await producer.stop(10.0)
        stored = await asyncio.to_thread(stored_records, kafka_node.bootstrap, topic)
        assert [message.value() for message in stored] == [b"0", b"1"]

    run(main())


def test_dead_sender_is_replaced_and_who_waited_for_it_is_told(bootstrap: str) -> None:
    """OutOfOrderSequenceNumber ends aiokafka's sender for good; the collector goes on with a new one."""

    async def main() -> None:
        topic = await asyncio.to_thread(create_topic, bootstrap)

        async def out_of_order(*_: Any) -> None:
            raise OutOfOrderSequenceNumber

        async with producing(bootstrap, topics=(topic,)) as producer:
            await producer.produce([record(topic, b"before")])
            victim = producer._lifecycle.current
            assert victim is not None
            victim._producer._sender._send_produce_req = out_of_order
            seconds, error = await seconds_of(producer.produce([record(topic, b"lost")]))
            assert isinstance(error, NotDurable)
            assert error.reason == "failed"
            assert seconds < 1.0
            assert not producer.ready()
            # No need to wait until it is ready: records wait for the new one.
            await producer.produce([record(topic, b"after")])
            assert producer.ready()
            assert producer.stats.rebuilds == 1
            assert producer.stats.bytes_in_flight == 0
        assert await asyncio.to_thread(values_of, bootstrap, topic) == Counter([b"before", b"after"])

    run(main())


def test_oversized_record_fails_alone_and_its_neighbours_arrive_when_sent_again(bootstrap: str) -> None:
    """The broker refuses the whole batch; a topic with a small `max.message.bytes` must not stop for it."""

    async def main() -> None:
        topic = await asyncio.to_thread(create_topic, bootstrap, 1, max_message_bytes="20000")
        refusals = 0

        async def neighbour(number: int) -> None:
            nonlocal refusals
            while True:
                try:
                    return await producer.produce([record(topic, b"%d" % number + b"." * 1_000)])
                except NotDurable:
                    refusals += 1

        async with producing(bootstrap, topics=(topic,)) as producer:
            oversized = [producer.produce([record(topic, b"!" * 25_000)]) for _ in range(3)]
            *errors, _ = await asyncio.gather(
                *oversized,
                asyncio.gather(*(neighbour(number) for number in range(100))),
                return_exceptions=True,
            )
            assert [type(error) for error in errors] == [NotDurable] * 3
            assert 0 < refusals <= 500
            # The bound was learned: from here on nobody is hurt by somebody else's record.
            refusals = 0
            calls = [neighbour(number) for number in range(100, 150)]
            *_, error = await asyncio.gather(
                *calls, producer.produce([record(topic, b"!" * 25_000)]), return_exceptions=True
            )
            assert isinstance(error, NotDurable)
            assert refusals == 0
        stored = await asyncio.to_thread(values_of, bootstrap, topic)
        assert stored == Counter(b"%d" % number + b"." * 1_000 for number in range(150))

    run(main())


def test_refusals_on_one_topic_do_not_hurt_another(bootstrap: str) -> None:
    """A refused batch costs its producer id, which the other partitions share."""

    async def main() -> None:
        strict = await asyncio.to_thread(create_topic, bootstrap, 1, max_message_bytes="2000")
        other = await asyncio.to_thread(create_topic, bootstrap, 2)
        async with producing(bootstrap, topics=(strict, other)) as producer:
            stop_at = time.monotonic() + 1.0

            async def refused() -> int:
                count = 0
                while time.monotonic() < stop_at:
                    with pytest.raises(NotDurable):
                        await producer.produce([record(strict, b"!" * 5_000)])
                    count += 1
                return count

            async def accepted() -> list[float]:
                seconds = []
                while time.monotonic() < stop_at:
                    taken, error = await seconds_of(producer.produce([record(other, b"x", b"%d" % len(seconds))]))
                    assert error is None
                    seconds.append(taken)
                return seconds

            refusals, seconds = await asyncio.gather(refused(), accepted())
            assert refusals >= 2
            assert len(seconds) > 20
            assert producer.stats.rebuilds >= 1
        assert (await asyncio.to_thread(values_of, bootstrap, other)).total() == len(seconds)

    run(main())


def test_ready_is_false_once_no_broker_answered_for_a_while(kafka_node: KafkaNode) -> None:
    """A load balancer must learn of an outage even when nobody sends anything."""
    skew = 0.0

    async def main() -> None:
        nonlocal skew
        config = producer_config(kafka_node.bootstrap, compression="none")
        producer = KafkaProducer(config, clock=lambda: time.monotonic() + skew)
        await producer.start()
        assert producer.ready()
        kafka_node.pause()
        try:
            skew += 10.0
            assert not producer.ready()
        finally:
            kafka_node.resume()
        await until(producer.ready)
        await producer.stop(1)

    run(main())


def test_broker_that_comes_back_elsewhere_is_found_by_the_bootstrap_addresses(own_node: KafkaNode) -> None:
    """aiokafka alone asks the addresses it learned, for ever; a rescheduled broker has new ones."""
    if own_node._process is None:
        own_node.start()
    topic = create_topic(own_node.bootstrap)
    first, second = own_node.port, free_port()
    skew = 0.0

    async def main() -> None:
        nonlocal skew
        config = producer_config(
            f"127.0.0.1:{first},127.0.0.1:{second}", produce_seconds_max=0.5, topics=(topic,), compression="none"
        )
        producer = KafkaProducer(config, clock=lambda: time.monotonic() + skew)
        await producer.start()
        await producer.produce([record(topic, b"here")])
        await asyncio.to_thread(own_node.stop)
        own_node.port, own_node.bootstrap = second, f"127.0.0.1:{second}"
        await asyncio.to_thread(own_node.start)
        with pytest.raises(NotDurable):
            await producer.produce([record(topic, b"on the way")])
        skew = 60.0
        await until(producer.ready)
        await producer.produce([record(topic, b"there")])
        await producer.stop(5)

    run(main())
    stored = values_of(own_node.bootstrap, topic)
    assert Counter([b"here", b"there"]) <= stored <= Counter([b"here", b"on the way", b"there"])


def test_nothing_of_a_record_is_logged(bootstrap: str, caplog: pytest.LogCaptureFixture) -> None:
    """Not at DEBUG, not for a refused batch."""
    topic = create_topic(bootstrap, 1, max_message_bytes="2000")

    async def main() -> None:
        caplog.set_level(logging.DEBUG)
        async with producing(bootstrap, topics=(topic,)) as producer:
            await producer.produce([record(topic, b"secret", b"secret")])
            with pytest.raises(NotDurable) as refused:
                await producer.produce([record(topic, b"secret" * 1_000, b"secret")])
            assert "secret" not in str(refused.value)

    run(main())
    assert "a batch of 1 records" in caplog.text
    assert "secret" not in caplog.text
