"""Kafka away, under load: a real broker killed, a collector as a process, every request answered in time and kept."""

import http.client
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.topics import LABELED
from testkit.announced_door import epoch_key
from testkit.collect_process import WAIT_SECONDS_MAX, Collect, Load, batch_of, ids_on
from testkit.kafka_node import KafkaNode, node_with_topics, stored_records
from testkit.seals import opened_datum
from unjoin.host.kafka import free_port

pytestmark = pytest.mark.kafka

AWAY_SECONDS = 3.0
ANSWER_SECONDS_MAX = 2.0
STOP_SECONDS_MAX = 10.0


@pytest.fixture
def node(kafka_home: Path, tmp_path: Path) -> Iterator[KafkaNode]:
    with node_with_topics(kafka_home, tmp_path / "kafka", killable=True) as node:
        yield node


def test_kafka_away_under_load_every_request_is_answered_in_time_and_every_event_arrives(
    node: KafkaNode, tmp_path: Path
) -> None:
    """The ten minutes of `faults.outage`, shortened: away, back, away again through a shutdown and a start."""
    collect = Collect(tmp_path / "data", node.bootstrap)
    collect.start()
    try:
        with Load(collect) as load:
            collect.until(lambda: len(load.accepted) > 1_000)
            assert collect.metric("unjoin_spool_spooled_total") == 0
            node.kill()
            away_since = time.monotonic()
            while time.monotonic() - away_since < AWAY_SECONDS or collect.metric("unjoin_spool_records") <= 1_000:
                assert time.monotonic() - away_since < WAIT_SECONDS_MAX
                assert collect.get("/readyz")[0] == 200
                time.sleep(0.5)
            node.start()
            collect.until(lambda: collect.metric("unjoin_spool_records") == 0)
            recovered = len(load.accepted)
            collect.until(lambda: len(load.accepted) > recovered + 1_000)
        assert load.statuses.keys() == {200}
        assert max(load.seconds) < ANSWER_SECONDS_MAX
        assert collect.metric("unjoin_spool_drained_total") == collect.metric("unjoin_spool_spooled_total")
        found = ids_on(node.bootstrap)
        assert set(load.accepted) <= found.keys()
        assert found.keys() <= set(load.accepted)
        opened = [
            opened_datum(message.value(), epoch_key, partition=message.partition() or 0)
            for message in stored_records(node.bootstrap, LABELED)
        ]
        labels = {(datum["voter"], datum["act"]["task"]) for datum in opened}
        assert len(labels) == load.labels

        node.kill()
        with Load(collect) as second:
            collect.until(lambda: len(second.accepted) > 500)
            away = list(second.accepted)
        code, seconds = collect.stop()
        assert code == 0
        assert seconds < STOP_SECONDS_MAX
        assert second.statuses.keys() == {200}
        assert max(second.seconds) < ANSWER_SECONDS_MAX
        node.start()
        collect.start()
        collect.until(lambda: collect.metric("unjoin_spool_records") == 0)
        assert set(away) <= ids_on(node.bootstrap).keys()
    finally:
        collect.stop()
    print(
        f"answers {sum(load.statuses.values())}, slowest {max(load.seconds):.2f} s and {max(second.seconds):.2f} s, "
        f"events {len(load.accepted)}, on the topic more than once "
        f"{sum(count > 1 for count in found.values())}, stop {seconds:.1f} s"
    )


def test_full_spool_says_when_to_come_back_and_readyz_tells_the_balancer(tmp_path: Path) -> None:
    """No Kafka at all, and a spool of 300 kB: 200 until it is full, then 503 with Retry-After."""
    collect = Collect(tmp_path / "data", f"127.0.0.1:{free_port()}", UNJOIN_SPOOL_BYTES_MAX="2000000")
    collect.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", collect.port, timeout=WAIT_SECONDS_MAX)
        statuses: Counter[int] = Counter()
        headers: dict[str, str] = {}
        for turn in range(2_000):
            status, headers = collect.post(
                connection, batch_of("s", [f"{turn}-{i}" for i in range(200)], f"task-{turn}")
            )
            statuses[status] += 1
            if status != 200:
                break
        connection.close()
        assert statuses[503] == 1
        assert statuses[200] > 20
        assert int(headers["retry-after"]) >= 1
        assert collect.get("/readyz")[0] == 503
        assert collect.metric("unjoin_spool_full_total") == 1
        folder = collect.data_dir / "spool"
        assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
        assert sum(file.stat().st_size for file in folder.iterdir()) < 8_000_000
        code, seconds = collect.stop()
        assert (code, seconds < STOP_SECONDS_MAX) == (0, True)
    finally:
        collect.stop()
