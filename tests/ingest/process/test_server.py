"""A collector as a process: start, quota, drain, exit code."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingest.process import server
from ingest.process.server import CollectorError
from tests.ingest.running_collector import SECONDS_MAX, RunningCollector, read_reply, running

TS = 1_790_000_000_123
BODY = json.dumps(
    {"session": "s-1", "events": [{"id": "e-1", "type": "text_answer", "ts": TS, "task": "t", "answer": "a"}]}
).encode()
PROGRAM = """
import asyncio, sys
from pathlib import Path
import uvloop
from ingest.process.server import serve
from ingest.access.sites import write_development_sites
from schemas.seal import public_key_of
from tests.ingest.configs import collector_config
from tests.ingest.memory_producer import MemoryProducer

folder = Path(sys.argv[1])
write_development_sites(folder / "sites.json", ["http://localhost"])
config = collector_config(folder)
producer = MemoryProducer()
listening = lambda host, port: print(port, flush=True)
DOOR_KEYS = lambda day: public_key_of(bytes(32))

async def main():
    await serve(config, lambda day: bytes(32), DOOR_KEYS, producer, on_listening=listening)
    print(len(producer.records), producer.stopped, flush=True)

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
"""

KAFKA_AWAY = """
import sys
from pathlib import Path
from ingest.process.server import run
from schemas.seal import public_key_of
from ingest.access.sites import write_development_sites
from schemas.kafka_access import KafkaAccess
from tests.ingest.configs import collector_config

folder = Path(sys.argv[1])
write_development_sites(folder / "sites.json", ["http://localhost"])
config = collector_config(folder, kafka=KafkaAccess("127.0.0.1:1"), port=int(sys.argv[2]), produce_seconds_max=0.5)
door_keys = lambda day: public_key_of(bytes(32))
sys.exit(run(config, lambda day: bytes(32), door_keys, lambda: print("ready", flush=True)))
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_requests_in_flight_and_exits_0(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Accepts no more, answers who is half-way, stops the producer, and says that all is well."""
    assert process.stdout is not None
    assert process.stderr is not None
    port = int(process.stdout.readline())
    idle = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS_MAX)
    idle.request("GET", "/healthz")
    assert read_reply(idle).status == 200
    half = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS_MAX)
    half.putrequest("POST", "/v1/events?key=dev-browser-key")
    half.putheader("Content-Length", str(len(BODY)))
    half.putheader("Expect", "100-continue")
    half.endheaders()
    assert half.sock.recv(100).startswith(b"HTTP/1.1 100 ")  # the handler waits for the body now
    half.send(BODY[:10])
    process.send_signal(number)
    deadline = time.monotonic() + SECONDS_MAX
    while not refused(port):
        assert time.monotonic() < deadline
    half.send(BODY[10:])
    reply = read_reply(half)
    assert (reply.status, reply.json()["accepted"], reply.headers["connection"]) == (200, 1, "close")
    out, err = process.communicate(timeout=SECONDS_MAX)
    assert (process.returncode, out.split(), err) == (0, ["1", "True"], "")
    idle.close()
    half.close()


def test_collector_without_kafka_answers_503_and_still_ends_well(tmp_path: Path) -> None:
    """Brokers come back; until then clients are told to wait, and an operator can stop the process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", KAFKA_AWAY, str(tmp_path), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as child:
        try:
            deadline = time.monotonic() + SECONDS_MAX
            while refused(port):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS_MAX)
            client.request("GET", "/healthz")
            assert read_reply(client).status == 200
            client.request("GET", "/readyz")
            assert read_reply(client).status == 503
            client.request("POST", "/v1/events?key=dev-browser-key", BODY)
            reply = read_reply(client)
            assert (reply.status, reply.json()["error"]) == (503, "not_durable")
            assert int(reply.headers["retry-after"]) >= 1
            client.close()
            child.send_signal(signal.SIGTERM)
            out, _ = child.communicate(timeout=SECONDS_MAX)
            assert (child.returncode, out) == (0, "")
        finally:
            child.kill()


@pytest.mark.parametrize("announced", [True, False])
def test_start_waits_for_the_keys_of_labels_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, announced: bool
) -> None:
    """Doors start at the same time; without one all other events are taken."""
    monkeypatch.setattr(server, "KEYS_SECONDS_MAX", SECONDS_MAX if announced else 0.5)
    collector = RunningCollector(tmp_path)
    today = datetime.now(UTC).date()
    collector.unannounced_days |= {today, today + timedelta(days=1)}
    collector.start()
    try:
        assert not collector.ready.wait(0.2)
        if announced:
            collector.unannounced_days.clear()
        assert collector.ready.wait(SECONDS_MAX / 2)
    finally:
        collector.stop()


def test_port_that_is_taken_is_said_in_one_sentence(tmp_path: Path) -> None:
    """Not a traceback: what it is, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        collector = RunningCollector(tmp_path, port=taken.getsockname()[1])
        with pytest.raises(CollectorError, match=r"cannot listen on 127\.0\.0\.1"):
            collector.start()


def test_proxies_that_are_no_networks_are_said(tmp_path: Path) -> None:
    """Trusting nobody by mistake stores the proxy's address for everyone."""
    with pytest.raises(CollectorError, match="trusted proxies"):
        RunningCollector(tmp_path, trusted_proxies="10.0.0.0/8, nginx").start()


def test_quota_that_is_used_up_is_a_429_with_retry_after(tmp_path: Path) -> None:
    """The default of the settings, for keys that have none of their own."""
    with running(tmp_path, key_events_per_second_max=1) as collector:
        assert collector.post(BODY).status == 200
        reply = collector.post(BODY)
        assert (reply.status, reply.json()["error"]) == (429, "quota_exceeded")
        assert int(reply.headers["retry-after"]) >= 1
        assert collector.post(BODY, key="dev-server-key").status == 200


def test_trusted_proxy_names_the_client(tmp_path: Path) -> None:
    """As a setting says; the test's own peer plays the proxy."""
    page = json.dumps({"session": "s", "events": [{"id": "e", "type": "page_view", "ts": TS, "url": "u"}]}).encode()
    with running(tmp_path, trusted_proxies="127.0.0.0/8") as collector:
        key = collector.sites.add("customer", ["https://customer.example"], ["analytics"])
        while collector.post(b"", key).status == 401:
            time.sleep(0.05)  # sites are looked at once a second
        assert collector.post(page, key, x_forwarded_for="6.6.6.6, 198.51.100.7").status == 200
        assert b"198.51.100.7" in collector.producer.records[0].value


def test_development_keys_are_refused_where_other_machines_can_connect(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`unjoin up` leaves them in the file of sites, and a later `unjoin collect` may listen to the world."""
    with running(tmp_path, host="0.0.0.0") as collector:
        for key in ("dev-browser-key", "dev-server-key"):
            reply = collector.post(BODY, key)
            assert (reply.status, reply.json()["error"]) == (401, "unknown_key")
            assert "this machine alone" in reply.json()["detail"]
    assert "development keys are refused" in caplog.text


def test_requests_at_once_are_all_answered(tmp_path: Path) -> None:
    """Many clients, one loop; every accepted event is with the producer."""
    with running(tmp_path) as collector:
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda: statuses.extend(collector.post(BODY).status for _ in range(20)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 160
        assert len(collector.producer.records) == 160
