"""A collector that is told to stop ends within its bound, whoever still holds it."""

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from confluent_kafka import KafkaException

from ingest.process.shutdown_times import stop_seconds_max
from schemas.topics import TOPIC_OF_CATEGORY
from testkit.collect_process import Collect, batch_of, ids_on
from testkit.kafka_node import KafkaNode, create_topic
from testkit.slow_clients import SlowClients
from unjoin.host.kafka import free_port

ROOT = Path(__file__).parents[3]
# The stop hangs in the loop itself: no timer fires any more, no signal is looked at.
HANGS = """
import asyncio, signal, sys, time
from pathlib import Path
from ingest.process import server
from ingest.process import shutdown_times as stop_bounds
from tests.ingest.configs import collector_config, request_limits
stop_bounds.STOP_SPARE_SECONDS = 0.5
config = collector_config(
    Path("/nowhere"), produce_seconds_max=0.1, limits=request_limits(body_seconds_max=0.1)
)
async def canary_that_hangs():
    server._end_whatever_happens(config)
    print("stopping", flush=True)
    if sys.argv[1] == "loop":
        time.sleep(3_600)
    await asyncio.Event().wait()
asyncio.run(canary_that_hangs())
"""


class UntilTheEnd:
    """Clients that post until the collector is gone."""

    def __init__(self, collect: Collect) -> None:
        self.accepted: list[str] = []
        self._collect = collect
        self._mark = f"stop-{time.monotonic_ns()}"
        self._threads = [threading.Thread(target=self._client, args=(n,)) for n in range(4)]

    def __enter__(self) -> "UntilTheEnd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join()

    def _client(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._collect.port, timeout=60)
        turn = 0
        try:
            while True:
                turn += 1
                ids = [f"{self._mark}-{number}-{turn}-{i}" for i in range(20)]
                if self._collect.post(connection, batch_of(f"session-{number}", ids, f"task-{turn}"))[0] == 200:
                    self.accepted += ids
        except (OSError, http.client.HTTPException):
            connection.close()


@pytest.mark.kafka
@pytest.mark.parametrize("paused", [False, True], ids=["kafka_there", "kafka_silent"])
def test_stop_under_load_with_slow_and_deaf_clients_ends_in_time_and_loses_nothing(
    kafka_node: KafkaNode, tmp_path: Path, paused: bool
) -> None:
    """A deployment must not hang on whoever drips a body or does not read its answer."""
    node = kafka_node
    for topic in TOPIC_OF_CATEGORY.values():
        with suppress(KafkaException):  # another test has made it
            create_topic(node.bootstrap, name=topic)
    try:
        collect = Collect(tmp_path / "data", node.bootstrap)
        collect.start()
        try:
            with SlowClients(collect.port, 200), UntilTheEnd(collect) as load:
                collect.until(lambda: len(load.accepted) > 200)
                if paused:
                    node.pause()
                    collect.until(lambda: collect.metric("unjoin_spool_records") > 100)
                code, seconds = collect.stop()
        finally:
            collect.stop()
        assert code == 0, (collect.data_dir / "collector.log").read_text()[-2_000:]
        assert seconds < stop_seconds_max(body_seconds_max=10.0, produce_seconds_max=1.0)
        assert "Traceback" not in (collect.data_dir / "collector.log").read_text()
        if paused:
            node.resume()
            collect.start()
            collect.until(lambda: collect.metric("unjoin_spool_records") == 0)
            assert collect.stop()[0] == 0
        assert set(load.accepted) <= ids_on(node.bootstrap).keys()
    finally:
        node.resume()


@pytest.mark.slow
def test_collector_that_is_told_to_stop_serves_until_balancers_know(tmp_path: Path) -> None:
    """A balancer that looks every second sends requests for that long after `/readyz` said 503."""
    collect = Collect(tmp_path / "data", f"127.0.0.1:{free_port()}", UNJOIN_LAME_DUCK_SECONDS="3")
    collect.start()
    try:
        os.kill(collect.pid, signal.SIGTERM)
        collect.until(lambda: collect.get("/readyz")[0] == 503)
        assert "about to stop" in collect.get("/readyz")[1]
        connection = http.client.HTTPConnection("127.0.0.1", collect.port, timeout=60)
        assert collect.post(connection, batch_of("session", ["late"], "task"))[0] == 200
        connection.close()
    finally:
        assert collect.stop()[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("where", ["loop", "task"])
def test_stop_that_hangs_ends_the_process_and_says_where(where: str) -> None:
    """The last resort: whatever it was, the supervisor can start a new one, and somebody can find out."""
    began = time.monotonic()
    command = [sys.executable, "-c", HANGS, where]
    child = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert child.returncode == 1
    assert child.stdout.split() == ["stopping"]
    assert "Timeout" in child.stderr
    if where == "loop":
        assert "canary_that_hangs" in child.stderr
    else:
        assert "a task waits at" in child.stderr
    assert time.monotonic() - began < 30
