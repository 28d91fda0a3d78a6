"""What a body becomes: the fast path, the slow one, and every reason."""

import json
from contextlib import suppress
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ingest.decode import signal_values
from ingest.decode.batch import EventBatch
from ingest.decode.batch import parse_batch as parse_batches
from ingest.decode.signal_values import Arrival
from ingest.encode.records import Sender, records_of
from ingest.errors import Rejection
from ingest.limits import RequestLimits
from schemas.events import AnyEvent, EventId, ReadEvent, Session, UnixMs, WrittenSignal
from schemas.outcomes import RejectionReason as Reason
from schemas.outcomes import RequestError
from tests.ingest.configs import request_limits
from tests.ingest.encode.test_records import SEALS, edge_key

LIMITS = request_limits()
ARRIVAL = Arrival("shop", 1_790_000_001_000)
TS = 1_790_000_000_123
POINTER: dict[str, Any] = {
    "id": "e-1",
    "type": "pointer",
    "ts": 1_790_000_000_123,
    "t": [0, 16],
    "x": [1, 2.5],
    "y": [3, 4],
}
KEY: dict[str, Any] = {"id": "e-2", "type": "key", "ts": 1_790_000_000_123, "t_down": [0, 90], "t_up": [40, 130]}
ANSWER: dict[str, Any] = {
    "id": "e-3",
    "type": "image_label",
    "ts": 1_790_000_000_123,
    "task": "dogs-0017",
    "answer": "beagle",
}
PAGE: dict[str, Any] = {"id": "e-4", "type": "page_view", "ts": 1_790_000_000_123, "url": "https://shop.example/"}


def body_of(*events: Any, session: str = "s-1") -> bytes:
    raw = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    return b'{"sent_at": 1790000000999, "session": "%s", "events": [%s]}' % (session.encode(), b", ".join(raw))


def parse_batch(body: bytes, limits: RequestLimits) -> EventBatch:
    """The batch, which has to be the same whether `_signal_values.c` was compiled or not."""
    found = outcome_of(body, limits)
    with patch.object(signal_values, "read", None):
        pure = outcome_of(body, limits)
    if isinstance(pure, Rejection):
        assert isinstance(found, Rejection)
        assert (found.status, found.error, str(found)) == (pure.status, pure.error, str(pure))
        raise pure
    assert isinstance(found, EventBatch)
    assert written(found) == written(pure)
    return pure


def outcome_of(body: bytes, limits: RequestLimits) -> EventBatch | Rejection:
    try:
        (only,) = parse_batches(body, limits, ARRIVAL)
    except Rejection as rejection:
        return rejection
    return only


def written(batch: EventBatch) -> EventBatch:
    """The batch, all its signals written: values tell a zero from a negative one."""
    sender = Sender(ARRIVAL.site, batch.session, ARRIVAL.received_at_ms, "", "", batch.sent_at)
    events: list[tuple[int, ReadEvent]] = []
    for index, event in batch.events:
        if event.category == "signals" and type(event) is not WrittenSignal:
            (record,), _ = records_of([(index, event)], sender, edge_key, SEALS)
            events.append((index, WrittenSignal(event.id, event.ts, record.value)))
        else:
            events.append((index, event))
    return replace(batch, events=events, written=False)


def reasons_of(*events: Any, limits: RequestLimits = LIMITS) -> list[tuple[int, str | None, str]]:
    batch = parse_batch(body_of(*events), limits)
    assert len(batch.events) + len(batch.rejected) == len(events)
    return [(entry.index, entry.id, entry.reason) for entry in batch.rejected]


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


