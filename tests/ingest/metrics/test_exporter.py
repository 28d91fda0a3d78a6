"""Where a collector's metrics are answered, and where they are not."""

import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ingest.metrics.exporter import MetricsPortError
from tests.ingest.running_collector import RunningCollector, running
from unjoin.host.kafka import free_port


def test_metrics_answer_on_a_port_of_their_own_until_the_collector_stops(tmp_path: Path) -> None:
    """Whoever can post events cannot read how many others do; and the port is free again for the next start."""
    port = free_port()
    for _ in range(2):
        with running(tmp_path, metrics_port=port) as collector:
            assert collector.request("GET", "/metrics").status == 404
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                assert answer.headers["content-type"].startswith("text/plain")
                assert "\nunjoin_ready 1.0\n" in answer.read().decode()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=10)


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://a.example"}, {"Host": "a.example"}], ids=str
)
def test_metrics_answer_no_web_page(tmp_path: Path, headers: dict[str, str]) -> None:
    """A page that the operator visits could time the totals, or read them by a name that resolves to this machine."""
    port = free_port()
    with running(tmp_path, metrics_port=port), pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=headers), timeout=10)


def test_taken_port_of_metrics_is_said_and_nothing_is_served(tmp_path: Path) -> None:
    """A collector that starts without its metrics looks like one that counts nothing."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        collector = RunningCollector(tmp_path, metrics_port=taken.getsockname()[1])
        with pytest.raises(MetricsPortError, match="choose another UNJOIN_METRICS_PORT"):
            collector.start()
