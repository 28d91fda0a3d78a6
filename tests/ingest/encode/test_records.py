"""Events to records: keys, stamps, and what no record may carry."""

import datetime
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.encode.pseudonym import day_of_event, voter_of
from ingest.encode.records import Record, Records, Sender, records_of, runs_of
from ingest.encode.seals import Seals
from ingest.kafka.partitioner import positive_hash
from schemas.codec import decode, encode
from schemas.events import AnyEvent
from schemas.outcomes import RejectionReason, UnjoinError
from schemas.seal import Opener, SealError, place_of
from schemas.topics import LABELED, SIGNALS, topics
from testkit.seals import opened_datum, sealed_of, seals_of

RECEIVED_MS = 1_790_000_001_000
TS = RECEIVED_MS - 877
DAY = datetime.date(2026, 9, 21)
MIDNIGHT_MS = 1_789_948_800_000
SENDER = Sender("shop", "s-1", RECEIVED_MS, "203.0.113.9", "Mozilla/5.0")
SUBJECT = {t.name: t.subject for t in topics(partitions=1, labeled_partitions=1, events_days=1, labeled_hours=1)}


def edge_key(day: datetime.date) -> bytes:
    return day.isoformat().encode().ljust(32, b"k")


def epoch_key(day: datetime.date) -> bytes:
    return day.isoformat().encode().ljust(32, b"e")


SEALS = seals_of(epoch_key, partitions=3)


def opened(record: Record) -> dict[str, Any]:
    assert record.partition is not None
    return opened_datum(record.value, epoch_key, partition=record.partition)


def record_and_datum(**event: Any) -> tuple[Record, dict[str, Any]]:
    records, closed = records_of([(0, typed(**event))], SENDER, edge_key, SEALS)
    assert closed == []
    (record,) = records
    if record.topic == LABELED:
        return record, opened(record)
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


@pytest.mark.parametrize("strokes", [1, 16, 17, 1_024])
def test_key_event_keeps_sixteen_strokes_and_not_how_many_there_were(strokes: int) -> None:
    """The number of strokes gives an answer's length, and a page can be told to send what it likes."""
    down, up = [90 * stroke for stroke in range(strokes)], [90 * stroke + 40 for stroke in range(strokes)]
    datum = record_and_datum(type="key", t_down=down, t_up=up)[1]
    assert (datum["t"], datum["t_up"]) == (down[:16], up[:16])
    assert set(datum) == set(record_and_datum(type="key", t_down=[0], t_up=[1])[1])


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
    records = records_of(enumerate(typed(**event) for event in events), SENDER, edge_key, SEALS)[0]
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
    """Never a session, event id, site or exact time: not in what is sealed, in the key or the stamp."""
    record, datum = record_and_datum(type="image_label", task="dogs-0017", answer="beagle")
    voter = voter_of("shop", "s-1", edge_key(DAY))
    assert datum == {
        "voter": voter,
        "day": DAY,
        "act": {"kind": "image_label", "task": "dogs-0017", "answer": "beagle"},
    }
    assert (record.topic, record.key, record.timestamp_ms) == ("events.labeled", None, MIDNIGHT_MS)
    assert record.partition == positive_hash(voter) % 3
    for trace in (b"s-1", b"e-1", b"shop", voter, b"dogs", b"beagle"):
        assert trace not in record.value


def test_length_of_a_sealed_answer_tells_only_its_size_class() -> None:
    """An answer of a letter and one of a word are as long as each other, and as a verdict."""
    given = [{"type": "text_answer", "task": "t", "answer": answer} for answer in ("", "a", "a whole sentence, or two")]
    given.append({"type": "verdict", "session": "s-9", "human": True})
    assert len({len(record_of(event).value) for event in given}) == 1


def record_of(event: dict[str, Any]) -> Record:
    records, _ = records_of([(0, typed(**event))], SENDER, edge_key, seals_of(epoch_key))
    return records[0]


def record_with(seals: Seals) -> Record:
    """Of an answer."""
    records, _ = records_of([(0, typed(type="text_answer", task="t", answer="a"))], SENDER, edge_key, seals)
    return records[0]


def test_labels_of_a_request_share_a_run_by_partition() -> None:
    """A run is one look-up and one append for many records."""
    events = [typed(type="text_answer", task=f"t-{number}", answer="a") for number in range(9)]
    records, _ = records_of(enumerate(events), SENDER, edge_key, SEALS)
    (run,) = records.runs
    assert (run.key, run.partition, len(run.values)) == (None, records[0].partition, 9)
    assert [opened(record)["act"]["task"] for record in records] == [f"t-{number}" for number in range(9)]