REJECTED = [
    ("a number", 5, None, Reason.NOT_AN_OBJECT),
    ("an array", [1], None, Reason.NOT_AN_OBJECT),
    ("null", None, None, Reason.NOT_AN_OBJECT),
    ("no type", {"id": "e", "ts": 1}, "e", Reason.MISSING_FIELD),
    ("a type that is none", {**POINTER, "type": "pointers"}, "e-1", Reason.UNKNOWN_TYPE),
    ("a type that is a number", {**POINTER, "type": 5}, "e-1", Reason.WRONG_TYPE),
    ("no id", {name: POINTER[name] for name in POINTER if name != "id"}, None, Reason.MISSING_FIELD),
    ("an id of 101", {**POINTER, "id": "a" * 101}, None, Reason.INVALID_VALUE),
    ("an id with a line feed", {**POINTER, "id": "a\n"}, None, Reason.INVALID_VALUE),
    ("an id that is a number", {**POINTER, "id": 7}, None, Reason.WRONG_TYPE),
    ("no samples", {name: POINTER[name] for name in POINTER if name != "x"}, "e-1", Reason.MISSING_FIELD),
    ("empty samples", {**POINTER, "t": [], "x": [], "y": []}, "e-1", Reason.INVALID_VALUE),
    ("1,025 samples", {**POINTER, "t": [0] * 1_025, "x": [0] * 1_025, "y": [0] * 1_025}, "e-1", Reason.INVALID_VALUE),
    ("unequal arrays", {**POINTER, "x": [1]}, "e-1", Reason.UNEQUAL_ARRAYS),
    ("unequal key timings", {**KEY, "t_up": [1]}, "e-2", Reason.UNEQUAL_ARRAYS),
    ("a sample that is text", {**POINTER, "x": [1, "2"]}, "e-1", Reason.WRONG_TYPE),
    ("a sample that is true", {**POINTER, "x": [1, True]}, "e-1", Reason.WRONG_TYPE),
    ("a negative ts", {**POINTER, "ts": -1}, "e-1", Reason.INVALID_VALUE),
    ("a ts beyond 64 bits", {**POINTER, "ts": 2**70}, "e-1", Reason.INVALID_VALUE),
    ("a ts beyond the year 9999", {**POINTER, "ts": 253_402_300_800_000}, "e-1", Reason.INVALID_VALUE),
    ("a ts with a fraction", {**POINTER, "ts": 1.5}, "e-1", Reason.WRONG_TYPE),
    ("a number beyond any float", json.dumps(POINTER).encode().replace(b"2.5", b"1e400"), "e-1", Reason.INVALID_VALUE),
    (
        "a ts of 5,000 digits",
        json.dumps(POINTER).encode().replace(b"1790000000123", b"9" * 5_000),
        "e-1",
        Reason.INVALID_VALUE,
    ),
    ("an unknown field", {**ANSWER, "email": "a@b.example"}, "e-3", Reason.UNKNOWN_FIELD),
    ("session in an answer", {**ANSWER, "session": "s-1"}, "e-3", Reason.UNKNOWN_FIELD),
    ("an answer that is null", {**ANSWER, "answer": None}, "e-3", Reason.WRONG_TYPE),
    ("a task with a space", {**ANSWER, "task": "a b"}, "e-3", Reason.INVALID_VALUE),
    ("a lone surrogate", {**ANSWER, "answer": "a\ud800b"}, "e-3", Reason.INVALID_TEXT),
    ("a lone low surrogate", {**ANSWER, "answer": "\udc00"}, "e-3", Reason.INVALID_TEXT),
    ("a lone surrogate in the id", {**ANSWER, "id": "\udfff"}, None, Reason.INVALID_TEXT),
    ("a lone surrogate in a field's name", {**PAGE, "properties": {"\ud800": 1}}, "e-4", Reason.INVALID_TEXT),
    ("33 levels", {**PAGE, "properties": nested(32)}, "e-4", Reason.TOO_DEEP),
    ("500 levels", b'{"id": "e-4", "deep": ' + b"[" * 500 + b"]" * 500 + b"}", "e-4", Reason.TOO_DEEP),
    (
        "32 KiB and a byte",
        {**ANSWER, "answer": "a" * (32_769 - len(json.dumps({**ANSWER, "answer": ""})))},
        "e-3",
        Reason.TOO_LARGE,
    ),
]


def test_whole_number_with_a_point_is_an_integer() -> None:
    """It is one in JSON Schema's terms, and some languages write every number so."""
    body = json.dumps({"sent_at": float(TS), "session": "s", "events": [{**POINTER, "ts": float(TS)}]}).encode()
    batch = parse_batch(body, LIMITS)
    ((_, event),) = batch.events
    assert (batch.sent_at, event.ts, type(event.ts)) == (TS, TS, int)
    for wrong in (1.5, -1.0, 1e300):
        with pytest.raises(Rejection, match="sent_at"):
            parse_batch(json.dumps({"sent_at": wrong, "session": "s", "events": []}).encode(), LIMITS)


