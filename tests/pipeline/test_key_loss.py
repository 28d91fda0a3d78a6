"""A key that is lost stops the door and nothing else; one destroyed on record stops nothing."""

import json
import signal
import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from faults.chaos.parts import end, running_pid_of
from testkit.running_stack import RunningStack
from testkit.stack_collector import stack_answers
from tests.processors.running_door import wait_until
from unjoin.keys.keyring import Keyring

pytestmark = pytest.mark.kafka


@pytest.fixture
def days() -> list[date]:
    """Today and, should midnight pass meanwhile, tomorrow."""
    today = datetime.now(UTC).date()
    return [today, today + timedelta(days=1)]


def answers(count: int) -> dict[str, Any]:
    """Answers to tasks that nobody else gets."""
    ts = int(datetime.now(UTC).timestamp() * 1000)
    events = [
        {"id": str(uuid.uuid4()), "type": "image_label", "ts": ts, "task": f"t-{uuid.uuid4()}", "answer": "beagle"}
        for _ in range(count)
    ]
    return {"session": f"s-{uuid.uuid4()}", "events": events}


def suppressed(stack: RunningStack) -> int:
    """Labels that will never leave, by the door's own durable count, which it writes once a minute and at its end."""
    end(running_pid_of("processor", stack.pid), signal.SIGTERM)
    done = stack.command("audit", "--format", "json")
    lines = json.loads(done.stdout)["lines"] if done.returncode in (0, 1) else []
    return sum(line["suppressed"] for line in lines if line["name"] == "labeled")


def is_stored(stack: RunningStack, event_id: str) -> bool:
    """False while the sink starts, too."""
    try:
        return stack.count(f"SELECT count() FROM signals WHERE event_id = '{event_id}'") == 1
    except OSError:
        return False


def lose_keys(folder: Path) -> None:
    for file in folder.glob("*.key"):
        file.unlink()


def test_lost_key_halts_the_door_which_says_so_and_giving_it_up_suppresses(
    kafka_home: Path, tmp_path: Path, days: list[date]
) -> None:
    """The labels wait on their topic for the key or for somebody's word; everything else goes on.

    A door that runs forgets within half a minute what it has read of a key; one that starts has read nothing.
    """
    stack = RunningStack(kafka_home, tmp_path, UNJOIN_CROWD_MIN="1")
    stack.start()
    try:
        assert stack.post(answers(1))[1]["accepted"] == 1
        assert stack.wait_for_count("SELECT count() FROM labels", 1) == 1
        lose_keys(tmp_path / "keys" / "epoch")
        end(running_pid_of("processor", stack.pid), signal.SIGTERM)
        assert stack.post(answers(1))[1]["accepted"] == 1
        log = tmp_path / "up.log"
        wait_until(lambda: "processor halted: " in log.read_text(), "the door halted", seconds_max=90.0)
        assert "nothing is lost: the key of" in log.read_text()
        assert "unjoin keys destroy" in log.read_text()
        scroll = {"id": "e-1", "type": "scroll", "ts": 1, "t": [0], "x": [0], "y": [0]}
        assert stack.post({"session": "s-1", "events": [scroll]})[1]["accepted"] == 1
        assert stack.wait_for_count("SELECT count() FROM signals WHERE event_id = 'e-1'", 1) == 1
        assert stack.stop() == 0
        for day in days:
            stack.command("keys", "destroy", "--role", "epoch", "--day", str(day), "--yes")
        stack.start()
        assert stack.post(answers(1))[1]["accepted"] == 1
        wait_until(lambda: suppressed(stack) == 2, "the labels of the destroyed day are suppressed", seconds_max=90.0)
        assert stack.count("SELECT count() FROM labels") == 1
    finally:
        stack.stop()


def test_key_lost_before_a_door_announced_it_stops_labels_alone(
    kafka_home: Path, tmp_path: Path, days: list[date]
) -> None:
    """Nobody can seal a label, so none is taken, and what would mend it is in the log; everything else is stored."""
    keyring = Keyring(tmp_path / "keys" / "epoch")
    for day in days:
        keyring.key_of(day)
    lose_keys(tmp_path / "keys" / "epoch")
    stack = RunningStack(kafka_home, tmp_path, UNJOIN_CROWD_MIN="1")
    stack.begin()  # a collector waits for keys before it says that it is ready
    try:
        logs = tmp_path / "logs"
        wait_until(lambda: any("unjoin keys destroy" in log.read_text() for log in logs.glob("*")), "the door says it")
        wait_until(lambda: stack_answers(stack), "the collector answers")
        assert stack.post(answers(1))[0] == 503
        scroll = {"id": "e-1", "type": "scroll", "ts": 1, "t": [0], "x": [0], "y": [0]}
        assert stack.post({"session": "s-1", "events": [scroll]})[1]["accepted"] == 1
        wait_until(lambda: is_stored(stack, "e-1"), "the row")
    finally:
        stack.stop()
