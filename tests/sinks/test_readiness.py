"""`/readyz` of a sink as a process: what it says while it does not read."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from testkit.processes import wait_for
from unjoin.host.kafka import free_port


def test_sink_without_its_clickhouse_is_alive_and_says_what_it_waits_for(tmp_path: Path) -> None:
    """A pod that restarts during an outage helps nobody, and one that says "read" with a 503 misleads whoever looks."""
    port, log = free_port(), tmp_path / "sink.log"
    plain = {name: value for name, value in os.environ.items() if not name.startswith("UNJOIN_")}
    own = {
        "UNJOIN_DATA_DIR": str(tmp_path),
        "UNJOIN_CLICKHOUSE_URL": "clickhouse://sink:pass@127.0.0.1:1/unjoin",
        "UNJOIN_METRICS_PORT": str(port),
    }
    said: list[tuple[int, str]] = []

    def refused() -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5)
        except urllib.error.HTTPError as error:
            said.append((error.code, error.read().decode()))
        except OSError:
            pass  # it is still starting
        return bool(said)

    with log.open("wb") as output:
        sink = subprocess.Popen([sys.executable, "-m", "unjoin", "sink"], env=plain | own, stderr=output)
    try:
        wait_for(refused, log.read_text, 30)
        assert said == [(503, "ClickHouse has not answered yet\n")]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            assert answer.status == 200
        sink.send_signal(signal.SIGTERM)
        assert sink.wait(30) == 0
    finally:
        sink.kill()
        sink.wait()
