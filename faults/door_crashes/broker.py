"""A broker of the run's own, and clients of it: what writes the labels, and what watches the released ones."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from faults.door_crashes.commits import Sample
from faults.door_crashes.crowds import Logged
from processors.door.records import DEIDENTIFIED_SUBJECT
from schemas.codec import decode
from schemas.events import DeidentifiedLabel
from schemas.kafka_access import KafkaAccess
from schemas.topics import DEIDENTIFIED, LABELED, topics
from unjoin.host.kafka import child_environment, ensure_topics, free_port, prepare_node, wait_until_reachable

READY_S_MAX = 150.0
WRITE_S_MAX = 15.0
STOP_S_MAX = 30.0
# A killed member holds its partitions until its session is over, which no broker lets be shorter than 6 s by default.
SHORT_SESSIONS = "group.min.session.timeout.ms=500\n"


class Node:
    """A broker of the run's own; to be stopped, killed and started again on the same port, with what it stored."""

    def __init__(self, kafka_home: Path, state_dir: Path) -> None:
        self._port = free_port()
        self._kafka_home = kafka_home
        self._state_dir = state_dir
        self._process: asyncio.subprocess.Process | None = None
        self.bootstrap = f"127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Returns once it answers."""
        command = prepare_node(self._kafka_home, self._state_dir, self._port)
        with (self._state_dir / "server.properties").open("a") as properties:
            properties.write(SHORT_SESSIONS)
        with (self._state_dir / "node.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdout=log, stderr=log, env=child_environment()
            )
        await wait_until_reachable(KafkaAccess(self.bootstrap), READY_S_MAX)

    async def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Returns once it is gone, however it has to go."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            await asyncio.wait_for(process.wait(), STOP_S_MAX)
        except TimeoutError:
            process.kill()
            await process.wait()


@asynccontextmanager
async def broker(kafka_home: Path, state_dir: Path, labeled_partitions: int, partitions: int) -> AsyncIterator[Node]:
    """A node with the pipeline's topics, while the context lasts."""
    node = Node(kafka_home, state_dir)
    try:
        await node.start()
        wanted = topics(partitions=partitions, labeled_partitions=labeled_partitions, events_days=1, labeled_hours=6)
        await ensure_topics(KafkaAccess(node.bootstrap), wanted, 1)
        yield node
    finally:
        await node.end()


class Feed:
    """Writes records of the labeled topic.

    Attributes:
        written: records that were acknowledged.
    """

    def __init__(self, bootstrap: str) -> None:
        self.written = 0
        self._bootstrap = bootstrap
        self._producer = self._new_producer()

    async def __aenter__(self) -> "Feed":
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def write(self, records: Iterable[tuple[int, bytes]]) -> None:
        """Returns once they are acknowledged, those of a partition in order; or lost, while a broker starts again.

        Args:
            records: partition and value of each.

        What had to be released is computed from the log, so that nobody has to know which.
        """
        try:
            async with asyncio.timeout(WRITE_S_MAX):
                futures = [await self._producer.send(LABELED, value=value, partition=one) for one, value in records]
                await asyncio.gather(*futures)
            self.written += len(futures)
        except (KafkaError, TimeoutError):
            # An idempotent producer of aiokafka that lost a batch ends in OutOfOrderSequenceNumber, or waits for ever.
            await self._renew()

    async def _renew(self) -> None:
        while True:
            with suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(WRITE_S_MAX):
                    await self._producer.stop()
            self._producer = self._new_producer()
            try:
                async with asyncio.timeout(WRITE_S_MAX):
                    return await self._producer.start()
            except (KafkaError, TimeoutError):
                await asyncio.sleep(0.1)

    def _new_producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(bootstrap_servers=self._bootstrap, acks="all", enable_idempotence=True, linger_ms=2)


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
    """What the door's group has committed, and how far the released topic has come.

    Attributes:
        samples: every different state seen by `watch`, in order.
    """

    def __init__(self, bootstrap: str, group_id: str, partitions: Sequence[int], released_partitions: int) -> None:
        self._bootstrap = bootstrap
        self._group_id = group_id
        self._partitions = [TopicPartition(LABELED, number) for number in partitions]
        self._released = [TopicPartition(DEIDENTIFIED, number) for number in range(released_partitions)]
        self.samples: list[Sample] = []

    async def __aenter__(self) -> "Offsets":
        self._admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        self._consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap)
        await self._admin.start()
        await self._consumer.start()
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._consumer.stop()
        await self._admin.close()

    async def committed(self) -> dict[int, int]:
        """The group's next offset of each partition, 0 where it has none; waits for a broker that is away."""
        while True:
            try:
                found = await self._admin.list_consumer_group_offsets(self._group_id, partitions=self._partitions)
                return {partition.partition: max(0, found[partition].offset) for partition in self._partitions}
            # A coordinator that is only just there answers with an error, which aiokafka 0.14 trips over, or partly.
            except (KafkaError, AttributeError, KeyError):
                await asyncio.sleep(0.05)

    async def _watch(self) -> None:
        """Ends are asked for after what is committed: whatever a commit passed must lie below them."""
        last: dict[int, int] = {}
        while True:
            committed = await self.committed()
            if committed != last:
                ends = await self._ends()
                self.samples.append(Sample(committed, ends))
                last = committed
            await asyncio.sleep(0.02)

    async def _ends(self) -> dict[int, int]:
        while True:
            try:
                ends = await self._consumer.end_offsets(self._released)
                return {partition.partition: end for partition, end in ends.items()}
            except KafkaError:
                await asyncio.sleep(0.05)
