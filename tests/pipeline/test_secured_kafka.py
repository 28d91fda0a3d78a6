"""The pipeline on a broker as clusters have it: TLS, a user a role, and nothing that is not allowed."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

from ingest.access.sites import write_development_sites
from schemas.topics import (
    DEIDENTIFIED,
    KEY_ANNOUNCEMENTS,
    LABELED,
    SIGNALS,
    VERDICTS,
)
from testkit.authority import Authority
from testkit.kafka_node import QUIET, stored_records
from testkit.processes import wait_for
from testkit.secured_kafka import SecuredKafka, unsigned_token
from tests.pipeline.garbage import deliver
from tests.unjoin.test_kafka_rights import MAY_READ, MAY_WRITE
from unjoin.cli import main
from unjoin.connections.kafka_login import kafka_access_of
from unjoin.host.kafka import free_port, wait_until_reachable
from unjoin.kafka_rights import EVERY_TOPIC, USERS
from unjoin.settings import settings_of

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 60.0
ADMIN = "admin"
EVENTS = {"events.signals", "events.analytics", "events.personal", "events.labelers"}


def password(user: str) -> str:
    return f"hunter2-{user}"


@pytest.fixture(scope="module")
def kafka(kafka_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """One broker for the module, whose topics and rights `unjoin topics --acls` has made."""
    users = [ADMIN, *(f"unjoin-{user}" for user in USERS)]
    secured = SecuredKafka(
        kafka_home, tmp_path_factory.mktemp("kafka"), {user: password(user) for user in users}, ADMIN
    )
    secured.start()
    try:
        done = command(secured, ADMIN, "topics", "--acls")
        assert done.returncode == 0, done.stderr
        yield secured
    finally:
        secured.node.stop()


def scram(kafka: SecuredKafka, user: str, **more: str) -> dict[str, str]:
    """The settings by which a user comes in."""
    given = {
        "BOOTSTRAP": kafka.sasl,
        "SECURITY_PROTOCOL": "SASL_SSL",
        "TLS_CA": str(kafka.authority.ca),
        "SASL_MECHANISM": "SCRAM-SHA-512",
        "SASL_USERNAME": user,
        "SASL_PASSWORD": password(user),
        **more,
    }
    return {f"UNJOIN_KAFKA_{name}": value for name, value in given.items() if value}


def command(kafka: SecuredKafka, user: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "unjoin", *arguments],
        env=environment(scram(kafka, user) | settings), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def environment(settings: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("UNJOIN_")} | settings


class Roles:
    """`unjoin collect`, `process` and `sink` as processes, each with settings of its own."""

    COMMANDS: ClassVar = {"collector": "collect", "processor": "process", "sink": "sink"}

    def __init__(self, folder: Path, settings_of_role: dict[str, dict[str, str]]) -> None:
        self.http, self.clickhouse = free_port(), free_port()
        self.common = {
            "UNJOIN_DATA_DIR": str(folder / "data"),
            "UNJOIN_HTTP_PORT": str(self.http),
            "UNJOIN_CLICKHOUSE_HTTP_PORT": str(self.clickhouse),
            "UNJOIN_CROWD_MIN": "1",
            "UNJOIN_BLOCK_MS_MAX": "50",
        }
        write_development_sites(folder / "data" / "sites" / "sites.json", ["http://localhost"])
        self._folder, self._settings = folder, settings_of_role
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Roles":
        for role, settings in self._settings.items():
            with (self._folder / f"{role}.log").open("wb") as log:
                self.processes[role] = subprocess.Popen(
                    [sys.executable, "-m", "unjoin", self.COMMANDS[role]],
                    env=environment(self.common | settings), stdout=log, stderr=log,
                )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(*self.processes)

    def stop(self, *roles: str) -> None:
        """They drain and commit."""
        for role in roles:
            self.processes[role].terminate()
        for role in roles:
            self.processes[role].wait(SECONDS_MAX)

    def said(self, role: str) -> str:
        return (self._folder / f"{role}.log").read_text()

    def until(self, condition: Any) -> Any:
        logs = lambda: "".join(f"\n--- {role}\n{self.said(role)[-3000:]}" for role in self.processes)  # noqa: E731
        return wait_for(condition, logs, SECONDS_MAX)

    def ready(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(urllib.request.urlopen(f"http://127.0.0.1:{self.http}/readyz", timeout=5).status == 200)
        return False

    def post(self, *events: dict[str, Any], key: str = "dev-browser-key") -> int:
        """How many of the events were accepted."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}/v1/events",
            json.dumps({"session": "s", "events": events}).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(json.load(answer)["accepted"])

    def count(self, table: str) -> int:
        url = f"http://127.0.0.1:{self.clickhouse}/?query=SELECT+count()+FROM+unjoin.{table}"
        with contextlib.suppress(OSError):
            return int(urllib.request.urlopen(url, timeout=10).read())
        return 0


