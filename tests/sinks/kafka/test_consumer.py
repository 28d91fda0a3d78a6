"""One table's consumer on a real broker, with an engine that shows every physical row."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewPartitions, NewTopic, RecordsToDelete
from aiokafka.errors import RequestTimedOutError

from schemas.dead_letters import origin_of
from sinks.engine import Refused, Unknown
from sinks.kafka import consumer as consumer_module
from sinks.kafka.consumer import _AiokafkaPartition
from sinks.kafka.partition_worker import Halted, PartitionLost
from sinks.metrics import SinkMetrics
from testkit.kafka_node import KafkaNode
from testkit.sink_configs import block_limits
from testkit.sink_environment import LIMITS, SECONDS_MAX, SinkEnvironment, running, signal_value, until
from tests.contract.memory_engine import MemoryEngine

pytestmark = pytest.mark.kafka


class Killed(Exception):
    """Stands for the end of the process: nothing after it is done."""


def test_ten_thousand_records_become_ten_thousand_rows(bootstrap: str) -> None:
    """The plain case: two partitions, many blocks, an idle group with nothing open."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap) as world:
            engine = MemoryEngine()
            await world.produce(10_000)
            await world.run_until_drained(engine)
            world.check(engine)
            assert world.metrics.registry.get_sample_value("unjoin_sink_rows_total", {"table": "signals"}) == 10_000

    asyncio.run(play())


def test_records_that_come_while_it_runs_are_stored_within_the_block_age(bootstrap: str) -> None:
    """And only with plain inserts: nothing of them was ever in doubt."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap) as world:
            engine = MemoryEngine()
            async with running(world.consumer(engine)):
                for _ in range(5):
                    await world.produce(40)
                    await until(_rows(engine), lambda rows: rows == len(world.produced))
            world.check(engine)
            assert {method for method, *_ in engine.inserts[2:]} <= {"insert"}

    asyncio.run(play())


def test_stopping_leaves_no_open_intent(bootstrap: str) -> None:
    """A clean restart costs no anti-join."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap) as world:
            engine = MemoryEngine()
            await world.produce(3_000)
            async with running(world.consumer(engine)):
                await until(_rows(engine), lambda rows: rows >= 1_000)
            stopped = await world.commits()
            assert sum(offset for offset, _ in stopped.values()) == await _rows(engine)()
            await world.run_until_drained(engine)
            world.check(engine)

    asyncio.run(play())


@pytest.mark.parametrize("seed", range(3))
def test_lost_replies_leave_every_row_once(bootstrap: str, seed: int) -> None:
    """Before or after storing, nobody can tell; the range is repeated and only missing rows are inserted."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap) as world:
            chance = random.Random(seed)
            engine = MemoryEngine(fault=lambda _block: chance.choice(["before", "after", None, None]))
            await world.produce(4_000)
            await world.run_until_drained(engine)
            world.check(engine)

    asyncio.run(play())


@pytest.mark.parametrize("seed", range(3))
def test_deaths_at_any_step_leave_every_row_once(bootstrap: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before or after a commit, before or after an insert, again and again; then one life without faults."""
    chance = random.Random(seed)
    odds = 0.15

    def die(_block: Any = None) -> None:
        if chance.random() < odds:
            raise Killed

    class Mortal(MemoryEngine):
        def insert(self, block: Any) -> None:
            die()
            super().insert(block)
            die()

        def insert_missing(self, block: Any) -> int:
            die()
            stored = super().insert_missing(block)
            die()
            return stored

    commit = consumer_module._AiokafkaPartition.commit

    async def mortal_commit(self: Any, offset: int, metadata: str) -> None:
        die()
        await commit(self, offset, metadata)
        die()

    async def play() -> None:
        nonlocal odds
        async with SinkEnvironment(bootstrap) as world:
            engine = Mortal()
            deaths = 0
            monkeypatch.setattr(consumer_module._AiokafkaPartition, "commit", mortal_commit)
            for _ in range(5):
                await world.produce(700)
                try:
                    async with asyncio.timeout(2):
                        await world.consumer(engine, msgspec.structs.replace(LIMITS, rows_max=100)).run()
                except Killed:
                    deaths += 1
                except TimeoutError:
                    pass
            assert deaths
            odds = 0
            await world.run_until_drained(engine)
            world.check(engine)

    asyncio.run(play())


