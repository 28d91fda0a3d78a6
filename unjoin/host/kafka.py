"""The Kafka of one machine: a single KRaft node as a child process, and the topics on any cluster."""

import asyncio
import base64
import contextlib
import os
import random
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.protocol.admin import AlterConfigsResponse_v0
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int8, Schema, String

from schemas.kafka_access import KafkaAccess
from schemas.kafka_probe import why_refused
from schemas.outcomes import UnjoinError
from schemas.topics import MIN_INSYNC, Topic, min_insync_replicas

CONNECT_SECONDS_MAX = 5.0
# A small heap on a machine that is shared: the serial collector and the first compiler alone take half the CPU of what
# Java chooses for a server, measured under load in docs/speed.md.
JVM = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
PORT_MIN, PORT_MAX = 10_000, 32_768  # Linux gives outgoing connections ports from 32768 on, others from 49152 on
ARCHIVE = "classes.jsa"  # `class_archive.py` makes it
# Java warns of an archive that does not fit, and does without.
NO_WARNINGS = ("-Xlog:disable", "-Xlog:all=error")


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


def prepare_node(
    kafka_home: Path, state_dir: Path, port: int, more: Mapping[str, str] = MappingProxyType({}), cluster_id: str = ""
) -> list[str]:
    """Formats the node's storage the first time, writes its settings, and gives the command that runs it.

    Args:
        more: settings beside and above those of a single node.
        cluster_id: of the cluster that the node is one of; "" for a new one.

    Raises:
        KafkaUnavailable: no Java, no jars, or the storage cannot be formatted.
    """
    java, class_path = java_program(), java_class_path(kafka_home)
    archive = kafka_home / ARCHIVE
    shared = [f"-XX:SharedArchiveFile={archive}", *NO_WARNINGS] if archive.exists() else []
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    properties = state_dir / "server.properties"
    log_dir = state_dir / "data"
    single = server_properties(port=port, controller_port=free_port(), log_dir=log_dir.absolute())
    properties.write_text(single + "".join(f"{name}={value}\n" for name, value in more.items()))
    if not (log_dir / "meta.properties").exists():
        cluster_id = cluster_id or new_cluster_id()
        command = [
            java,
            *JVM,
            *shared,
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
    return [java, *JVM, *shared, *options, "-cp", class_path, "kafka.Kafka", str(properties)]


def new_cluster_id() -> str:
    """No UUID's base64, which may begin with a hyphen and would be taken for an option."""
    return base64.urlsafe_b64encode(b"unj" + uuid.uuid4().bytes[:13]).decode().rstrip("=")


def free_port(count: int = 1) -> int:
    """The first of `count` TCP ports in a row on loopback that nobody listens on now.

    They lie below those that a connection gets which asks for none, so that none takes them before their server does.
    """
    while True:
        first = random.randrange(PORT_MIN, PORT_MAX - count)  # noqa: S311
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError):  # one of them is taken
            for port in range(first, first + count):
                probes.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first


async def wait_until_reachable(access: KafkaAccess, seconds_max: float) -> None:
    """Returns once a broker answers.

    Raises:
        KafkaUnavailable: none did in time, or one refuses us.
    """
    deadline = asyncio.get_running_loop().time() + seconds_max
    while True:
        # Bare connections are tried first, because the admin client logs every refusal as an error.
        if not await _any_accepts(access.bootstrap) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.1)
            continue
        admin = AIOKafkaAdminClient(**access.client(), request_timeout_ms=5_000)
        try:
            await admin.start()
            await admin.list_topics()
            return
        except (KafkaError, OSError):
            if why := await why_refused(access):
                raise KafkaUnavailable(why) from None
            if asyncio.get_running_loop().time() > deadline:
                raise KafkaUnavailable(
                    f"no Kafka broker answered at {access.bootstrap} within {seconds_max:.0f} s; "
                    "start one, or set UNJOIN_KAFKA_BOOTSTRAP"
                ) from None
            await asyncio.sleep(0.1)
        finally:
            await admin.close()


async def _any_accepts(bootstrap: str) -> bool:
    """Whether one of the addresses takes a connection; all are tried at once: one that is away costs nothing."""

    async def accepts(address: str) -> bool:
        host, _, port = address.rpartition(":")
        try:
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                _, writer = await asyncio.open_connection(host.strip("[] "), int(port))
        except OSError:  # a time-out is one
            return False
        writer.close()
        return True

    trying = [asyncio.create_task(accepts(address)) for address in bootstrap.split(",")]
    try:
        for tried in asyncio.as_completed(trying):
            if await tried:
                return True
        return False
    finally:
        for task in trying:
            task.cancel()
        await asyncio.gather(*trying, return_exceptions=True)


class TopicChanges(msgspec.Struct):
    """What `ensure_topics` did.

    Attributes:
        created: names of topics.
        changed: a line a topic whose settings were changed.
        notes: what differs from the settings and is the operator's to change.
    """

    created: list[str] = []
    changed: list[str] = []
    notes: list[str] = []