def test_sink_that_is_kept_out_of_its_groups_says_so_once(kafka: SecuredKafka, tmp_path: Path) -> None:
    """The broker answers all the while: each try to join would look like the end of an outage.

    It comes before the test below, whose database the groups then belong to.
    """
    with Roles(tmp_path, {"sink": scram(kafka, "unjoin-audit")}) as roles:
        refused = "the user may not use the consumer group unjoin-sink-signals; give it the rights"
        roles.until(lambda: refused in roles.said("sink"))
        roles.until(lambda: kafka.refusals("unjoin-audit", "Group:LITERAL:unjoin-sink-signals") >= 4)
        assert roles.said("sink").count(refused) == 1
        assert "answers again" not in roles.said("sink")


def test_every_role_does_its_work_with_no_more_than_its_rights(kafka: SecuredKafka, tmp_path: Path) -> None:
    """A right too few stops a role on the first cluster that asks; the tests' own broker asks nobody."""
    settings = {role: scram(kafka, f"unjoin-{role}") for role in Roles.COMMANDS}
    with Roles(tmp_path, settings) as roles:
        roles.until(roles.ready)
        now = int(time.time() * 1_000)
        signal = {"id": "signal", "type": "pointer", "ts": now, "t": [0], "x": [1], "y": [2]}
        label = {"id": "label", "type": "image_label", "ts": now, "task": "dogs", "answer": "beagle"}
        page = {
            "id": "page",
            "type": "page_view",
            "ts": now,
            "url": "https://a.test/",
            "referrer": "",
            "properties": {},
        }
        contact = {"id": "c", "type": "contact", "ts": now, "account": "acme", "role": "integrator"}
        contact |= {"name": "Ada", "email": "a@b.test", "country": "DE"}
        assert roles.post(signal, page) == 2
        assert roles.post(contact, key="dev-server-key") == 1
        # A label is taken once the door has announced what it is sealed to.
        roles.until(lambda: roles.post(label))
        for topic in (SIGNALS, LABELED):
            deliver(kafka.node.bootstrap, topic, [(b"k", b"neither Avro nor sealed")])
        expected = {"signals": 1, "analytics": 1, "labels": 1, "personal": 1, "dead_letters": 2}
        roles.until(lambda: {table: roles.count(table) for table in expected} == expected)
        roles.stop("collector", "processor")
        audited = command(kafka, "unjoin-audit", "audit", **roles.common)
        assert audited.returncode == 0, audited.stdout + audited.stderr
        replayed = command(kafka, "unjoin-replay", "replay", **roles.common)
        assert replayed.stdout.strip() == "1 replayed, 1 labels that still cannot be read", replayed.stderr
        roles.until(lambda: roles.count("dead_letters") == 3)
    rewound = command(kafka, "unjoin-sink", "rewind", **roles.common)  # the database is nobody's by now
    assert rewound.returncode == 0, rewound.stderr
    assert "events.signals" in rewound.stdout
    for role, process in roles.processes.items():
        assert process.returncode == 0, roles.said(role)
        assert "hunter2" not in roles.said(role)
        assert "may not" not in roles.said(role)


