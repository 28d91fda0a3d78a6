"""`unjoin replay`: puts dead letters back on their topic, byte for byte.

Each dead letter is read under the consumer group `unjoin-replay`, so that a second call goes on where the first one
ended; `--from-start` reads all that retention has left. A record that is replayed twice makes no second row: the
tables' keys are functions of the event.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from rich.console import Console
from rich.progress import Progress

from schemas.dead_letters import origin_of
from schemas.outcomes import UnjoinError
from schemas.topics import DEAD_LETTERS, LABELED_DEAD_LETTERS

GROUP = "unjoin-replay"
ANSWER_SECONDS_MAX = 30.0


class ReplayError(UnjoinError):
    """Dead letters could not be replayed; the text says why and what was done so far."""


class ReplayOptions(msgspec.Struct, frozen=True):
    """Which dead letters, and how.

    Attributes:
        reasons, topics: only these; empty for all.
        dry_run: count only; nothing is written and no position moves.
        from_start: from the oldest dead letter instead of the last call's end.
    """

    bootstrap: str
    reasons: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    dry_run: bool = False
    from_start: bool = False


async def replay(options: ReplayOptions, console: Console) -> Counter[str]:
    """Replays what there is now and returns; gives counts of `replayed`, `skipped` and `unreadable`.

    Raises:
        ReplayError: Kafka did not answer in time.
    """
    consumer = AIOKafkaConsumer(bootstrap_servers=options.bootstrap, group_id=GROUP, enable_auto_commit=False)
    producer = AIOKafkaProducer(bootstrap_servers=options.bootstrap, acks="all", enable_idempotence=True)
    counts: Counter[str] = Counter()
    await _answered(consumer.start())
    try:
        await _answered(producer.start())
        try:
            with Progress(console=console) as progress:
                for topic in (DEAD_LETTERS, LABELED_DEAD_LETTERS):
                    await _replay_topic(topic, options, consumer, producer, counts, progress)
        finally:
            await _answered(producer.stop())
    finally:
        await _answered(consumer.stop())
    return counts


async def _replay_topic(
    topic: str,
    options: ReplayOptions,
    consumer: AIOKafkaConsumer,
    producer: AIOKafkaProducer,
    counts: Counter[str],
    progress: Progress,
) -> None:
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
    if not partitions:
        return
    consumer.assign(partitions)
    ends = await _answered(consumer.end_offsets(partitions))
    starts = await _answered(consumer.beginning_offsets(partitions))
    for partition in partitions:
        committed = None if options.from_start else await _answered(consumer.committed(partition))
        consumer.seek(partition, max(starts[partition], committed or 0))
    positions = {partition: await consumer.position(partition) for partition in partitions}
    task = progress.add_task(topic, total=sum(ends[partition] - positions[partition] for partition in partitions))
    while any(positions[partition] < ends[partition] for partition in partitions):
        fetched = await consumer.getmany(*partitions, timeout_ms=1_000, max_records=500)
        for partition, records in fetched.items():
            wanted = [record for record in records if record.offset < ends[partition]]
            sent = [await _send(record, options, producer, counts) for record in wanted]
            await _answered(asyncio.gather(*(future for future in sent if future is not None)))
            progress.advance(task, len(wanted))
        positions = {partition: await consumer.position(partition) for partition in partitions}
        if fetched and not options.dry_run:
            await _answered(consumer.commit({partition: positions[partition] for partition in fetched}))


async def _send(
    record: Any, options: ReplayOptions, producer: AIOKafkaProducer, counts: Counter[str]
) -> Awaitable[Any] | None:
    origin = origin_of(record.headers)
    if origin is None:
        counts["unreadable"] += 1
        return None
    if (options.reasons and origin.reason not in options.reasons) or (
        options.topics and origin.topic not in options.topics
    ):
        counts["skipped"] += 1
        return None
    counts["replayed"] += 1
    if options.dry_run:
        return None
    sent: Awaitable[Any] = await producer.send(origin.topic, value=record.value, key=record.key)
    return sent


async def _answered(waiting: Awaitable[Any]) -> Any:
    """What Kafka answers, or ReplayError: aiokafka itself waits for ever while brokers are away."""
    try:
        return await asyncio.wait_for(waiting, ANSWER_SECONDS_MAX)
    except TimeoutError:
        raise ReplayError("Kafka did not answer; is it up? Call again: replaying twice makes no second row") from None
