"""Events to records: keys, stamps, and what no record may carry."""

import datetime
import json
from typing import Any

import msgspec

from ingest.records import Record, Sender, records_of
from ingest.voter import voter_of
from schemas.codec import decode
from schemas.events import AnyEvent
from schemas.outcomes import RejectionReason
from schemas.topics import topics

RECEIVED_MS = 1_790_000_001_000
TS = RECEIVED_MS - 877
DAY = datetime.date(2026, 9, 21)
MIDNIGHT_MS = 1_789_948_800_000
SENDER = Sender("shop", "s-1", RECEIVED_MS, "203.0.113.9", "Mozilla/5.0")
SUBJECT = {t.name: t.subject for t in topics(partitions=1, labeled_partitions=1, events_days=1, labeled_hours=1)}


def edge_key(day: datetime.date) -> bytes:
    return day.isoformat().encode().ljust(32, b"k")


def record_and_datum(**event: Any) -> tuple[Record, dict[str, Any]]:
    records, closed = records_of([(0, typed(**event))], SENDER, edge_key)
    assert closed == []
    (record,) = records
    subject = SUBJECT[record.topic]
    assert subject is not None
    return record, decode(record.value, subject)


def typed(**event: Any) -> AnyEvent:
    return msgspec.convert({"id": "e-1", "ts": TS, **event}, AnyEvent)  # type: ignore[arg-type]


def received(datum: dict[str, Any]) -> int:
    moment: datetime.datetime = datum["received_at"]
    return round(moment.timestamp() * 1_000)


def test_signal_keeps_every_sample_and_is_keyed_by_session() -> None:
    """One session's signals stay in order on one partition."""
    record, datum = record_and_datum(type="touch", t=[0, 16.5], x=[1, 2], y=[3, 4], force=[0.5, 1])
    assert (record.topic, record.key, record.timestamp_ms) == ("events.signals", b"s-1", RECEIVED_MS)
    assert received(datum) == RECEIVED_MS
    expected = {
        "event_id": "e-1",
        "site": "shop",
        "session": "s-1",
        "type": "touch",
        "ts": TS,
        "t": [0, 16.5],
        "x": [1, 2],
        "y": [3, 4],
        "z": [],
        "force": [0.5, 1],
        "t_up": [],
    }
    assert {name: datum[name] for name in expected} == expected


def test_every_signal_type_has_its_arrays() -> None:
    """A sample that lands in another column would be wrong for ever."""
    for kind in ("pointer", "scroll"):
        assert record_and_datum(type=kind, t=[1], x=[2], y=[3])[1]["y"] == [3]
    for kind in ("gyroscope", "accelerometer"):
        assert record_and_datum(type=kind, t=[1], x=[2], y=[3], z=[4])[1]["z"] == [4]
    datum = record_and_datum(type="key", t_down=[0, 90], t_up=[40, 130])[1]
    assert (datum["t"], datum["t_up"], datum["x"]) == ([0, 90], [40, 130], [])


def test_analytics_alone_carries_address_and_user_agent() -> None:
    """The contract's line between an End-User's session and an address."""
    record, datum = record_and_datum(type="page_view", url="https://a.example/", properties={"é": [1, 2**70, None]})
    assert (record.topic, record.key) == ("events.analytics", b"s-1")
    assert (datum["ip"], datum["user_agent"], datum["referrer"]) == ("203.0.113.9", "Mozilla/5.0", "")
    assert datum["properties"] == '{"é":[1,1180591620717411303424,null]}'
    events = [
        {"type": "pointer", "t": [1], "x": [1], "y": [1]},
        {"type": "text_answer", "task": "t", "answer": "a"},
        {"type": "contact", "account": "acme", "role": "", "name": "", "email": "a@b", "country": ""},
        {"type": "labeler_application", "name": "n", "email": "a@b", "country": ""},
    ]
    records = records_of(enumerate(typed(**event) for event in events), SENDER, edge_key)[0]
    assert len(records) == 4
    assert not any(b"203.0.113.9" in record.value or b"Mozilla" in record.value for record in records)


def test_personal_is_keyed_by_account_and_carries_no_session() -> None:
    """People of an account are not visitors of a page."""
    record, datum = record_and_datum(
        type="contact", account="acme", role="integrator", name="N", email="n@a.example", country="DE"
    )
    assert (record.topic, record.key) == ("events.personal", b"acme")
    assert (datum["event_id"], datum["type"], datum["name"], datum["provider"]) == ("e-1", "contact", "N", "")
    assert b"s-1" not in record.value
    datum = record_and_datum(type="identity_check", account="acme", provider="p", method="m", outcome="passed")[1]
    assert (datum["outcome"], datum["email"]) == ("passed", "")


def test_labeler_is_keyed_by_its_event() -> None:
    """There is no account yet."""
    record, datum = record_and_datum(
        type="labeler_application", name="L", email="l@x", country="FR", languages=["fr", "en"], note="hi"
    )
    assert (record.topic, record.key, datum["languages"], datum["note"]) == (
        "events.labelers",
        b"e-1",
        ["fr", "en"],
        "hi",
    )


def test_answer_holds_voter_task_answer_kind_day_and_nothing_else() -> None:
    """Never a session, event id, site or exact time: not in the value, the key or the stamp."""
    record, datum = record_and_datum(type="image_label", task="dogs-0017", answer="beagle")
    voter = voter_of("shop", "s-1", edge_key(DAY))
    assert datum == {
        "voter": voter,
        "day": DAY,
        "act": {"kind": "image_label", "task": "dogs-0017", "answer": "beagle"},
    }
    assert (record.topic, record.key, record.timestamp_ms) == ("events.labeled", voter, MIDNIGHT_MS)
    for trace in (b"s-1", b"e-1", b"shop"):
        assert trace not in record.value


def test_verdict_judges_its_session_on_its_day_and_the_day_before() -> None:
    """A session that straddles midnight has a voter on each side, and a bot's labels of both must go."""
    records, _ = records_of([(0, typed(type="verdict", session="s-9", human=False))], SENDER, edge_key)
    days = [DAY, DAY - datetime.timedelta(days=1)]
    voters = [voter_of("shop", "s-9", edge_key(day)) for day in days]
    assert [record.key for record in records] == voters
    decoded = [decode(record.value, "events.labeled-value") for record in records]
    assert decoded == [
        {"voter": voter, "day": day, "act": {"human": False}} for voter, day in zip(voters, days, strict=True)
    ]


def test_label_whose_day_has_no_key_is_closed_and_its_neighbours_are_not() -> None:
    """A destroyed key stays destroyed; a verdict still reaches the day that is left."""
    events = [
        typed(type="text_answer", task="t", answer="a", ts=RECEIVED_MS - 86_000_000),
        typed(type="text_answer", task="t", answer="a"),
        typed(type="verdict", session="s", human=True),
        typed(type="verdict", session="s", human=True, ts=RECEIVED_MS - 86_000_000),
    ]
    records, closed = records_of(enumerate(events, 5), SENDER, lambda day: edge_key(day) if day == DAY else None)
    assert len(records) == 2
    assert [(entry.index, entry.id, entry.reason) for entry in closed] == [
        (5, "e-1", RejectionReason.DAY_CLOSED),
        (8, "e-1", RejectionReason.DAY_CLOSED),
    ]


def test_repr_of_a_record_shows_no_value() -> None:
    """It may end in a log by accident."""
    record, _ = record_and_datum(type="text_answer", task="t", answer="canary")
    assert "canary" not in repr(record) + repr(SENDER)
    assert "203" not in repr(SENDER)
    assert json.dumps(repr(record))
