"""SDKs of servers, unchanged: what they post is taken, what they retry is stored once."""

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from ingest.kafka.producer import NotDurable
from schemas.codec import decode
from testkit.running_stack import RunningStack
from tests.ingest.running_collector import SERVER_KEY, RunningCollector, running
from tests.segment.stock import FOLDER, package, run_calls

SDKS = {"segment": "@segment/analytics-node", "rudderstack": "@rudderstack/rudder-sdk-node"}
TYPE_OF_CALL = {"track": "usage", "page": "page_view", "screen": "page_view", "identify": "contact"}


@pytest.fixture(params=SDKS)
def sdk(request: pytest.FixtureRequest) -> str:
    package(SDKS[request.param])
    return str(request.param)


@pytest.fixture
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    with running(tmp_path_factory.mktemp("segment")) as collector:
        yield collector


def test_lock_pins_packages_by_hash_and_names_no_registry() -> None:
    """They come from whatever registry the machine's npm is set to."""
    lock = json.loads((FOLDER / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert not any("resolved" in entry for entry in packages.values())
    wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted


@pytest.mark.slow
def test_calls_are_sent_again_after_a_503_and_are_there_once(sdk: str, collector: RunningCollector) -> None:
    """What could not be made durable at first: no SDK drops it, and none makes two rows of it."""
    collector.producer.refusal = NotDurable("failed")

    def recover() -> None:
        refused = 'unjoin_requests_total{outcome="not_durable"}'
        deadline = time.monotonic() + 20
        while collector.metric(refused) < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        collector.producer.refusal = None

    thread = threading.Thread(target=recover)
    thread.start()
    said = run_calls(sdk, f"http://127.0.0.1:{collector.port}", SERVER_KEY, "m", 2)
    thread.join()
    assert said["failed"] == []
    assert collector.metric('unjoin_requests_total{outcome="not_durable"}') >= 1
    rows = [decode(record.value, f"{record.topic}-value") for record in collector.producer.records]
    assert len(rows) == len({row["event_id"] for row in rows}) == 2 * len([*TYPE_OF_CALL, "track"])
    assert collector.metric('unjoin_events_rejected_total{reason="unknown_type"}') == 2 * len(["group", "alias"])


@pytest.mark.kafka
def test_every_call_is_a_row_or_a_documented_rejection(sdk: str, stack: RunningStack) -> None:
    """From the SDK to ClickHouse, difference 0."""
    mark = f"{sdk}-{uuid.uuid4().hex[:8]}"
    count = 30
    before = rejected(stack)
    said = run_calls(sdk, stack.http, SERVER_KEY, mark, count)
    assert said["failed"] == []
    calls = Counter(said["calls"])
    assert calls == {"track": 2 * count, **dict.fromkeys(("page", "screen", "identify", "group", "alias"), count)}
    own = f"startsWith(session, '{mark}')"
    analytics = calls["track"] + calls["page"] + calls["screen"]
    assert stack.wait_for_count(f"SELECT count() FROM analytics WHERE {own}", analytics) == analytics
    contacts = f"FROM personal WHERE startsWith(account, '{mark}')"
    assert stack.wait_for_count(f"SELECT count() {contacts}", count) == count
    difference = {reason: found - before[reason] for reason, found in rejected(stack).items()}
    assert {reason: found for reason, found in difference.items() if found} == {
        "unknown_type": calls["group"] + calls["alias"]
    }
    kinds = f"SELECT type, count() AS n, uniqExact(event_id) AS ids FROM analytics WHERE {own} GROUP BY type"
    assert {row["type"]: (row["n"], row["ids"]) for row in stack.rows(kinds)} == {
        "usage": (2 * count, 2 * count), "page_view": (2 * count, 2 * count)
    }  # fmt: skip

    page = one(stack, f"SELECT * FROM analytics WHERE {own} AND url = 'https://a.example/8'")
    assert json.loads(page["properties"]) == {"name": "Docs", "category": "Help", "number": 8, "url": page["url"]}
    assert (page["session"], page["ip"]) == (f"{mark}-1", "127.0.0.1")
    usage = one(stack, f"SELECT * FROM analytics WHERE {own} AND properties LIKE '%\"number\":8,%' AND type = 'usage'")
    assert json.loads(usage["properties"]) == {"event": "Opened", "number": 8, "nested": {"list": [1, None, "é"]}}
    contact = one(stack, f"SELECT * {contacts} AND email = 'n8@acme.example'")
    assert (contact["account"], contact["name"], contact["country"]) == (f"{mark}-1", "N 8", "DE")


def one(stack: RunningStack, sql: str) -> dict[str, Any]:
    (row,) = stack.rows(sql)
    return row


def rejected(stack: RunningStack) -> Counter[str]:
    """Events that the stack's collector has rejected, by reason."""
    found: Counter[str] = Counter()
    for line in stack.metrics()["collector"].decode().splitlines():
        if line.startswith("unjoin_events_rejected_total{"):
            found[line.split('"')[1]] = int(float(line.rpartition(" ")[2]))
    return found
