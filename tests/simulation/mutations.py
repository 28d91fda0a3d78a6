"""Products that get it wrong, one guard broken each: a simulation that any of these passes proves nothing."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import msgspec
from aiokafka.errors import KafkaError

from ingest.spool import file as spool_file
from ingest.spool.producer import Drain, SpoolingProducer
from processors.door.crowd import Crowd
from processors.faust_app.batch_handler import BatchHandler
from sinks.clickhouse import server
from sinks.engine import Block, Unknown
from sinks.kafka.block_planner import BlockPlanner, Commit, Insert, Intent
from sinks.kafka.commit_marks import Kind, Meaning, split_mark
from sinks.kafka.partition_worker import PartitionWorker
from tests.simulation.engine import SimulatedEngine
from tests.simulation.processes import universe_loop

Mutation = Callable[[], Any]


@contextlib.contextmanager
def commits_past_the_block_before_the_insert() -> Iterator[None]:
    """At-most-once: a crash in the insert loses the block."""
    decide = BlockPlanner.decide

    def decided(self: BlockPlanner, now_ms: float, *, stopping: bool = False) -> Any:
        decision = decide(self, now_ms, stopping=stopping)
        if isinstance(decision, Commit) and self._block is not None and self._block.groups:
            return Commit(self._block.end, "")
        return decision

    def committed(self: BlockPlanner, commit: Commit) -> None:
        block = self._block
        if block is not None and block.groups:
            self._committed = self._commit_of(_intent(self, block.end))
        else:
            self._committed = commit

    with (
        mock.patch.object(BlockPlanner, "decide", decided),
        mock.patch.object(BlockPlanner, "committed", committed),
        mock.patch.object(SimulatedEngine, "_check_intent", return_value=None),
    ):
        yield


def _intent(blocks: BlockPlanner, end: int) -> str:
    return Intent(end, blocks.uncertain_to).metadata(blocks.first)


@contextlib.contextmanager
def inserts_the_whole_block_again() -> Iterator[None]:
    """At-least-once: what was stored without a reply is stored twice."""
    decide = BlockPlanner.decide

    def decided(self: BlockPlanner, now_ms: float, *, stopping: bool = False) -> Any:
        decision = decide(self, now_ms, stopping=stopping)
        return decision._replace(missing=False) if isinstance(decision, Insert) else decision

    with mock.patch.object(BlockPlanner, "decide", decided):
        yield


@contextlib.contextmanager
def trusts_the_engines_deduplication_token() -> Iterator[None]:
    """The engine notes a block's token before its rows are visible: killed in between, it swallows every retry."""

    def store(self: SimulatedEngine, method: str, block: Block, choose: Any) -> int:
        token = (block.table.name, block.partition, block.first, block.end)
        if method == "insert_missing" and token in self.storage.tokens:
            return 0
        self.storage.tokens.add(token)
        try:
            return kept(self, "insert", block, lambda rows, _stored: rows)
        except Unknown:
            if not self._seen(block):
                self.storage.tokens.discard(token)  # the engine lives, so it takes the token back itself
            raise

    kept = SimulatedEngine._store
    with mock.patch.object(SimulatedEngine, "_store", store):
        yield


@contextlib.contextmanager
def believes_a_replica_that_lags() -> Iterator[None]:
    """A repair that asks for no sequential consistency finds rows missing that a majority has."""
    with mock.patch.dict(server.REPLICATED, {"select_sequential_consistency": 0}):
        yield


@contextlib.contextmanager
def starts_over_without_the_intent() -> Iterator[None]:
    """A restart that forgets what was in work."""
    start = BlockPlanner.__init__

    def started(self: BlockPlanner, *args: Any, **options: Any) -> None:
        start(self, *args, **options)
        self._intent_end, self.uncertain_to = self.first, 0

    with mock.patch.object(BlockPlanner, "__init__", started):
        yield


@contextlib.contextmanager
def retries_a_commit_without_an_answer() -> Iterator[None]:
    """Under the same generation: what a broken connection still held takes back newer commits when it arrives."""
    with mock.patch("sinks.kafka.consumer._NOT_COMMITTED", (KafkaError,)):
        yield


