"""Collectors and doors of two hosts that do not share their keys: refused, with the sentence that helps."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException

from ingest.access.sites import write_development_sites
from processors.main import EXIT_HALTED
from schemas.topics import topics
from testkit.kafka_node import KafkaNode, create_topic
from unjoin.host.kafka import free_port
from unjoin.keys.announcement import identity_fingerprint
from unjoin.keys.identity import door_identity

pytestmark = pytest.mark.kafka
SECONDS_MAX = 90.0
SENTENCE = "give every host the same folder of keys, or the same secret (docs/keys.md, Several hosts)"


class Host:
    """One role on a host of its own, as an operator runs it."""

    def __init__(self, bootstrap: str, folder: Path, role: str, **settings: str) -> None:
        self.port, self.folder = free_port(), folder
        write_development_sites(folder / "sites" / "sites.json", ["http://localhost"])
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("UNJOIN_")},
            "UNJOIN_DATA_DIR": str(folder),
            "UNJOIN_HTTP_PORT": str(self.port),
            "UNJOIN_KAFKA_BOOTSTRAP": bootstrap,
            **settings,
        }
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "unjoin", role], env=environment, stdout=log, stderr=log
            )

    @property
    def said(self) -> str:
        return (self.folder / "log").read_text()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(SECONDS_MAX)

    def post_label(self) -> int:
        """The answer's status; 0 while nobody answers."""
        event = {"id": "e-1", "type": "text_answer", "ts": time.time_ns() // 1_000_000, "task": "t", "answer": "a"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS_MAX)
        try:
            connection.request(
                "POST", "/v1/events?key=dev-browser-key", json.dumps({"session": "s-1", "events": [event]})
            )
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()


def until(holds: Any, *hosts: Host) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not holds():
        assert time.monotonic() < deadline, "".join(host.said[-2_000:] for host in hosts)
        time.sleep(0.1)


@pytest.fixture(scope="module")
def bootstrap(kafka_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of its own: what was announced first is in force."""
    folder = tmp_path_factory.mktemp("hosts") / "kafka"
    folder.mkdir()
    node = KafkaNode(kafka_home, folder)
    node.start()
    try:
        for topic in topics(partitions=1, labeled_partitions=1, events_days=1, labeled_hours=6):
            with suppress(KafkaException):
                create_topic(node.bootstrap, topic.partitions, name=topic.name)
        yield node.bootstrap
    finally:
        node.stop()


def test_second_door_and_second_collector_with_keys_of_their_own_are_refused(bootstrap: str, tmp_path: Path) -> None:
    """They would count a session twice, and make two rows of one vote, silently."""
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    pin = identity_fingerprint(door_identity(folders[0] / "keys" / "epoch").public_key().public_bytes_raw())
    hosts: list[Host] = []
    try:
        door = Host(bootstrap, folders[0], "process")
        collector = Host(bootstrap, folders[0], "collect", UNJOIN_DOOR_IDENTITY=pin)
        hosts += [door, collector]
        until(lambda: collector.post_label() == 200, *hosts)
        other_door = Host(bootstrap, folders[1], "process")
        hosts.append(other_door)
        assert other_door.process.wait(SECONDS_MAX) == EXIT_HALTED
        assert SENTENCE in other_door.said.splitlines()[-1]
        other_collector = Host(bootstrap, folders[1], "collect")
        hosts.append(other_collector)
        until(lambda: other_collector.post_label() == 503 and SENTENCE in other_collector.said, other_collector)
        wrong = tmp_path / "third"
        wrong.mkdir()
        misled = Host(bootstrap, wrong, "collect", UNJOIN_DOOR_IDENTITY="0" * 32)
        hosts.append(misled)
        until(lambda: "UNJOIN_DOOR_IDENTITY says" in misled.said and misled.post_label() == 503, misled)
        assert collector.post_label() == 200
    finally:
        for host in hosts:
            host.stop()
