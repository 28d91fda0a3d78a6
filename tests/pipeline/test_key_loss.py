"""A key that is lost stops the door and nothing else; one destroyed on record stops nothing."""

import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.outcomes import Suppression
from testkit.running_stack import RunningStack
from tests.processors.running_door import wait_until
from unjoin.keys.keyring import Keyring
from unjoin.playground.door_totals import door_totals_of

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


def suppressed(stack: RunningStack) -> dict[str, int]:
    return door_totals_of(stack.metrics()["processor"].decode()).suppressed


def lose_keys(folder: Path) -> None:
    for file in folder.glob("*.key"):
        file.unlink()


def test_key_lost_while_the_door_runs_halts_it_says_so_and_giving_it_up_suppresses(
    kafka_home: Path, tmp_path: Path, days: list[date]
) -> None:
    """The labels wait on their topic for the key or for somebody's word; everything else goes on."""
    stack = RunningStack(kafka_home, tmp_path, UNJOIN_CROWD_MIN="1")
    stack.start()
    try:
        assert stack.post(answers(1))[1]["accepted"] == 1
        assert stack.wait_for_count("SELECT count() FROM labels", 1) == 1
        lose_keys(tmp_path / "keys" / "epoch")
        log, sent = tmp_path / "up.log", 1

        def halted() -> bool:
            """What the door has read of a key it forgets within half a minute; until then labels leave."""
            nonlocal sent
            sent += stack.post(answers(1))[1]["accepted"]
            return "processor halted: " in log.read_text()

        wait_until(halted, "the door halted", seconds_max=90.0)
        assert "nothing is lost: the key of" in log.read_text()
        assert "unjoin keys destroy" in log.read_text()
        signal = {"id": "e-1", "type": "scroll", "ts": 1, "t": [0], "x": [0], "y": [0]}
        assert stack.post({"session": "s-1", "events": [signal]})[1]["accepted"] == 1
        assert stack.wait_for_count("SELECT count() FROM signals WHERE event_id = 'e-1'", 1) == 1
        assert stack.stop() == 0
        for day in days:
            stack.command("keys", "destroy", "--role", "epoch", "--day", str(day), "--yes")
        stack.start()
        sent += stack.post(answers(1))[1]["accepted"]
        wait_until(
            lambda: suppressed(stack) == {Suppression.KEY_DESTROYED: sent - stack.count("SELECT count() FROM labels")},
            "the labels of the destroyed day are suppressed, which shows at the next whole minute",
            seconds_max=90.0,
        )
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
    stack.start()
    try:
        assert stack.post(answers(1))[0] == 503
        signal = {"id": "e-1", "type": "scroll", "ts": 1, "t": [0], "x": [0], "y": [0]}
        assert stack.post({"session": "s-1", "events": [signal]})[1]["accepted"] == 1
        assert stack.wait_for_count("SELECT count() FROM signals WHERE event_id = 'e-1'", 1) == 1
        logs = "".join(file.read_text() for file in (tmp_path / "logs").iterdir())
        assert "unjoin keys destroy" in logs
    finally:
        stack.stop()