def test_label_of_a_day_whose_door_is_unknown_raises_and_a_signal_asks_for_no_key() -> None:
    """It cannot be sealed, so nothing of the batch is sent; all other events need no key at all."""

    def unannounced(day: datetime.date) -> bytes:
        raise UnjoinError("no door has announced its public key")

    untouched = Seals(unannounced, pytest.fail, pytest.fail)
    with pytest.raises(UnjoinError, match="no door"):
        record_with(Seals(unannounced, lambda voter: 0, pytest.fail))
    signal = typed(type="pointer", t=[1], x=[2], y=[3])
    assert len(records_of([(0, signal)], SENDER, pytest.fail, untouched)[0]) == 1


def test_public_key_that_is_none_refuses_labels() -> None:
    """Of another length, or a point whose shared secret is zero: anybody could open what is sealed to that."""
    for public_key in (bytes(31), bytes(32), b""):
        seals = Seals(lambda day, key=public_key: key, lambda voter: 0, lambda: 0.0)
        with pytest.raises(SealError, match="public key of 2026-09-21 is not one"):
            record_with(seals)


def test_label_is_sealed_to_the_key_that_is_in_force_now() -> None:
    """A door that is replaced within a day announces another key; what is sealed to the old one nobody can read."""
    keys = {DAY: b"1" * 32}
    seals = seals_of(lambda day: keys[day])
    for key in (b"1" * 32, b"2" * 32, b"1" * 32):
        keys[DAY] = key
        record = record_with(seals)
        assert opened_datum(record.value, lambda day, key=key: key)["act"]["answer"] == "a"


def test_verdict_judges_its_session_on_its_day_and_the_day_before() -> None:
    """A session that straddles midnight has a voter on each side, and a bot's labels of both must go."""
    records, _ = records_of([(0, typed(type="verdict", session="s-9", human=False))], SENDER, edge_key, SEALS)
    days = [DAY, DAY - datetime.timedelta(days=1)]
    voters = [voter_of("shop", "s-9", edge_key(day)) for day in days]
    assert {record.key for record in records} == {None}
    assert [record.partition for record in records] == [positive_hash(voter) % 3 for voter in voters]
    decoded = [opened(record) for record in records]
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
    records, closed = records_of(enumerate(events, 5), SENDER, lambda day: edge_key(day) if day == DAY else None, SEALS)
    assert len(records) == 2
    assert [(entry.index, entry.id, entry.reason) for entry in closed] == [
        (5, "e-1", RejectionReason.DAY_CLOSED),
        (8, "e-1", RejectionReason.DAY_CLOSED),
    ]


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
ts = st.integers(0, 253_402_300_799_999) | st.just(TS)
VALUES = {
    "id": st.from_regex(r"\A[A-Za-z0-9_.:-]{1,8}\Z"),
    "ts": ts,
    "email": st.just("a@b.example"),
    "task": st.just("t-1"),
    "session": st.just("s-2"),
    "human": st.booleans(),
    "account": texts.filter(bool),
    "languages": st.lists(texts, max_size=3),
    "properties": st.dictionaries(texts, st.none() | st.integers() | texts, max_size=3),
}


@st.composite
def any_events(draw: st.DrawFn) -> AnyEvent:
    """An event of any type, its values as a decoder gives them."""
    kind = draw(st.sampled_from(AnyEvent.__args__))
    samples = st.lists(st.floats(allow_nan=False), min_size=(count := draw(st.integers(1, 4))), max_size=count)
    fields = {
        name: draw(samples if name in kind.samples else VALUES.get(name, texts)) for name in kind.__struct_fields__
    }
    event: AnyEvent = kind(**fields)
    return event


@given(st.lists(any_events(), max_size=8))
def test_every_event_is_written_as_fastavro_writes_it(events: list[AnyEvent]) -> None:
    """Generated encoders are fast because they know what a batch shares; the bytes are the schema's all the same."""
    records, closed = records_of(enumerate(events), SENDER, edge_key, SEALS)
    assert closed == []
    written = [(type(event), record) for event in events for record in slow_records(event)]
    assert sorted(map(opened_fields_of, records), key=repr) == sorted((record for _, record in written), key=repr)
    in_order: dict[Any, list[bytes]] = {}
    for kind, (topic, key, _, value) in written:
        in_order.setdefault((topic, key, kind if topic == SIGNALS else None), []).append(value)
    for (topic, key, _), values in in_order.items():
        fields = [opened_fields_of(record) for record in records]
        of_key = [value for its_topic, its_key, _, value in fields if (its_topic, its_key) == (topic, key)]
        assert [value for value in of_key if value in values] == values