@pytest.mark.parametrize(("event", "id_", "reason"), [row[1:] for row in REJECTED], ids=[row[0] for row in REJECTED])
def test_bad_event_is_rejected_with_its_reason_and_its_neighbours_are_not(event: Any, id_: Any, reason: str) -> None:
    """The contract's closed list: a client can tell what to change, and loses nothing else of the batch."""
    assert reasons_of(POINTER, event, ANSWER) == [(1, id_, reason)]


NAMES_OF_KEYS = [
    "key",
    "code",
    "which",
    "keyCode",
    "charCode",
    "char",
    "location",
    "repeat",
    "shiftKey",
    "modifiers",
    "value",
    "k",
]


@pytest.mark.parametrize("name", NAMES_OF_KEYS)
@pytest.mark.parametrize("value", ["a", 65, None, {"a": 1}])
def test_key_event_that_could_name_a_key_is_forbidden(name: str, value: Any) -> None:
    """Timings tell a person from a bot; the keys themselves are what the person typed, passwords included."""
    assert reasons_of({**KEY, name: value}, KEY) == [(0, "e-2", Reason.FORBIDDEN_FIELD)]


ACCEPTED = [
    ("32 levels", {**PAGE, "properties": nested(31)}),
    ("32 KiB", {**PAGE, "url": "a" * (32_768 - len(json.dumps({**PAGE, "url": ""})))}),
    ("1,024 strokes", {**KEY, "t_down": [0] * 1_024, "t_up": [1] * 1_024}),
    ("1,024 samples", {**POINTER, "t": [0] * 1_024, "x": [0] * 1_024, "y": [0] * 1_024}),
    ("an escaped NUL", {**ANSWER, "answer": "a\0b"}),
    ("a surrogate pair", {**ANSWER, "answer": "\U0001f600"}),
    ("what looks like a surrogate", {**ANSWER, "answer": "\\ud800"}),
    ("an empty answer", {**ANSWER, "answer": ""}),
    ("a sample beyond 64 bits", {**POINTER, "x": [2**70, 0]}),
    ("a property beyond 64 bits", {**PAGE, "properties": {"n": 2**70}}),
    ("type last", dict(reversed(POINTER.items()))),
    ("the last of two types", b'{"type": "bogus", ' + json.dumps(POINTER).encode()[1:]),
    ("the last of two types, valid both", b'{"type": "key", ' + json.dumps(POINTER).encode()[1:]),
    ("the last of two answers", b'{"answer": 5, ' + json.dumps(ANSWER).encode()[1:]),
    ("the last of two numbers", b'{"ts": 1e400, ' + json.dumps(ANSWER).encode()[1:]),
    ("a surrogate that a duplicate replaces", b'{"answer": "\\ud800", ' + json.dumps(ANSWER).encode()[1:]),
]


