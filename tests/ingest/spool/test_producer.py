"""Kafka first, the spool behind it: who is made to wait, what is sent later, and that nothing is lost in between."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ingest.encode.records import Record, Records, runs_of
from ingest.kafka.producer import NotDurable
from ingest.limits import SPOOL_SECONDS_MAX
from ingest.spool.file import SpoolError
from ingest.spool.packs import Entry
from ingest.spool.producer import SpoolingProducer
from ingest.spool.writer import Spool
from testkit.clean_loop import run, run_skipping, seconds_of, until
from tests.contract.memory_broker import MemoryBroker, MemoryProducer
from tests.contract.memory_spool import MemorySpool
from tests.ingest.configs import producer_config, spool_config

NOW_MS = 1_790_000_000_000
HOUR_MS = 3_600_000
WAIT_SECONDS = 0.2


def records(first: int, count: int = 3, topic: str = "signals") -> list[Record]:
    return [Record(topic, b"key", b"%d" % i, NOW_MS) for i in range(first, first + count)]


class Edge:
    """A broker, a spool and the producer on top of both.

    Attributes:
        ms: the spool's clock.
    """

    def __init__(self, spool: Any = None, **config: Any) -> None:
        self.ms = NOW_MS
        self.broker = MemoryBroker()
        for topic in ("signals", "labeled"):
            self.broker.create_topic(topic)
        self.spool = spool or self.memory_spool()
        settings = producer_config("", **{"produce_seconds_max": WAIT_SECONDS, "topics": ("signals",), **config})
        self.kafka = MemoryProducer(settings, self.broker)
        self.producer = SpoolingProducer(self.kafka, self.spool, settings.produce_seconds_max)

    def memory_spool(self, **config: Any) -> MemorySpool:
        return MemorySpool(spool_config(Path(), lives_ms={"labeled": HOUR_MS}, **config), lambda: self.ms)

    def stored(self, topic: str = "signals") -> list[bytes]:
        return [record.value for record in self.broker.topics[topic][0]]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[SpoolingProducer]:
        await self.producer.start()
        try:
            yield self.producer
        finally:
            self.broker.resume()
            await self.producer.stop(5.0)


def values(first: int, count: int) -> list[bytes]:
    return [b"%d" % i for i in range(first, first + count)]


def test_spool_is_not_touched_while_kafka_answers() -> None:
    """It costs a sync and a second way; it is for bad times."""

    async def main() -> None:
        edge = Edge()
        async with edge.running() as producer:
            await producer.produce(records(0))
            await producer.produce([])
            assert edge.spool.counts.spooled == 0
        assert edge.stored() == values(0, 3)

    run_skipping(main())


def test_only_the_first_requests_of_an_outage_wait_and_all_arrive_in_order_afterwards() -> None:
    """Somebody has to find out that Kafka is silent; what they sent is unknown, so it may be there twice."""

    async def main() -> None:
        edge = Edge()
        async with edge.running() as producer:
            edge.broker.pause()
            edge.kafka.ready = lambda: True  # type: ignore[method-assign]  # it notices late
            first = [seconds_of(producer.produce(records(n, 1))) for n in range(5)]
            for seconds, error in await asyncio.gather(*first):
                assert error is None
                assert WAIT_SECONDS <= seconds < 1.0
            for n in range(5, 100):
                seconds, error = await seconds_of(producer.produce(records(n, 1)))
                assert error is None
                assert seconds < WAIT_SECONDS
            assert producer.ready()
            assert not producer.reaches_kafka()
            edge.broker.resume()
            await until(lambda: edge.spool.counts.waiting == 0)
            assert producer.reaches_kafka()
            await producer.produce(records(100, 1))
        stored = edge.stored()
        assert sorted(set(stored), key=int) == values(0, 101)
        late = [value for value in stored if int(value) >= 5]
        assert late == values(5, 96)
        assert len(stored) == 101 + 5

    run_skipping(main())


def test_what_is_begun_without_a_task_is_spooled_where_kafka_does_not_acknowledge_it() -> None:
    """A request without a task is answered as any other: not before its records are durable, and then once."""

    async def main() -> None:
        edge = Edge()
        told: list[Any] = []
        async with edge.running() as producer:
            assert producer.begin(Records(runs_of(records(0, 1))), told.append)
            await until(lambda: told == [None])
            edge.broker.pause()
            edge.kafka.ready = lambda: True  # type: ignore[method-assign]  # it notices late
            assert producer.begin(Records(runs_of(records(1, 1))), told.append)
            await until(lambda: told == [None, None])
            assert edge.spool.counts.waiting == 1
            assert not producer.begin(Records(runs_of(records(2, 1))), told.append)
            edge.broker.resume()
            await until(lambda: edge.spool.counts.waiting == 0)
        assert told == [None, None]
        assert sorted(set(edge.stored())) == values(0, 2)

    run_skipping(main())


def test_kafka_that_is_slower_than_a_request_can_wait_drains_all_the_same() -> None:
    """Otherwise the spool would only ever fill, and its head be sent over and over."""

    async def main() -> None:
        edge = Edge()
        append = edge.broker.append

        async def slow(some: Sequence[Record], turn: int) -> None:
            await asyncio.sleep(3 * WAIT_SECONDS)
            await append(some, turn)

        edge.broker.append = slow  # type: ignore[method-assign]
        async with edge.running() as producer:
            await asyncio.gather(*(producer.produce(records(n, 1)) for n in range(10)))
            assert edge.spool.counts.spooled == 10
            await until(lambda: edge.spool.counts.waiting == 0)
        assert set(edge.stored()) == set(values(0, 10))
        assert len(edge.stored()) == 20

    run_skipping(main())


def test_full_memory_is_spooled_at_once() -> None:
    """Bytes in flight are bounded, and a request past the bound need not be refused."""

    async def main() -> None:
        edge = Edge(in_flight_bytes_max=10)
        async with edge.running() as producer:
            edge.kafka.ready = lambda: True  # type: ignore[method-assign]
            seconds, error = await seconds_of(producer.produce(records(0)))
            assert error is None
            assert seconds < WAIT_SECONDS
            assert edge.spool.counts.spooled == 3

    run_skipping(main())


def test_spool_drains_in_smaller_chunks_where_memory_has_less_room_than_one() -> None:
    """A chunk that never fits would be refused for ever, and everything behind it."""

    async def main() -> None:
        edge = Edge(in_flight_bytes_max=400)
        edge.broker.pause()
        async with edge.running() as producer:
            for first in range(0, 90, 3):
                await producer.produce(records(first))
            edge.broker.resume()
            await until(lambda: not edge.spool.counts.waiting)
            assert set(edge.stored()) == set(values(0, 90))

    run_skipping(main())


def test_neither_kafka_nor_spool_is_a_refusal_that_says_when_to_come_back() -> None:
    """503 for the whole batch; and the balancer is told."""

    async def main() -> None:
        edge = Edge()
        async with edge.running() as producer:
            edge.spool.failing = True
            await producer.produce(records(0))  # Kafka is there
            assert producer.ready()
            edge.broker.pause()
            with pytest.raises(NotDurable) as caught:
                await producer.produce(records(3))
            assert (caught.value.reason, caught.value.retry_after_s) == ("spool_failed", 5)
            assert not producer.ready()
            edge.spool.failing = False
            await until(producer.ready)  # nobody has to post for it to be noticed
            await producer.produce(records(3))

    run_skipping(main())


def test_full_spool_is_a_refusal_and_drains_once_kafka_is_back() -> None:
    """The bound is the operator's; what is in it is not lost."""

    async def main() -> None:
        edge = Edge()
        edge.producer.spool = edge.spool = edge.memory_spool(bytes_max=1_000)
        async with edge.running() as producer:
            edge.broker.pause()
            taken = 0
            with pytest.raises(NotDurable) as caught:  # noqa: PT012
                while True:
                    await producer.produce(records(taken, 1))
                    taken += 1
            assert (caught.value.reason, caught.value.retry_after_s) == ("spool_full", 30)
            assert not producer.ready()
            edge.broker.resume()
            await until(lambda: edge.spool.counts.drained == taken)
            assert producer.ready()
        assert edge.stored() == values(0, taken)

    run_skipping(main())


