"""What a label costs the door when labels come at a steady rate: fetches bring few, and each has a cost of its own.

A thread posts sealed labels as requests bring them, each the moment it is due. How long a label took is known by
counting, for one partition of released labels has them in the order in which one of the labeled topic had them.
"""

import threading
import time
from array import array
from collections.abc import Sequence

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition
from rich.table import Table

from testkit.kafka_node import QUIET
from testkit.machine import percentile, spread

WARM_SECONDS = 3.0
READ_MAX = 1_000
AT_ONCE = 200
"""Labels that are posted before all others: enough for a first crowd."""


class Steady(msgspec.Struct, frozen=True):
    """One door at one rate.

    Attributes:
        rate: labels a second that were to be posted; 0 for a door at rest.
        labels: posted in the measured part.
        seconds, cpu_seconds: of the measured part.
        waits_ms: from posted to read as released, median and 99th percentile; only where no crowd is waited for.
    """

    rate: float
    crowd_min: int
    labels: int
    seconds: float
    cpu_seconds: float
    waits_ms: tuple[float, float] | None


class Poster:
    """Posts values to the first partition of a topic, from a thread of its own.

    Attributes:
        posted_s: when each was, by the monotonic clock.
    """

    def __init__(self, bootstrap: str, topic: str, values: Sequence[bytes]) -> None:
        self.posted_s = array("d")
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, **QUIET})
        self._topic, self._values = topic, values
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def post_at_once(self, count: int) -> None:
        """Posts the first ones."""
        for _ in range(count):
            self._post_next()
        assert self._producer.flush(60) == 0

    def start(self, rate: float) -> None:
        """Posts the others, so many a second; none at 0."""
        self._thread = threading.Thread(target=self._post, args=(rate,))
        self._thread.start()

    def stop(self) -> None:
        """Posts no more; returns once the broker has all."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        assert self._producer.flush(60) == 0

    def _post(self, rate: float) -> None:
        began = time.monotonic()
        for number in range(len(self._values) - len(self.posted_s)):
            while (wait := began + number / rate - time.monotonic()) > 0:
                self._producer.poll(0)
                if self._ended.wait(wait):
                    return
            self._post_next()

    def _post_next(self) -> None:
        value = self._values[len(self.posted_s)]
        self.posted_s.append(time.monotonic())
        self._producer.produce(self._topic, value=value, partition=0)


class Arrivals:
    """Reads what is released, from a thread of its own.

    Attributes:
        seen_s: when each label was read.
    """

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.seen_s = array("d")
        self._reader = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "bench", "fetch.wait.max.ms": 500, **QUIET}
        )
        self._reader.assign([TopicPartition(topic, 0, 0)])
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def stop(self) -> None:
        """Reads no more."""
        self._ended.set()
        self._thread.join()
        self._reader.close()

    def _read(self) -> None:
        while not self._ended.is_set():
            first = self._reader.poll(0.1)
            if first is not None:
                found = [first, *self._reader.consume(READ_MAX, 0)]
                now = time.monotonic()
                self.seen_s.extend(now for one in found if one.error() is None)


def waits_ms(posted_s: Sequence[float], seen_s: Sequence[float], first: int, end: int) -> tuple[float, float]:
    """Milliseconds from posted to released, median and 99th percentile, of the labels from `first` on below `end`."""
    waits = [1e3 * (seen_s[number] - posted_s[number]) for number in range(first, min(end, len(seen_s)))]
    return percentile(waits, 50), percentile(waits, 99)


def steady_table(found: Sequence[Steady]) -> Table:
    """A line a rate."""
    made = Table(
        "labels/s", "crowds of", "CPU, % of a core", "CPU µs a label", "p50 ms", "p99 ms", title="A steady rate"
    )
    for rate, crowd_min in dict.fromkeys((one.rate, one.crowd_min) for one in found):
        mine = [one for one in found if (one.rate, one.crowd_min) == (rate, crowd_min)]
        cores = spread([1e2 * one.cpu_seconds / one.seconds for one in mine])
        us = [1e6 * one.cpu_seconds / one.labels for one in mine if one.labels]
        waits = [one.waits_ms for one in mine if one.waits_ms is not None]
        shown = [str(spread(values)) if values else "" for values in (us, *zip(*waits, strict=True))]
        made.add_row(f"{rate:,.0f}", str(crowd_min), str(cores), *shown)
    return made