@pytest.mark.parametrize("event", [row[1] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_event_within_every_bound_is_accepted(event: Any) -> None:
    """A bound is the largest thing that passes; and of duplicate members the last one counts."""
    assert reasons_of(event) == []


NOT_BATCHES = [
    ("nothing", b""),
    ("spaces", b"  \n"),
    ("text", b"hello"),
    ("a number", b"5"),
    ("an array", b"[]"),
    ("null", b"null"),
    ("an empty object", b"{}"),
    ("no session", b'{"events": []}'),
    ("no events", b'{"session": "s"}'),
    ("an unknown member", b'{"session": "s", "events": [], "user": 1}'),
    ("a session that is null", b'{"session": null, "events": []}'),
    ("a session of 65", b'{"session": "%s", "events": []}' % (b"a" * 65)),
    ("an empty session", b'{"session": "", "events": []}'),
    ("a session with a lone surrogate", b'{"session": "\\ud800", "events": []}'),
    ("events that are an object", b'{"session": "s", "events": {}}'),
    ("events that are null", b'{"session": "s", "events": null}'),
    ("sent_at that is text", b'{"session": "s", "events": [], "sent_at": "now"}'),
    ("sent_at that is null", b'{"session": "s", "events": [], "sent_at": null}'),
    ("the last of two sessions is bad", b'{"session": "s", "session": 5, "events": []}'),
    ("truncated", b'{"session": "s", "events": [{"id": "e"'),
    ("trailing", b'{"session": "s", "events": []} {}'),
    ("NaN", b'{"session": "s", "events": [{"a": NaN}]}'),
    ("Infinity", b'{"session": "s", "events": [-Infinity]}'),
    ("NaN beside a lone surrogate", b'{"session": "s", "events": ["\\ud800", NaN]}'),
    ("a raw NUL", b'{"session": "s", "events": ["\0"]}'),
    ("a raw NUL behind", b'{"session": "s", "events": []}\0'),
    ("UTF-8 cut short", b'{"session": "s", "events": ["\xc3"]}'),
    ("UTF-8 overlong", b'{"session": "s", "events": ["\xc0\x80"]}'),
    ("a surrogate in raw UTF-8", b'{"session": "s", "events": ["\xed\xa0\x80"]}'),
    ("UTF-16", '{"session": "s", "events": []}'.encode("utf-16")),
    ("a byte order mark", b'\xef\xbb\xbf{"session": "s", "events": []}'),
    ("60,000 levels", b'{"session": "s", "events": [' + b"[" * 60_000 + b"]" * 60_000 + b"]}"),
    ("60,000 levels of objects", b'{"session": "s", "events": [' + b'{"a":' * 60_000 + b"1" + b"}" * 60_000 + b"]}"),
    ("60,000 levels, unclosed", b"[" * 60_000),
    (
        "60,000 levels and a surrogate",
        b'{"session": "s", "events": ["\\ud800", ' + b"[" * 60_000 + b"]" * 60_000 + b"]}",
    ),
    (
        "every noncharacter and a surrogate",
        json.dumps({"session": "s", "events": ["\ud800", *map(chr, range(0xFDD0, 0xFDF0))]}).encode(),
    ),
]


@pytest.mark.parametrize("body", [row[1] for row in NOT_BATCHES], ids=[row[0] for row in NOT_BATCHES])
def test_body_that_is_no_batch_is_a_400(body: bytes) -> None:
    """What is not one JSON document of the documented shape cannot be answered event by event."""
    with pytest.raises(Rejection) as caught:
        parse_batch(body, LIMITS)
    assert (caught.value.status, caught.value.error) == (400, RequestError.NOT_A_BATCH)


def test_batch_without_sent_at_or_events_is_a_batch() -> None:
    """`sent_at` decides nothing, so a client that leaves it out loses nothing."""
    assert parse_batch(b'{"session":"s","events":[]}', LIMITS) == EventBatch("s", [], [])
    assert parse_batch(b'{"session":5,"session":"s","events":[]}', LIMITS).session == "s"


def test_501_events_are_too_many_and_500_are_not() -> None:
    """The bound holds before any event is parsed."""
    assert len(parse_batch(body_of(*[ANSWER] * 500), LIMITS).events) == 500
    with pytest.raises(Rejection) as caught:
        parse_batch(body_of(*[5] * 501), LIMITS)
    assert (caught.value.status, caught.value.error) == (413, RequestError.TOO_MANY_EVENTS)


@pytest.mark.parametrize("id_", ["a b", "a\nb", "é", "a/b", "\0", ""])
def test_id_with_another_character_is_rejected_among_good_ones(id_: str) -> None:
    """The ids of a batch are looked at together, and only the bad one may fall."""
    assert reasons_of(POINTER, {**ANSWER, "id": id_}, KEY) == [(1, None, Reason.INVALID_VALUE)]


@pytest.mark.parametrize(
    "damaged",
    [
        body_of(ANSWER).replace(b"beagle", b"bea\xffgle"),
        body_of(ANSWER).replace(b"beagle", b"\xed\xa0\x80"),
        body_of({**PAGE, "properties": {"plan": 1}}).replace(b"plan", b"pl\xffn"),
    ],
)
def test_body_that_is_no_utf_8_is_not_a_batch(damaged: bytes) -> None:
    """Whichever of the decoders meets it first."""
    with pytest.raises(Rejection) as caught:
        parse_batch(damaged, LIMITS)
    assert (caught.value.status, caught.value.error) == (400, RequestError.NOT_A_BATCH)


def test_large_batch_of_small_events_is_accepted_and_a_large_event_in_it_is_not() -> None:
    """The limit is an event's, so that a body beyond it says nothing yet."""
    small = {**ANSWER, "answer": "a" * 1_000}
    assert reasons_of(*[small] * 60) == []
    large = {**ANSWER, "answer": "a" * 40_000}
    assert reasons_of(*[small] * 30, large, *[small] * 30) == [(30, "e-3", Reason.TOO_LARGE)]


@pytest.mark.parametrize("kind", ["image_label", "audio_transcript", "text_answer"])
@pytest.mark.parametrize("character", ["a", "é", "犬", "💬"])
def test_answer_is_bounded_in_bytes_of_utf_8(kind: str, character: str) -> None:
    """Masking costs the door time by the byte, whatever script it is in; the batch beside it is unharmed."""
    bytes_of_one = len(character.encode())
    longest = {**ANSWER, "type": kind, "answer": character * (LIMITS.answer_bytes_max // bytes_of_one)}
    assert reasons_of(longest) == []
    assert reasons_of(POINTER, {**longest, "answer": longest["answer"] + character}, ANSWER) == [
        (1, "e-3", Reason.ANSWER_TOO_LONG)
    ]


def test_longest_answer_is_a_setting() -> None:
    """Who asks for whole paragraphs needs more, and who asks for labels less."""
    limits = request_limits(answer_bytes_max=6)
    assert reasons_of(ANSWER, {**ANSWER, "answer": "beagles"}, limits=limits) == [(1, "e-3", Reason.ANSWER_TOO_LONG)]
    assert reasons_of({**ANSWER, "answer": "x" * 20_000}, limits=request_limits(answer_bytes_max=30_000)) == []


def test_repr_of_what_flows_shows_no_value() -> None:
    """Whatever ends in a log by accident names fields only."""
    batch = parse_batch(
        body_of({**ANSWER, "answer": "canary-1"}, {**POINTER, "x": "canary-2", "id": "canary-3"}), LIMITS
    )
    assert "canary" not in repr(batch) + repr(batch.events) + repr(batch.rejected)


# --- the fast path against a slow one that shares no code with it


def reference(document: bytes, limits: RequestLimits) -> list[Any] | None:
    """Every event as the standard library and msgspec.convert see it: an event, or None; None for no batch at all.

    Knows nothing of raw events, so it measures a size only where the document was made of known pieces.
    """
    try:
        batch = json.loads(document.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(batch, dict) or not {"session", "events"} <= batch.keys() <= {"session", "events", "sent_at"}:
        return None
    try:
        msgspec.convert(batch["session"], Session)
        msgspec.convert(batch.get("sent_at", 0), UnixMs)
        events = msgspec.convert(batch["events"], list)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return None
    return [_convert(event, limits) for event in events]


def _refuse(constant: str) -> None:
    raise ValueError


def _convert(event: Any, limits: RequestLimits) -> Any:
    text = json.dumps(event)
    if "Infinity" in text or _depth(event) > limits.event_depth_max:
        return None
    try:
        json.dumps(event, ensure_ascii=False).encode()
        converted = msgspec.convert(event, AnyEvent)
        msgspec.convert(converted.id, EventId)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return None
    if len(getattr(converted, "answer", "").encode()) > limits.answer_bytes_max:
        return None
    lengths = {len(getattr(converted, name)) for name in converted.samples}
    return None if len(lengths) > 1 else converted


def _depth(value: Any) -> int:
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return 1 + max(map(_depth, items), default=0)
    return 0


WEIRD_TEXT = st.text(
    st.characters(codec=None, exclude_categories=[]) | st.sampled_from('\ud800\udc00\\"\0u'), max_size=6
)
NUMBERS = (
    st.integers()
    | st.floats(allow_nan=False).map(float)
    | st.sampled_from([2**63, 2**64, -(2**63) - 1, 2**70, 1e308, 5e-324, 0.1, -0.0, 9007199254740993])
)
SCALARS = st.none() | st.booleans() | NUMBERS | WEIRD_TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WEIRD_TEXT, inner, max_size=3), max_leaves=8
)
SAMPLES = st.lists(NUMBERS, min_size=0, max_size=3)
FIELDS = {
    "id": st.from_regex(r"\A[A-Za-z0-9_.:-]{1,8}\Z") | st.sampled_from(["a b", "a\n", "é", ""]),
    "type": st.sampled_from(sorted(kind.__struct_config__.tag for kind in AnyEvent.__args__)),
    "ts": st.integers(0, 2**41),
    "properties": st.dictionaries(WEIRD_TEXT, VALUES, max_size=2),
    "email": st.just("a@b.example"),
    "human": st.booleans(),
    "languages": st.lists(WEIRD_TEXT, max_size=2),
    "task": st.just("t-1"),
    "session": st.just("s-2"),
    **dict.fromkeys(("t", "x", "y", "z", "force", "t_down", "t_up"), SAMPLES),
    **dict.fromkeys(
        ("answer", "url", "referrer", "account", "role", "name", "country", "provider", "method", "outcome", "note"),
        WEIRD_TEXT,
    ),
}
KINDS = {kind.__struct_config__.tag: kind for kind in AnyEvent.__args__}


@st.composite
def raw_events(draw: st.DrawFn) -> str:
    """An event's JSON text: mostly right, now and then with a wrong, a missing, an extra or a duplicate member."""
    kind = KINDS[draw(FIELDS["type"])]
    members = [("type", kind.__struct_config__.tag)]
    length = draw(st.integers(1, 3))
    for name in kind.__struct_fields__:
        if name in kind.samples:
            members.append((name, draw(st.lists(NUMBERS, min_size=length, max_size=length))))
        else:
            members.append((name, draw(FIELDS[name])))
    for _ in range(draw(st.integers(0, 2))):
        change = draw(st.sampled_from(["wrong", "drop", "extra", "duplicate", "none", "none"]))
        place = draw(st.integers(0, len(members) - 1))
        if change == "wrong":
            members[place] = (members[place][0], draw(VALUES))
        elif change == "drop" and len(members) > 1:
            del members[place]
        elif change == "extra":
            members.insert(place, (draw(st.sampled_from(sorted(FIELDS)) | WEIRD_TEXT), draw(VALUES)))
        elif change == "duplicate":
            members.insert(place, (members[-1 - place][0], draw(VALUES | FIELDS["type"])))
    spelled = [json.dumps(name) + ":" + draw(st.sampled_from(["", " "])) + _spell(value) for name, value in members]
    return "{" + ",".join(draw(st.permutations(spelled)) if draw(st.booleans()) else spelled) + "}"


def _spell(value: Any) -> str:
    return json.dumps(value).replace("-Infinity", "-1e400").replace("Infinity", "1e400")


@settings(max_examples=400, deadline=None)
@given(st.lists(raw_events() | VALUES.map(_spell), max_size=4), st.booleans())
def test_fast_path_agrees_with_json_loads_and_convert(events: list[str], clean: bool) -> None:
    """msgspec is fast because it does its own parsing; the standard library's is what the contract means by JSON."""
    document = ('{"sent_at":5,"session":"s","events":[' + ",".join(events) + "]}").encode()
    if clean:
        document = document.replace(b"\\ud800", b"x").replace(b"\\udc00", b"x")
    batch = parse_batch(document, LIMITS)
    expected = reference(document, LIMITS)
    assert expected is not None
    accepted = [(index, event) for index, event in enumerate(expected) if event is not None]
    assert batch.events == accepted
    assert [entry.index for entry in batch.rejected] == [index for index, event in enumerate(expected) if event is None]
    for entry in batch.rejected:
        event = json.loads(events[entry.index])
        assert entry.id is None or entry.id == event["id"]
        assert entry.id is None or msgspec.convert(entry.id, EventId)


JSON_BYTES = st.lists(
    st.sampled_from(
        [
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b":",
            b'"',
            b"\\",
            b"\\ud800",
            b"\\u0000",
            b"\\ufdd0",
            b"\xef\xb7\x90",
            b"\xff",
            b"\0",
            b"1",
            b"-",
            b"e400",
            b".",
            b"NaN",
            b"null",
            b"true",
            b'"session"',
            b'"events"',
            b'"s"',
            b'"type"',
            b'"pointer"',
            b'"id"',
            b"[" * 2_000,
            b"9" * 5_000,
            b'{"session":"s","events":[',
            b"]}",
            b'{"id":"e","type":"text_answer","ts":1,"task":"t","answer":"',
            b'"}',
        ]
    )
).map(b"".join)


@settings(max_examples=500, deadline=None)
@given(st.binary() | JSON_BYTES | JSON_BYTES.map(lambda inner: b'{"session":"s","events":[' + inner + b"]}"))
def test_any_bytes_are_a_batch_or_a_rejection(body: bytes) -> None:
    """Bytes of strangers must not find a line that raises anything else: that would be a 500, or a traceback."""
    with suppress(Rejection):
        batch = parse_batch(body, LIMITS)
        assert isinstance(batch, EventBatch)
        assert reference(body, LIMITS) is not None or b"9" * 5_000 in body