def test_labels_that_outlive_their_topic_in_an_outage_expire_and_are_counted() -> None:
    """`events.labeled` would have forgotten them, too."""

    async def main() -> None:
        edge = Edge()
        async with edge.running() as producer:
            edge.broker.pause()
            await producer.produce(records(0, 2, "labeled") + records(2, 2))
            edge.ms += HOUR_MS
            await until(lambda: edge.spool.counts.expired == 2)
            edge.broker.resume()
            await until(lambda: edge.spool.counts.waiting == 0)
        assert (edge.stored("labeled"), edge.stored()) == ([], values(2, 2))

    run_skipping(main())


def test_outage_outlives_a_restart(tmp_path: Path) -> None:
    """Kept on shutdown, quickly, and drained by the next process."""

    async def main() -> None:
        edge = Edge(Spool(spool_config(tmp_path)))
        await edge.producer.start()
        edge.broker.pause()
        for n in range(0, 30, 3):
            await edge.producer.produce(records(n))
        seconds, error = await seconds_of(edge.producer.stop(1.0))
        assert error is None
        assert seconds < 2.5
        with pytest.raises(NotDurable):
            await edge.producer.produce(records(0))
        assert not edge.producer.ready()
        assert edge.stored() == []
        later = Edge(Spool(spool_config(tmp_path)))
        async with later.running():
            await until(lambda: later.spool.counts.waiting == 0)
        assert later.stored() == values(0, 30)

    run(main())