@contextlib.contextmanager
def believes_a_commit_without_a_mark() -> Iterator[None]:
    """Whoever commits under the group's name passes records that nobody stored."""

    def believed(commit: Any, *_: Any) -> Meaning:
        return Meaning(Kind.OWN, msgspec.structs.replace(commit, metadata=split_mark(commit.metadata)[1]))

    with mock.patch("testkit.memory_marks.meaning_of", believed):
        yield


@contextlib.contextmanager
def waits_for_records_that_are_not_there() -> Iterator[None]:
    """A doubt about offsets that hold no record is kept for ever."""
    recovering = property(lambda self: self._blocks is not None and self._blocks.recovering)
    with mock.patch.object(PartitionWorker, "needs_position", recovering):
        yield


@contextlib.contextmanager
def flushes_a_small_crowd() -> Iterator[None]:
    """Half a crowd is let go."""
    complete = Crowd.complete

    def completed(self: Crowd) -> bool:
        return complete(self) or (self.voters * 2 >= self._rule.voters_min and self.labels >= 3)

    with mock.patch.object(Crowd, "complete", completed):
        yield


@contextlib.contextmanager
def acknowledges_before_the_output_is() -> Iterator[None]:
    """As Faust's `take`: a batch counts as done when it was taken, whatever becomes of what follows from it."""
    handle = BatchHandler.handle

    async def handled(self: BatchHandler, batch: Any) -> None:
        partition, offsets = (batch.topic, batch.partition), [record.offset for record in batch.records]
        self._commits.acknowledge(partition, batch.generation_id, offsets)
        for offset in offsets:
            self._commits.settle(partition, batch.generation_id, offset + 1, "")
        await handle(self, batch)

    with mock.patch.object(BatchHandler, "handle", handled):
        yield


@contextlib.contextmanager
def shuffles_the_door_by_the_clock() -> Iterator[None]:
    """A release that depends on when it happens: a replay gives another crowd."""
    complete = Crowd.complete

    def completed(self: Crowd) -> bool:
        return complete(self) and int(universe_loop().time() * 10) % 3 > 0

    with mock.patch.object(Crowd, "complete", completed):
        yield


@contextlib.contextmanager
def does_not_sync_the_spool() -> Iterator[None]:
    """A power failure takes what was only written."""
    pragmas = tuple(one.replace("FULL", "OFF") if "synchronous" in one else one for one in spool_file._PRAGMAS)
    with mock.patch.object(spool_file, "_PRAGMAS", pragmas):
        yield


@contextlib.contextmanager
def deletes_from_the_spool_before_kafka_has_it() -> Iterator[None]:
    """What was read counts as sent."""
    send_off = Drain._send_entries

    async def sent_off(self: Drain, entries: Any, now: float) -> float:
        await self._delete(entries)
        return await send_off(self, entries, now)

    with mock.patch.object(Drain, "_send_entries", sent_off):
        yield


@contextlib.contextmanager
def drains_in_chunks_that_never_fit() -> Iterator[None]:
    """More than the producer takes, again and again."""
    send_off = Drain._send_entries

    async def sent_off(self: Drain, entries: Any, now: float) -> float:
        records_max = self._records_max
        pause = await send_off(self, entries, now)
        self._records_max = max(records_max, self._records_max)
        return pause

    with mock.patch.object(Drain, "_send_entries", sent_off):
        yield


@contextlib.contextmanager
def answers_before_it_is_durable() -> Iterator[None]:
    """Fire and forget."""
    produce = SpoolingProducer.produce

    async def produced(self: SpoolingProducer, records: Any, seconds_max: float | None = None) -> None:
        task = asyncio.ensure_future(produce(self, records, seconds_max))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    with mock.patch.object(SpoolingProducer, "produce", produced):
        yield


MUTATIONS: dict[str, list[Mutation]] = {
    "sink": [
        commits_past_the_block_before_the_insert,
        inserts_the_whole_block_again,
        trusts_the_engines_deduplication_token,
        starts_over_without_the_intent,
        retries_a_commit_without_an_answer,
        believes_a_commit_without_a_mark,
        waits_for_records_that_are_not_there,
    ],
    "replicas": [believes_a_replica_that_lags],
    "door": [flushes_a_small_crowd, acknowledges_before_the_output_is, shuffles_the_door_by_the_clock],
    "edge": [
        does_not_sync_the_spool,
        deletes_from_the_spool_before_kafka_has_it,
        answers_before_it_is_durable,
        drains_in_chunks_that_never_fit,
    ],
}
