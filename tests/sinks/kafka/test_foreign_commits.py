"""Commits that the sink did not make, on a real broker: a tool's, another database's, the version before's."""

import asyncio
from collections import Counter
from typing import Any
from unittest import mock

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from sinks.kafka.partition_worker import NotOurs
from testkit.memory_marks import MemoryMarks
from testkit.sink_environment import SinkEnvironment, running, until
from tests.contract.memory_engine import MemoryEngine

pytestmark = pytest.mark.kafka


async def commit(world: SinkEnvironment, offsets: dict[TopicPartition, tuple[int, str]]) -> None:
    """As a tool or a stray consumer does while no sink runs."""
    consumer = AIOKafkaConsumer(bootstrap_servers=world.bootstrap, group_id=world.group, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(list(offsets))
        await consumer.commit({one: OffsetAndMetadata(*said) for one, said in offsets.items()})
    finally:
        await consumer.stop()


def test_foreign_commit_loses_no_record_and_doubles_none(bootstrap: str) -> None:
    """A consumer under the sink's group id passed records that nobody stored; others were stored before."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap) as world:
            engine = MemoryEngine()
            await world.produce(1_000)
            await world.run_until_drained(engine)
            await world.produce(1_124)
            await commit(world, dict.fromkeys(world.partitions, (1_062, "")))
            await world.produce(100)
            await world.run_until_drained(engine)
            world.check(engine)

    asyncio.run(play())


def test_consumer_that_joined_the_group_for_a_while_costs_no_record(bootstrap: str) -> None:
    """It got partitions of a running sink, read them and committed; then it left."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap) as world:
            engine = MemoryEngine()
            await world.produce(500)
            async with running(world.consumer(engine)):
                await until(_rows(engine), lambda rows: rows == 500)
                stray = AIOKafkaConsumer(
                    world.topic, bootstrap_servers=bootstrap, group_id=world.group, auto_offset_reset="earliest",
                    enable_auto_commit=False, session_timeout_ms=6_000, heartbeat_interval_ms=500,
                )  # fmt: skip
                await stray.start()
                await until(_assigned(stray), lambda assigned: assigned == 1)
                await world.produce(500)
                (one,) = stray.assignment()
                await until(_position(stray, one), lambda position: position == 500)
                await stray.commit()
                await stray.stop()
                await until(_rows(engine), lambda rows: rows == 1_000)
            world.check(engine)

    asyncio.run(play())


def _rows(engine: MemoryEngine) -> Any:
    async def rows() -> int:
        return len(engine.rows.get("signals", []))

    return rows


def _assigned(consumer: AIOKafkaConsumer) -> Any:
    async def assigned() -> int:
        await consumer.getmany(timeout_ms=10)
        return len(consumer.assignment())

    return assigned


def _position(consumer: AIOKafkaConsumer, one: TopicPartition) -> Any:
    async def position() -> int:
        await consumer.getmany(timeout_ms=10)
        reached: int = await consumer.position(one)
        return reached

    return position


def test_sink_of_another_database_is_refused_before_it_joins(bootstrap: str) -> None:
    """It would take half of the partitions, and half of the rows."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap) as world:
            engine, other = MemoryEngine(), MemoryEngine()
            await world.produce(500)
            async with running(world.consumer(engine)):
                await until(world.commits, _settled_at(250))
                own, world.marks = world.marks, MemoryMarks()
                asked = mock.Mock(wraps=own.meaning)
                own.meaning = asked  # type: ignore[method-assign]
                intruder = world.consumer(other)
                with pytest.raises(NotOurs, match=r"another database's.*unjoin rewind"):
                    await asyncio.wait_for(intruder.run(), 30)
                assert not intruder.admitted.is_set()
                await world.produce(512)
                await until(_rows(engine), lambda rows: rows == 1_012)
                asked.assert_not_called()  # no partition was taken and given back
            world.marks = own
            await world.run_until_drained(engine)
            world.check(engine)
            assert not other.rows

    asyncio.run(play())


def test_database_that_was_restored_from_before_the_commits_is_refused(bootstrap: str) -> None:
    """The rows since the backup are not in it, and the offsets say that they are."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap) as world:
            engine = MemoryEngine()
            backup = {database: set(known) for database, known in world.marks.moments.items()}
            world.marks = MemoryMarks(world.marks.moments)
            await world.produce(300)
            await world.run_until_drained(engine)
            world.marks = MemoryMarks(backup, moment="the start after the restore")
            with pytest.raises(NotOurs, match="restored from a backup"):
                await asyncio.wait_for(world.consumer(engine).run(), 30)

    asyncio.run(play())


@pytest.mark.parametrize("open_intent", [False, True])
def test_commits_of_the_version_before_are_gone_on_from_once(bootstrap: str, open_intent: bool) -> None:
    """Its database held rows: it starts where it ended. What anybody commits later without a mark is not believed."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap, partitions=1) as world:
            engine = MemoryEngine()
            await world.produce(600)
            await world.run_until_drained(engine)
            await world.produce(400)
            said = (500, "700 expired=3") if open_intent else (600, "expired=3")
            await commit(world, {world.partitions[0]: said})
            world.marks = MemoryMarks(held_rows=True)
            engine.inserts.clear()
            await world.run_until_drained(engine)
            assert min(first for _, _, first, _ in engine.inserts) == said[0]
            assert Counter(row["ts"] for row in engine.rows["signals"]) == Counter(world.produced)
            found = (await world.admin.list_consumer_group_offsets(world.group))[world.partitions[0]]
            assert found.metadata.endswith(" expired=3")
            await world.produce(200)
            await commit(world, {world.partitions[0]: (1_200, "")})
            await world.produce(1)
            await world.run_until_drained(engine)
            assert Counter(row["ts"] for row in engine.rows["signals"]) == Counter(world.produced)

    asyncio.run(play())


def test_commits_of_the_version_before_say_nothing_to_an_empty_database(bootstrap: str) -> None:
    """It is filled from the log's start."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap) as world:
            engine = MemoryEngine()
            await world.produce(400)
            await commit(world, dict.fromkeys(world.partitions, (200, "")))
            await world.produce(1)
            await world.run_until_drained(engine)
            world.check(engine)

    asyncio.run(play())


def _settled_at(offset: int) -> Any:
    return lambda commits: list(commits.values()) == [(offset, "")] * 2
