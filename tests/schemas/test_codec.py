"""What lies on the topics can be read, now and after the next release."""

import datetime
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec, lengths
from schemas.outcomes import DeadLetterReason, DecodeError
from schemas.registry import Registered, by_id, latest, registered

DAY = datetime.date(2026, 11, 24)
INSTANT = datetime.datetime(2026, 11, 24, 10, 0, 0, 123_000, tzinfo=datetime.UTC)
CLASSES = {"direct_identifier", "quasi_identifier", "content", "technical"}

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
samples = st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=5)
longs = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(1_700_000_000_000, 2_100_000_000_000))  # or a time
DATUMS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "events.signals-value": st.fixed_dictionaries(
        dict.fromkeys(("event_id", "site", "session", "type"), text)
        | {"ts": longs, "received_at": st.just(INSTANT), "sent_at": longs}
        | dict.fromkeys(("t", "x", "y", "z", "force", "t_up"), samples)
    ),
    "events.labeled-value": st.fixed_dictionaries(
        {"day": st.just(DAY), "wrapped_key": st.binary(max_size=90), "number": longs, "ciphertext": st.binary()}
    ),
    "events.labeled.content-value": st.fixed_dictionaries(
        {
            "voter": st.binary(min_size=32, max_size=32),
            "day": st.just(DAY),
            "act": st.one_of(
                st.tuples(
                    st.just("unjoin.Answer"), st.fixed_dictionaries({"kind": text, "task": text, "answer": text})
                ),
                st.tuples(st.just("unjoin.Verdict"), st.fixed_dictionaries({"human": st.booleans()})),
            ),
        }
    ),
    "labels.deidentified-value": st.fixed_dictionaries(
        {"row_id": st.uuids(), "day": st.just(DAY), "task": text, "kind": text, "answer": text, "version": longs}
    ),
    "events.labelers-value": st.fixed_dictionaries(
        dict.fromkeys(("event_id", "site", "name", "email", "country", "note"), text)
        | {"ts": longs, "received_at": st.just(INSTANT), "sent_at": longs, "languages": st.lists(text, max_size=4)}
    ),
}
subjects = st.sampled_from(sorted(DATUMS))


@given(st.data())
def test_datum_survives_the_wire(data: st.DataObject) -> None:
    """What the edge wrote is what the door and the sinks read."""
    subject = data.draw(subjects)
    datum = data.draw(DATUMS[subject])
    read = codec.decode(codec.encode(subject, datum), subject)
    expected = {name: value[1] if isinstance(value, tuple) else value for name, value in datum.items()}
    assert read == expected


@given(st.data())
def test_walker_finds_the_end_that_fastavro_finds(data: st.DataObject) -> None:
    """The sink trusts the walker's length; a wrong one would forge a row."""
    subject = data.draw(subjects)
    value = codec.encode(subject, data.draw(DATUMS[subject]))
    datum = value[codec.HEADER_BYTES :]
    schema_id = latest(subject).id
    lengths.check_datum(schema_id, datum)
    with pytest.raises(DecodeError) as longer:
        lengths.check_datum(schema_id, datum + b"\0")
    assert longer.value.reason == DeadLetterReason.TRAILING_BYTES
    with pytest.raises(DecodeError):
        lengths.check_datum(schema_id, datum[:-1])


def test_walker_ends_an_array_at_a_zero_of_any_length() -> None:
    """A varint may have more bytes than it needs; taken for a block of no items, this zero would not end the datum."""
    codec_of = latest("events.signals-value")
    empty = codec.encode("events.signals-value", {
        "event_id": "e", "site": "s", "session": "s", "type": "key", "ts": 1, "received_at": 1,
        "t": [], "x": [], "y": [], "z": [], "force": [], "t_up": [],
    })[codec.HEADER_BYTES :]  # fmt: skip
    longer = empty[:-1] + b"\x80\0"
    codec.decode_datum(codec_of, longer, codec_of)
    lengths.check_datum(codec_of.id, longer)
    with pytest.raises(DecodeError) as raised:
        lengths.check_datum(codec_of.id, longer + b"\0")
    assert raised.value.reason == DeadLetterReason.TRAILING_BYTES


