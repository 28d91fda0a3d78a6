"""Reads the topics of one table as a member of a consumer group, and gives each partition a worker.

    run ── session ── read loop: getmany ─▶ worker.add      (reading only; never waits for ClickHouse)
                   └─ a worker a partition: commit, insert  (partition_worker.py; a thread each for the engine's calls)

A session ends when the group or the brokers fail in a way that aiokafka does not recover from; the next one starts
from the commits. aiokafka 0.14 is pinned, for `_AiokafkaPartition.commit` and `_abandon` use private names; the tests
on a real broker show when these change.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    CommitFailedError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    IllegalGenerationError,
    IllegalStateError,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    NotCoordinatorForGroupError,
    RebalanceInProgressError,
    UnknownMemberIdError,
    UnknownTopicOrPartitionError,
)
from aiokafka.structs import OffsetAndMetadata

from schemas.following import EmitSpan, emit_nowhere
from schemas.kafka_access import KafkaAccess
from schemas.kafka_probe import reason_of
from sinks.engine import Engine, Table, Unknown
from sinks.kafka.block_planner import BlockLimits, BlockPlanner
from sinks.kafka.commit_marks import REFUSED, Commit
from sinks.kafka.partition_worker import (
    CommitMarks,
    DeadLetterSender,
    NotOurs,
    PartitionLost,
    PartitionWorker,
    WorkerContext,
)
from sinks.kafka.record_consumer import RecordConsumer
from sinks.metrics import SinkMetrics
from sinks.outage import Outage

log = logging.getLogger(__name__)

POLL_MS = 200
POLL_RECORDS_MAX = 2_000  # prepared without a pause; heartbeats wait for it
SESSION_TIMEOUT_MS = 6_000  # a killed sink keeps its partitions for so long; brokers allow no less by default
REBALANCE_TIMEOUT_MS = 30_000
HAND_OVER_SECONDS_MAX = 10.0  # for the insert in work at a revocation; well below the rebalance time-out
CLOSE_SECONDS_MAX = 3.0
# Partitions that were added, and topics that were made again, are seen after so long; aiokafka's own default is 300 s.
METADATA_AGE_MS = 30_000
# A topic that the brokers do not name for so long is gone; one that is being made may be missing for a moment.
TOPIC_GONE_SECONDS = 5.0
OTHERS_SECONDS = 10.0  # how often the lag of partitions that are not this member's is asked for

_MOVED_ON = (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
# The coordinator did not take the commit, or never saw it.
_NOT_COMMITTED = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NodeNotReadyError,
    NotCoordinatorForGroupError,
)


class ConsumerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How one table's consumer reads.

    Attributes:
        group: the consumer group.
        session_timeout_ms: after so many ms without a heartbeat the group gives this member's partitions away.
        hand_over_seconds_max: how many seconds a revocation or stop waits for the insert in work; an insert that takes
            longer is abandoned, and its intent stays committed.
        metadata_age_ms: how old what is known of the topics' partitions may be.
    """

    kafka: KafkaAccess
    limits: BlockLimits
    group: str
    session_timeout_ms: int
    hand_over_seconds_max: float
    metadata_age_ms: int = METADATA_AGE_MS


