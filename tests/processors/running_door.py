"""A processor as a child of the test, and the topics around it."""

import datetime
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from processors.door.deidentify import deidentify
from schemas.codec import decode
from schemas.events import IdentifiedLabel
from testkit.kafka_node import QUIET, create_topic, stored_records
from testkit.seals import unsealed_value
from testkit.unmasked import unmasked
from tests.processors.door_process import epoch_key

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 60.0
CANARY = "canary-7f3a"


def wait_until(condition: Callable[[], Any], what: str, seconds_max: float = SECONDS_MAX) -> Any:
    """What `condition` gives once it is true."""
    deadline = time.monotonic() + seconds_max
    while not (outcome := condition()):
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.05)
    return outcome


class Topics:
    """The four topics of one test, and what lies on them."""

    def __init__(self, bootstrap: str, partitions: int = 1) -> None:
        self.bootstrap = bootstrap
        self.group = f"test-{uuid.uuid4().hex[:12]}"
        self.labeled = create_topic(bootstrap, partitions, message_timestamp_type="LogAppendTime")
        self.released = create_topic(bootstrap, 2)
        self.verdicts = create_topic(bootstrap, 1, cleanup_policy="compact,delete")
        self.dead_letters = create_topic(bootstrap, 1)

    def put(self, values: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Writes (key, value) pairs, in order, and returns once they are durable."""
        failures: list[Any] = []
        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 5, "enable.idempotence": True, **QUIET})
        for key, value in values:
            producer.produce(
                self.labeled,
                value=value,
                key=key,
                on_delivery=lambda error, _: failures.append(error) if error else None,
            )
            producer.poll(0)
        assert producer.flush(SECONDS_MAX) == 0
        assert not failures

    def row_ids(self) -> list[str]:
        """Of every released record, in no order."""
        return [str(row["row_id"]) for row in self.rows()]

    def rows(self) -> list[dict[str, Any]]:
        records = stored_records(self.bootstrap, self.released)
        return [decode(record.value(), "labels.deidentified-value") for record in records]

    def lag(self) -> int:
        """Records of the labeled topic that the group has not committed; all of them while the broker cannot tell."""
        with self._reader() as reader:
            partitions = self._partitions(reader, self.labeled)
            ends = sum(reader.get_watermark_offsets(one, timeout=10)[1] for one in partitions)
            try:
                committed = reader.committed(partitions, timeout=10)
            except KafkaException:  # a coordinator that has just started
                return ends
        return ends - sum(max(0, one.offset) for one in committed)

    def released_count(self) -> int:
        """How many records were released so far."""
        with self._reader() as reader:
            partitions = self._partitions(reader, self.released)
            return sum(reader.get_watermark_offsets(one, timeout=10)[1] for one in partitions)

    @contextmanager
    def _reader(self) -> Iterator[Consumer]:
        reader = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group, **QUIET})
        try:
            yield reader
        finally:
            reader.close()

    @staticmethod
    def _partitions(reader: Consumer, topic: str) -> list[TopicPartition]:
        return [
            TopicPartition(topic, number) for number in reader.list_topics(topic, timeout=10).topics[topic].partitions
        ]


class RunningDoor:
    """One processor; what it says is kept."""

    def __init__(self, topics: Topics, data_dir: Path, *, keys: str = "given", **settings: Any) -> None:
        config = {
            "bootstrap": topics.bootstrap,
            "data_dir": str(data_dir),
            "group_id": topics.group,
            "labeled_topic": topics.labeled,
            "released_topic": topics.released,
            "verdict_topic": topics.verdicts,
            "dead_letter_topic": topics.dead_letters,
            "crowd_min": 1,
            "session_s": 6.0,
            **settings,
        }
        program = [sys.executable, "-W", "error", "-m", "tests.processors.door_process", keys, json.dumps(config)]
        self.process = subprocess.Popen(
            program, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ}
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def said(self) -> str:
        """Everything it wrote so far."""
        return "".join(self._lines)

    def wait_for(self, text: str) -> None:
        """Returns once it has written `text`."""
        wait_until(lambda: text in self.said or self.process.poll() is not None, text)
        assert text in self.said, self.said

    def stop(self, how: signal.Signals = signal.SIGTERM, seconds_max: float = 10.0) -> int:
        """Its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.wait(seconds_max)

    def wait(self, seconds_max: float = SECONDS_MAX) -> int:
        """Its exit code, once it has ended."""
        code = self.process.wait(seconds_max)
        self._reader.join(SECONDS_MAX)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)


def today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


def labels(count: int, day: datetime.date, first: int = 0) -> list[IdentifiedLabel]:
    """Distinct votes; voter, task and answer each hold a string to look for."""
    return [
        IdentifiedLabel(
            voter=f"{CANARY}-voter-{number:010d}".encode().ljust(32, b"."),
            day=day,
            kind="image_label",
            task=f"{CANARY}-task-{number % 50}",
            answer=f"{CANARY}-answer-{number % 7}",
        )
        for number in range(first, first + count)
    ]


def record_of(label: IdentifiedLabel) -> tuple[bytes, bytes]:
    act = {"kind": label.kind, "task": label.task, "answer": label.answer}
    return label.voter, unsealed_value({"voter": label.voter, "day": label.day, "act": act})


def rows_expected(given: Iterable[IdentifiedLabel]) -> set[str]:
    return {deidentify(label, epoch_key(label.day), unmasked).row_id for label in given}
