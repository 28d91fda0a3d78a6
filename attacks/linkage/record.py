"""Records a day through the real pipeline: a collector, Kafka, the door, a sink, ClickHouse's files on disk."""

import asyncio
import datetime
import json
import logging
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.progress import Progress

from attacks.linkage.recording import Labeled, Recording, Released, Row, Signal, Stored, Truth
from attacks.linkage.stack import SITE, RecordingError, Stack
from attacks.linkage.traffic import Post
from attacks.linkage.truth import truth_of
from schemas.codec import decode
from schemas.topics import DEIDENTIFIED, LABELED
from testkit.door_config import crowd_rule
from testkit.seals import EpochKeys, opened_datum
from unjoin.keys.keyring import Keyring

CROWD_MIN = 20
ARRIVAL_S_MAX = 120.0
QUIET_MS = 3_000

ON_DISK = """
SELECT _part AS part, _part_offset AS part_offset, toString(row_id) AS row_id, toString(day) AS day, task, kind, answer,
       version
FROM unjoin.labels ORDER BY _part, _part_offset SETTINGS output_format_json_quote_64bit_integers = 0
"""
IDENTIFIED = "SELECT session, ts, toUnixTimestamp64Milli(received_at) AS received_at_ms FROM signals"


def record(posts: Sequence[Post], progress: Progress, *, crowd_target: int = CROWD_MIN) -> Recording:
    """Posts the day to a pipeline of its own, watches it, stops it, and reads what it has stored.

    Raises:
        RecordingError: a part did not do what it should.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # its broker is stopped under it
    with tempfile.TemporaryDirectory(prefix="unjoin-attack-") as folder:
        data_dir = Path(folder)
        starting = progress.add_task("starting a pipeline", total=None)
        with Stack(data_dir, UNJOIN_CROWD_TARGET=str(crowd_target)) as stack:
            progress.remove_task(starting)
            with Watcher(stack.bootstrap) as watcher:
                for number, post in enumerate(progress.track(posts, description="posting the day")):
                    stack.post(post.batch(time.time_ns() // 1_000_000, number))
                waiting = progress.add_task("waiting for the last crowd", total=None)
                stack.wait_for_rows("signals", len(posts))
                epoch = Keyring(data_dir / "keys" / "epoch")
                labeled = asyncio.run(_labeled(stack.bootstrap, epoch.existing_key_of))
                truth = _truth(data_dir, labeled, {post.session for post in posts}, crowd_target)
                released = watcher.stop_after(sum(len(crowd.votes) for crowd in truth.crowds))
            stack.wait_for_rows("labels", len({one.row.vote for one in released}))
            signals = [Signal(**row) for row in stack.rows(IDENTIFIED)]
            progress.remove_task(waiting)
            stopping = progress.add_task("stopping it, and merging the day", total=None)
            stack.stop()
            stored = _on_disk(data_dir / "clickhouse")
            progress.remove_task(stopping)
    return Recording(
        source=f"the pipeline, on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        crowd_min=CROWD_MIN,
        labeled=labeled,
        signals=signals,
        released=released,
        stored=stored,
        truth=truth,
    )


class Watcher:
    """Reads the released topic as it is written, and looks at its clock; in a thread of its own."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._seen: list[Released] = []
        self._expected: int | None = None
        self._late_at_s = 0.0
        self._left = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._watch()), name="watcher", daemon=True)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()

    def stop_after(self, records: int) -> list[Released]:
        """What came, once it is as much as was expected and nothing comes any more.

        More than that is recorded as it is: the evaluation says that these are not the crowds of the rule.

        Raises:
            RecordingError: less came.
        """
        self._late_at_s = time.monotonic() + ARRIVAL_S_MAX
        self._expected = records
        self._thread.join()
        if len(self._seen) < records:
            raise RecordingError(f"{len(self._seen)} labels were released, the rule of the crowd makes it {records}")
        return sorted(self._seen, key=lambda one: (one.partition, one.offset))

    async def _watch(self) -> None:
        consumer = AIOKafkaConsumer(DEIDENTIFIED, bootstrap_servers=self._bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            while not self._left.is_set():
                batches = await consumer.getmany(timeout_ms=QUIET_MS if self._expected is not None else 200)
                now_ms = time.time_ns() // 1_000_000
                for records in batches.values():
                    self._seen.extend(_released(record, now_ms) for record in records)
                enough = self._expected is not None and len(self._seen) >= self._expected and not batches
                if enough or (self._expected is not None and time.monotonic() > self._late_at_s):
                    return
        finally:
            await consumer.stop()


def _released(record: Any, now_ms: int) -> Released:
    datum = decode(record.value, "labels.deidentified-value")
    row = Row(
        row_id=str(datum["row_id"]),
        day=str(datum["day"]),
        task=datum["task"],
        kind=datum["kind"],
        answer=datum["answer"],
        version=datum["version"] % (1 << 64),
    )
    return Released(record.partition, record.offset, record.timestamp, now_ms, row)


async def _labeled(bootstrap: str, epoch_keys: EpochKeys) -> list[Labeled]:
    """Everything on the labeled topic now, opened with the door's keys: the truth, which no attacker has."""
    consumer = AIOKafkaConsumer(LABELED, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(LABELED, number) for number in sorted(consumer.partitions_for_topic(LABELED))]
        ends = await consumer.end_offsets(partitions)
        labeled: list[Labeled] = []
        while not all([await consumer.position(one) >= ends[one] for one in partitions]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    datum = opened_datum(record.value, epoch_keys, partition=record.partition)
                    act = datum["act"]
                    labeled.append(
                        Labeled(
                            partition=record.partition,
                            offset=record.offset,
                            appended_at_ms=record.timestamp,
                            voter=datum["voter"],
                            day=str(datum["day"]),
                            kind=act["kind"],
                            task=act["task"],
                            answer=act["answer"],
                        )
                    )
    finally:
        await consumer.stop()
    return sorted(labeled, key=lambda one: (one.partition, one.offset))


def _truth(data_dir: Path, labeled: list[Labeled], sessions: set[str], crowd_target: int) -> Truth:
    days = {datetime.date.fromisoformat(day) for day in {record.day for record in labeled}}
    edge, epoch = (Keyring(data_dir / "keys" / role) for role in ("edge", "epoch"))

    def keys(keyring: Keyring) -> dict[datetime.date, bytes]:
        return {day: key for day in days if (key := keyring.existing_key_of(day)) is not None}

    rule = crowd_rule(CROWD_MIN, crowd_target=crowd_target)
    return truth_of(labeled, sessions, site=SITE, edge_keys=keys(edge), epoch_keys=keys(epoch), rule=rule)


def _on_disk(directory: Path) -> list[Stored]:
    """The rows of `labels` in their order on disk, all parts merged into one."""
    from sinks.clickhouse.embedded import Embedded  # noqa: PLC0415 - the engine starts threads when it is imported

    engine = Embedded(directory)
    try:
        engine.select("OPTIMIZE TABLE unjoin.labels FINAL", "Null")
        lines = engine.select(ON_DISK).splitlines()
    finally:
        engine.close()
    stored = []
    for line in lines:
        row = json.loads(line)
        stored.append(Stored(row.pop("part"), int(row.pop("part_offset")), Row(**row)))
    return stored
