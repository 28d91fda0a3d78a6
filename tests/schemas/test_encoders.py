"""Generated encoders write what fastavro writes, to the byte."""

import datetime
import struct
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas import codec
from schemas.encoders import CACHED_MAX, encoder_maker, source_of, varint
from schemas.registry import latest, registered

SUBJECTS = sorted({entry.subject for entry in registered()})
POINTER = {
    "shared": ("site", "session", "type", "received_at", "sent_at", "z", "force", "t_up"),
    "equal": ("t", "x", "y"),
}
SHARED = {"site": "dev", "session": "s-1", "type": "pointer", "received_at": 1_790_000_000_123}

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20) | st.sampled_from(["", "a" * 63, "é" * 9_000])
longs = (
    st.integers(-(2**63), 2**63 - 1)
    | st.integers(-20_000, 20_000)
    | st.sampled_from([0, -1, 8_191, 8_192, -8_192, -8_193, 2**63 - 1, -(2**63)])
)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """What a field of an Avro type may hold, extremes included."""
    name, logical = (kind["type"], kind.get("logicalType")) if isinstance(kind, dict) else (kind, None)
    if logical == "date":
        return st.dates()
    if logical == "uuid":
        return st.uuids() | st.uuids().map(str)
    if name == "array":
        return st.lists(values_of(kind["items"]), max_size=5)
    if name == "fixed":
        return st.binary(min_size=kind["size"], max_size=kind["size"])
    return {"string": texts, "long": longs, "double": st.floats(), "boolean": st.booleans(), "bytes": st.binary()}[name]


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, dict[str, str], dict[str, Any], dict[str, Any]]:
    """Subject, chosen branches, the datum for fastavro, and the same with the branches' fields beside the others."""
    subject = draw(st.sampled_from(SUBJECTS))
    branches, datum, flat = {}, {}, {}
    for field in latest(subject).parsed["fields"]:
        name = field["name"]
        if isinstance(field["type"], list):
            record = draw(st.sampled_from(field["type"]))
            inner = {part["name"]: draw(values_of(part["type"])) for part in record["fields"]}
            branches[name], datum[name] = record["name"], (record["name"], inner)
            flat |= inner
        else:
            datum[name] = flat[name] = draw(values_of(field["type"]))
    return subject, branches, datum, flat


@settings(deadline=None)
@given(cases(), st.data())
def test_encoder_of_any_schema_writes_the_bytes_of_fastavro(case: Any, data: st.DataObject) -> None:
    """Whichever fields a batch shares: a byte that differs would be another event, or none."""
    subject, branches, datum, flat = case
    shared = data.draw(st.sets(st.sampled_from(sorted(flat))))
    encode = encoder_maker(subject, sorted(shared), branches=branches)(**{name: flat[name] for name in shared})
    assert encode([SimpleNamespace(**flat)]) == [codec.encode(subject, datum)]


@settings(deadline=None)
@given(st.integers(1, 70).flatmap(lambda n: st.tuples(*[st.lists(st.floats(), min_size=n, max_size=n)] * 3)))
@example(([0.0] * 63, [-0.0] * 63, [1.0] * 63))
@example(([5e-324] * 64, [1.7e308] * 64, [1.0] * 64))
@example(([0.0] * 1_024, [-1.5] * 1_024, [1e-9] * 1_024))
@example(([0.0] * 5_000, [0.0] * 5_000, [0.0] * 5_000))
def test_arrays_of_one_length_are_written_as_fastavro_writes_them(arrays: tuple[list[float], ...]) -> None:
    """Their count is written once a field, and computed once."""
    t, x, y = arrays
    encode = encoder_maker("events.signals-value", attributes={"t": "times"}, **POINTER)(**SHARED)
    assert encode([SimpleNamespace(event_id="e", ts=1, times=t, x=x, y=y)]) == [
        codec.encode("events.signals-value", {**SHARED, "event_id": "e", "ts": 1, "t": t, "x": x, "y": y})
    ]


@pytest.mark.parametrize("wrong", [{"x": [1.0]}, {"y": [1.0, 2.0, 3.0]}, {"t": [], "x": [], "y": []}])
def test_arrays_that_were_said_to_be_equal_and_are_not_raise(wrong: dict[str, list[float]]) -> None:
    """A wrong count would make a datum that reads as another one."""
    encode = encoder_maker("events.signals-value", **POINTER)(**SHARED)
    with pytest.raises((struct.error, ValueError)):
        encode([SimpleNamespace(**{"event_id": "e", "ts": 1, "t": [0.0] * 2, "x": [0.0] * 2, "y": [0.0] * 2, **wrong})])


@pytest.mark.parametrize(
    ("subject", "wrong"),
    [
        ("events.signals-value", {"ts": 2**63}),
        ("events.signals-value", {"sent_at": 2**63}),
        ("events.signals-value", {"ts": -(2**63) - 1}),
        ("events.signals-value", {"event_id": "\ud800"}),
        ("events.signals-value", {"event_id": 5}),
        ("events.signals-value", {"x": ["1"]}),
        ("events.labeled.content-value", {"voter": b"short"}),
    ],
)
def test_what_does_not_fit_its_schema_raises_and_writes_nothing(subject: str, wrong: dict[str, Any]) -> None:
    """It is a caller's bug, and must not become a record that nobody can read."""
    good: dict[str, Any] = {
        **SHARED, "event_id": "e", "ts": 1, "sent_at": 2,
        **{name: [1.0] for name in ("t", "x", "y", "z", "force", "t_up")},
        "voter": bytes(32), "day": datetime.date(2026, 11, 24), "human": True,
    }  # fmt: skip
    encode = encoder_maker(subject, branches={"act": "unjoin.Verdict"})()
    encode([SimpleNamespace(**good)])
    with pytest.raises((AttributeError, ValueError, struct.error)):
        encode([SimpleNamespace(**{**good, **wrong})])


def test_what_clients_choose_does_not_fill_the_memory() -> None:
    """Timestamps are theirs; the table of their varints is bounded, and right again after it was emptied."""
    encode = encoder_maker("events.signals-value", **POINTER)(**SHARED)
    table = encode.__globals__["HIGH"]  # type: ignore[attr-defined]
    for ts in range(0, 40_000 * CACHED_MAX, 10_000):
        encode([SimpleNamespace(event_id="e", ts=ts, t=[0.0], x=[0.0], y=[0.0])])
        assert len(table) <= CACHED_MAX
    for ts in (0, 1, 16_383, 1_790_000_000_123):
        datum = {**SHARED, "event_id": "e", "ts": ts, "t": [0.0], "x": [0.0], "y": [0.0]}
        assert encode([SimpleNamespace(**datum)]) == [codec.encode("events.signals-value", datum)]


def test_generated_source_can_be_read() -> None:
    """Whoever debugs a record has to see what wrote it: one line a field, in the schema's order."""
    source = source_of("events.labeled.content-value", ("voter", "day"), branches={"act": "unjoin.Verdict"})
    assert source.startswith("def maker(*, voter, day):\n")
    assert "        human = event.human\n" in source


@given(st.integers(0, 2**64 - 1))
def test_varint_is_seven_bits_a_byte_lowest_first(number: int) -> None:
    """The specification's own words, against the shortest reader there is."""
    encoded = varint(number)
    assert sum((byte & 0x7F) << 7 * place for place, byte in enumerate(encoded)) == number
    assert [byte >> 7 for byte in encoded] == [1] * (len(encoded) - 1) + [0]
