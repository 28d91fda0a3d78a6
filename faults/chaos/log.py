"""Reads every record of the topics with a plain consumer, each time on from where it ended."""

import datetime
import time
import uuid
from collections import defaultdict
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas import topics
from schemas.codec import decode
from testkit.kafka_node import QUIET

READ_SECONDS_MAX = 60.0
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MILLISECOND = datetime.timedelta(milliseconds=1)

TOPIC_OF_TABLE = {
    "signals": topics.SIGNALS,
    "analytics": topics.ANALYTICS,
    "personal": topics.PERSONAL,
    "labelers": topics.LABELERS,
    "labels": topics.DEIDENTIFIED,
}
_TABLE_OF_TOPIC = {topic: table for table, topic in TOPIC_OF_TABLE.items()}

Positions = dict[str, dict[str, list[tuple[int, int]]]]
"""Event -> copy -> (partition, offset) of its records."""


class LogTail:
    """The topics that end in tables, from their first record on. Its methods block; not for two threads at once."""

    def __init__(self, bootstrap: str) -> None:
        self.records: dict[str, Positions] = defaultdict(dict)
        self.count = 0
        self._settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "group.id": f"chaos-{uuid.uuid4().hex[:12]}",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 10,
            "reconnect.backoff.max.ms": 500,
            **QUIET,
        }
        self._consumer = Consumer(self._settings)
        self._next: dict[tuple[str, int], int] = {}

    def read_on(self) -> None:
        """Reads everything that is on the topics now; waits for a broker that is away."""
        deadline = time.monotonic() + READ_SECONDS_MAX
        ends = self._ends(deadline)
        missing = {of for of, end in ends.items() if self._next.get(of, 0) < end}
        while missing:
            assert time.monotonic() < deadline, "the broker does not hand out what it stores"
            for message in self._consumer.consume(5_000, timeout=0.05):
                topic, partition, offset = message.topic(), message.partition(), message.offset()
                if message.error() is not None or topic is None or partition is None or offset is None:
                    continue  # away; it fetches again by itself
                self._take(topic, partition, offset, message.value())
                self._next[topic, partition] = offset + 1
            # The position passes offsets that hold no record.
            for of in list(missing):
                if max(self._next.get(of, 0), self._position(of)) >= ends[of]:
                    missing.discard(of)

    def close(self) -> None:
        self._consumer.close()

    def forget(self, topic: str) -> None:
        """Reads a topic from its start again: it was made anew. What was read of it before counts as it did."""
        self._next = {of: 0 if of[0] == topic else offset for of, offset in self._next.items()}
        self._open_again()

    def _ends(self, deadline: float) -> dict[tuple[str, int], int]:
        while True:
            try:
                self._assign_new()
                return {
                    of: self._consumer.get_watermark_offsets(TopicPartition(*of), timeout=5)[1] for of in self._next
                }
            except (KafkaException, KeyError):
                assert time.monotonic() < deadline, "the broker does not say how far its log goes"
                time.sleep(0.2)
                self._open_again()

    def _assign_new(self) -> None:
        """Partitions that were added are read as well."""
        known = self._consumer.list_topics(timeout=5).topics
        parts = {(topic, number): 0 for topic in _TABLE_OF_TOPIC for number in known[topic].partitions}
        if new := parts.keys() - self._next.keys():
            self._next |= dict.fromkeys(new, 0)
            self._open_again()

    def _open_again(self) -> None:
        """A client whose broker was restarted under it may go on asking in vain for minutes; a new one does not."""
        self._consumer.close()
        self._consumer = Consumer(self._settings)
        self._consumer.assign([TopicPartition(*of, offset) for of, offset in self._next.items()])

    def _position(self, of: tuple[str, int]) -> int:
        (found,) = self._consumer.position([TopicPartition(*of)])
        return int(found.offset)

    def _take(self, topic: str, partition: int, offset: int, value: bytes | None) -> None:
        table = _TABLE_OF_TOPIC[topic]
        datum = decode(value, f"{topic}-value")
        if table == "labels":
            event, copy = datum["task"], f"{datum['row_id']}:{datum['version'] & (2**64 - 1)}"
        else:
            event, copy = datum["event_id"], str((datum["received_at"] - EPOCH) // MILLISECOND)
        self.records[table].setdefault(event, {}).setdefault(copy, []).append((partition, offset))
        self.count += 1
