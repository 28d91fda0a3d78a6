"""Garbage on the topics of a running pipeline: set aside as found, with its neighbours whole, and the rest goes on."""

import uuid
from collections.abc import Container
from typing import NamedTuple

import msgspec
import pytest
from confluent_kafka import Message

from schemas.dead_letters import TRUNCATED_FROM, origin_of
from schemas.topics import DEAD_LETTERS, DEIDENTIFIED, LABELED, dead_letter_topic
from testkit.kafka_node import stored_records
from testkit.running_stack import RunningStack
from tests.pipeline.garbage import BROKER_BYTES_MAX, NOW_MS, deliver, garbage, whole

pytestmark = pytest.mark.kafka
NEIGHBOURS = 40  # of labels: two crowds, so that one leaves whatever another test has left in the open one
TABLES = {
    "events.signals": "signals",
    "events.analytics": "analytics",
    "events.personal": "personal",
    "events.labelers": "labelers",
    "events.labeled": "labels",
    "labels.deidentified": "labels",
}


class Sent(NamedTuple):
    """One garbage record, where the broker put it, and the reason it should be set aside for."""

    reason: str
    key: bytes | None
    value: bytes | None
    partition: int
    offset: int


@pytest.mark.parametrize("topic", TABLES)
def test_garbage_becomes_dead_letters_and_its_neighbours_become_rows(stack: RunningStack, topic: str) -> None:
    """Nobody can keep bytes of others off a topic; none of them may stop it, forge a row or eat a neighbour."""
    mark = f"garbage-{uuid.uuid4().hex[:12]}"
    sent, neighbours = send_mixed(stack.bootstrap, topic, mark)
    rows = "labels" if topic in (LABELED, DEIDENTIFIED) else TABLES[topic]
    ours = f"task = '{mark}'" if rows == "labels" else f"startsWith(event_id, '{mark}')"
    reasons = {(one.partition, one.offset): one.reason for one in sent}
    assert found_set_aside(stack, topic, reasons) == reasons
    if topic == LABELED:
        # A crowd leaves whole; the voters of an unfinished one stay, and no garbage is among those that left.
        assert stack.wait_until(f"SELECT count() > 0 FROM {rows} WHERE {ours}")
        assert stack.count(f"SELECT count() FROM {rows} WHERE {ours}") <= neighbours
    else:
        assert stack.wait_for_count(f"SELECT count() FROM {rows} WHERE {ours}", neighbours) == neighbours
    if rows == "labels":
        assert stack.rows(f"SELECT DISTINCT answer FROM labels WHERE {ours}") == [{"answer": "beagle"}]
    forged = ours.replace(mark, f"forged-{mark}")
    assert stack.count(f"SELECT count() FROM {rows} WHERE {forged}") == 0
    as_found = {(one.partition, one.offset): (one.key, one.value) for one in sent}
    set_aside_as = letters(stack, topic, as_found)
    assert {place: (letter.key(), letter.value()) for place, letter in set_aside_as.items()} == as_found


@pytest.mark.parametrize("topic", [LABELED, "events.signals"])
def test_record_at_the_broker_s_limit_is_set_aside_cut(stack: RunningStack, topic: str) -> None:
    """With the headers of a dead letter it no longer fits, and nobody may wait for ever for it to do so."""
    large = b"x" * (BROKER_BYTES_MAX - 100)
    delivered = deliver(stack.bootstrap, topic, [(b"k", large), (large, b""), (large, None)])
    expected = {(one.partition() or 0, one.offset() or 0): "not_confluent" for one in delivered}
    assert found_set_aside(stack, topic, expected) == expected
    for letter in letters(stack, topic, expected).values():
        assert dict(letter.headers() or [])[TRUNCATED_FROM] in (b"%d" % len(large), b"0")
        assert len(letter.key() or b"") + len(letter.value() or b"") < 70_000


