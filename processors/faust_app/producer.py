"""Records go out, and each is acknowledged by the broker before anybody is told that it is done.

Through Faust's producer, but never with `event.send()` or `forward()`, which carry the original key and headers along:
key, headers, timestamp and partition are named for every record. `await send()` is not an acknowledgement, it returns
a future that is one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Iterator, Sequence
from typing import Any

import msgspec
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from faust.exceptions import ProducerSendError

from schemas.dead_letters import TRUNCATED_FROM, Headers

log = logging.getLogger("unjoin.processors")

BACKOFF_S_MIN = 0.1
BACKOFF_S_MAX = 5.0
LOG_EVERY_S = 10.0
KEY_BYTES_KEPT = 1_024

Sending = Awaitable["asyncio.Future[Any]"]


class Outgoing(msgspec.Struct, frozen=True):
    """One record to be written.

    Attributes:
        partition: None lets the key decide.
        timestamp_s: Unix seconds, as Faust takes them; None for now.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    timestamp_s: float | None = None
    headers: Headers = []

    def __repr__(self) -> str:
        return f"Outgoing({self.topic})"


class AcknowledgedProducer:
    """Writes records until the broker has acknowledged every one of them.

    Args:
        app: the Faust app whose producer writes.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def partitions_of(self, topic: str) -> int:
        """How many partitions a topic has; waits, however long, until a broker says."""
        backoff = _Backoff(topic)
        while True:
            try:
                return len(await self._producer().partitions_for(topic))
            except KafkaError as error:
                await backoff.wait(error)

    async def produce(self, records: Sequence[Outgoing]) -> None:
        """Returns once all are acknowledged; what is not is sent again, in order, for as long as it takes."""
        waiting = list(records)
        backoff = _Backoff(waiting[0].topic) if waiting else None
        while backoff is not None and waiting:
            outcomes = await self._attempt(waiting)
            failed = [(record, error) for record, error in zip(waiting, outcomes, strict=True) if error is not None]
            waiting = [_shortened(record, error) for record, error in failed]
            if failed:
                await backoff.wait(failed[0][1])

    async def _attempt(self, records: Sequence[Outgoing]) -> list[BaseException | None]:
        """One try of each, all in flight together: None where acknowledged, else what went wrong."""
        outcomes: list[asyncio.Future[Any] | KafkaError | None] = [None] * len(records)
        for group in _groups(records):
            try:
                for indices, future in self._sent(records, group):
                    acknowledged = await future
                    for index in indices:
                        outcomes[index] = acknowledged
            except (KafkaError, ProducerSendError) as error:
                cause = error.__cause__ if isinstance(error.__cause__, KafkaError) else error
                failed = cause if isinstance(cause, KafkaError) else KafkaError()
                for index in group:
                    outcomes[index] = outcomes[index] or failed
        sent = {future for future in outcomes if isinstance(future, asyncio.Future)}
        if sent:
            await asyncio.wait(sent)
        return [outcome.exception() if isinstance(outcome, asyncio.Future) else outcome for outcome in outcomes]

    def _sent(self, records: Sequence[Outgoing], group: Sequence[int]) -> Iterator[tuple[Sequence[int], Sending]]:
        """What sends a group, and the indices of the records that are acknowledged with it.

        Records that name their partition are written as whole batches: one at a time costs Faust and aiokafka three
        times as much as all else that the door does for a label. So is a record with neither key nor value, which
        `send` refuses and Kafka allows.
        """
        record = records[group[0]]
        if record.partition is None and not (record.key is None and record.value is None):
            yield (
                group,
                self._app.producer.send(
                    record.topic, record.key, record.value, None, record.timestamp_s, record.headers
                ),
            )
            return
        start = 0
        while start < len(group):
            batch = self._producer().create_batch()
            end = start
            while end < len(group) and _append(batch, records[group[end]]):
                end += 1
            batch.close()
            yield group[start:end], self._producer().send_batch(batch, record.topic, partition=record.partition or 0)
            start = end

    def _producer(self) -> Any:
        return self._app.producer._ensure_producer()


def _groups(records: Sequence[Outgoing]) -> list[list[int]]:
    """Indices of records that name one partition together, in their order; each other one by itself."""
    named: dict[tuple[str, int], list[int]] = {}
    groups: list[list[int]] = []
    for index, record in enumerate(records):
        if record.partition is None:
            groups.append([index])
        elif (found := named.get((record.topic, record.partition))) is not None:
            found.append(index)
        else:
            groups.append(named.setdefault((record.topic, record.partition), [index]))
    return groups


def _append(batch: Any, record: Outgoing) -> bool:
    """Whether there was room; the first record of a batch always has it."""
    stamp = None if record.timestamp_s is None else int(record.timestamp_s * 1_000)
    added = batch.append(key=record.key, value=record.value, timestamp=stamp, headers=record.headers)
    return added is not None


class _Backoff:
    """Waits longer each time, and says so once in a while instead of every time."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._seconds = BACKOFF_S_MIN
        self._silent_s = LOG_EVERY_S

    async def wait(self, error: BaseException) -> None:
        if self._silent_s >= LOG_EVERY_S:
            log.warning("cannot write to %s (%s), trying again", self._topic, type(error).__name__)
            self._silent_s = 0.0
        await asyncio.sleep(self._seconds)
        self._silent_s += self._seconds
        self._seconds = min(2 * self._seconds, BACKOFF_S_MAX)


def _shortened(record: Outgoing, error: BaseException | None) -> Outgoing:
    """A dead letter that its headers make too large is cut: one record must not stop the stream for ever."""
    if isinstance(error, MessageSizeTooLargeError) and record.headers:
        log.warning("a dead letter is too large for %s, its value is left out", record.topic)
        headers = [*record.headers, (TRUNCATED_FROM, b"%d" % len(record.value or b""))]
        key = record.key and record.key[:KEY_BYTES_KEPT]
        return Outgoing(record.topic, key, b"", record.partition, record.timestamp_s, headers)
    return record
