"""What is acknowledged outlives brokers: three of them as processes, two away."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from ingest.encode.records import Record
from ingest.kafka.copies import too_thin
from ingest.kafka.producer import KafkaProducer
from ingest.spool.producer import SpoolingProducer
from ingest.spool.writer import Spool
from schemas.kafka_access import KafkaAccess
from schemas.topics import DAY_MS, MIN_INSYNC, Topic
from testkit.kafka_cluster import KafkaCluster
from testkit.kafka_node import stored_records
from tests.ingest.configs import producer_config, spool_config
from unjoin.host.kafka import IncrementalAlterConfigs, ensure_topics

EVENTS = Topic("copies.events", 1, DAY_MS, DAY_MS)
THIN = Topic("copies.thin", 1, DAY_MS, DAY_MS)
# Of now: a broker looks every minute for records that are older than their topic keeps.
NOW_MS = int(time.time() * 1_000)


@pytest.fixture(scope="module")
def cluster(kafka_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    brokers = KafkaCluster(kafka_home, tmp_path_factory.mktemp("cluster"))
    brokers.start()
    yield brokers
    brokers.stop()


def producers(cluster: KafkaCluster, folder: Path, topic: Topic) -> tuple[KafkaProducer, SpoolingProducer]:
    """As `unjoin collect` with UNJOIN_REPLICATION_FACTOR=3 makes them."""
    kafka = KafkaProducer(producer_config(cluster.bootstrap, topics=(topic.name,), insync_min=2))
    spooling = SpoolingProducer(kafka, Spool(spool_config(folder)), 1.0)
    spooling.too_few_copies = kafka.copies.too_few
    return kafka, spooling


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.kafka
@pytest.mark.slow
def test_what_one_broker_of_three_has_is_spooled_and_never_acknowledged(cluster: KafkaCluster, tmp_path: Path) -> None:
    """With `min.insync.replicas` 1 the last broker acknowledges alone, and its disk takes all of it along."""
    values = {b"%d" % number for number in range(20)}

    async def play() -> None:
        await ensure_topics(KafkaAccess(cluster.bootstrap), [EVENTS], 3)
        kafka, spooling = producers(cluster, tmp_path, EVENTS)
        await spooling.start()
        try:
            await until(kafka.ready)
            await spooling.produce([Record(EVENTS.name, b"k", b"before", NOW_MS)])
            # A busy machine may have spooled it first.
            await until(lambda: kafka.stats.records > 0 and spooling.spool.counts.waiting == 0)
            before = kafka.stats.records
            for node in cluster.brokers[1:]:
                await asyncio.to_thread(node.stop)  # in good order, so that the last one leads and is in sync alone
            for value in sorted(values):
                await spooling.produce([Record(EVENTS.name, b"k", value, NOW_MS)])
            assert kafka.stats.records == before
            assert spooling.spool.counts.waiting > 0
            for node in cluster.brokers[1:]:
                await asyncio.to_thread(node.start)
            await until(lambda: spooling.spool.counts.waiting == 0)
        finally:
            await spooling.stop(5.0)

    asyncio.run(play())
    # One may be there twice: nobody knew what became of it.
    assert {record.value() for record in stored_records(cluster.bootstrap, EVENTS.name)} == values | {b"before"}


@pytest.mark.kafka
@pytest.mark.slow
def test_collector_in_front_of_topics_with_too_few_copies_says_so_and_is_not_ready(
    cluster: KafkaCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It sends them nothing either: what it gets all the same is in the spool until the topics are put right."""

    async def play() -> None:
        await ensure_topics(KafkaAccess(cluster.bootstrap), [THIN], 1)
        kafka, spooling = producers(cluster, tmp_path, THIN)
        await spooling.start()
        try:
            await until(kafka.copies.too_few)
            assert not spooling.ready()
            await spooling.produce([Record(THIN.name, b"k", b"v", NOW_MS)])
            assert (kafka.stats.records, spooling.spool.counts.waiting) == (0, 1)
            # A broker that has not heard of the new topic yet tells nothing of it at first.
            await until(lambda: f"{THIN.name} (1); run `unjoin topics`" in caplog.text)
        finally:
            await spooling.stop(5.0)

    asyncio.run(play())


@pytest.mark.kafka
@pytest.mark.slow
def test_collector_is_ready_again_once_its_topics_keep_enough_copies(cluster: KafkaCluster, tmp_path: Path) -> None:
    """`unjoin topics` puts them right under a running collector."""
    topic = Topic("copies.mended", 1, DAY_MS, DAY_MS)

    async def play() -> None:
        await ensure_topics(KafkaAccess(cluster.bootstrap), [topic], 3)
        await set_insync(cluster.bootstrap, topic.name, "1")
        kafka, spooling = producers(cluster, tmp_path, topic)
        await spooling.start()
        try:
            await until(kafka.copies.too_few)
            await ensure_topics(KafkaAccess(cluster.bootstrap), [topic], 3)
            await until(kafka.ready)
        finally:
            await spooling.stop(5.0)

    asyncio.run(play())


async def set_insync(bootstrap: str, topic: str, value: str) -> None:
    """What somebody might set by hand."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin._send_request(IncrementalAlterConfigs(topic, {MIN_INSYNC: value}))
    finally:
        await admin.close()


@pytest.mark.parametrize(
    ("told", "thin"),
    [({"a": "2", "b": "3"}, 0), ({"a": "1", "b": "2"}, 1), ({"a": None}, 1), ({"a": "0", "b": "1"}, 2)],
)
def test_topic_with_too_few_copies_or_none_told_is_named(told: dict[str, str | None], thin: int) -> None:
    """Not told is not enough: a collector without the right to ask would trust in vain."""
    assert len(too_thin(told, 2)) == thin
