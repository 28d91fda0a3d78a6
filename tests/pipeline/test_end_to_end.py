"""The product's main job on real parts: what is accepted over HTTP is a row, once, and nothing else is."""

import json
import re
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testkit.dashboards import dashboards
from testkit.running_stack import RunningStack

pytestmark = pytest.mark.kafka
TABLES = {"signals": "signals", "analytics": "analytics", "personal": "personal", "labelers": "labelers"}
ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RUNBOOKS = "".join(path.read_text() for path in (ROOT / "docs" / "runbooks").glob("*.md"))
NOW_MS = 1_790_000_000_123


def batch(*events: dict[str, Any], session: str = "s-1") -> dict[str, Any]:
    return {"sent_at": NOW_MS, "session": session, "events": list(events)}


def event_id() -> str:
    return str(uuid.uuid4())


def test_one_event_of_each_category_is_one_row(stack: RunningStack) -> None:
    """The shortest way through every part."""
    session = f"s-{uuid.uuid4().hex[:12]}"
    pointer, view, contact, application = (event_id() for _ in range(4))
    browser = batch(
        {"id": pointer, "type": "pointer", "ts": NOW_MS, "t": [0, 16.5, 33], "x": [10, 12, 15], "y": [5, 5, 6]},
        {"id": view, "type": "page_view", "ts": NOW_MS, "url": "https://example.test/", "referrer": "",
         "properties": {"plan": "free"}},
        session=session,
    )  # fmt: skip
    server = batch(
        {"id": contact, "type": "contact", "ts": NOW_MS, "account": session, "role": "integrator",
         "name": "Ada", "email": "a@b.test", "country": "DE"},
        {"id": application, "type": "labeler_application", "ts": NOW_MS, "name": "Lin", "email": "l@b.test",
         "country": "SE", "languages": ["sv", "en"], "note": ""},
        session=session,
    )  # fmt: skip
    assert stack.post(browser) == (200, {"accepted": 2, "rejected": []})
    assert stack.post(server, "dev-server-key") == (200, {"accepted": 2, "rejected": []})
    for table, one in (("signals", pointer), ("analytics", view), ("personal", contact), ("labelers", application)):
        assert stack.wait_for_count(f"SELECT count() FROM {table} WHERE event_id = '{one}'", 1) == 1
    (row,) = stack.rows(f"SELECT site, session, type, ts, t, x, y, z FROM signals WHERE event_id = '{pointer}'")
    assert row == {
        "site": "dev", "session": session, "type": "pointer", "ts": NOW_MS,
        "t": [0, 16.5, 33], "x": [10, 12, 15], "y": [5, 5, 6], "z": [],
    }  # fmt: skip
    (row,) = stack.rows(f"SELECT ip, url, properties FROM analytics WHERE event_id = '{view}'")
    assert row == {"ip": "127.0.0.1", "url": "https://example.test/", "properties": '{"plan":"free"}'}


def test_alerts_dashboards_and_runbooks_ask_for_metrics_that_roles_tell(stack: RunningStack) -> None:
    """An alert on a name that nobody tells never fires, and nobody notices."""
    asked = set(re.findall(r"(?:unjoin|process)_[a-z_]+", " ".join(_expressions())))
    told = set(re.findall(r"^((?:unjoin|process)_\w+)", b"".join(stack.metrics().values()).decode(), re.M))
    done = stack.command("audit", "--textfile", str(stack.data_dir / "audit.prom"))
    told |= set(re.findall(r"^(unjoin_\w+)", (stack.data_dir / "audit.prom").read_text(), re.M))
    assert done.returncode == 0, done.stderr
    assert asked - told == set()


def _expressions() -> Iterator[str]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    yield from (rule["expr"] for group in groups for rule in group["rules"])
    panels = [panel for dashboard in dashboards().values() for panel in dashboard.panels.values()]
    yield from (query for panel in panels for query in panel.queries.values())
    yield from re.findall(r"`([^`\n]*unjoin_[^`\n]*)`", RUNBOOKS)


@pytest.mark.parametrize("sql", re.findall(r'^ *unjoin query "((?:SELECT|SHOW) [^"]*)"', RUNBOOKS, re.M))
def test_query_of_a_runbook_is_answered(stack: RunningStack, sql: str) -> None:
    """Whoever is woken copies it, and may have rights for no other."""
    stack.rows(sql)


