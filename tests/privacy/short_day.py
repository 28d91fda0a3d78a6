"""A short day on a pipeline of its own: a few sessions that answer, move and look at a page, and what became of it."""

import json
import urllib.request
import uuid
from collections import Counter
from datetime import UTC, date, datetime
from typing import Any

from confluent_kafka import Message

from schemas.topics import DEIDENTIFIED, LABELED
from testkit.kafka_node import stored_records
from testkit.running_stack import RunningStack
from testkit.seals import opened_datum
from unjoin.keys.keyring import Keyring

CROWD_MIN, SESSIONS, LABELS_EACH = 5, 12, 4
KINDS = ("image_label", "audio_transcript", "text_answer")
AGENT = "Mozilla/5.0 (X11; Linux x86_64) secret-agent/9"
URL = "https://secret-page.example/"
ANSWERS = ("beagle", "write to ada.lovelace@example.org", "ada.lovelace@example.org", "from ada.lovelace@example.org!")


class Day:
    """A short day on a pipeline of its own.

    Attributes:
        posted: (session, task) of every label in the order in which they were posted.
        labeled, released: the records of the two topics.
        rows: of `labels`.
    """

    def __init__(self, stack: RunningStack) -> None:
        self.stack = stack
        self.sessions = [f"secret-session-{number}" for number in range(SESSIONS)]
        self.posted = [(session, task(session, n)) for session in self.sessions for n in range(LABELS_EACH)]
        for session in self.sessions:
            self._post(session)
        verdict = {
            "id": "secret-verdict",
            "type": "verdict",
            "ts": now_ms(),
            "session": self.sessions[0],
            "human": True,
        }
        batch = {"session": "server", "events": [verdict]}
        assert stack.post(batch, "dev-server-key") == (200, {"accepted": 1, "rejected": []})
        self.crowds = crowds_of(self.posted)
        votes = sum(map(len, self.crowds))
        assert stack.wait_for_count("SELECT count() FROM labels", votes) == votes
        self.labeled = stored_records(stack.bootstrap, LABELED)
        self.released = stored_records(stack.bootstrap, DEIDENTIFIED)
        self.rows = stack.rows("SELECT * FROM labels")

    def _post(self, session: str) -> None:
        events: list[dict[str, Any]] = [
            {"id": f"secret-event-{uuid.uuid4()}", "type": KINDS[n % 3], "ts": now_ms(), "task": task(session, n),
             "answer": ANSWERS[n]}
            for n in range(LABELS_EACH)
        ]  # fmt: skip
        pointer = {"type": "pointer", "t": [0], "x": [1], "y": [1]}
        events.append({"id": f"secret-event-{uuid.uuid4()}", "ts": now_ms(), **pointer})
        events.append({"id": f"secret-event-{uuid.uuid4()}", "type": "page_view", "ts": now_ms(), "url": URL})
        body = json.dumps({"session": session, "events": events}).encode()
        headers = {"Authorization": "Bearer dev-browser-key", "User-Agent": AGENT, "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{self.stack.http}/v1/events", body, headers)) as answer:
            assert json.load(answer) == {"accepted": len(events), "rejected": []}

    def edge_key(self, day: date) -> bytes:
        key = Keyring(self.stack.data_dir / "keys" / "edge").existing_key_of(day)
        assert key is not None
        return key

    def opened(self, record: Message) -> dict[str, Any]:
        """What a record of the labeled topic says to the door."""
        epoch = Keyring(self.stack.data_dir / "keys" / "epoch")
        return opened_datum(record.value(), epoch.existing_key_of, partition=record.partition() or 0)


def today() -> date:
    return datetime.now(UTC).date()


def now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1_000)


def task(session: str, number: int) -> str:
    """Content, and in this test the only trace by which it knows itself whose a label is."""
    return f"task-of-{session.rpartition('-')[2]}-{number}"


def crowds_of(posted: list[tuple[str, str]]) -> list[set[str]]:
    """Tasks of each complete crowd: the shortest range with enough sessions, none with more than half."""
    crowds, waiting = [], []
    for label in posted:
        waiting.append(label)
        shares = Counter(session for session, _ in waiting)
        if len(shares) >= CROWD_MIN and 2 * max(shares.values()) <= len(waiting):
            crowds.append({name for _, name in waiting})
            waiting = []
    return crowds