class Picky(MemoryProducer):
    """Kafka refuses every batch with a record that it finds too large: `failed`, for all of them."""

    refused: frozenset[bytes] = frozenset()
    calls = 0

    async def produce(self, records: Sequence[Record], seconds_max: float | None = None) -> None:
        self.calls += 1
        if self.refused & {record.value for record in records}:
            raise NotDurable("failed")
        await super().produce(records, seconds_max)


def test_record_that_kafka_refuses_holds_nobody_back_and_stays_until_it_is_taken() -> None:
    """It was acknowledged to its sender: an operator may raise the topic's limit, so it is not thrown away."""

    async def main() -> None:
        edge = Edge()
        edge.kafka.__class__ = Picky
        picky: Any = edge.kafka
        async with edge.running() as producer:
            edge.broker.pause()
            for n in range(0, 300, 10):
                await producer.produce(records(n, 10))
            picky.refused = frozenset({b"5", b"123", b"299"})
            edge.broker.resume()
            await until(lambda: edge.spool.counts.waiting == 3)
            assert sorted(edge.stored(), key=int) == [v for v in values(0, 300) if v not in picky.refused]
            assert picky.calls < 80
            # A request goes to Kafka, not behind them, and what is spooled anew does not wait for them.
            await producer.produce(records(300, 1))
            assert edge.stored()[-1] == b"300"
            picky.refused = frozenset()
            await until(lambda: edge.spool.counts.waiting == 0)
        assert sorted(edge.stored(), key=int) == values(0, 301)

    run_skipping(main())


def test_what_is_on_its_way_to_kafka_stays_in_the_spool_until_it_is_acknowledged() -> None:
    """Whoever dies in between leaves a record too many, not one too few."""

    async def main() -> None:
        edge = Edge()
        async with edge.running() as producer:
            edge.broker.pause()
            await producer.produce(records(0))
            append, acknowledge = edge.broker.append, asyncio.Event()

            async def slow(some: Sequence[Record], turn: int) -> None:
                await acknowledge.wait()
                await append(some, turn)

            edge.broker.append = slow  # type: ignore[method-assign]
            edge.broker.resume()
            await until(lambda: edge.kafka.stats.bytes_in_flight > 0)  # the drain has sent it
            assert (edge.spool.counts.waiting, edge.spool.counts.drained) == (3, 0)
            assert [record for entry in edge.spool.entries for record in entry.records] == records(0)
            acknowledge.set()
            await until(lambda: edge.spool.counts.drained == 3)
        assert edge.stored() == values(0, 3)

    run_skipping(main())


def test_what_kafka_acknowledged_is_not_sent_again_because_deleting_fails() -> None:
    """Its outcome is known; a disk that fails is waited for."""

    async def main() -> None:
        edge = Edge()
        async with edge.running() as producer:
            edge.broker.pause()
            await producer.produce(records(0))
            failures = itertools.count()
            delete = edge.spool.delete

            async def failing(entries: Sequence[Entry]) -> None:
                if next(failures) < 3:
                    raise SpoolError("the disk failed")
                await delete(entries)

            edge.spool.delete = failing
            edge.broker.resume()
            await until(lambda: edge.spool.counts.waiting == 0)
        assert edge.stored() == values(0, 3)

    run_skipping(main())


@pytest.mark.parametrize("produce_seconds_max", [1.0, 2.0, 5.0])
def test_silent_kafka_leaves_the_disk_its_share_of_the_answer(produce_seconds_max: float) -> None:
    """However long an operator lets Kafka take, what it does not acknowledge is spooled, not refused."""

    async def main() -> None:
        edge = Edge(produce_seconds_max=produce_seconds_max)
        async with edge.running() as producer:
            edge.broker.pause()
            edge.kafka.ready = lambda: True  # type: ignore[method-assign]
            began = asyncio.get_running_loop().time()
            await producer.produce(records(0))
            assert edge.spool.counts.spooled == 3
            assert edge.spool.stats.failed == 0
            assert asyncio.get_running_loop().time() - began < produce_seconds_max + SPOOL_SECONDS_MAX

    run_skipping(main())