def test_two_consumers_of_a_group_hand_over_without_a_double_row(bootstrap: str) -> None:
    """Partitions move while blocks are in work: a second member comes, then the first leaves."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap, partitions=4) as world:
            engine = MemoryEngine()
            limits = msgspec.structs.replace(LIMITS, rows_max=50)
            first, second = world.consumer(engine, limits), world.consumer(engine, limits)
            stop = asyncio.Event()

            async def keep_producing() -> None:
                while not stop.is_set():
                    await world.produce(200)

            producing = asyncio.create_task(keep_producing())
            async with running(second):
                async with running(first):
                    await until(_rows(engine), lambda rows: rows > 2_000)
                seen = await _rows(engine)()
                await until(_rows(engine), lambda rows: rows > seen + 2_000)
                stop.set()
                await producing
            await world.run_until_drained(engine)
            world.check(engine)

    asyncio.run(play())


def test_garbage_is_set_aside_and_its_neighbours_are_whole(bootstrap: str) -> None:
    """A wrong magic byte, an unknown id, another topic's schema, trailing bytes, a cut datum, no value, nothing."""
    good = signal_value(0)
    garbage: list[tuple[bytes | None, bytes | None, str]] = [
        (b"key", b"\x01" + good[1:], "not_confluent"),
        (b"key", b"", "not_confluent"),
        (b"key", b"\x00\x00\x00\xff\xff" + good[5:], "unknown_schema"),
        (b"key", b"\x00\x00\x00\x00\x03" + good[5:], "wrong_schema"),
        (b"key", good + b"\x00", "trailing_bytes"),
        (None, good[:-1], "malformed_datum"),
        (b"key", None, "not_confluent"),
        (None, None, "not_confluent"),
    ]

    async def play() -> None:
        async with SinkEnvironment(bootstrap, partitions=1) as world:
            engine = MemoryEngine()
            await world.produce(3)
            await world.run_until_drained(engine)  # with a commit, what comes is inserted before anybody looks at it
            offsets = {}
            for key, value, reason in garbage:
                await world.produce(3)
                offsets[await world.produce_garbage(key, value)] = (key, value, reason)
            await world.produce(3)
            await world.run_until_drained(engine)
            world.check(engine)
            found = {}
            for letter in await world.dead_letters(len(garbage)):
                origin = origin_of(letter.headers)
                assert origin is not None
                assert (origin.topic, origin.partition) == (world.topic, 0)
                found[origin.offset] = (letter.key, letter.value, origin.reason)
            assert found == offsets

    asyncio.run(play())


def test_datum_that_ends_an_insert_without_an_answer_ends_it_once(bootstrap: str) -> None:
    """Were it tried again as it is, an engine that dies of it would never get past it."""
    good = signal_value(0)

    class Fragile(MemoryEngine):
        """Says nothing where it cannot read a datum."""

        def _store(self, method: str, block: Any, choose: Any) -> int:
            try:
                return super()._store(method, block, choose)
            except Refused:
                raise Unknown("no answer") from None

    async def play() -> None:
        async with SinkEnvironment(bootstrap, partitions=1) as world:
            engine = Fragile()
            await world.produce(20)
            await world.run_until_drained(engine)
            await world.produce(20)
            offset = await world.produce_garbage(b"key", good + good)
            await world.produce(20)
            await world.run_until_drained(engine)
            world.check(engine)
            (letter,) = await world.dead_letters(1)
            origin = origin_of(letter.headers)
            assert origin is not None
            assert (origin.offset, origin.reason) == (offset, "trailing_bytes")

    asyncio.run(play())