def opened_fields_of(record: Record) -> tuple[Any, ...]:
    """As `fields_of`, with partition and stamp of a label for its key, and what is in its seal."""
    if record.topic != LABELED:
        return fields_of(record)
    content = Opener(epoch_key).open(sealed_of(record.value), place_of(LABELED, record.partition or 0))
    return record.topic, (record.partition, record.timestamp_ms), record.timestamp_ms, content


def fields_of(record: Record) -> tuple[Any, ...]:
    return record.topic, record.key, record.timestamp_ms, record.value


def slow_records(event: Any) -> list[tuple[Any, ...]]:
    """Topic, key, stamp and value, by fastavro, for one event: what `records_of` is held to."""
    tag = event.__struct_config__.tag
    base = {"event_id": event.id, "site": "shop", "ts": event.ts, "received_at": RECEIVED_MS}
    fields = {name: getattr(event, name) for name in event.__struct_fields__ if name not in ("id", "ts")}
    match event.category:
        case "signals":
            if tag == "key":
                fields = {"t": event.t_down[:16], "t_up": event.t_up[:16]}
            topic, key, datum = "events.signals", b"s-1", {**base, "session": "s-1", "type": tag, **fields}
        case "analytics":
            fields["properties"] = json.dumps(event.properties, ensure_ascii=False, separators=(",", ":"))
            where = {"session": "s-1", "type": tag, "ip": SENDER.ip, "user_agent": SENDER.user_agent}
            topic, key, datum = "events.analytics", b"s-1", {**base, **where, **fields}
        case "personal":
            topic, key, datum = "events.personal", event.account.encode(), {**base, "type": tag, **fields}
        case "labelers":
            topic, key, datum = "events.labelers", event.id.encode(), {**base, **fields}
        case _:
            return slow_labeled(event, tag)
    return [(topic, key, RECEIVED_MS, encode(f"{topic}-value", datum))]


def slow_labeled(event: Any, tag: str) -> list[tuple[Any, ...]]:
    day = day_of_event(event.ts, RECEIVED_MS)
    if tag == "verdict":
        days, session = [day, day - datetime.timedelta(days=1)], event.session
        act: Any = ("unjoin.Verdict", {"human": event.human})
    else:
        days, session = [day], "s-1"
        act = ("unjoin.Answer", {"kind": tag, "task": event.task, "answer": event.answer})
    found = []
    for one in days:
        voter = voter_of("shop", session, edge_key(one))
        stamp = (one - datetime.date(1970, 1, 1)).days * 86_400_000
        value = encode("events.labeled.content-value", {"voter": voter, "day": one, "act": act})
        found.append(("events.labeled", (positive_hash(voter) % 3, stamp), stamp, value))
    return found


@given(
    st.lists(
        st.builds(Record, st.sampled_from("ab"), st.none() | st.sampled_from([b"k", b"l"]), st.binary(), st.just(1))
    )
)
def test_records_by_runs_are_the_same_records_each_keys_in_order(records: list[Record]) -> None:
    """A run is one look-up for many records; nothing may be lost or overtaken in it."""
    grouped = Records(runs_of(records))
    assert len(grouped) == len(records)
    assert sorted(map(repr, map(fields_of, grouped))) == sorted(map(repr, map(fields_of, records)))
    for topic, key in {(record.topic, record.key) for record in records}:
        mine = [record for record in records if (record.topic, record.key) == (topic, key)]
        assert [record for record in grouped if (record.topic, record.key) == (topic, key)] == mine
    assert runs_of(grouped) is grouped.runs
    assert list(grouped) == [grouped[index] for index in range(len(grouped))] == grouped[:]


def test_repr_of_a_record_shows_no_value() -> None:
    """It may end in a log by accident."""
    record, _ = record_and_datum(type="text_answer", task="t", answer="canary")
    assert "canary" not in repr(record) + repr(SENDER)
    assert "203" not in repr(SENDER)
    assert json.dumps(repr(record))