class TableConsumer:
    """Moves the records of a table's topics into an engine, exactly once.

    Args:
        datum_of, check: the functions of `rows/tables.py` for this table; `WorkerContext` says what they do.
        placed: whether `datum_of` asks a record for its topic and partition.
        schemas: by the first bytes of a value, where a value is its datum; None where `datum_of` does more.
        emit: where the pieces of work of requests that are followed go.
        clock: seconds, monotonic.

    Attributes:
        joined: whether it is a member of the group, and every topic of the table is there.
        admitted: set once the group's commits were found to be this database's.
    """

    def __init__(
        self,
        table: Table,
        engine: Engine,
        config: ConsumerConfig,
        *,
        marks: CommitMarks,
        datum_of: Callable[[Any], tuple[Any, bytes]],
        check: Callable[[bytes | None], None],
        dead_letters: DeadLetterSender,
        placed: bool = False,
        schemas: Mapping[bytes, Any] | None = None,
        metrics: SinkMetrics | None = None,
        emit: EmitSpan = emit_nowhere,
        clock: Callable[[], float] = time.monotonic,
        jitter: random.Random | None = None,
    ) -> None:
        self.table, self.config, self.placed, self.schemas = table, config, placed, schemas
        self.group = config.group
        jitter = jitter or random.Random()  # noqa: S311  # spreads retries, guards nothing
        metrics = metrics or SinkMetrics()
        self._context = WorkerContext(
            table,
            config.group,
            engine,
            marks,
            dead_letters,
            config.limits,
            datum_of,
            check,
            metrics,
            clock,
            jitter,
            emit,
        )
        self.marks = marks
        self.joined = False
        self.admitted = asyncio.Event()
        self._stopping = asyncio.Event()
        self._threads: dict[TopicPartition, ThreadPoolExecutor] = {}

    def stop(self) -> None:
        """Lets `run` finish the blocks in work, commit and return."""
        self._stopping.set()

    async def run(self) -> None:
        """Consumes until stopped.

        Raises:
            Halted: the engine refuses too many rows.
            NotOurs: the group's commits are another database's.
            Exception: a bug; the process should end and be started again.
        """
        outage = Outage(f"Kafka for {self.table.name}", log, self._context.clock, self._context.jitter)
        engine_outage = Outage(f"ClickHouse for {self.table.name}", log, self._context.clock, self._context.jitter)
        try:
            while not self._stopping.is_set():
                session = _Session(self)
                try:
                    await session.run(self._stopping, outage)
                except KafkaError as error:
                    delay = outage.failed(await reason_of(error, self.config.kafka))
                    await _either(self._stopping.wait(), asyncio.sleep(delay))
                except Unknown as error:
                    delay = engine_outage.failed(str(error))
                    await _either(self._stopping.wait(), asyncio.sleep(delay))
                finally:
                    self.joined = False
                    await session.close()
        finally:
            for thread in self._threads.values():
                thread.shutdown(wait=False, cancel_futures=True)

    def worker(self, session: "_Session", partition: TopicPartition) -> PartitionWorker:
        """A new worker of this partition, with the thread of the one before."""
        thread = self._threads.get(partition)
        if thread is None:
            name = f"{self.table.name}-{partition.partition}"
            thread = self._threads[partition] = ThreadPoolExecutor(1, thread_name_prefix=name)
        return PartitionWorker(_AiokafkaPartition(session, partition), self._context, thread)

    def now(self) -> float:
        """Seconds, monotonic."""
        return self._context.clock()

    def show_lag(self, offsets: int) -> None:
        """Sets the gauge of the lag: offsets of all partitions of the table's topics together."""
        self._context.metrics.lag.labels(self.table.name).set(offsets)


