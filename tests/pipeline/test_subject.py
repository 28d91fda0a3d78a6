"""`unjoin subject` on a running pipeline: what is stored of one person, and every place that holds a text of theirs."""

import json
import uuid
from pathlib import Path

import pytest

from testkit.running_stack import RunningStack

pytestmark = pytest.mark.kafka
NOW_MS = 1_790_000_000_123


def test_subject_s_text_is_exported_and_found_in_every_place_that_holds_it(stack: RunningStack, tmp_path: Path) -> None:
    """One text in every field; what a search before an erasure does not find, one after it proves nothing about."""
    canary = f"cnry-{uuid.uuid4().hex}"
    about = {"ts": NOW_MS, "id": f"e-{canary}"}
    browser = [
        {**about, "type": "pointer", "t": [0], "x": [1], "y": [1]},
        {**about, "type": "page_view", "url": f"https://{canary}.example/", "properties": {canary: canary}},
        {**about, "type": "text_answer", "task": f"t-{canary[:9]}", "answer": "yes"},
    ]
    names = dict.fromkeys(("role", "name", "country"), canary)
    server = [
        {**about, "type": "contact", "account": canary, "email": f"{canary}@Example.test", **names},
        {**about, "type": "labeler_application", "email": f"{canary}@Example.test", "note": canary, **names},
    ]
    server[1].pop("role")
    assert stack.post({"session": f"s-{canary}", "events": browser})[1]["accepted"] == 3
    assert stack.post({"session": "server", "events": server}, "dev-server-key")[1]["accepted"] == 2
    for table in ("signals", "analytics", "personal", "labelers"):
        assert stack.wait_for_count(f"SELECT count() FROM {table} WHERE event_id = 'e-{canary}'", 1) == 1

    done = stack.command("subject", "--email", f"{canary}@EXAMPLE.test", "--export", "-")
    assert done.returncode == 0, done.stderr
    exported = json.loads(done.stdout)
    assert exported["counts"] == {"personal": 1, "labelers": 1}
    assert exported["not_yet_stored"] == {"events.personal": 0, "events.labelers": 0}

    report = tmp_path / "report.json"
    search = ("--account", canary, "--search", "--report", str(report))
    done = stack.command("subject", *search)
    assert done.returncode == 0, done.stderr
    assert canary not in done.stdout + done.stderr + report.read_text()
    found = {
        (one["place"], one["how"]): sum(one["found"].values()) for one in json.loads(report.read_bytes())["findings"]
    }
    for table, topic in (
        ("signals", "events.signals"),
        ("analytics", "events.analytics"),
        ("personal", "events.personal"),
    ):
        assert found[f"ClickHouse: table {table}", "by SQL, every row"]
        assert found[f"Kafka: topic {topic}", "as a consumer reads it"]
        assert found[f"Kafka: segments of {topic}", "without compression"]
        assert found[f"ClickHouse: parts, merged ones too, of {table}", "without compression"]
    for place in ("table labels", "table dead_letters", "parts, merged ones too, of labels"):
        assert not any(n for (name, _), n in found.items() if name.endswith(place))
    assert not found["Kafka: topic events.labeled", "as a consumer reads it"]
    assert not found["logs of every part", "as it lies"]
    assert not found["other files of the data directory", "as it lies"]