def test_broker_lets_each_user_read_and_write_what_this_table_says_and_delete_nothing(kafka: SecuredKafka) -> None:
    """The broker's own word, user by user and topic by topic: only the door reads labels that name their voter."""
    read: dict[str, set[str]] = {topic: set() for topic in EVERY_TOPIC}
    write: dict[str, set[str]] = {topic: set() for topic in EVERY_TOPIC}
    for user in USERS:
        admin = AdminClient(
            {
                "bootstrap.servers": kafka.sasl, "security.protocol": "SASL_SSL",
                "ssl.ca.location": str(kafka.authority.ca), "sasl.mechanism": "SCRAM-SHA-256",
                "sasl.username": f"unjoin-{user}", "sasl.password": password(f"unjoin-{user}"), **QUIET,
            }
        )  # fmt: skip
        asked = admin.describe_topics(TopicCollection(list(EVERY_TOPIC)), include_authorized_operations=True)
        for topic, answer in asked.items():
            if answer.exception() is None:
                may = set(answer.result().authorized_operations)
                assert AclOperation.DELETE not in may
                read[topic] |= {user} if AclOperation.READ in may else set()
                write[topic] |= {user} if AclOperation.WRITE in may else set()
    assert read == MAY_READ
    assert write == MAY_WRITE


def test_who_tries_what_is_not_his_is_refused(kafka: SecuredKafka) -> None:
    """Not only by what the broker says of itself: by reading, writing and joining."""

    def access(user: str) -> dict[str, Any]:
        return kafka_access_of(settings_of(scram(kafka, user))).client()

    async def read(user: str, topic: str, group: str | None = None) -> None:
        consumer = AIOKafkaConsumer(topic, group_id=group, **access(user))
        try:
            await consumer.start()
            await asyncio.wait_for(consumer.getone(), SECONDS_MAX)
        finally:
            await consumer.stop()

    async def write(user: str, topic: str) -> None:
        producer = AIOKafkaProducer(**access(user))
        await producer.start()
        try:
            await producer.send_and_wait(topic, b"v")
        finally:
            await producer.stop()

    async def tried() -> None:
        for user in ("unjoin-collector", "unjoin-sink", "unjoin-audit", "unjoin-replay", "unjoin-topics"):
            with pytest.raises(TopicAuthorizationFailedError):
                await read(user, LABELED)
        for user, topic in (
            ("unjoin-processor", SIGNALS), ("unjoin-processor", LABELED), ("unjoin-sink", DEIDENTIFIED),
            ("unjoin-sink", KEY_ANNOUNCEMENTS), ("unjoin-collector", DEIDENTIFIED), ("unjoin-collector", VERDICTS),
            ("unjoin-audit", SIGNALS),
        ):  # fmt: skip
            with pytest.raises(TopicAuthorizationFailedError):
                await write(user, topic)
        with pytest.raises(GroupAuthorizationFailedError):
            await read("unjoin-sink", SIGNALS, "unjoin-door")

    before = {topic: len(stored_records(kafka.node.bootstrap, topic)) for topic in (LABELED, DEIDENTIFIED)}
    asyncio.run(tried())
    assert {topic: len(stored_records(kafka.node.bootstrap, topic)) for topic in before} == before


