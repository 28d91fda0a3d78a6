"""A broker of the run's own, and clients of it: what writes the labels, and what watches the released ones."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from bench.door_crashes.crowds import Logged
from processors.records import DEIDENTIFIED_SUBJECT
from schemas.codec import decode
from schemas.events import DeidentifiedLabel
from schemas.topics import DEIDENTIFIED, LABELED, topics
from unjoin.kafka import child_environment, ensure_topics, free_port, prepare_node, wait_until_reachable

READY_S_MAX = 60.0
STOP_S_MAX = 30.0
# A killed member holds its partitions until its session is over, which no broker lets be shorter than 6 s by default.
SHORT_SESSIONS = "group.min.session.timeout.ms=500\n"


@asynccontextmanager
async def broker(kafka_home: Path, state_dir: Path, labeled_partitions: int, partitions: int) -> AsyncIterator[str]:
    """A node with the pipeline's topics, while the context lasts; gives its address."""
    port = free_port()
    command = prepare_node(kafka_home, state_dir, port)
    with (state_dir / "server.properties").open("a") as properties:
        properties.write(SHORT_SESSIONS)
    with (state_dir / "node.log").open("wb") as log:
        node = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, env=child_environment())
    try:
        bootstrap = f"127.0.0.1:{port}"
        await wait_until_reachable(bootstrap, READY_S_MAX)
        wanted = topics(partitions=partitions, labeled_partitions=labeled_partitions, events_days=1, labeled_hours=6)
        await ensure_topics(bootstrap, wanted, 1)
        yield bootstrap
    finally:
        node.terminate()
        try:
            await asyncio.wait_for(node.wait(), STOP_S_MAX)
        except TimeoutError:
            node.kill()
            await node.wait()


class Feed:
    """Writes records of the labeled topic, keyed as the edge keys them.

    Attributes:
        written: acknowledged records.
    """

    def __init__(self, bootstrap: str) -> None:
        self._producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=2)
        self.written = 0

    async def __aenter__(self) -> "Feed":
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def write(self, records: Iterable[tuple[bytes | None, bytes]]) -> None:
        """Returns once they are acknowledged; those of one key in their order."""
        futures = [await self._producer.send(LABELED, value=value, key=key) for key, value in records]
        await asyncio.gather(*futures)
        self.written += len(futures)


class Watch:
    """Reads the released topic as it is written.

    Attributes:
        row_ids: what came so far.
        came: set whenever something did.
    """

    def __init__(self, bootstrap: str, partitions: int) -> None:
        self._consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, fetch_max_wait_ms=50)
        self._partitions = [TopicPartition(DEIDENTIFIED, number) for number in range(partitions)]
        self.came = asyncio.Event()
        self.row_ids: set[str] = set()

    async def __aenter__(self) -> "Watch":
        await self._consumer.start()
        self._consumer.assign(self._partitions)
        await self._consumer.seek_to_beginning()
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        with suppress(asyncio.CancelledError):  # a fetch that waits to be tried again lets it out
            await self._consumer.stop()

    async def _read(self) -> None:
        while True:
            batches = await self._consumer.getmany(timeout_ms=1_000)
            if any(batches.values()):
                self.came.set()
            for records in batches.values():
                for record in records:
                    assert record.key is None, "a released record has a key"
                    assert not record.headers, "a released record has headers"
                    self.row_ids.add(released_of(record.value).row_id)


def released_of(value: bytes | None) -> DeidentifiedLabel:
    """A released record as the door made it."""
    datum = decode(value, DEIDENTIFIED_SUBJECT)
    unsigned = datum["version"] % (1 << 64)
    return msgspec.convert({**datum, "row_id": str(datum["row_id"]), "version": unsigned}, DeidentifiedLabel)


async def log_of(bootstrap: str, topic: str = LABELED) -> list[Logged]:
    """Everything that lies on a topic, partition by partition in offset order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, fetch_max_wait_ms=50)
    await consumer.start()
    try:
        await consumer._client.set_topics([topic])
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(partitions)
        log: list[Logged] = []
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for partition, records in (await consumer.getmany(timeout_ms=1_000)).items():
                log += (Logged(partition.partition, one.offset, one.timestamp, one.value) for one in records)
        return sorted(log, key=lambda one: (one.partition, one.offset))
    finally:
        await consumer.stop()


class Offsets:
    """What the door's group has committed."""

    def __init__(self, bootstrap: str, group_id: str, partitions: Sequence[int]) -> None:
        self._admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        self._group_id = group_id
        self._partitions = [TopicPartition(LABELED, number) for number in partitions]

    async def __aenter__(self) -> "Offsets":
        await self._admin.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._admin.close()

    async def committed(self) -> dict[int, int]:
        """The group's next offset of each partition, 0 where it has none."""
        while True:
            try:
                found = await self._admin.list_consumer_group_offsets(self._group_id, partitions=self._partitions)
                break
            except GroupCoordinatorNotAvailableError:  # the broker makes its topic when it is first asked
                await asyncio.sleep(0.05)
        return {partition.partition: max(0, one.offset) for partition, one in found.items()}
