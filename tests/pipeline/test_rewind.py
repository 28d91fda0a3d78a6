"""`unjoin rewind` and the sinks that need it, as processes: another database, a restored backup, one that is gone."""

import contextlib
import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from confluent_kafka import KafkaException

from schemas.topics import topics
from sinks.main import EXIT_NOT_OURS
from testkit.kafka_node import KafkaNode, create_topic
from tests.pipeline.garbage import deliver, whole
from unjoin.host.kafka import free_port

pytestmark = pytest.mark.kafka
SECONDS_MAX = 60.0


class SinkHost:
    """`unjoin` on one data directory."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.bootstrap, self.folder, self.port = bootstrap, folder, free_port()
        folder.mkdir(exist_ok=True)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("UNJOIN_")},
            "UNJOIN_DATA_DIR": str(folder),
            "UNJOIN_KAFKA_BOOTSTRAP": bootstrap,
            "UNJOIN_CLICKHOUSE_HTTP_PORT": str(self.port),
            "UNJOIN_SIGNALS_TTL_DAYS": "0",
        }

    @property
    def clickhouse(self) -> Path:
        return self.folder / "clickhouse"

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "unjoin", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=120)

    def refused(self) -> str:
        """The last line of a sink that ends by itself because the commits are not its own."""
        done = self.command("sink")
        assert done.returncode == EXIT_NOT_OURS, done.stderr
        assert "Traceback" not in done.stderr
        assert "sink ready" not in done.stderr
        return done.stderr.splitlines()[-1]

    def rows(self) -> int:
        sql = quote("SELECT count() FROM unjoin.signals")
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/?query={sql}", timeout=30) as answer:
            return int(answer.read())

    def wait_for(self, rows: int) -> None:
        deadline = time.monotonic() + SECONDS_MAX
        found = -1
        while found < rows:
            assert time.monotonic() < deadline, (found, rows, (self.folder / "log").read_text()[-2_000:])
            with contextlib.suppress(OSError):
                found = self.rows()
            time.sleep(0.1)
        assert found == rows

    @contextlib.contextmanager
    def running(self, rows: int) -> Iterator[None]:
        """A sink, from when it has so many rows of signals."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "unjoin", "sink"], env=self.environment, stdout=log, stderr=log
            )
        try:
            self.wait_for(rows)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0

    def audited(self) -> None:
        """Difference 0, while its sink runs."""
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            done = self.command("audit", "--format", "json")
            line = next(line for line in json.loads(done.stdout)["lines"] if line["name"] == "signals")
            if not line["held"]:
                break
            assert time.monotonic() < deadline, done.stdout
        assert (done.returncode, line["difference"]) == (0, 0), done.stdout


@pytest.fixture(scope="module")
def bootstrap(kafka_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of its own: the groups of the sinks are named as in production."""
    folder = tmp_path_factory.mktemp("rewind") / "kafka"
    folder.mkdir()
    node = KafkaNode(kafka_home, folder)
    node.start()
    try:
        for topic in topics(partitions=2, labeled_partitions=1, events_days=1, labeled_hours=6):
            with contextlib.suppress(KafkaException):
                create_topic(node.bootstrap, topic.partitions, name=topic.name)
        yield node.bootstrap
    finally:
        node.stop()


def produce(bootstrap: str, count: int) -> None:
    mark = uuid.uuid4().hex
    records = [(f"k{number}".encode(), whole("events.signals", mark, number)) for number in range(count)]
    deliver(bootstrap, "events.signals", records)


def test_database_that_the_groups_do_not_know_is_refused_and_filled_after_a_rewind(
    bootstrap: str, tmp_path: Path
) -> None:
    """A second sink, a backup from before, an empty folder: none of them takes rows or passes over any."""
    first, second = SinkHost(bootstrap, tmp_path / "first"), SinkHost(bootstrap, tmp_path / "second")
    produce(bootstrap, 500)
    with first.running(500):
        assert "another database's" in (line := second.refused())
        assert "`unjoin rewind`" in line
        assert "it has members): stop every sink" in second.command("rewind", "--yes").stderr
        produce(bootstrap, 512)
        first.wait_for(1_012)
        first.audited()
    backup_at = datetime.datetime.now(datetime.UTC).isoformat()
    shutil.copytree(first.clickhouse, tmp_path / "backup", symlinks=True)
    produce(bootstrap, 300)
    with first.running(1_312):
        pass

    shutil.rmtree(first.clickhouse)
    shutil.copytree(tmp_path / "backup", first.clickhouse, symlinks=True)
    assert "restored from a backup" in first.refused()
    shown = first.command("rewind", "--to", backup_at)
    assert (shown.returncode, "nothing was changed" in shown.stdout) == (0, True), shown.stderr
    assert "restored from a backup" in first.refused()
    assert first.command("rewind", "--to", backup_at, "--yes").returncode == 0
    with first.running(1_312):
        first.audited()

    done = second.command("rewind", "--yes")
    assert done.returncode == 0, done.stderr
    with second.running(1_312):
        second.audited()
    assert "another database's" in first.refused()


def test_rewind_says_what_is_wrong_in_one_sentence(bootstrap: str, tmp_path: Path) -> None:
    """Wrong names, wrong times, a Kafka that is away."""
    host = SinkHost(bootstrap, tmp_path / "third")
    assert "no table is called nothing" in host.command("rewind", "--table", "nothing").stderr
    assert "'yesterday' is no time" in host.command("rewind", "--to", "yesterday").stderr
    host.environment["UNJOIN_KAFKA_BOOTSTRAP"] = "127.0.0.1:1"
    done = host.command("rewind")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert done.stderr.splitlines()[-1].startswith("unjoin: Kafka at 127.0.0.1:1: ")
