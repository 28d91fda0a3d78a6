"""A key that is lost stops the door and nothing else; one destroyed on record stops nothing."""

import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from testkit.running_stack import RunningStack
from unjoin.keys.keyring import Keyring
from unjoin.playground.door_totals import door_totals_of

pytestmark = pytest.mark.kafka


@pytest.fixture
def days() -> list[date]:
    """Today and, should midnight pass meanwhile, tomorrow."""
    today = datetime.now(UTC).date()
    return [today, today + timedelta(days=1)]


def answers(count: int) -> dict[str, Any]:
    ts = int(datetime.now(UTC).timestamp() * 1000)
    events = [
        {"id": str(uuid.uuid4()), "type": "image_label", "ts": ts, "task": f"t-{number}", "answer": "beagle"}
        for number in range(count)
    ]
    return {"session": "s-1", "events": events}


def suppressed(stack: RunningStack) -> dict[str, int]:
    return door_totals_of(stack.metrics()["processor"].decode()).suppressed


def test_lost_key_halts_the_door_says_so_and_giving_it_up_starts_the_rest(
    kafka_home: Path, tmp_path: Path, days: list[date]
) -> None:
    """The door says what to do before it takes a label; once the key is said to be gone, everything else runs."""
    keyring = Keyring(tmp_path / "keys" / "epoch")
    for day in days:
        keyring.key_of(day)
        (tmp_path / "keys" / "epoch" / f"{day}.key").unlink()
    stack = RunningStack(kafka_home, tmp_path, UNJOIN_CROWD_MIN="1")
    with pytest.raises(AssertionError, match=r"nothing is lost: the key of .*unjoin keys destroy"):
        stack.start()
    for day in days:
        assert stack.command("keys", "destroy", "--role", "epoch", "--day", str(day), "--yes").returncode == 0
    stack.start()
    try:
        signal = {"id": "e-1", "type": "scroll", "ts": 1, "t": [0], "x": [0], "y": [0]}
        assert stack.post({"session": "s-1", "events": [signal]})[1]["accepted"] == 1
        assert stack.wait_for_count("SELECT count() FROM signals WHERE event_id = 'e-1'", 1) == 1
    finally:
        stack.stop()
