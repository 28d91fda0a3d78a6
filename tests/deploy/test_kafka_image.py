"""The broker's settings of docker-compose.yml, given to the program that Apache's image starts with."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.compose import document, environment
from unjoin.host.kafka import server_properties
from unjoin.settings import settings_of

# The least that the image's own defaults have in them.
LOG4J2 = """\
Configuration:
  Appenders: {Console: {name: STDOUT, PatternLayout: {pattern: "%m%n"}}}
  Loggers: {Root: {level: INFO, AppenderRef: [{ref: STDOUT}]}, Logger: []}
"""
KAFKA = document(environment())["services"]["kafka"]


def _properties(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z.]+)=(.*)$", text, flags=re.MULTILINE))


@pytest.mark.slow
def test_image_makes_a_broker_of_the_settings(tmp_path: Path) -> None:
    """The image turns variables into properties and formats the disk; a misspelt one would start another broker."""
    jars = settings_of().kafka_home / "jars"
    java = shutil.which("java")
    if java is None or not any(jars.glob("kafka_2.13-*.jar")):
        pytest.skip("Kafka's jars or Java are missing (scripts/setup test)")
    for folder in ("default", "mounted", "final"):
        (tmp_path / folder).mkdir()
    (tmp_path / "default" / "server.properties").touch()
    for name in ("log4j2.yaml", "tools-log4j2.yaml"):
        (tmp_path / "default" / name).write_text(LOG4J2)
    given = {**KAFKA["environment"], "KAFKA_LOG_DIRS": str(tmp_path / "data")}
    done = subprocess.run(
        [java, "-Xmx128m", "-cp", f"{jars.absolute()}/*", "kafka.docker.KafkaDockerWrapper", "setup"]
        + [f"--{name}-configs-dir={tmp_path / name}" for name in ("default", "mounted", "final")],
        env={"PATH": os.environ["PATH"], **given},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr

    made = _properties((tmp_path / "final" / "server.properties").read_text())
    # `final` is a tmpfs over the image's folder: whatever the broker reads there has to be written at each start.
    assert {path.name for path in (tmp_path / "final").iterdir()} == {
        "server.properties",
        "log4j2.yaml",
        "tools-log4j2.yaml",
    }
    assert (tmp_path / "data" / "meta.properties").exists()
    assert len(made) == len([name for name in given if name not in ("CLUSTER_ID", "KAFKA_HEAP_OPTS")])
    # Beyond addresses, the same broker as the one of one machine, in everything that data depends on.
    expected = _properties(server_properties(port=9092, controller_port=9093, log_dir=tmp_path / "data"))
    for name in expected.keys() & made.keys() - {"listeners", "advertised.listeners", "controller.quorum.voters"}:
        assert made[name] == expected[name], name


def test_native_codecs_can_be_run_from_the_brokers_tmp() -> None:
    """zstd and snappy unpack a library to /tmp; a tmpfs is mounted noexec unless told otherwise."""
    assert any(re.match(r"/tmp:.*\bexec\b", mount) for mount in KAFKA["tmpfs"])
    assert {"/opt/kafka/config", "/opt/kafka/logs"} <= {mount.split(":")[0] for mount in KAFKA["tmpfs"]}


def test_topics_are_made_by_us_alone() -> None:
    """A topic made by the first record has default retention, so an identified label would live for a week."""
    assert KAFKA["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