@pytest.mark.parametrize(
    "way", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "without TLS", "certificate"]
)
def test_every_way_in_is_one(kafka: SecuredKafka, way: str, tmp_path: Path) -> None:
    """Tokens are checked by Kafka's unsecured validator, which believes them: this shows the client's side alone."""
    user = "unjoin-topics"
    more = {"SASL_MECHANISM": way}
    if way == "OAUTHBEARER":
        token = tmp_path / "token"
        token.write_text(unsigned_token(user))
        more |= {"OAUTH_TOKEN_FILE": str(token), "SASL_USERNAME": "", "SASL_PASSWORD": ""}
    elif way == "without TLS":
        more = {"BOOTSTRAP": kafka.sasl_open, "SECURITY_PROTOCOL": "SASL_PLAINTEXT", "TLS_CA": ""}
    elif way == "certificate":
        more = certificate(kafka, *kafka.authority.issue(user))
    access = kafka_access_of(settings_of(scram(kafka, user, **more)))
    asyncio.run(wait_until_reachable(access, SECONDS_MAX))


def certificate(kafka: SecuredKafka, chain: Path, key: Path) -> dict[str, str]:
    """Settings by which a client comes in with a certificate and no password."""
    none = dict.fromkeys(("SASL_MECHANISM", "SASL_USERNAME", "SASL_PASSWORD"), "")
    return none | {"BOOTSTRAP": kafka.tls, "SECURITY_PROTOCOL": "SSL", "TLS_CERT": str(chain), "TLS_KEY": str(key)}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"SASL_PASSWORD": "hunter2-wrong"}, "it refuses the user or the password; check UNJOIN_KAFKA_SASL_USERNAME"),
        ({"SASL_USERNAME": "nobody"}, "it refuses the user or the password"),
        ({"SASL_MECHANISM": "PLAIN", "SASL_PASSWORD": "hunter2-wrong"}, "it refuses the user or the password"),
        ({"TLS_CA": "OTHER"}, "its certificate is not trusted (unable to get local issuer certificate); name the file"),
        ({"TLS_CA": ""}, "its certificate is not trusted (unable to get local issuer certificate); name the file"),
        ({"BOOTSTRAP": "NAME"}, "its certificate is not for the name it is called by; name brokers as their"),
        ({"BOOTSTRAP": "OPEN"}, "it hangs up on TLS; if it speaks none there, set UNJOIN_KAFKA_SECURITY_PROTOCOL"),
        ({"BOOTSTRAP": "TLS"}, "it refuses this client's certificate, or that there is none; name one"),
        ("PLAINTEXT", "it speaks TLS at this port; set UNJOIN_KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL"),
        ("SASL_PLAINTEXT", "it speaks TLS at this port; set UNJOIN_KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL"),
        ("SSL", "it asks for a user; set UNJOIN_KAFKA_SECURITY_PROTOCOL to SASL_SSL or SASL_PLAINTEXT"),
        ("SASL at an open port", "it asks for no user at this port; set another port, or UNJOIN_KAFKA_SECURITY"),
        ("no user at a port that asks", "it asks for a user; set UNJOIN_KAFKA_SECURITY_PROTOCOL to SASL_SSL or SASL_"),
        ("a stranger's certificate", "it refuses this client's certificate, or that there is none; name one"),
        ("a token that is over", "it refuses the token; check where it comes from, and the clocks"),
        ("no token", "UNJOIN_KAFKA_OAUTH_TOKEN_FILE: no token in /nowhere: No such file or directory"),
    ],
)
def test_command_that_is_refused_says_in_a_sentence_what_to_do(
    kafka: SecuredKafka,
    wrong: dict[str, str] | str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """aiokafka says that it is unable to bootstrap; whoever sets up a cluster needs to know which setting is wrong."""
    other = Authority(tmp_path / "other")
    nobody = dict.fromkeys(("SASL_MECHANISM", "SASL_USERNAME", "SASL_PASSWORD"), "")
    token = tmp_path / "token"
    token.write_text(unsigned_token(ADMIN, seconds=-3_600))
    open_port = kafka.node.bootstrap
    named = {
        "PLAINTEXT": nobody | {"SECURITY_PROTOCOL": "PLAINTEXT", "TLS_CA": ""},
        "SASL_PLAINTEXT": {"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "TLS_CA": ""},
        "SSL": nobody | {"SECURITY_PROTOCOL": "SSL"},
        "SASL at an open port": {"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "TLS_CA": "", "BOOTSTRAP": open_port},
        "no user at a port that asks": nobody
        | {"SECURITY_PROTOCOL": "PLAINTEXT", "TLS_CA": "", "BOOTSTRAP": kafka.sasl_open},
        "a stranger's certificate": certificate(kafka, *other.issue(ADMIN)),
        "a token that is over": nobody | {"SASL_MECHANISM": "OAUTHBEARER", "OAUTH_TOKEN_FILE": str(token)},
        "no token": nobody | {"SASL_MECHANISM": "OAUTHBEARER", "OAUTH_TOKEN_FILE": "/nowhere"},
    }
    places = {"OTHER": str(other.ca), "NAME": kafka.sasl.replace("127.0.0.1", "localhost")}
    places |= {"OPEN": open_port, "TLS": kafka.tls}
    given = named[wrong] if isinstance(wrong, str) else wrong
    changes = {name: places.get(value, value) for name, value in given.items()}
    for name, value in scram(kafka, ADMIN, **changes).items():
        monkeypatch.setenv(name, value)
    assert main(["topics"]) == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert "hunter2" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("arguments", [["audit"], ["replay"]], ids=" ".join)
def test_command_that_reads_says_it_as_well(kafka: SecuredKafka, arguments: list[str], tmp_path: Path) -> None:
    """To start the pipeline, as both would otherwise advise, mends no password."""
    settings = scram(kafka, ADMIN, SASL_PASSWORD="hunter2-wrong")
    done = command(kafka, ADMIN, *arguments, **settings, UNJOIN_DATA_DIR=str(tmp_path))
    assert done.returncode != 0
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("unjoin: ")]
    assert said.startswith(
        f"unjoin: {kafka.sasl}: it refuses the user or the password; check UNJOIN_KAFKA_SASL_USERNAME"
    )
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_role_that_is_refused_says_so_and_goes_on_trying(kafka: SecuredKafka, tmp_path: Path) -> None:
    """A password is changed at the brokers and at the roles, and one of them is first: no role ends for that."""
    wrong = {role: scram(kafka, f"unjoin-{role}", SASL_PASSWORD="hunter2-wrong") for role in Roles.COMMANDS}
    with Roles(tmp_path, wrong) as roles:
        for role in Roles.COMMANDS:
            roles.until(lambda role=role: "it refuses the user or the password" in roles.said(role))
        assert not roles.ready()
    for role, process in roles.processes.items():
        assert process.returncode == 0, roles.said(role)
        assert "hunter2" not in roles.said(role)
        assert "Traceback" not in roles.said(role)


def test_role_without_its_rights_says_which_are_missing(kafka: SecuredKafka, tmp_path: Path) -> None:
    """An authorizer refuses piece by piece, and topics that may not be seen are not there."""
    swapped = {"collector": "unjoin-sink", "processor": "unjoin-collector", "sink": "unjoin-processor"}
    sentences = {
        "collector": "not ready: the user may not write to events.labeled",
        "processor": "waiting for topics door.verdicts, events.labeled.dead_letters, labels.deidentified",
        "sink": "there is no topic events.signals, or the user may not see it; `unjoin topics` makes topics",
    }
    with Roles(tmp_path, {role: scram(kafka, user) for role, user in swapped.items()}) as roles:
        for role, sentence in sentences.items():
            roles.until(lambda role=role, sentence=sentence: sentence in roles.said(role))
        assert not roles.ready()
    assert not any("Traceback" in roles.said(role) for role in roles.processes)


def test_user_that_may_not_give_rights_is_told_so(kafka: SecuredKafka) -> None:
    """Rights are given by whoever may alter the cluster."""
    done = command(kafka, "unjoin-topics", "topics", "--acls")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "unjoin: Kafka did not add the rules: the user may not do this to the cluster; give it"
    )
