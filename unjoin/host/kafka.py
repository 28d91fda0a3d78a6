"""The Kafka of one machine: a single KRaft node as a child process, and the topics on any cluster."""

import asyncio
import base64
import contextlib
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from schemas.outcomes import UnjoinError
from schemas.topics import Topic

HEAP = ("-Xms128m", "-Xmx512m")


class KafkaUnavailable(UnjoinError):
    """Kafka cannot be started or reached; the text says what to do."""


def server_properties(*, port: int, controller_port: int, log_dir: Path) -> str:
    """The settings of a single node that is broker and controller, on loopback."""
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(log_dir),
        "auto.create.topics.enable": "false",
        "offsets.topic.num.partitions": "4",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        # The controller waits for this long before it admits a killed broker again (default 9 s).
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # Identified labels live for hours, so retention is checked more often than every 5 minutes.
        "log.retention.check.interval.ms": "60000",
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def java_class_path(kafka_home: Path) -> str:
    """The class path of the node.

    Raises:
        KafkaUnavailable: the jars are not there.
    """
    jars = kafka_home / "jars"
    if not any(jars.glob("kafka_2.13-*.jar")):
        raise KafkaUnavailable(
            f"Kafka's jars are not in {jars}; run `make setup` (it needs Maven), "
            "or point UNJOIN_KAFKA_BOOTSTRAP at a broker of yours"
        )
    return f"{jars}/*"


def java_program() -> str:
    """Java's path.

    Raises:
        KafkaUnavailable: there is none.
    """
    java = shutil.which("java")
    if java is None:
        raise KafkaUnavailable(
            "there is no `java` here; install a Java 17 runtime (Debian: apt-get install openjdk-17-jre-headless), "
            "or point UNJOIN_KAFKA_BOOTSTRAP at a broker of yours"
        )
    return java


def prepare_node(kafka_home: Path, state_dir: Path, port: int) -> list[str]:
    """Formats the node's storage the first time, writes its settings, and gives the command that runs it.

    Raises:
        KafkaUnavailable: no Java, no jars, or the storage cannot be formatted.
    """
    java, class_path = java_program(), java_class_path(kafka_home)
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    properties = state_dir / "server.properties"
    log_dir = state_dir / "data"
    properties.write_text(server_properties(port=port, controller_port=free_port(), log_dir=log_dir.absolute()))
    if not (log_dir / "meta.properties").exists():
        # The id is not a UUID's base64, which may begin with a hyphen and would be taken for an option.
        cluster_id = base64.urlsafe_b64encode(b"unj" + uuid.uuid4().bytes[:13]).decode().rstrip("=")
        command = [
            java,
            "-cp",
            class_path,
            "kafka.tools.StorageTool",
            "format",
            "-t",
            cluster_id,
            "-c",
            str(properties),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise KafkaUnavailable(f"Kafka could not format {log_dir}: {done.stderr.strip().splitlines()[-1:]}")
    logging = kafka_home / "log4j2.yaml"
    options = [f"-Dlog4j2.configurationFile={logging.absolute()}"] if logging.exists() else []
    return [java, *HEAP, "-XX:+UseG1GC", *options, "-cp", class_path, "kafka.Kafka", str(properties)]


def free_port(count: int = 1) -> int:
    """The first of `count` TCP ports in a row on loopback that nobody listens on now."""
    while True:
        with contextlib.ExitStack() as probes:
            first = port = 0
            try:
                for _ in range(count):
                    probe = probes.enter_context(socket.socket())
                    probe.bind(("127.0.0.1", port))
                    port = probe.getsockname()[1] + 1
                    first = first or port - 1
            except (OSError, OverflowError):
                continue  # one of them is taken
            return first


async def wait_until_reachable(bootstrap: str, seconds_max: float) -> None:
    """Returns once a broker answers.

    Raises:
        KafkaUnavailable: none did in time.
    """
    deadline = asyncio.get_running_loop().time() + seconds_max
    host, _, port = bootstrap.split(",", maxsplit=1)[0].rpartition(":")
    while True:
        # A bare connection is tried first, because the admin client logs every refusal as an error.
        try:
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
        except OSError:
            if asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.1)
                continue
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5_000)
        try:
            await admin.start()
            await admin.list_topics()
            return
        except (KafkaError, OSError):
            if asyncio.get_running_loop().time() > deadline:
                raise KafkaUnavailable(
                    f"no Kafka broker answered at {bootstrap} within {seconds_max:.0f} s; "
                    "start one, or set UNJOIN_KAFKA_BOOTSTRAP"
                ) from None
            await asyncio.sleep(0.1)
        finally:
            await admin.close()


async def ensure_topics(bootstrap: str, topics: Sequence[Topic], replication_factor: int) -> list[str]:
    """Creates the topics that are missing and brings the others to their settings; gives what was created.

    Partitions are added where a topic has fewer than asked for, and never taken away.

    Raises:
        KafkaUnavailable: the broker refused one.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        present = set(await admin.list_topics())
        created = []
        for topic in topics:
            if topic.name not in present:
                await _create(admin, topic, replication_factor)
                created.append(topic.name)
        await _adjust(admin, [topic for topic in topics if topic.name in present])
        return created
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, topic: Topic, replication_factor: int) -> None:
    wanted = NewTopic(topic.name, topic.partitions, replication_factor, topic_configs=topic.configs())
    try:
        answer = await admin.create_topics([wanted])
    except TopicAlreadyExistsError:
        return
    for name, code, *_ in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise KafkaUnavailable(f"Kafka refused to create the topic {name}: {error.__name__}")


async def _adjust(admin: AIOKafkaAdminClient, topics: Iterable[Topic]) -> None:
    for topic in topics:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic.name, configs=topic.configs())
        await admin.alter_configs([resource])
        (described,) = await admin.describe_topics([topic.name])
        if len(described["partitions"]) < topic.partitions:
            await admin.create_partitions({topic.name: NewPartitions(topic.partitions)})


def child_environment() -> dict[str, str]:
    """The environment of Kafka's process: no settings of ours, no Java options of somebody else."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("UNJOIN_", "KAFKA_"))}