def test_event_sent_twice_is_one_row(stack: RunningStack) -> None:
    """A client that saw no answer sends again, under the same ids."""
    again = batch({"id": event_id(), "type": "scroll", "ts": NOW_MS, "t": [0], "x": [0], "y": [120]})
    for _ in range(3):
        assert stack.post(again)[1]["accepted"] == 1
    last = batch({"id": event_id(), "type": "scroll", "ts": NOW_MS, "t": [0], "x": [0], "y": [120]})
    stack.post(last)
    ids = [sent["events"][0]["id"] for sent in (again, last)]
    assert stack.wait_for_count(f"SELECT count() FROM signals WHERE event_id = '{ids[1]}'", 1) == 1
    assert stack.count(f"SELECT count() FROM signals WHERE event_id = '{ids[0]}'") == 1


def test_bad_event_does_not_sink_its_batch(stack: RunningStack) -> None:
    """One broken widget on a page must not cost the others their data."""
    good, bad = event_id(), event_id()
    status, answer = stack.post(
        batch(
            {"id": bad, "type": "pointer", "ts": NOW_MS, "t": [0, 1], "x": [1], "y": [1]},
            {"id": good, "type": "pointer", "ts": NOW_MS, "t": [0], "x": [1], "y": [1]},
        )
    )
    assert (status, answer["accepted"]) == (200, 1)
    assert [(one["id"], one["reason"], one["field"]) for one in answer["rejected"]] == [(bad, "unequal_arrays", "x")]
    assert stack.wait_for_count(f"SELECT count() FROM signals WHERE event_id = '{good}'", 1) == 1
    assert stack.count(f"SELECT count() FROM signals WHERE event_id = '{bad}'") == 0


def test_simulated_traffic_is_stored_to_the_last_event_and_stopping_under_load_loses_nothing(
    kafka_home: Path, tmp_path: Path
) -> None:
    """Accepted per category equals rows per table; then SIGTERM in the middle of traffic, and a start.

    Exit 0, nobody is left behind, and every acknowledged event is there next time.
    """
    stack = RunningStack(kafka_home, tmp_path, UNJOIN_CROWD_MIN="1")
    stack.start()
    try:
        first = simulate(stack, tmp_path / "first.json", events=10_000, seed=7)
        assert_all_stored(stack, first)
        file = tmp_path / "second.json"
        command = [*stack.python, "simulate", "--events", "5000000", "--seed", "3", "--summary", str(file)]
        traffic = subprocess.Popen(command, env=stack.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert stack.wait_until(f"SELECT count() > 2000 + {first['accepted']['signals']} FROM signals")
        assert stack.stop() == 0
        traffic.send_signal(signal.SIGINT)
        traffic.wait(30)
        assert not stack.processes()
        stack.start()
        second = json.loads(file.read_text())
        for category, table in TABLES.items():
            accepted = first["accepted"][category] + second["accepted"][category]
            assert stack.wait_until(f"SELECT count() >= {accepted} FROM {table}"), (
                f"{table}: acknowledged events are lost"
            )
            stored = stack.count(f"SELECT count() FROM {table}")
            assert stored <= accepted + second["unknown"], f"{table}: more rows than events"
        votes = first["votes"] + second["votes"]
        assert stack.wait_until(f"SELECT count() >= {votes} FROM labels"), "acknowledged votes are lost"
    finally:
        stack.stop()


def simulate(stack: RunningStack, file: Path, *, events: int, seed: int) -> dict[str, Any]:
    done = stack.command("simulate", "--events", str(events), "--seed", str(seed), "--summary", str(file))
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(file.read_text())
    return summary


def assert_all_stored(stack: RunningStack, summary: dict[str, Any]) -> None:
    for category, table in TABLES.items():
        accepted = summary["accepted"][category]
        assert accepted > 0
        assert stack.wait_for_count(f"SELECT count() FROM {table}", accepted) == accepted, table
    votes = summary["votes"]
    assert stack.wait_for_count("SELECT count() FROM labels", votes) == votes
