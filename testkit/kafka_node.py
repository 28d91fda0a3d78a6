"""A real broker of a test's own, to be stopped, killed, paused and started again, and what is stored on it."""

import atexit
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.topics import TOPIC_OF_CATEGORY
from unjoin.host.kafka import child_environment, free_port, prepare_node

ROOT = Path(__file__).parents[1]
READY_SECONDS_MAX = 180.0
SILENCE_SECONDS_MAX = 15.0
STOP_SECONDS_MAX = 30.0
# A killed node may only come back when the controller has given its predecessor up: after 9 s by default. A paused one
# is given up as fast, so this is for nodes that are killed.
KILLABLE = "broker.session.timeout.ms=1000\nbroker.heartbeat.interval.ms=200\n"
# A member that is gone, or paused, is given up after as long as a test says, not after 6 s at least.
QUICK_GROUPS = "group.min.session.timeout.ms=500\n"
# librdkafka writes every refused connection to stderr otherwise.
QUIET = {"log_level": 0}


def kafka_home() -> Path:
    """Kafka's folder: `UNJOIN_KAFKA_HOME`, or where `scripts/setup` puts it.

    Raises:
        AssertionError: it has no jars, or there is no Java; `make setup` gets both.
    """
    home = Path(os.environ.get("UNJOIN_KAFKA_HOME", ROOT / ".kafka")).absolute()
    assert (home / "jars").is_dir(), f"no jars in {home}: run `make setup`"
    assert shutil.which("java"), "no java: run `make setup`"
    return home