class _Session(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """One membership of the group."""

    def __init__(self, owner: TableConsumer) -> None:
        self._owner, self.group = owner, owner.group
        config = owner.config
        consumer = AIOKafkaConsumer if owner.placed else partial(RecordConsumer, schemas=owner.schemas)
        self.consumer = consumer(
            **config.kafka.client(),
            group_id=owner.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            session_timeout_ms=config.session_timeout_ms,
            heartbeat_interval_ms=config.session_timeout_ms // 4,
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            metadata_max_age_ms=config.metadata_age_ms,
        )
        self.admin = AIOKafkaAdminClient(**config.kafka.client())
        self.generation = -1
        self._closing = False
        self._starting = asyncio.create_task(self._start())
        self._gone_since: float | None = None
        self._lag_of_others = 0
        self._workers: dict[TopicPartition, PartitionWorker] = {}
        self._tasks: dict[TopicPartition, asyncio.Task[None]] = {}
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, stopping: asyncio.Event, outage: Outage) -> None:
        """Reads until `stopping`; raises KafkaError where a new session may succeed, anything else for a bug."""
        await _either(self._read(outage), self._ask_for_others(), self._fail(), stopping.wait())

    async def close(self) -> None:
        """Ends the workers and leaves the group, each within a deadline."""
        self._closing = True
        await self._end_workers()
        # aiokafka would leave its first connection open if it were cancelled in the middle.
        await asyncio.wait([self._starting], timeout=CLOSE_SECONDS_MAX)
        self._starting.cancel()
        await asyncio.gather(self._starting, return_exceptions=True)
        # `stop` gets a task of its own: aiokafka 0.14 cancels a fetch that pauses after an error, and the cancellation
        # reaches the caller of `stop`. The sink would end because its broker did.
        stop = asyncio.create_task(self.consumer.stop())
        try:
            await asyncio.wait([stop], timeout=CLOSE_SECONDS_MAX)
        finally:
            stop.cancel()
        await asyncio.gather(stop, return_exceptions=True)
        if stop.cancelled() or isinstance(stop.exception(), KafkaError):
            await _abandon(self.consumer)
        else:
            stop.result()
        await self.admin.close()

    async def _read(self, outage: Outage) -> None:
        await asyncio.shield(self._starting)
        if missing := set(self._owner.table.topics) - await self.consumer.topics():
            raise UnknownTopicOrPartitionError(f"there is no topic {', '.join(sorted(missing))}")
        await self._be_admitted()
        self.consumer.subscribe(self._owner.table.topics, listener=self)
        while True:
            batches = await self.consumer.getmany(timeout_ms=POLL_MS, max_records=POLL_RECORDS_MAX)
            if self._owner.joined:  # a broker that answers may still keep the user out of the group
                outage.over()
            # All of them before anything is awaited: a worker that begins meanwhile sends the reader elsewhere.
            workers = ((one, self._workers.get(one)) for one in batches)
            taken = [(one, worker, worker.planner) for one, worker in workers if worker]
            for partition, worker, planner in taken:
                records = batches[partition]
                log_start = await self._log_start(planner, partition, records[0].offset)
                worker.add(planner, records, records[-1].offset + 1, log_start)
            await self._report_positions()
            self._hold_back()
            self._check_topics()
            self._owner.show_lag(self._lag() + self._lag_of_others)

    async def _be_admitted(self) -> None:
        """Looks at the group's commits before it joins: one that is another database's must not lose a partition."""
        marks, group = self._owner.marks, self.group
        found = await committed(self.admin, group, await partitions_of(self.admin, self._owner.table.topics))

        def refused() -> list[Any]:
            marks.adopt(group, found)
            meanings = (marks.meaning(group, one, commit) for one, commit in found.items())
            return [meaning.kind for meaning in meanings if meaning.kind in REFUSED]

        if kinds := await asyncio.get_running_loop().run_in_executor(None, refused):
            raise NotOurs(group, kinds[0])
        self._owner.admitted.set()

    async def _start(self) -> None:
        await self.admin.start()
        await self.consumer.start()

    async def _report_positions(self) -> None:
        """Tells workers with an uncertain range the reader's position: its last offsets may have no record any more."""
        for partition, worker in list(self._workers.items()):
            if worker.needs_position and partition in self.consumer.assignment():
                planner = worker.planner
                position = await self.consumer.position(partition)
                worker.add(planner, (), position, await self._log_start(planner, partition, position))

    async def _log_start(self, planner: BlockPlanner | None, partition: TopicPartition, first: int) -> int:
        """The log's first offset, where offsets are missing before `first`; else 0, for nobody asks."""
        if planner is None or not planner.leaves_out(first):
            return 0
        starts = await self.consumer.beginning_offsets([partition])
        return int(starts[partition])

    def _hold_back(self) -> None:
        """Back-pressure: stops reading a partition that holds two blocks until it holds less than one."""
        assigned = self.consumer.assignment()
        paused = self.consumer.paused() if assigned else set()
        for partition, worker in self._workers.items():
            if partition in assigned:
                if worker.should_pause and partition not in paused:
                    self.consumer.pause(partition)
                elif worker.may_resume and partition in paused:
                    self.consumer.resume(partition)

    def _lag(self) -> int:
        lag = 0
        assigned = self.consumer.assignment()
        for partition, worker in self._workers.items():
            end = self.consumer.highwater(partition) if partition in assigned else None
            if end is not None and worker.passed is not None:
                lag += max(0, end - worker.passed)
        return lag

    def _check_topics(self) -> None:
        """Ends the membership once a topic is gone: the group would assign nothing, and nothing would say so."""
        gone = [topic for topic in self._owner.table.topics if not self.consumer.partitions_for_topic(topic)]
        now = self._owner.now()
        if not gone:
            self._gone_since = None
        elif self._gone_since is None:
            self._gone_since = now
        elif now - self._gone_since > TOPIC_GONE_SECONDS:
            raise UnknownTopicOrPartitionError(f"there is no topic {', '.join(gone)} any more")

    async def _ask_for_others(self) -> None:
        """Keeps the lag of partitions that another member has, or nobody: a sink that gets none is not up to date."""
        await asyncio.shield(self._starting)
        while True:
            await asyncio.sleep(OTHERS_SECONDS)
            try:
                self._lag_of_others = await self._others_lag()
            except KafkaError:
                continue

    async def _others_lag(self) -> int:
        known = {
            TopicPartition(topic, number)
            for topic in self._owner.table.topics
            for number in self.consumer.partitions_for_topic(topic) or ()
        }
        others = sorted(known - self.consumer.assignment())
        if not others:
            return 0
        found = await committed(self.admin, self.group, others)
        starts = await self.consumer.beginning_offsets(others)
        ends = await self.consumer.end_offsets(others)
        return sum(max(0, ends[one] - max(starts[one], found[one].offset or 0)) for one in others)

    async def _fail(self) -> None:
        await self._failed

    def fail(self, error: BaseException) -> None:
        """Ends this membership; after a KafkaError the next one begins from the commits."""
        if not self._closing and not self._failed.done():
            self._failed.set_exception(error)

    # The group's callbacks. aiokafka joins the next generation only after `on_partitions_revoked` returned, so no
    # worker of the old generation can commit under the new one.

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Ends the workers: each finishes its block, or leaves its intent committed."""
        del revoked  # the group revokes all of them
        await self._end_workers()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Starts a worker a partition, each from its commit."""
        if self._closing:
            return
        self.generation = self.consumer._coordinator.generation
        self._owner.joined = True
        self._lag_of_others = 0
        for partition in assigned:
            worker = self._workers[partition] = self._owner.worker(self, partition)
            task = self._tasks[partition] = asyncio.create_task(worker.run())
            task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, PartitionLost):
            log.info("%s: a partition went away; its commit says where to go on", self._owner.table.name)
        elif error is not None:
            self.fail(error)

    async def _end_workers(self) -> None:
        workers, tasks = self._workers, list(self._tasks.values())
        self._workers, self._tasks = {}, {}
        for worker in workers.values():
            worker.stop()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._owner.config.hand_over_seconds_max)
            for task in late:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, PartitionLost):
                    log.error("%s: a worker failed with %s", self._owner.table.name, type(outcome).__name__)


