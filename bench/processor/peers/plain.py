"""A plain aiokafka loop: read many, send each, wait for all, commit.

`python -m bench.processor.peers.plain CONFIG_JSON`. At least once: nothing is committed before everything that came of
it is acknowledged. No crowds, no dead letters, no watchdog.
"""

import asyncio
import json
import signal
import sys

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.processor.peers.work import released
from schemas.seal import place_of


async def main(config: dict[str, str]) -> None:
    consumer = AIOKafkaConsumer(
        config["labeled_topic"], bootstrap_servers=config["bootstrap"], group_id=config["group_id"],
        enable_auto_commit=False, auto_offset_reset="earliest",
    )  # fmt: skip
    producer = AIOKafkaProducer(
        bootstrap_servers=config["bootstrap"], acks="all", enable_idempotence=True, linger_ms=5, max_batch_size=131_072
    )
    await producer.start()
    await consumer.start()
    print("READY", flush=True)
    partitions = len(await producer.partitions_for(config["released_topic"]))
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        while True:
            batches = await consumer.getmany(timeout_ms=200)
            sent = []
            for records in batches.values():
                for record in records:
                    label = released(
                        record.value, record.timestamp, place_of(record.topic, record.partition), partitions
                    )
                    if label is not None:
                        sent.append(await producer.send(config["released_topic"], label[1], partition=label[0]))
            await asyncio.gather(*sent)
            if batches:
                await consumer.commit()
    except asyncio.CancelledError:
        pass
    finally:
        await consumer.stop()
        await producer.stop()


if __name__ == "__main__":
    uvloop.run(main(json.loads(sys.argv[1])))
