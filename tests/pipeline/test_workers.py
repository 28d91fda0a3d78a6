"""Several collectors on one port, as an operator runs them: who gets what, and what a death costs."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.collect_process import WAIT_SECONDS_MAX, Collect, batch_of, ids_on
from testkit.kafka_node import KafkaNode, node_with_topics
from unjoin.host.kafka import free_port

pytestmark = pytest.mark.kafka

CONNECTIONS = 24
EVENTS = 20


@pytest.fixture
def node(kafka_home: Path, tmp_path: Path) -> Iterator[KafkaNode]:
    with node_with_topics(kafka_home, tmp_path / "kafka") as node:
        yield node


def workers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


def all_ready(collect: Collect) -> bool:
    return all("\nunjoin_ready 1.0\n" in text for text in collect.scrapes())


def value_of(text: str, name: str) -> float:
    """A series of one worker's metrics."""
    (line,) = [line for line in text.splitlines() if line.startswith(name + " ")]
    return float(line.rpartition(" ")[2])


def post(collect: Collect, mark: str) -> list[str]:
    """One batch over each of many connections, all open at once; the ids of what was accepted."""
    connections = [
        http.client.HTTPConnection("127.0.0.1", collect.port, timeout=WAIT_SECONDS_MAX) for _ in range(CONNECTIONS)
    ]
    accepted = []
    for number, connection in enumerate(connections):
        ids = [f"{mark}-{number}-{i}" for i in range(EVENTS)]
        status, _ = collect.post(connection, batch_of(f"s-{number}", ids, f"task-{mark}"))
        assert status == 200
        accepted += ids
    for connection in connections:
        connection.close()
    return accepted


def test_workers_share_connections_and_one_that_is_killed_loses_nothing(node: KafkaNode, tmp_path: Path) -> None:
    """Each worker acknowledges by itself, to Kafka or to a spool of its own, so that its death costs connections alone.

    A scraper sees one target start again, and no other count fall; what is spooled is counted durably.

    First without Kafka, where what each worker got can be seen in its spool; then with it and one worker fewer, who
    has to find what the other left.
    """
    accepted_total = 'unjoin_events_accepted_total{category="signals"}'
    away = Collect(tmp_path / "data", f"127.0.0.1:{free_port()}", UNJOIN_COLLECT_WORKERS="2")
    away.start()
    try:
        away.until(lambda: all_ready(away))
        accepted = post(away, "a")
        assert away.metric(accepted_total) == len(accepted)
        assert away.metric("unjoin_spool_records") == len(accepted) + CONNECTIONS
        first, second = workers_of(away.pid)
        of_first, of_second = (value_of(text, accepted_total) for text in away.scrapes())
        os.kill(second, signal.SIGKILL)
        away.until(lambda: second not in workers_of(away.pid) and all_ready(away))
        assert [value_of(text, accepted_total) for text in away.scrapes()] == [of_first, 0]
        assert away.metric("unjoin_spool_records") == len(accepted) + CONNECTIONS
        accepted += post(away, "b")
        assert away.metric(accepted_total) + of_second == len(accepted)
        assert away.metric("unjoin_spool_spooled_total") == len(accepted) + 2 * CONNECTIONS
        workers = workers_of(away.pid)
        assert first in workers
    finally:
        code, _ = away.stop()
    assert code == 0
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
    spools = [away.data_dir / "spool", away.data_dir / "spool" / "worker-2"]
    assert all((spool / "spool.sqlite").stat().st_size > 50_000 for spool in spools), "a worker got no connection"

    back = Collect(tmp_path / "data", node.bootstrap)
    back.start()
    try:
        back.until(lambda: back.metric("unjoin_spool_records") + back.metric("unjoin_spool_left_records") == 0)
        accepted += post(back, "c")
    finally:
        assert back.stop()[0] == 0
    assert ids_on(node.bootstrap).keys() == set(accepted)


def test_port_that_another_collector_has_is_not_shared_with_it(tmp_path: Path) -> None:
    """The kernel would let it in, and each of the two would get half of the other's connections."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("UNJOIN_")},
            "UNJOIN_DATA_DIR": str(tmp_path),
            "UNJOIN_HTTP_PORT": str(holder.getsockname()[1]),
        }
        command = [sys.executable, "-m", "unjoin", "collect", "--workers"]
        for workers, said in (
            ("2", "cannot listen on 127.0.0.1"),
            ("0", "1 worker or more"),
            ("3", "3 workers need as many ports from UNJOIN_METRICS_PORT on"),
        ):
            environment["UNJOIN_METRICS_PORT"] = "65534" if workers == "3" else "0"
            done = subprocess.run(
                [*command, workers], env=environment, capture_output=True, text=True, timeout=60, check=False
            )
            assert (done.returncode, said in done.stderr) == (1, True), done.stderr
            assert "Traceback" not in done.stderr


def test_each_worker_is_a_target_with_the_series_of_a_single_collector(tmp_path: Path) -> None:
    """Dashboards need not know how many there are: the same series of each, to be added up."""
    shown = []
    for workers in ("1", "2"):
        collect = Collect(tmp_path / workers, f"127.0.0.1:{free_port()}", UNJOIN_COLLECT_WORKERS=workers)
        collect.start()
        try:
            collect.until(lambda: all_ready(collect))  # noqa: B023
            shown += [
                [re.sub(r" \S+$", "", line) for line in text.splitlines() if not line.startswith("#")]
                for text in collect.scrapes()
            ]
            assert json.loads(collect.get("/readyz")[1]) == {"status": "ready"}
            assert collect.get("/metrics")[0] == 404
        finally:
            assert collect.stop()[0] == 0
    alone, first, second = map(sorted, shown)
    assert alone == first == second