def test_row_that_the_engine_refuses_is_set_aside_alone(bootstrap: str) -> None:
    """Bisection finds it; everything around it is stored."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap, partitions=1) as world:
            engine = MemoryEngine(refuses=lambda row: row["ts"] in (17, 18, 300))
            await world.produce(400)
            await world.run_until_drained(engine)
            world.produced = [number for number in world.produced if number not in (17, 18, 300)]
            world.check(engine)
            letters = await world.dead_letters(3)
            assert [letter.value for letter in letters] == [signal_value(17), signal_value(18), signal_value(300)]
            assert {dict(letter.headers)["reason"] for letter in letters} == {b"refused"}

    asyncio.run(play())


def test_engine_that_refuses_everything_halts_the_consumer(bootstrap: str) -> None:
    """And nothing was set aside: after the repair every row is there."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap, partitions=1) as world:
            await world.produce(1_000)
            with pytest.raises(Halted, match="signals"):
                await asyncio.wait_for(world.consumer(MemoryEngine(refuses=lambda _row: True)).run(), SECONDS_MAX)
            engine = MemoryEngine()
            await world.run_until_drained(engine)
            world.check(engine)

    asyncio.run(play())


def test_open_intent_is_completed_with_what_retention_left(bootstrap: str) -> None:
    """Exactly its range, only what is missing; what is gone is counted and does not stop anything."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap, partitions=1) as world:
            engine = MemoryEngine()
            await world.produce(100)
            blocked = world.consumer(MemoryEngine(fault=lambda _block: "before"), hand_over_seconds_max=0.2)
            async with running(blocked):
                await until(world.commits, lambda commits: commits.get(0) == (0, "100"))
            await world.admin.delete_records({world.partitions[0]: RecordsToDelete(40)})
            await world.produce(10)
            await world.run_until_drained(engine)
            world.produced = world.produced[40:]
            world.check(engine)
            assert engine.inserts[0] == ("insert_missing", 0, 40, 100)
            assert (
                world.metrics.registry.get_sample_value("unjoin_sink_expired_offsets_total", {"table": "signals"}) == 40
            )

    asyncio.run(play())


def test_intent_whose_whole_range_expired_neither_hangs_nor_ends_the_sink(bootstrap: str) -> None:
    """What of it was stored stays, what was not is gone with the log: counted as expired, and the sink goes on.

    Nothing else is honest: its records cannot be read again, so nobody can tell which of them are missing.
    """

    async def play() -> None:
        async with SinkEnvironment(bootstrap, partitions=1) as world:
            engine = MemoryEngine()
            await world.produce(100)
            blocked = world.consumer(MemoryEngine(fault=lambda _block: "before"), hand_over_seconds_max=0.2)
            async with running(blocked):
                await until(world.commits, lambda commits: commits.get(0) == (0, "100"))
            await world.admin.delete_records({world.partitions[0]: RecordsToDelete(100)})

            async def passed() -> tuple[int, str]:
                return (await world.commits())[0]

            async with running(world.consumer(engine)):
                # Without a single new record: a quiet topic must not keep the intent open.
                await until(passed, lambda commit: commit == (100, ""))
                await world.produce(10)
                await until(_rows(engine), lambda rows: rows == 10)
            expired = "unjoin_sink_expired_offsets_total"
            assert world.metrics.registry.get_sample_value(expired, {"table": "signals"}) == 100
            world.produced = world.produced[100:]
            world.check(engine)

    asyncio.run(play())


def test_back_pressure_pauses_reading_while_the_engine_is_away(bootstrap: str) -> None:
    """A sink whose engine is away for a day must not read the topic into memory."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap, partitions=1) as world:
            away = True
            engine = MemoryEngine(fault=lambda _block: "before" if away else None)
            limits = block_limits(rows_max=200, bytes_max=10_000_000, ms_max=50)
            await world.produce(4_000)
            consumer = world.consumer(engine, limits)
            held: list[int] = []
            add = consumer_module.PartitionWorker.add

            def counted(self: Any, planner: Any, records: Any, *where: int) -> None:
                if self.passed is not None:
                    held.append(len(records))
                add(self, planner, records, *where)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(consumer_module.PartitionWorker, "add", counted)
                patch.setattr(consumer_module, "POLL_RECORDS_MAX", 300)
                async with running(consumer):

                    async def unknown() -> float:
                        value = world.metrics.registry.get_sample_value(
                            "unjoin_sink_unknown_outcomes_total", {"table": "signals"}
                        )
                        return value or 0

                    await until(unknown, lambda count: count >= 5)
                    assert sum(held) <= 2 * 200 + 300
                    away = False
                    ends = await world.ends()
                    await until(world.commits, lambda commits: commits == ends)
            world.check(engine)

    asyncio.run(play())


