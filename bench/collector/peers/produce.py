"""The floor of producing: librdkafka's `produce_batch` on records that are encoded already.

`python -m bench.collector.peers.produce BOOTSTRAP MIX EVENTS SECONDS` prints one JSON object: events flushed to
the brokers, and this process's CPU seconds for them, those of librdkafka's threads included.
"""

import json
import resource
import sys
import time

from confluent_kafka import Producer

from bench.collector.mixes import MARK, Mix, templates
from bench.collector.peers.avro import record_of

QUEUED_MAX = 100_000


def records(mix: Mix, events: int) -> list[dict[str, list[dict[str, bytes]]]]:
    """Gives the records of each request of the mix, by topic."""
    requests = []
    for template in templates(mix, events):
        body = json.loads(template.numbered(MARK.encode()).partition(b"\r\n\r\n")[2])
        by_topic: dict[str, list[dict[str, bytes]]] = {}
        for event in body["events"]:
            topic, key, value = record_of(event, body["session"], "127.0.0.1", "Mozilla/5.0")
            by_topic.setdefault(topic, []).append({"key": key, "value": value})
        requests.append(by_topic)
    return requests


def main(bootstrap: str, mix: Mix, events: int, seconds: float) -> None:
    queued = 0
    settings = {
        "bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 5,
        "queue.buffering.max.messages": 2 * QUEUED_MAX,
    }  # fmt: skip
    producer = Producer(settings)
    requests = records(mix, events)
    for topic in {topic for request in requests for topic in request}:
        producer.list_topics(topic, timeout=10)
    before = resource.getrusage(resource.RUSAGE_SELF)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for request in requests:
            for topic, batch in request.items():
                queued += producer.produce_batch(topic, batch)
            producer.poll(0)
            while len(producer) > QUEUED_MAX:
                producer.poll(0.01)
    assert producer.flush() == 0
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"accepted": queued, "cpu_seconds": cpu}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))  # type: ignore[arg-type]
