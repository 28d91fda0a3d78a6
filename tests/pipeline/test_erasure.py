"""`unjoin erase` on the real stack: a person is gone, others stay, what comes later is refused, the books balance."""

import json
import subprocess
import time
import uuid
from typing import Any

import pytest

from testkit.running_stack import RunningStack

pytestmark = pytest.mark.kafka

NOW_MS = time.time_ns() // 1_000_000


def post(stack: RunningStack, session: str, *, count: int = 20) -> list[str]:
    """Posts signals and page views of a session, and returns the reasons of what is rejected."""
    events: list[dict[str, Any]] = []
    for number in range(count):
        head = {"id": f"{session}-{number}-{uuid.uuid4().hex}", "ts": NOW_MS}
        events.append({**head, "type": "pointer", "t": [0], "x": [1], "y": [1]})
        events.append({**head, "id": f"{head['id']}-a", "type": "page_view", "url": f"https://a.test/{session}"})
    status, answer = stack.post({"session": session, "events": events})
    assert status == 200, answer
    return [rejected["reason"] for rejected in answer["rejected"]]


def erase(stack: RunningStack, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = stack.command("erase", *arguments)
    assert "Traceback" not in done.stderr
    return done


def listed(stack: RunningStack) -> dict[str, dict[str, Any]]:
    return {one["reference"]: one for one in json.loads(erase(stack, "--list", "--format", "json").stdout)}


def test_person_is_gone_from_the_tables_refused_from_then_on_and_accounted_for(stack: RunningStack) -> None:
    """One whole way: asked, deleted, refused, listed, audited."""
    gone, stays = f"s-{uuid.uuid4().hex}", f"s-{uuid.uuid4().hex}"
    for session in (gone, stays):
        assert post(stack, session) == []
        for table in ("signals", "analytics"):
            assert stack.wait_for_count(f"SELECT count() FROM {table} WHERE session = '{session}'", 20) == 20
    assert post(stack, gone, count=5) == []  # still on its way when the request is made
    done = erase(stack, "--session", gone, "--site", "dev", "--reference", gone[:9], "--yes", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert "Answers to tasks stay" in done.stderr
    (told,) = json.loads(done.stdout)
    for table in ("signals", "analytics"):
        assert stack.wait_for_count(f"SELECT count() FROM {table} WHERE session = '{gone}'", 0) == 0
        assert stack.count(f"SELECT count() FROM {table} WHERE session = '{stays}'") == 20
    request = listed(stack)[gone[:9]]
    assert (told["id"], told["deleted"]) == (request["id"], request["deleted"])
    assert request["state"] in ("rows_deleted", "parts_clean")
    assert gone not in json.dumps(request) + done.stdout + done.stderr
    assert set(post(stack, gone)) == {"erased"}
    assert post(stack, stays, count=1) == []
    assert stack.wait_for_count(f"SELECT count() FROM signals WHERE session = '{stays}'", 21) == 21
    audit = json.loads(stack.command("audit", "--format", "json").stdout)
    lines = {line["name"]: line for line in audit["lines"]}
    assert audit["difference"] == 0, audit
    assert (lines["signals"]["erased"], lines["analytics"]["erased"]) == (25, 25)
    noted = stack.rows(f"SELECT state, deleted FROM erasures FINAL WHERE reference = '{gone[:9]}'")
    assert noted[0]["state"] == request["state"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name one person"),
        (["--session", "s"], "--session needs --site"),
        (["--account", "a", "--email", "a@b"], "name one person"),
        (["--email", "nobody"], "one @"),
        (["--email", "nobody@nowhere.test"], "match no row|matches no row"),
        (["--from", "/nowhere.jsonl"], "cannot be read"),
        (["--email", "a@b.test", "--reference", "x" * 129, "--yes"], "at most 128"),
    ],
)
def test_request_that_cannot_be_meant_is_refused_in_a_sentence(
    stack: RunningStack, arguments: list[str], says: str
) -> None:
    """A typing error must not read as an erasure that was done."""
    before = listed(stack)
    done = erase(stack, *arguments)
    assert done.returncode == 1
    assert any(one in done.stderr for one in says.split("|"))
    assert listed(stack) == before