def test_commit_that_gets_no_answer_is_sent_again_before_anything_is_inserted(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coordinator that is away decides nothing."""
    commit = consumer_module._AiokafkaPartition.commit
    failures = iter([True, True, False, True])

    async def failing(self: Any, offset: int, metadata: str) -> None:
        if next(failures, False):
            raise RequestTimedOutError
        await commit(self, offset, metadata)

    async def play() -> None:
        async with SinkEnvironment(bootstrap, partitions=1) as world:
            engine = MemoryEngine()
            await world.produce(1_200)
            monkeypatch.setattr(consumer_module._AiokafkaPartition, "commit", failing)
            await world.run_until_drained(engine)
            world.check(engine)

    asyncio.run(play())


class Coordinator:
    """A group's coordinator in its fourth generation, that notes the offsets it is told, or fails."""

    generation = 4

    def __init__(self, error: Exception | None = None) -> None:
        self.sent: list[int] = []
        self._error = error

    async def ensure_coordinator_known(self) -> None: ...

    async def _do_commit_offsets(self, _assignment: object, offsets: dict[TopicPartition, Any]) -> None:
        if self._error is not None:
            raise self._error
        self.sent.extend(commit.offset for commit in offsets.values())


def partition_of(coordinator: Coordinator, failed: list[BaseException]) -> _AiokafkaPartition:
    """A partition of the fourth generation; what ends its session is noted."""
    consumer = SimpleNamespace(_coordinator=coordinator)
    session: Any = SimpleNamespace(group="g", generation=4, consumer=consumer, fail=failed.append)
    return _AiokafkaPartition(session, TopicPartition("t", 0))


def test_commit_of_an_earlier_generation_is_not_sent() -> None:
    """The coordinator does not ask who owns a partition: a zombie's late commit would pass for the new owner's."""
    coordinator = Coordinator()

    async def play() -> None:
        partition = partition_of(coordinator, [])
        await partition.commit(5, "9")
        coordinator.generation = 5
        with pytest.raises(PartitionLost):
            await partition.commit(9, "12")

    asyncio.run(play())
    assert coordinator.sent == [5]


def test_commit_without_an_answer_ends_the_session_and_is_not_told_as_one_to_try_again() -> None:
    """It may still arrive, after newer commits: only a new generation keeps it out."""
    failed: list[BaseException] = []
    partition = partition_of(Coordinator(RequestTimedOutError()), failed)
    with pytest.raises(PartitionLost):
        asyncio.run(partition.commit(5, "9"))
    assert [type(error) for error in failed] == [RequestTimedOutError]


def test_broker_killed_and_started_again_costs_no_row(kafka_home: Path, tmp_path: Path) -> None:
    """Fetches, commits and the group are lost in the middle of blocks; the same consumer goes on by itself."""
    node = KafkaNode(kafka_home, tmp_path, killable=True)

    async def play() -> None:
        async with SinkEnvironment(node.bootstrap) as world:
            engine = MemoryEngine()
            limits = msgspec.structs.replace(LIMITS, rows_max=100)
            async with running(world.consumer(engine, limits, session_timeout_ms=1_500)):
                await world.produce(5_000)
                await until(_rows(engine), lambda rows: rows > 1_000)
                await asyncio.to_thread(node.kill)
                await asyncio.to_thread(node.start)
                await world.produce(1_000)
                ends = await world.ends()
                await until(world.commits, lambda commits: commits == ends)
            world.check(engine)

    node.start()
    try:
        asyncio.run(play())
    finally:
        node.stop()


def test_fetch_that_pauses_after_an_error_does_not_end_the_sink(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka cancels it while it stops, and lets the cancellation out: each restart of a broker ended the sink."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap) as world:
            engine = MemoryEngine()
            await world.produce(40)
            close = consumer_module._Session.close

            async def close_with_a_pausing_fetch(session: Any) -> None:
                session.consumer._fetcher._pending_tasks.add(asyncio.create_task(asyncio.sleep(SECONDS_MAX)))
                await asyncio.sleep(0)  # it has begun to pause
                await close(session)

            monkeypatch.setattr(consumer_module._Session, "close", close_with_a_pausing_fetch)
            await world.run_until_drained(engine)
            world.check(engine)

    asyncio.run(play())


def test_consumer_started_before_its_broker_and_topic_waits_for_them(bootstrap: str) -> None:
    """Roles start in any order."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap, partitions=1) as world:
            await world.admin.delete_topics([world.topic])
            engine = MemoryEngine()
            async with running(world.consumer(engine)):
                await asyncio.sleep(0.3)  # long enough for a first try, which has to fail
                await world.admin.create_topics([NewTopic(world.topic, 1, 1)])
                await world.produce(100)
                await until(_rows(engine), lambda rows: rows == 100)
            world.check(engine)

    asyncio.run(play())


def _rows(engine: MemoryEngine) -> Callable[[], Any]:
    async def rows() -> int:
        return len(engine.rows.get("signals", []))

    return rows


def test_partitions_that_are_added_are_read_by_a_running_sink(bootstrap: str) -> None:
    """Not after five minutes, which is the client's default."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap, partitions=1) as world:
            engine = MemoryEngine()
            async with running(world.consumer(engine, metadata_age_ms=300)):
                await world.produce(10)
                await until(_rows(engine), lambda rows: rows == 10)
                await world.admin.create_partitions({world.topic: NewPartitions(3)})
                world.partitions = [TopicPartition(world.topic, number) for number in range(3)]
                while len(await world.producer.partitions_for(world.topic)) < 3:
                    await world.producer.client.force_metadata_update()
                await world.produce(30)
                await until(_rows(engine), lambda rows: rows == len(world.produced))

    asyncio.run(play())


def test_topic_that_is_gone_makes_a_sink_not_ready_until_it_is_made_again(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing assigned it would say that nothing is left to do."""
    monkeypatch.setattr(consumer_module, "TOPIC_GONE_SECONDS", 0.5)

    async def play() -> None:
        async with SinkEnvironment(bootstrap, partitions=1) as world:
            engine = MemoryEngine()
            consumer = world.consumer(engine, metadata_age_ms=300, session_timeout_ms=1_500, hand_over_seconds_max=1.0)

            async def joined() -> bool:
                return consumer.joined

            async with running(consumer):
                await until(joined, bool)
                await world.admin.delete_topics([world.topic])
                await until(joined, lambda is_joined: not is_joined)
                await world.admin.create_topics([NewTopic(world.topic, 1, 1)])
                await until(joined, bool)
                await world.produce(10)
                await until(_rows(engine), lambda rows: rows == 10)

    asyncio.run(play())


def test_lag_counts_partitions_that_nobody_reads(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that is given nothing does not say that all is stored."""
    monkeypatch.setattr(consumer_module, "OTHERS_SECONDS", 0.1)

    async def play() -> None:
        async with SinkEnvironment(bootstrap, partitions=2) as world:
            away = world.consumer(MemoryEngine(fault=lambda _block: "before"))
            world.metrics = SinkMetrics()
            consumer = world.consumer(MemoryEngine())

            async def lag() -> float:
                await world.produce(2)  # one of them in the partition that the other member has
                return world.metrics.registry.get_sample_value("unjoin_sink_lag", {"table": "signals"}) or 0

            async with running(away, consumer):
                await until(lag, lambda offsets: offsets >= 10)

    asyncio.run(play())
