"""`unjoin replay`: puts dead letters back on their topic, byte for byte: key, value and partition as they were.

A call goes on where the last one with the same filters ended, under a consumer group of its own; `--from-start` reads
all that retention has left. A record that is replayed twice makes no second row: the tables' keys are functions of the
event. One that still cannot be read becomes a dead letter again, behind the end that the call has seen, so that every
call ends; an identified label of which that can be told here stays where it is. Erasures that are open wait for what a
call puts back: it says so before (`unjoin/subjects/put_back.py`).
"""

import asyncio
import datetime
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from rich.console import Console
from rich.progress import Progress

from processors.door.records import labeled_of, midnight_s
from schemas.codec import decode
from schemas.dead_letters import TRUNCATED_FROM, Origin, origin_of
from schemas.kafka_access import KafkaAccess, refusal_of
from schemas.kafka_probe import why_refused
from schemas.outcomes import DeadLetterReason, DecodeError, UnjoinError
from schemas.seal import Opener, place_of
from schemas.topics import (
    DEAD_LETTERS,
    DEIDENTIFIED,
    LABELED,
    LABELED_DEAD_LETTERS,
    TOPIC_OF_CATEGORY,
    dead_letter_topic,
)
from unjoin.output import print_report, progress_on
from unjoin.subjects.put_back import PutBackMark, put_back_mark

GROUP = "unjoin-replay"
ANSWER_SECONDS_MAX = 30.0
RECORDS_MAX = 500
REQUEST_BYTES_MAX = 16 * 1_048_576
REPLAYABLE = frozenset({*TOPIC_OF_CATEGORY.values(), DEIDENTIFIED})
AGAIN = "call again: replaying twice makes no second row"

# What is not replayed, and why.
NOT_REPLAYED = {
    "skipped": "left out by the filters",
    "cut": "cut when they were set aside, as too large with headers",
    "too_large": "larger than their topic allows by now",
    "unreadable": "not set aside by this pipeline",
    "still": "labels that still cannot be read",
}


class ReplayError(UnjoinError):
    """Dead letters could not be replayed; the text says why."""


class ReplayOptions(msgspec.Struct, frozen=True):
    """Which dead letters, and how.

    Attributes:
        today: the UTC day, for the stamp of a released label that names no day itself.
        reasons, topics: only these; empty for all.
        dry_run: count only; nothing is written and no position moves.
        from_start: begin at the oldest dead letter instead of where the last run ended.
        epoch_keys: the door's keys of the days that are here, so that what is inside a seal can be told.
    """

    kafka: KafkaAccess
    today: datetime.date
    reasons: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    dry_run: bool = False
    from_start: bool = False
    epoch_keys: Callable[[datetime.date], bytes | None] = lambda day: None

    @property
    def group(self) -> str:
        """The consumer group that remembers where a run ended.

        Each set of filters has a group of its own: with one group for all, a run without filters would pass over what
        a run with filters had left out.
        """
        if not self.reasons and not self.topics:
            return GROUP
        filters = "\0".join([*sorted(self.reasons), "", *sorted(self.topics)])
        return f"{GROUP}-{hashlib.sha256(filters.encode()).hexdigest()[:16]}"


async def replay(options: ReplayOptions, console: Console) -> Counter[str]:
    """Replays what there is now and returns.

    Returns:
        Counts of `replayed`, and of the keys of `NOT_REPLAYED`.

    Raises:
        ReplayError: no topic or reason is called so, or Kafka did not answer in time.
    """
    _check_known("topic", options.topics, REPLAYABLE)
    _check_known("reason", options.reasons, frozenset(DeadLetterReason))
    try:
        async with AsyncExitStack() as stack:
            consumer = await stack.enter_async_context(_running(_consumer(options)))
            producer = await stack.enter_async_context(_running(_producer(options)))
            mark = await stack.enter_async_context(put_back_mark(options.kafka))
            progress = stack.enter_context(progress_on(console))
            run = _ReplayRun(options, consumer, producer, mark)
            for topic in (DEAD_LETTERS, LABELED_DEAD_LETTERS):
                await run.replay_topic(topic, progress)
    except KafkaError as error:
        why = refusal_of(error) or await why_refused(options.kafka)
        raise ReplayError(why or f"Kafka failed ({type(error).__name__}); {AGAIN}") from None
    return run.counts


