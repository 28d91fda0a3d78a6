"""What a label costs the door as more are held: crowds of ever more sessions, a label each.

The batch handler with its bookkeeping of commits and the door are ours and whole; Faust and Kafka are left out, and
what leaves is acknowledged at once. Every label is counted until its crowd has left.
"""

import asyncio
import datetime
import random
import time
from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec
from faust.types import TP

from bench.growth.points import Point
from processors.door.crowd import Crowd
from processors.door.release import Door
from processors.faust_app.batch_handler import BatchHandler, HandlerTopics, StartingPoint
from processors.faust_app.batches import FetchedBatch
from processors.faust_app.commits import Commits, Partition
from processors.faust_app.metrics import DoorMetrics
from processors.faust_app.producer import Outgoing
from processors.masking.mask import mask
from schemas.codec import encode
from schemas.seal import Opener, Sealer, place_of, public_key_of
from schemas.topics import LABELED
from testkit.door_config import crowd_rule
from testkit.seals import sealed_record_value

BATCH = 500
LABELS_MIN = 5_000
PARTITION: Partition = (LABELED, 0)
KEY = bytes(32)


class Message(msgspec.Struct):
    """A label as a consumer hands it over."""

    offset: int
    value: bytes
    timestamp: int = 1_790_000_000_000
    key: None = None


class AtOnce:
    """A producer whose broker acknowledges at once.

    Attributes:
        written: how many records.
    """

    def __init__(self) -> None:
        self.written = 0

    async def partitions_of(self, topic: str) -> int:
        """As many as the released topic has by default."""
        return 2

    async def produce(self, records: Sequence[Outgoing]) -> None:
        """Counts them."""
        self.written += len(records)


def held(sizes: Sequence[int], rounds: int) -> Iterator[Point]:
    """CPU µs a label, its release included."""
    for size in sizes:
        messages = _messages(size * -(-LABELS_MIN // size))
        yield Point("labels held", size, "CPU µs a label", [asyncio.run(_taken(messages, size)) for _ in range(rounds)])


async def _taken(messages: Sequence[Message], crowd: int) -> float:
    rule = crowd_rule(crowd, crowd_labels_max=2 * crowd, crowd_bytes_max=1 << 40)
    producer, commits = AtOnce(), Commits()

    async def start(partitions: Collection[Partition]) -> Mapping[Partition, StartingPoint]:
        return {one: StartingPoint() for one in partitions}

    def halt(error: Exception) -> None:
        raise error

    handler = BatchHandler(
        open_door=lambda partition, first, committed, judged: Door(
            lambda day: KEY, mask, Crowd(rule), partition=0, judged=judged
        ),
        opener=Opener(lambda day: KEY),
        producer=producer,  # type: ignore[arg-type]
        commits=commits,
        metrics=DoorMetrics(rule),
        topics=HandlerTopics("released", "verdicts", "dead"),
        dead_letter_share_max=0.5,
        halt=halt,
        starting_points=start,
    )
    began = time.process_time()
    for first in range(0, len(messages), BATCH):
        batch = FetchedBatch(TP(*PARTITION), 1, messages[first : first + BATCH])
        commits.deliver(PARTITION, batch.generation_id, [message.offset for message in batch.records])
        await handler.handle(batch)
    took = time.process_time() - began
    assert producer.written == len(messages), "every crowd has left"
    assert commits.next_offset(PARTITION) == len(messages)
    return took / len(messages) * 1e6


def _messages(count: int) -> list[Message]:
    rng = random.Random(count)
    day = datetime.date(2026, 9, 20)
    sealer = Sealer(day, public_key_of(KEY), time.monotonic)
    place = place_of(LABELED, 0)
    made = []
    for offset in range(count):
        act = {"kind": "image_label", "task": f"dogs-{rng.randrange(50_000)}", "answer": "a black poodle"}
        datum = {"voter": rng.randbytes(32), "day": day, "act": ("unjoin.Answer", act)}
        content = encode("events.labeled.content-value", datum)
        made.append(Message(offset, sealed_record_value(sealer.seal(content, place))))
    return made