@given(st.data())
def test_walker_returns_the_strings_that_fastavro_reads(data: st.DataObject) -> None:
    """What is looked up for a row is what the row says."""
    subject = "events.labelers-value"
    row = data.draw(DATUMS[subject])
    row["name"] = row["name"] * data.draw(st.sampled_from([1, 2, 10, 1_000]))
    datum = codec.encode(subject, row)[codec.HEADER_BYTES :]
    end, strings = lengths.walker(latest(subject).id, ("name", "nowhere", "note"))(b"before" + datum, 6)
    assert tuple(map(lengths.text_of, strings)) == (row["name"], "", row["note"])
    assert end == 6 + len(datum)


@pytest.mark.parametrize("samples_each", [0, 1, 63, 64, 1_024])
def test_walker_passes_arrays_of_every_length(samples_each: int) -> None:
    """A count has one byte up to 63, and more from there on."""
    array = [0.5] * samples_each
    signal = dict.fromkeys(("event_id", "site", "session", "type"), "a" * samples_each) | {
        "ts": 1, "received_at": 1, **dict.fromkeys(("t", "x", "y", "z", "force", "t_up"), array)
    }  # fmt: skip
    datum = codec.encode("events.signals-value", signal)[codec.HEADER_BYTES :]
    lengths.check_datum(latest("events.signals-value").id, datum)
    for wrong in (datum[:-1], datum + b"\0", datum[1:]):
        with pytest.raises(DecodeError):
            lengths.check_datum(latest("events.signals-value").id, wrong)


@given(subjects, st.binary(max_size=200))
def test_any_bytes_decode_or_raise_decode_error(subject: str, noise: bytes) -> None:
    """Garbage on a topic is a dead letter, never a crash."""
    for value in (noise, codec.header(subject) + noise):
        try:
            codec.decode(value, subject)
        except DecodeError:
            continue


@given(subjects, st.binary(max_size=200))
def test_what_the_walker_passes_fastavro_reads_whole(subject: str, noise: bytes) -> None:
    """The engine must never meet a datum that Python's reference would have refused for its length."""
    writer = latest(subject)
    try:
        lengths.check_datum(writer.id, noise)
    except DecodeError:
        return
    try:
        codec.decode_datum(writer, noise, writer)
    except DecodeError as error:
        reason = error.reason
    else:
        return
    # A value of the right length can still be out of a logical type's range, or not UTF-8; but never too long.
    assert reason == DeadLetterReason.MALFORMED_DATUM


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, DeadLetterReason.NOT_CONFLUENT),
        (b"", DeadLetterReason.NOT_CONFLUENT),
        (b"\0\0\0\0", DeadLetterReason.NOT_CONFLUENT),
        (b"\1\0\0\0\1rest", DeadLetterReason.NOT_CONFLUENT),
        (b"\0\0\0\xff\xffrest", DeadLetterReason.UNKNOWN_SCHEMA),
        (b"\0\0\0\0\2rest", DeadLetterReason.WRONG_SCHEMA),
        (b"\0\0\0\0\1", DeadLetterReason.MALFORMED_DATUM),
        (b"\0\0\0\0\1\xff\xff\xff\xff\x0fx", DeadLetterReason.MALFORMED_DATUM),
    ],
)
def test_unreadable_record_says_why(value: bytes | None, reason: DeadLetterReason) -> None:
    """Whoever looks at a dead letter must learn what is wrong with it."""
    with pytest.raises(DecodeError) as error:
        codec.decode(value, "events.signals-value")
    assert error.value.reason == reason


def test_every_field_states_its_privacy_class() -> None:
    """An unclassified field counts as a direct identifier, so there must be none."""

    def fields_of(schema: Any) -> Any:
        if isinstance(schema, list):
            for option in schema:
                yield from fields_of(option)
        elif isinstance(schema, dict) and schema["type"] == "record":
            for field in schema["fields"]:
                yield schema["name"], field
                yield from fields_of(field["type"])

    found = [pair for entry in registered() for pair in fields_of(entry.parsed)]
    assert len(found) > 50
    for record, field in found:
        assert field.get("privacy") in CLASSES, f"{record}.{field['name']}"
        assert field.get("doc"), f"{record}.{field['name']}"


