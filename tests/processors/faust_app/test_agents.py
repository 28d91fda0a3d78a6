"""The agent's loop on Faust's own stream: when Faust is told that a batch is done."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from processors.faust_app.agents import door_agent
from processors.faust_app.app import AppConfig, build_app
from processors.faust_app.batches import FetchedBatch
from processors.faust_app.commits import Commits
from schemas.kafka_access import KafkaAccess

TOPIC = "events.labeled"


class Faust:
    """An app that is not started, a channel in memory, and the agent's loop over its stream."""

    def __init__(self, data_dir: Path, take: Any) -> None:
        async def unused(stream: Any) -> None: ...

        self.app = build_app(AppConfig(KafkaAccess("127.0.0.1:1"), data_dir, "g", TOPIC, 10.0), Commits(), unused)
        self.app.consumer._thread.thread_loop.close()
        self.app.flow_control.resume()
        self.channel = self.app.channel(value_type=bytes)
        self.stream = self.app.stream(self.channel)
        self.loop = asyncio.create_task(door_agent(take)(self.stream))

    async def put(self, offsets: range) -> FetchedBatch:
        records = [SimpleNamespace(offset=offset) for offset in offsets]
        batch = FetchedBatch(TP(TOPIC, 0), self.app.consumer_generation_id, records)
        batch.incref()
        await self.stream.channel.put(self.app.create_event(None, None, None, batch))
        return batch

    async def end(self) -> None:
        self.loop.cancel()
        await asyncio.gather(self.loop, return_exceptions=True)
        for _ in range(9):  # the stream's generators end one after the other, each in a task of its own
            await asyncio.sleep(0)
        await self.stream.stop()


def test_batch_is_done_for_faust_only_once_it_was_taken_through(tmp_path: Path) -> None:
    """A stream would acknowledge it in a `finally`: cancelled in the middle, its records would never return."""

    async def scenario(finish: bool) -> bool:
        came, may_end = asyncio.Event(), asyncio.Event()

        async def take(batch: FetchedBatch) -> None:
            assert [record.offset for record in batch.records] == [0, 1, 2]
            came.set()
            await may_end.wait()

        faust = Faust(tmp_path, take)
        batch = await faust.put(range(3))
        await asyncio.wait_for(came.wait(), 10)
        assert not batch.acked
        if finish:
            may_end.set()
            async with asyncio.timeout(10):
                while not batch.acked:  # noqa: ASYNC110  # Faust's own state; nobody sets an event
                    await asyncio.sleep(0.01)
        await faust.end()
        acked: bool = batch.acked
        return acked

    assert not asyncio.run(scenario(finish=False))
    assert asyncio.run(scenario(finish=True))
