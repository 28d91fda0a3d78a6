"""Topics that somebody writes to in transactions, on a real broker."""

import asyncio

import pytest
from aiokafka import AIOKafkaProducer

from testkit.sink_environment import SinkEnvironment, running, signal_value, until
from tests.contract.memory_engine import MemoryEngine

pytestmark = pytest.mark.kafka


def test_what_a_transaction_took_back_is_not_stored_and_did_not_expire(bootstrap: str) -> None:
    """Markers and aborted records take offsets; only retention makes a record expire."""

    async def play() -> None:
        async with SinkEnvironment(bootstrap, partitions=1) as world:
            engine = MemoryEngine()
            producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=world.topic)
            await producer.start()
            try:
                async with running(world.consumer(engine)):
                    for number in range(34):
                        await producer.begin_transaction()
                        await producer.send_and_wait(world.topic, signal_value(number), partition=0)
                        if number % 2:
                            await producer.abort_transaction()
                        else:
                            await producer.commit_transaction()
                            world.produced.append(number)
                    await world.produce_garbage(b"key", b"garbage")  # the last offset is a record
                    await until(world.commits, lambda commits: commits[0] == (69, ""))
            finally:
                await producer.stop()
            world.check(engine)
            found = (await world.admin.list_consumer_group_offsets(world.group))[world.partitions[0]]
            assert "expired" not in found.metadata
            expired = world.metrics.registry.get_sample_value("unjoin_sink_expired_offsets_total", {"table": "signals"})
            assert not expired

    asyncio.run(play())
