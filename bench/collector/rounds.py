"""The measurement: contenders take turns, round by round, against one broker."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from confluent_kafka import Consumer, TopicPartition

from bench.collector.contenders import ROOT, Contender
from bench.collector.generator import Measured, Order
from bench.collector.mixes import Mix
from schemas.topics import TOPIC_OF_CATEGORY
from testkit.kafka_node import QUIET, KafkaNode, kafka_home, node_with_topics

WARM_SECONDS = 1.0
STORED_SECONDS_MAX = 30.0


class Result(msgspec.Struct, frozen=True):
    """One round of one contender.

    Attributes:
        stored: records that the brokers got from it; what it acknowledged, in all, has to be as many.
    """

    contender: str
    mix: Mix
    events: int
    connections: int
    rate: float
    measured: Measured
    stored: int

    @property
    def us_an_event(self) -> float:
        """CPU of the contender's processes."""
        return 1e6 * self.measured.cpu_seconds["contender"] / max(1, self.measured.accepted)

    @property
    def events_a_second(self) -> float:
        return self.measured.accepted / self.measured.seconds

    @property
    def requests_a_second(self) -> float:
        return self.events_a_second / self.events

    def ms(self, share: float) -> float:
        """A quantile of the answers' times."""
        return self.measured.ms(share)


class Environment:
    """A broker, and the contenders in front of it."""

    def __init__(self, node: KafkaNode, kafka_pid: int) -> None:
        self.bootstrap = node.bootstrap
        self._kafka_pid = kafka_pid
        self.produced = 0

    def run(
        self,
        contender: Contender,
        mix: Mix,
        events: int,
        connections: int,
        seconds: float,
        *,
        rate: float = 0.0,
        keys: int = 0,
    ) -> Result:
        """One round.

        Args:
            rate, keys: as of `Order`.

        Raises:
            SystemExit: what was acknowledged and what is stored differ, or something was refused.
        """
        before = self._stored()
        watch = {"contender": contender.pids, "kafka": [self._kafka_pid]}
        order = Order(contender.port, mix, events, connections, rate, WARM_SECONDS, seconds, watch, keys=keys)
        command = [sys.executable, "-m", "bench.collector.generator", msgspec.json.encode(order).decode()]
        run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False)
        if run.returncode:
            raise SystemExit(f"the generator failed against {contender.name}")
        measured = msgspec.json.decode(run.stdout, type=Measured)
        # On a busy machine a spool may have answered for Kafka; it is emptied soon.
        deadline = time.monotonic() + STORED_SECONDS_MAX
        wanted = measured.accepted_in_all if contender.stores else 0
        while (stored := self._stored() - before) < wanted and time.monotonic() < deadline:
            time.sleep(0.2)
        result = Result(contender.name, mix, events, connections, rate, measured, stored)
        if measured.not_200 and contender.stores:
            raise SystemExit(f"{contender.name} answered {measured.not_200}: at this load nothing may be refused")
        if contender.stores and result.stored != measured.accepted_in_all:
            raise SystemExit(f"{contender.name} acknowledged {measured.accepted_in_all}, stored {result.stored}")
        return result

    def produce(self, mix: Mix, events: int, seconds: float) -> float:
        """The floor of producing: CPU µs an event."""
        before = self._stored()
        command = [sys.executable, "-m", "bench.collector.peers.produce", self.bootstrap, mix, str(events)]
        said = subprocess.run([*command, str(seconds)], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
        report: dict[str, float] = json.loads(said)
        if self._stored() - before != report["accepted"]:
            raise SystemExit("produce: not everything arrived")
        return 1e6 * report["cpu_seconds"] / report["accepted"]

    def _stored(self) -> int:
        """Records on all topics, ever."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "bench", **QUIET})
        try:
            topics = consumer.list_topics(timeout=10).topics
            return sum(
                consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1]
                for topic in TOPIC_OF_CATEGORY.values()
                for partition in topics[topic].partitions
            )
        finally:
            consumer.close()


@contextmanager
def environment(contenders: Sequence[Contender], partitions: int = 2) -> Iterator[Environment]:
    """Everything started; all of it ended afterwards."""
    with TemporaryDirectory(prefix="unjoin-bench-") as name:
        folder = Path(name)
        with node_with_topics(kafka_home(), folder / "kafka", partitions) as node, ExitStack() as started:
            for contender in contenders:
                contender.start(node.bootstrap, folder)
                started.callback(contender.stop)
            assert node.pid is not None
            yield Environment(node, node.pid)