def test_nothing_released_is_an_identifier() -> None:
    """What lies on labels.deidentified may name no one."""
    for field in latest("labels.deidentified-value").parsed["fields"]:
        assert field["privacy"] != "direct_identifier"


FINGERPRINTS = {
    21: "47b2e0811775ca3b",
    22: "f2a0302ac85e88d4",
    1: "d5ed717a1feea41e",
    2: "f2a0302ac85e88d4",
    3: "899e1e9251ad9b14",
    4: "f3e94ab766b4fb8a",
    5: "f3d9df3b9c4d4a0a",
    6: "f9c12385d7458e13",
    10: "05ce2c7e684a7c69",
    11: "62985875e3848116",
    12: "60312f4474424fb8",
    13: "cadcc06b0aa21ea7",
    20: "c002de0a45e76f1c",
}


def test_schema_ids_never_change_their_meaning() -> None:
    """Records that name an id stay on topics for days: change a schema by adding a file, a version and an id."""
    assert {entry.id: fingerprint(entry) for entry in registered()} == FINGERPRINTS


def fingerprint(entry: Registered) -> str:
    canonical = fastavro.schema.to_parsing_canonical_form(entry.parsed)
    return str(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))


def test_record_written_with_an_older_schema_is_read_with_a_newer_one() -> None:
    """A release that adds a field still reads what the last one wrote."""
    newer = latest("events.signals-value")
    kept = [field for field in newer.parsed["fields"] if field["name"] not in ("force", "t_up", "z")]
    older_schema = fastavro.parse_schema({**newer.parsed, "fields": kept}, _force=True)
    older = Registered(99, newer.subject, 0, "", older_schema)
    datum = {
        "event_id": "e", "site": "dev", "session": "s", "type": "pointer", "ts": 1, "received_at": INSTANT,
        "sent_at": 2, "t": [0.0], "x": [1.0], "y": [2.0],
    }  # fmt: skip
    written = codec.io.BytesIO()
    fastavro.schemaless_writer(written, older_schema, datum)
    read = codec.decode_datum(older, written.getvalue(), newer)
    assert read == {**datum, "z": [], "force": [], "t_up": []}


@pytest.mark.parametrize("category", ["signals", "analytics", "personal", "labelers"])
def test_record_of_before_sent_at_says_that_it_does_not_know(category: str) -> None:
    """What the version before wrote lies on the topics for days."""
    subject = f"events.{category}-value"
    newer = latest(subject)
    (older,) = [entry for entry in registered() if entry.subject == subject and entry.version == newer.version - 1]
    names = {field["name"]: field["type"] for field in older.parsed["fields"]}
    assert [field["name"] for field in newer.parsed["fields"]] == [
        name for old in names for name in ([old, "sent_at"] if old == "received_at" else [old])
    ]
    datum = {name: _some(kind) for name, kind in names.items()}
    written = codec.io.BytesIO()
    written.write(codec.HEADER.pack(0, older.id))
    fastavro.schemaless_writer(written, older.parsed, datum)
    assert codec.decode(written.getvalue(), subject) == {**datum, "sent_at": 0}


def _some(kind: Any) -> Any:
    if kind == "string":
        return "v"
    if kind == "long":
        return 7
    return [] if kind["type"] == "array" else INSTANT


@given(st.integers(-(2**63), 2**63 - 1))
def test_walker_reads_every_long(number: int) -> None:
    """A varint may take ten bytes."""
    value = codec.encode("labels.deidentified-value", {
        "row_id": "00000000-0000-0000-0000-000000000000", "day": DAY, "task": "t", "kind": "k", "answer": "a",
        "version": number,
    })  # fmt: skip
    lengths.check_datum(6, value[codec.HEADER_BYTES :])
    assert by_id()[6].subject == "labels.deidentified-value"