@functools.cache
def _formatted_storage(kafka_home: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="unjoin-formatted-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    prepare_node(kafka_home, folder, free_port())
    return folder / "data"


def lend_storage(kafka_home: Path, state_dir: Path) -> None:
    """Gives a single node that has none a formatted storage: Java takes half a second of CPU to format each."""
    if not (state_dir / "data").exists():
        shutil.copytree(_formatted_storage(kafka_home), state_dir / "data")


class KafkaNode:
    """One KRaft node on free ports, a child of the test's process.

    Its methods block; call them with `asyncio.to_thread` where a loop runs.

    Args:
        state_dir: its data and log; starting again goes on with them, on the same port.
        killable: it comes back within seconds after `kill`.
        cluster_id: of the cluster that it is one of; "" for one of its own.

    Attributes:
        properties: lines for server.properties, after and above our own.
        more: settings that must be there before its storage is formatted.
    """

    def __init__(self, kafka_home: Path, state_dir: Path, *, killable: bool = False, cluster_id: str = "") -> None:
        self.more: dict[str, str] = {}
        self._cluster_id = cluster_id
        self.properties = QUICK_GROUPS + (KILLABLE if killable else "")
        self.port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._kafka_home = kafka_home
        self._state_dir = state_dir
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """None when it does not run."""
        return self._process and self._process.pid

    @property
    def log_dir(self) -> Path:
        """Its disk: all that it stores."""
        return self._state_dir / "data"

    def lose_disk(self) -> None:
        """Everything that it stored is gone; `start` formats a new one."""
        assert self._process is None
        shutil.rmtree(self.log_dir)

    def start(self) -> None:
        """Returns once it answers."""
        assert self._process is None
        if not self.more and not self._cluster_id:
            lend_storage(self._kafka_home, self._state_dir)
        command = prepare_node(self._kafka_home, self._state_dir, self.port, self.more, self._cluster_id)
        with (self._state_dir / "server.properties").open("a") as properties:
            properties.write(self.properties)
        with (self._state_dir / "node.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=child_environment())
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not self._answers():
            assert self._process.poll() is None, f"the node ended: see {self._state_dir}/node.log"
            assert time.monotonic() < deadline, f"the node does not answer: see {self._state_dir}/node.log"
            time.sleep(0.1)

    def stop(self) -> None:
        """Lets it end in good order; does nothing when it does not run."""
        if self._process is not None:
            self.resume()
            self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it without a chance to say goodbye."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Connections stay open and nothing answers; returns once its last thread has stopped."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + STOP_SECONDS_MAX
        while any(state != "T" for state in self._thread_states()):
            assert time.monotonic() < deadline, "the node does not stop"
            time.sleep(0.001)

    def resume(self) -> None:
        """Ends a pause."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _thread_states(self) -> list[str]:
        assert self._process is not None
        threads = Path(f"/proc/{self._process.pid}/task").glob("*/stat")
        return [thread.read_text().rpartition(")")[2].split()[0] for thread in threads]

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return bool(AdminClient({"bootstrap.servers": self.bootstrap, **QUIET}).list_topics(timeout=5).brokers)
        except (OSError, KafkaException):
            return False


@contextmanager
def node_with_topics(
    kafka_home: Path, state_dir: Path, partitions: int = 2, *, killable: bool = False
) -> Iterator[KafkaNode]:
    """A node that has the topics of every category, and is stopped at the end.

    Args:
        state_dir: made here.
    """
    state_dir.mkdir()
    node = KafkaNode(kafka_home, state_dir, killable=killable)
    node.start()
    try:
        for topic in TOPIC_OF_CATEGORY.values():
            create_topic(node.bootstrap, partitions, name=topic)
        yield node
    finally:
        node.stop()


def create_topic(bootstrap: str, partitions: int = 1, *, name: str = "", **configs: str) -> str:
    """A new topic, under a name that nobody else has unless one is given."""
    name = name or f"test-{uuid.uuid4().hex[:12]}"
    admin = AdminClient({"bootstrap.servers": bootstrap, **QUIET})
    wanted = NewTopic(
        name, partitions, 1, config={option.replace("_", "."): value for option, value in configs.items()}
    )
    admin.create_topics([wanted])[name].result(READY_SECONDS_MAX)
    return name


def stored_records(bootstrap: str, topic: str) -> list[Message]:
    """Every record that a topic still has, as a stock client reads it, partition by partition in offset order."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    while (records := _read_to_ends(bootstrap, topic)) is None:
        assert time.monotonic() < deadline, "the broker does not hand out what it stores"
    return records


def _read_to_ends(bootstrap: str, topic: str) -> list[Message] | None:
    """None where nothing came for a while: past elections a consumer may wait for ever, and another one reads on."""
    settings: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "group.id": f"test-{uuid.uuid4().hex[:12]}",
        "enable.auto.commit": False,
        "fetch.wait.max.ms": 10,
        "auto.offset.reset": "earliest",  # a leader that has just been elected may not know yet what is there
        **QUIET,
    }
    consumer = Consumer(settings)
    try:
        partitions = sorted(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        ends = {p: _end_of(consumer, TopicPartition(topic, p)) for p in partitions}
        consumer.assign([TopicPartition(topic, p, 0) for p, end in ends.items() if end])
        records: dict[tuple[int, int], Message] = {}
        deadline = time.monotonic() + SILENCE_SECONDS_MAX
        while any(ends.values()):
            if time.monotonic() > deadline:
                return None
            for message in consumer.consume(10_000, timeout=0.05):
                assert message.error() is None, message.error()
                records[message.partition(), message.offset()] = message
                if message.offset() + 1 == ends[message.partition()]:
                    ends[message.partition()] = 0
                deadline = time.monotonic() + SILENCE_SECONDS_MAX
        return [records[place] for place in sorted(records)]
    finally:
        consumer.close()


def _end_of(consumer: Consumer, partition: TopicPartition) -> int:
    """The offset behind the last record, 0 where there is none or all were deleted.

    librdkafka may not know the partition yet that it has just listed.
    """
    deadline = time.monotonic() + READY_SECONDS_MAX
    while True:
        try:
            start, end = consumer.get_watermark_offsets(partition, timeout=10)
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return end if start < end else 0