class _AiokafkaPartition:
    """`PartitionLog` on aiokafka."""

    def __init__(self, session: _Session, partition: TopicPartition) -> None:
        self.topic, self.partition = partition.topic, partition.partition
        self._session, self._of = session, partition
        self._group, self._generation = session.group, session.generation

    async def committed(self) -> Commit:
        return (await committed(self._session.admin, self._group, [self._of]))[self._of]

    async def bounds(self) -> tuple[int, int]:
        starts = await self._session.consumer.beginning_offsets([self._of])
        ends = await self._session.consumer.end_offsets([self._of])
        return starts[self._of], ends[self._of]

    async def commit(self, offset: int, metadata: str) -> None:
        """One try under the generation that assigned the partition.

        `consumer.commit` retries inside, under whatever generation the member has by then, and the coordinator does
        not check who owns a partition: a retry after a rebalance would overwrite the new owner's intent.

        A commit of unknown outcome is not tried again either: its request may still be under way on a broken
        connection, arrive after newer commits and undo them; then rows are inserted twice. Only a new generation keeps
        it out.
        """
        await self._session.consumer._coordinator.ensure_coordinator_known()
        try:
            await asyncio.shield(self._send(OffsetAndMetadata(offset, metadata)))
        except _MOVED_ON as error:
            raise PartitionLost(f"{self.topic}-{self.partition}: {type(error).__name__}") from None
        except _NOT_COMMITTED:
            raise
        except KafkaError as error:
            self._session.fail(error)
            raise PartitionLost(f"{self.topic}-{self.partition}: a commit without an answer") from None

    async def _send(self, commit: OffsetAndMetadata) -> None:
        coordinator = self._session.consumer._coordinator
        if coordinator.generation != self._generation:
            raise PartitionLost(f"{self.topic}-{self.partition}: the group has a new generation")
        await coordinator._do_commit_offsets(None, {self._of: commit})  # builds its request before it first waits

    def seek(self, offset: int) -> None:
        try:
            self._session.consumer.seek(self._of, offset)
        except IllegalStateError:
            raise PartitionLost(f"{self.topic}-{self.partition}: no longer assigned") from None


async def partitions_of(admin: Any, topics: Iterable[str]) -> list[TopicPartition]:
    """The partitions of topics that are there; raises KafkaError."""
    return [
        TopicPartition(topic["topic"], one["partition"])
        for topic in await admin.describe_topics(list(topics))
        for one in topic["partitions"]
    ]


async def committed(admin: Any, group: str, partitions: list[TopicPartition]) -> dict[TopicPartition, Commit]:
    """What a group has committed of each partition, metadata included.

    Raises:
        KafkaError: the coordinator does not tell. That is not the same as "never committed", which is answered with -1:
            starting over would store everything twice.
    """
    try:
        found = await admin.list_consumer_group_offsets(group, partitions=partitions)
    except AttributeError:
        # aiokafka 0.14 reads `response.error_code`, which is not there, when a partition's answer is an error.
        raise KafkaConnectionError("the coordinator could not tell the committed offset") from None
    if not all(one in found for one in partitions):
        raise KafkaConnectionError("the coordinator did not tell the committed offset")
    return {
        one: Commit(None if found[one].offset < 0 else found[one].offset, found[one].metadata or "")
        for one in partitions
    }


async def _either(*waits: Any) -> None:
    """Returns or raises as the first awaitable that ends; cancels the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _abandon(consumer: Any) -> None:
    """Ends the tasks that a failed `stop()` leaves running; a second `stop()` would do nothing."""
    if (coordinator := consumer._coordinator) is not None:
        running = (coordinator._coordination_task, coordinator._heartbeat_task, coordinator._commit_refresh_task)
        tasks = [task for task in running if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if consumer._fetcher is not None:
        fetches = list(consumer._fetcher._pending_tasks)
        for task in fetches:
            task.cancel()
        await asyncio.gather(*fetches, consumer._fetcher.close(), return_exceptions=True)
    await consumer._client.close()