async def ensure_topics(access: KafkaAccess, topics: Sequence[Topic], replication_factor: int) -> TopicChanges:
    """Creates the topics that are missing and brings the others to their settings.

    Settings that are not of `Topic`, and a larger `min.insync.replicas`, stay as an operator left them. Partitions are
    added where a topic has fewer than asked for, and never taken away; copies are not made.

    Raises:
        KafkaUnavailable: the broker refused one.
    """
    changes = TopicChanges()
    admin = AIOKafkaAdminClient(**access.client())
    await admin.start()
    try:
        present = set(await admin.list_topics())
        for topic in topics:
            if topic.name in present:
                await _adjust(admin, topic, replication_factor, changes)
            else:
                await _create(admin, topic, replication_factor)
                changes.created.append(topic.name)
        return changes
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, topic: Topic, replication_factor: int) -> None:
    configs = topic.configs() | durability(replication_factor)
    wanted = NewTopic(topic.name, topic.partitions, replication_factor, topic_configs=configs)
    try:
        answer = await admin.create_topics([wanted])
    except TopicAlreadyExistsError:
        return
    for name, code, *_ in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise KafkaUnavailable(f"Kafka refused to create the topic {name}: {error.__name__}")


async def _adjust(admin: AIOKafkaAdminClient, topic: Topic, replication_factor: int, changes: TopicChanges) -> None:
    (described,) = await admin.describe_topics([topic.name])
    partitions = described["partitions"]
    copies = min(len(partition["replicas"]) for partition in partitions)
    if copies != replication_factor:
        changes.notes.append(
            f"{topic.name} has {copies} copies, and UNJOIN_REPLICATION_FACTOR is {replication_factor}: "
            "kafka-reassign-partitions.sh makes and removes copies"
        )
    wanted = topic.configs() | durability(min(copies, replication_factor))
    found = await _configs_of(admin, topic.name, wanted)
    if int(found.get(MIN_INSYNC, "1")) > int(wanted[MIN_INSYNC]):
        del wanted[MIN_INSYNC]  # an operator asks for more
    differing = {name: value for name, value in wanted.items() if found.get(name) != value}
    if differing:
        await _alter(admin, topic.name, differing)
        changes.changed.append(f"{topic.name}: {', '.join(f'{name}={value}' for name, value in differing.items())}")
    if len(partitions) < topic.partitions:
        answer = await admin.create_partitions({topic.name: NewPartitions(topic.partitions)})
        for name, code, *_ in answer.topic_errors:
            _refused(code, f"add partitions to {name}")
        changes.changed.append(f"{topic.name}: {topic.partitions} partitions")
    elif len(partitions) > topic.partitions:
        changes.notes.append(f"{topic.name} has {len(partitions)} partitions, and {topic.partitions} were asked for")


async def _configs_of(admin: AIOKafkaAdminClient, topic: str, names: Iterable[str]) -> dict[str, str]:
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=dict.fromkeys(names))
    (answer,) = await admin.describe_configs([resource])
    ((code, _, _, _, entries),) = answer.resources
    _refused(code, f"tell the settings of {topic}")
    return {name: value for name, value, *_ in entries}


async def _alter(admin: AIOKafkaAdminClient, topic: str, configs: Mapping[str, str]) -> None:
    answer = await admin._send_request(IncrementalAlterConfigs(topic, configs))
    for code, _, _, name in answer.resources:
        _refused(code, f"change the settings of {name}")


def _refused(code: int, what: str) -> None:
    if code:
        raise KafkaUnavailable(f"Kafka refused to {what}: {for_code(code).__name__}")


class _AlteredV0(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 44
    API_VERSION = 0
    SCHEMA = AlterConfigsResponse_v0.SCHEMA


class _AlterV0(RequestStruct):  # type: ignore[misc]
    API_KEY = 44
    API_VERSION = 0
    RESPONSE_TYPE = _AlteredV0
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                (
                    "configs",
                    Array(("name", String("utf-8")), ("config_operation", Int8), ("value", String("utf-8"))),
                ),
            ),
        ),
        ("validate_only", Boolean),
    )


class IncrementalAlterConfigs(Request[_AlterV0]):  # type: ignore[misc]
    """Sets some settings of a topic and leaves the others; aiokafka 0.14 knows only the request that replaces all.

    Source: Kafka, clients/src/main/resources/common/message/IncrementalAlterConfigsRequest.json, version 0.
    """

    API_KEY = 44
    _SET = 0

    def __init__(self, topic: str, configs: Mapping[str, str]) -> None:
        self._topic, self._configs = topic, configs

    def build(self, request_struct_class: Any) -> Any:
        """The request as the broker reads it."""
        configs = [(name, self._SET, value) for name, value in self._configs.items()]
        return request_struct_class([(ConfigResourceType.TOPIC, self._topic, configs)], False)


def durability(replication_factor: int) -> dict[str, str]:
    """The settings by which what is acknowledged outlives a broker, where there are copies."""
    return {
        MIN_INSYNC: str(min_insync_replicas(replication_factor)),
        "unclean.leader.election.enable": "false",
    }


def child_environment() -> dict[str, str]:
    """The environment of Kafka's process: no settings of ours, no Java options of somebody else."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("UNJOIN_", "KAFKA_"))}
