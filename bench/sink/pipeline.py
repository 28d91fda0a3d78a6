"""The whole sink: real Kafka, a sink process with an embedded engine, and what a row costs that process end to end."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.sink.rows import TABLE_OF, Kind, records
from testkit.kafka_node import QUIET, KafkaNode, create_topic, kafka_home
from testkit.processes import cpu_seconds, wait_for
from testkit.sink_configs import sink_config
from unjoin.host.kafka import free_port

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 600.0
DIFFERENT = 50_000  # records; sent again and again until there are enough


class Flow(msgspec.Struct, frozen=True):
    """One round: so many records from the broker to rows.

    Attributes:
        cpu_seconds: of the sink's process from the first record sent to the last one committed.
    """

    kind: Kind
    block_rows: int
    rows: int
    seconds: float
    cpu_seconds: float

    @property
    def us_a_row(self) -> float:
        return 1e6 * self.cpu_seconds / self.rows

    @property
    def rows_a_second(self) -> float:
        return self.rows / self.seconds


@contextmanager
def broker() -> Iterator[str]:
    """Its address; ended afterwards."""
    with TemporaryDirectory(prefix="unjoin-bench-") as folder:
        node = KafkaNode(kafka_home(), Path(folder))
        node.start()
        try:
            yield node.bootstrap
        finally:
            node.stop()


def flow(bootstrap: str, kind: Kind, rows: int, block_rows: int) -> Flow:
    """One round, with a topic, a group and a sink process of its own.

    Raises:
        AssertionError: the sink ended, or did not store all in time.
    """
    table = TABLE_OF[kind]
    topic = create_topic(bootstrap)
    # The subject is the table's, so any topic will do.
    table = msgspec.structs.replace(table, topics=(topic,))
    with TemporaryDirectory(prefix="unjoin-bench-") as folder:
        config = sink_config(
            bootstrap,
            Path(folder) / "clickhouse",
            http_port=free_port(),
            tables=(table,),
            group_prefix=f"{topic}-",
            block_rows_max=block_rows,
        )
        log = Path(folder) / "sink.log"
        text = msgspec.json.encode(config, enc_hook=str).decode()
        with log.open("wb") as file:
            command = [sys.executable, "-m", "testkit.sink_process", text]
            sink = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)
        try:
            wait_for(lambda: b"sink ready" in log.read_bytes(), "the sink is not ready", SECONDS_MAX, [sink])
            began, cpu = time.perf_counter(), cpu_seconds(sink.pid)
            _send(bootstrap, topic, kind, rows)
            group = f"{topic}-{table.name}"
            with_offsets = Consumer({"bootstrap.servers": bootstrap, "group.id": group, **QUIET})
            try:
                wait_for(
                    lambda: with_offsets.committed([TopicPartition(topic, 0)], 10)[0].offset >= rows,
                    "the sink did not store all",
                    SECONDS_MAX,
                    [sink],
                )
            finally:
                with_offsets.close()
            return Flow(kind, block_rows, rows, time.perf_counter() - began, cpu_seconds(sink.pid) - cpu)
        finally:
            sink.terminate()
            sink.wait(30)


def _send(bootstrap: str, topic: str, kind: Kind, rows: int) -> None:
    """Compressed not at all, in large batches, keyed, as a collector does it."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000})
    made = [
        {"value": record.value, "key": b"s-%d" % (n % 997)}
        for n, record in enumerate(records(kind, min(rows, DIFFERENT)))
    ]
    left = rows
    while left:
        batch = made[:left]
        if producer.produce_batch(topic, batch, partition=0) != len(batch) or producer.flush(60):
            raise SystemExit("the broker does not take the records")
        left -= len(batch)