def test_the_collector_s_events_go_on_behind_garbage(stack: RunningStack) -> None:
    """Where a partition is stuck, everything that is posted afterwards is acknowledged and never seen again."""
    event = {"id": str(uuid.uuid4()), "type": "pointer", "ts": NOW_MS, "t": [0], "x": [1], "y": [1]}
    assert stack.post({"sent_at": NOW_MS, "session": "s-1", "events": [event]})[1]["accepted"] == 1
    assert stack.wait_for_count(f"SELECT count() FROM signals WHERE event_id = '{event['id']}'", 1) == 1


def test_garbage_on_the_topic_of_dead_letters_is_a_row_that_says_where_it_lies(stack: RunningStack) -> None:
    """A dead letter of a dead letter would help nobody and might go round for ever."""
    headers: list[list[tuple[str, bytes]]] = [
        [],
        [("reason", b"trailing_bytes")],
        [("reason", b"\xff"), ("topic", b"t"), ("partition", b"0"), ("offset", b"0")],
        [("reason", b"r"), ("topic", b"t"), ("partition", b"x"), ("offset", b"-1")],
        [("reason", b"r"), ("topic", b"t"), ("partition", b"0"), ("offset", b"9" * 40)],
    ]
    sent = [deliver(stack.bootstrap, DEAD_LETTERS, [(None, b"garbage")], one)[0] for one in headers]
    expected = {(one.partition() or 0, one.offset() or 0): "not_confluent" for one in sent}
    assert found_set_aside(stack, DEAD_LETTERS, expected) == expected


def send_mixed(bootstrap: str, topic: str, mark: str) -> tuple[list[Sent], int]:
    """Garbage with a good record on either side of each piece, on one partition; gives it and how many are good."""
    bad = garbage(topic, whole(topic, f"forged-{mark}", 0))
    records: list[tuple[bytes | None, bytes | None]] = []
    reasons: dict[int, str] = {}
    for number in range(NEIGHBOURS):
        records.append((b"k", whole(topic, mark, number)))
        if number < len(bad):
            reason, key, value = bad[number]
            reasons[len(records)] = reason
            records.append((key, value))
    assert len(reasons) == len(bad)
    delivered = deliver(bootstrap, topic, records)
    sent = [
        Sent(reason, *records[index], delivered[index].partition() or 0, delivered[index].offset() or 0)
        for index, reason in reasons.items()
    ]
    return sent, NEIGHBOURS


def found_set_aside(
    stack: RunningStack, topic: str, expected: dict[tuple[int, int], str]
) -> dict[tuple[int, int], str]:
    places = ", ".join(str(place) for place in expected)
    among = f"FROM dead_letters WHERE topic = '{topic}' AND (partition, offset) IN ({places})"
    stack.wait_for_count(f"SELECT count() {among}", len(expected))
    rows = stack.rows(f"SELECT partition, offset, reason {among}")
    return {(row["partition"], row["offset"]): row["reason"] for row in rows}


def letters(stack: RunningStack, topic: str, places: Container[tuple[int, int]]) -> dict[tuple[int, int], Message]:
    """The dead letters of the records at these places."""
    found = {}
    for letter in stored_records(stack.bootstrap, dead_letter_topic(topic)):
        origin = origin_of(letter.headers())
        if origin is not None and origin.topic == topic and (origin.partition, origin.offset) in places:
            found[origin.partition, origin.offset] = letter
    return found


def test_no_payload_of_garbage_is_in_a_log(stack: RunningStack) -> None:
    """What could not be read may hold anything, somebody's name too."""
    canary = f"canary-{uuid.uuid4().hex}"
    sent = {topic: deliver(stack.bootstrap, topic, [(canary.encode(), canary.encode())])[0] for topic in TABLES}
    for topic, one in sent.items():
        place = {(one.partition() or 0, one.offset() or 0): "not_confluent"}
        assert found_set_aside(stack, topic, place) == place
    logs = list((stack.data_dir / "logs").glob("*.log"))
    assert logs
    assert [log.name for log in logs if canary.encode() in log.read_bytes()] == []
    assert canary not in msgspec.json.encode(stack.rows("SELECT * FROM dead_letters")).decode()