def _consumer(options: ReplayOptions) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **options.kafka.client(),
        group_id=options.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,  # a fetch that waits for records holds back every other request to its broker
    )


def _producer(options: ReplayOptions) -> AIOKafkaProducer:
    """Not idempotent: then batches would never expire while brokers are away, and twice is as good as once."""
    return AIOKafkaProducer(
        **options.kafka.client(),
        acks="all",
        max_request_size=REQUEST_BYTES_MAX,
        request_timeout_ms=10_000,
    )


def _check_known(what: str, asked: frozenset[str], known: frozenset[str]) -> None:
    if unknown := asked - known:
        raise ReplayError(f"no {what} is called {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")


class _ReplayRun:
    """One run of the command."""

    def __init__(
        self, options: ReplayOptions, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, mark: PutBackMark
    ) -> None:
        self._options, self._consumer, self._producer, self._mark = options, consumer, producer, mark
        self._opener = Opener(options.epoch_keys)
        self.counts: Counter[str] = Counter()

    async def replay_topic(self, topic: str, progress: Progress) -> None:
        if topic not in await _answered(self._consumer.topics()):
            return
        partitions = [TopicPartition(topic, one) for one in await _answered(self._producer.partitions_for(topic))]
        self._consumer.assign(partitions)
        ends = await _answered(self._consumer.end_offsets(partitions))
        positions = await self._seek(partitions)
        # Records that are appended from here on, replayed garbage among them, wait for the next run.
        task = progress.add_task(topic, total=sum(max(0, ends[one] - positions[one]) for one in partitions))
        loop = asyncio.get_running_loop()
        heard_at = loop.time()
        while any(positions[one] < ends[one] for one in partitions):
            fetched = await self._consumer.getmany(*partitions, timeout_ms=1_000, max_records=RECORDS_MAX)
            for partition, records in fetched.items():
                wanted = [record for record in records if record.offset < ends[partition]]
                await self._put_back(topic, wanted)
                progress.advance(task, len(wanted))
            reached = {one: min(await _answered(self._consumer.position(one)), ends[one]) for one in partitions}
            moved = {one: offset for one, offset in reached.items() if offset > positions[one]}
            positions |= moved
            if moved and not self._options.dry_run:
                await _answered(self._consumer.commit(moved))
            if moved:
                heard_at = loop.time()
            elif loop.time() - heard_at > ANSWER_SECONDS_MAX:
                raise ReplayError(f"Kafka hands out no more of {topic}; is it up? {AGAIN}")

    async def _seek(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        starts = await _answered(self._consumer.beginning_offsets(partitions))
        positions = {}
        for one in partitions:
            committed = None if self._options.from_start else await _answered(self._consumer.committed(one))
            positions[one] = max(starts[one], committed or 0)
            self._consumer.seek(one, positions[one])
        return positions

    async def _put_back(self, from_topic: str, records: Sequence[Any]) -> None:
        """Returns once the broker has acknowledged every record that is to be replayed."""
        sent = []
        for record in records:
            origin = origin_of(record.headers)
            what = self._outcome_of(from_topic, record, origin)
            self.counts[what] += 1
            if what == "replayed" and origin is not None and not self._options.dry_run:
                await _answered(self._mark.hold())
                sent.append(await _answered(self._send(record, origin)))
        for outcome in await _answered(asyncio.gather(*sent, return_exceptions=True)):
            if isinstance(outcome, MessageSizeTooLargeError):  # the topic's limit was lowered since
                self.counts["replayed"] -= 1
                self.counts["too_large"] += 1
            elif isinstance(outcome, BaseException):
                raise outcome

    def _outcome_of(self, from_topic: str, record: Any, origin: Origin | None) -> str:
        """What becomes of a dead letter: `replayed`, or a key of `NOT_REPLAYED`.

        Whoever can write to its topic can write any header. So no header may send it anywhere but to a topic of
        events, and an identified label goes to its short-lived topic only.
        """
        options = self._options
        if origin is None or origin.topic not in REPLAYABLE or dead_letter_topic(origin.topic) != from_topic:
            return "unreadable"
        if (options.reasons and origin.reason not in options.reasons) or (
            options.topics and origin.topic not in options.topics
        ):
            return "skipped"
        if any(name == TRUNCATED_FROM for name, _ in record.headers):
            return "cut"
        # Many unreadable labels in a row would halt the door, and hold back every label behind them.
        return "replayed" if origin.topic != LABELED or self._is_label(record, origin) else "still"

    def _is_label(self, record: Any, origin: Origin) -> bool:
        """Whether the door could read it; without its key of the day, whether it looks like something sealed."""
        place = place_of(origin.topic, origin.partition)
        try:
            labeled_of(record.value, record.timestamp, place, self._opener)
        except DecodeError:
            return False
        return True

    async def _send(self, record: Any, origin: Origin) -> Awaitable[Any]:
        there = await self._producer.partitions_for(origin.topic)
        partition = origin.partition if origin.partition in there else min(there)
        key, value, timestamp_ms = record.key, record.value, self._timestamp_ms(record, origin)
        sent: Awaitable[Any]
        if key is None and value is None:
            # `send` refuses such a record, and Kafka allows it.
            batch = self._producer.create_batch()
            batch.append(key=None, value=None, timestamp=timestamp_ms)
            batch.close()
            sent = await self._producer.send_batch(batch, origin.topic, partition=partition)
        else:
            sent = await self._producer.send(origin.topic, value, key, partition, timestamp_ms)
        return sent

    def _timestamp_ms(self, record: Any, origin: Origin) -> int:
        """The replayed record's timestamp, Unix milliseconds.

        It is the time at which the record was set aside, so that a replay lets no event outlive its retention. A
        released label gets midnight of its day, as the door stamps it.
        """
        if origin.topic != DEIDENTIFIED:
            return int(record.timestamp)
        try:
            day = decode(record.value, f"{DEIDENTIFIED}-value")["day"]
        except DecodeError:
            day = self._options.today
        return int(midnight_s(day) * 1_000)


def show(counts: Counter[str], form: str, *, dry_run: bool) -> None:
    """How many were, or would be, replayed, and how many not and why."""
    left = [f"{counts[what]} {text}" for what, text in NOT_REPLAYED.items() if counts[what]]
    sentence = ", ".join([f"{counts['replayed']} {'would be replayed' if dry_run else 'replayed'}", *left])
    print_report(sentence, form, dry_run=dry_run, **{what: counts[what] for what in ("replayed", *NOT_REPLAYED)})


@asynccontextmanager
async def _running(part: Any) -> AsyncIterator[Any]:
    """A started consumer or producer; stopped even where starting failed, for it has connections by then."""
    try:
        await _answered(part.start())
        yield part
    finally:
        # Everything that matters was acknowledged before.
        with suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(part.stop(), ANSWER_SECONDS_MAX)


async def _answered(waiting: Awaitable[Any]) -> Any:
    """What Kafka answers, or ReplayError: aiokafka itself waits for ever while brokers are away."""
    try:
        return await asyncio.wait_for(waiting, ANSWER_SECONDS_MAX)
    except TimeoutError:
        raise ReplayError(f"Kafka did not answer in time; is it up? {AGAIN}") from None
