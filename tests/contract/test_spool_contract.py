"""What every spool promises, the one on disk and the fake that tests of the drain stand on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ingest.encode.records import Record
from ingest.spool.file import SpoolError, SpoolFull
from ingest.spool.writer import Spool
from testkit.clean_loop import run, seconds_of
from tests.contract.memory_spool import MemorySpool
from tests.ingest.configs import spool_config

NOW_MS = 1_790_000_000_000
HOUR_MS = 3_600_000
ALL = (10_000, 100_000_000)


class Desk:
    """Makes spools of one kind, on one clock."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.ms = NOW_MS
        self._kind = kind
        self._folder = folder

    def spool(self, **config: Any) -> Any:
        kind = Spool if self._kind == "disk" else MemorySpool
        return kind(spool_config(self._folder, lives_ms={"labeled": 2 * HOUR_MS}, **config), lambda: self.ms)

    @asynccontextmanager
    async def running(self, **config: Any) -> AsyncIterator[Any]:
        spool = self.spool(**config)
        await spool.start()
        try:
            yield spool
        finally:
            await spool.stop(5.0)


@pytest.fixture(params=["memory", "disk"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    return Desk(request.param, tmp_path / "spool")


def records(first: int, count: int = 3, topic: str = "signals", size: int = 0) -> list[Record]:
    return [Record(topic, b"k%d" % i, b"v%d" % i + bytes(size), NOW_MS) for i in range(first, first + count)]


async def contents(spool: Any) -> list[Record]:
    return [record for entry in await spool.read(0, *ALL) for record in entry.records]


def test_what_was_appended_is_read_in_order_until_it_is_deleted(desk: Desk) -> None:
    """Acknowledged before deleted: reading takes nothing away."""

    async def main() -> None:
        async with desk.running() as spool:
            for first in range(0, 30, 3):
                await spool.append(records(first), 5.0)
            assert await contents(spool) == await contents(spool) == records(0, 30)
            head = await spool.read(0, 4, 100_000_000)
            assert [record for entry in head for record in entry.records] == records(0, 6)
            await spool.delete(head)
            await spool.delete(head)  # again, after an outcome that nobody knew
            assert await contents(spool) == records(6, 24)
            assert (spool.counts.spooled, spool.counts.drained, spool.counts.waiting) == (30, 6, 24)

    run(main())


def test_many_requests_at_once_are_all_there(desk: Desk) -> None:
    """They share syncs, and nobody is answered by somebody else's."""

    async def main() -> None:
        async with desk.running() as spool:
            await asyncio.gather(*(spool.append(records(10 * n, 10), 5.0) for n in range(100)))
            assert sorted(record.value for record in await contents(spool)) == sorted(
                record.value for record in records(0, 1_000)
            )

    run(main())


def test_spool_that_is_full_refuses_at_once_and_takes_again_once_it_was_drained(desk: Desk) -> None:
    """Bounded on disk; who is refused is told to come back."""

    async def main() -> None:
        async with desk.running(bytes_max=2_000_000) as spool:
            assert spool.accepts()
            taken = 0
            with pytest.raises(SpoolFull):  # noqa: PT012
                while True:
                    await spool.append(records(taken, 1, size=50_000), 5.0)
                    taken += 1
            assert 30 <= taken <= 40
            assert not spool.accepts()
            seconds, error = await seconds_of(spool.append(records(0, 1, size=50_000), 5.0))
            assert isinstance(error, SpoolFull)
            assert seconds < 0.5
            assert spool.stats.full == 2
            await spool.delete(await spool.read(0, *ALL))
            assert spool.accepts()
            await spool.append(records(0), 5.0)

    run(main())


def test_labels_live_no_longer_than_on_their_topic_and_the_rest_stays(desk: Desk) -> None:
    """An outage of days must not keep identified labels for days."""

    async def main() -> None:
        async with desk.running() as spool:
            await spool.append(records(0) + records(3, 2, "labeled"), 5.0)
            desk.ms += HOUR_MS
            await spool.append(records(5, 1, "labeled"), 5.0)
            assert await spool.expire() == 0
            desk.ms += HOUR_MS
            assert await spool.expire() == 2
            assert await contents(spool) == records(0) + records(5, 1, "labeled")
            desk.ms += HOUR_MS
            assert await spool.expire() == 1
            assert (spool.counts.expired, spool.counts.waiting) == (3, 3)

    run(main())


def test_pack_is_split_without_a_record_lost(desk: Desk) -> None:
    """One record that Kafka refuses must not hold back the others of its request."""

    async def main() -> None:
        async with desk.running() as spool:
            await spool.append(records(0), 5.0)
            await spool.append(records(3), 5.0)
            (first, _) = await spool.read(0, *ALL)
            await spool.split(first)
            assert await contents(spool) == records(3) + records(0)
            assert [len(entry.records) for entry in await spool.read(0, *ALL)] == [3, 1, 1, 1]
            assert spool.counts.waiting == 6

    run(main())


@pytest.mark.parametrize("call", ["append", "read", "delete", "expire", "probe"])
def test_spool_that_does_not_run_says_so(desk: Desk, call: str) -> None:
    """During a shutdown requests are answered, not hung."""

    async def main() -> None:
        calls: dict[str, Callable[[Any], Any]] = {
            "append": lambda spool: spool.append(records(0), 5.0),
            "read": lambda spool: spool.read(0, *ALL),
            "delete": lambda spool: spool.delete([]),
            "expire": lambda spool: spool.expire(),
            "probe": lambda spool: spool.probe(),
        }
        async with desk.running() as spool:
            pass
        assert not spool.accepts()
        with pytest.raises(SpoolError):
            await calls[call](spool)

    run(main())
