"""`unjoin erase` on the real stack: a person is gone, others stay, what comes later is refused, the books balance."""

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from schemas.subjects import put_back
from schemas.topics import DEAD_LETTERS, PERSONAL
from sinks.kafka.consumer import committed
from testkit.kafka_node import stored_records
from testkit.running_stack import RunningStack
from tests.pipeline.garbage import deliver
from unjoin.cli import main

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


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(stack: RunningStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `unjoin ARGUMENTS` in this process: exit code, output, errors."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        return code, *capsys.readouterr()

    return run


def listed(command: Command) -> dict[str, dict[str, Any]]:
    return {one["reference"]: one for one in json.loads(command("erase", "--list", "--format", "json")[1])}


def test_person_is_gone_from_the_tables_refused_from_then_on_and_accounted_for(
    stack: RunningStack, command: Command
) -> None:
    """One whole way: asked, deleted, refused, listed, audited."""
    gone, stays = f"s-{uuid.uuid4().hex}", f"s-{uuid.uuid4().hex}"
    for session in (gone, stays):
        assert post(stack, session) == []
        for table in ("signals", "analytics"):
            assert stack.wait_for_count(f"SELECT count() FROM {table} WHERE session = '{session}'", 20) == 20
    assert post(stack, gone, count=5) == []  # still on its way when the request is made
    code, output, errors = command("erase", "--session", f"x{gone}", "--site", "dev")
    assert (code, "matches no row" in errors) == (1, True)  # a typing error must not read as an erasure
    asked = ("--session", gone, "--site", "dev", "--reference", gone[:9], "--yes", "--format", "json")
    code, output, errors = command("erase", *asked)
    assert code == 0, errors
    assert "Answers to tasks stay" in errors
    (told,) = json.loads(output)
    for table in ("signals", "analytics"):
        assert stack.wait_for_count(f"SELECT count() FROM {table} WHERE session = '{gone}'", 0) == 0
        assert stack.count(f"SELECT count() FROM {table} WHERE session = '{stays}'") == 20
    request = listed(command)[gone[:9]]
    assert (told["id"], told["deleted"]) == (request["id"], request["deleted"])
    assert request["state"] in ("rows_deleted", "parts_clean")
    assert gone not in json.dumps(request) + output + errors
    assert set(post(stack, gone)) == {"erased"}
    assert post(stack, stays, count=1) == []
    assert stack.wait_for_count(f"SELECT count() FROM signals WHERE session = '{stays}'", 21) == 21
    audit = json.loads(command("audit", "--format", "json")[1])
    lines = {line["name"]: line for line in audit["lines"]}
    assert audit["difference"] == 0, audit
    assert (lines["signals"]["erased"], lines["analytics"]["erased"]) == (25, 25)
    noted = stack.rows(f"SELECT state, deleted FROM erasures FINAL WHERE reference = '{gone[:9]}'")
    assert noted[0]["state"] == request["state"]


def test_open_request_waits_for_garbage_that_a_replay_puts_back(stack: RunningStack, command: Command) -> None:
    """Its bytes lie behind every offset that the request waited for, on the topic and among the dead letters."""
    mark = uuid.uuid4().hex
    asked = ("--email", f"{mark}@a.test", "--reference", mark, "--yes", "--no-wait")
    assert command("erase", *asked)[0] == 0
    wait_until(lambda: listed(command)[mark]["state"] in ("rows_deleted", "parts_clean"))
    deliver(stack.bootstrap, PERSONAL, [(b"k", f"{mark}@a.test".encode())])
    wait_until(lambda: len(letters(stack, mark)) == 1)
    code, _, errors = command("replay", "--topic", PERSONAL, "--dry-run")
    assert code == 0, errors
    assert put_back_until_ms(stack) == 0  # nothing was written
    code, _, errors = command("replay", "--topic", PERSONAL)
    assert code == 0, errors
    assert put_back_until_ms(stack) > time.time() * 1_000
    wait_until(lambda: listed(command)[mark]["state"] == "accepted")
    assert "a replay or a rewind" in listed(command)[mark]["waits_for"]
    wait_until(lambda: len(letters(stack, mark)) == 2)


def letters(stack: RunningStack, mark: str) -> list[Any]:
    return [one for one in stored_records(stack.bootstrap, DEAD_LETTERS) if mark.encode() in (one.value() or b"")]


def put_back_until_ms(stack: RunningStack) -> int:
    """Not with confluent_kafka: what it says of a metadata goes on behind its end."""

    async def found() -> str:
        admin = AIOKafkaAdminClient(bootstrap_servers=stack.bootstrap)
        await admin.start()
        try:
            mark = TopicPartition(*put_back.PLACE)
            return (await committed(admin, put_back.GROUP, [mark]))[mark].metadata
        finally:
            await admin.close()

    return put_back.until_ms_of(asyncio.run(found()))


def wait_until(there: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.5)
