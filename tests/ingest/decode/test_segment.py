"""What becomes of a call of a Segment SDK: the rows of docs/segment.md, one by one."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.decode.batch import EventBatch
from ingest.decode.flaws import FIELD_NAMES
from ingest.decode.segment import PARSERS, PATHS, parse_segment_batch, write_key_of
from ingest.decode.segment_event import fitted, ms_of
from ingest.errors import Rejection
from ingest.limits import RequestLimits
from schemas.events import TS_MAX, AnyEvent, EventId, Session
from schemas.outcomes import RejectionReason as Reason
from schemas.outcomes import RequestError
from tests.ingest.configs import request_limits
from tests.ingest.decode.test_batch import nested

LIMITS = request_limits()
TS, ISO = 1_790_000_000_123, "2026-09-21T14:13:20.123Z"
BASE: dict[str, Any] = {"messageId": "m-1", "timestamp": ISO, "anonymousId": "s-1"}
TRACK = {**BASE, "type": "track", "event": "Opened", "properties": {"n": 1}}
PAGE = {**BASE, "type": "page", "name": "Docs", "properties": {"plan": "free"}}
IDENTIFY = {**BASE, "type": "identify", "userId": "acme", "traits": {"name": "N", "email": "a@acme.example"}}


def parsed(*calls: Any, path: str = "/v1/batch", limits: RequestLimits = LIMITS) -> list[EventBatch]:
    body = {"batch": calls, "sentAt": ISO, "context": {"ip": "203.0.113.7"}} if path == "/v1/batch" else calls[0]
    return PARSERS[path](json.dumps(body).encode(), limits)


def event_of(call: Any, **limits: int) -> tuple[str, dict[str, Any]]:
    (batch,) = parsed(call, limits=request_limits(**limits))
    assert batch.rejected == []
    ((_, event),) = batch.events
    return batch.session, msgspec.to_builtins(event)


def reason_of(call: Any, **limits: int) -> Reason:
    (batch,) = parsed(call, limits=request_limits(**limits))
    assert batch.events == []
    (rejected,) = batch.rejected
    return rejected.reason


def test_track_is_a_usage_with_its_name_among_the_properties() -> None:
    """Where the SDK of our own puts it too, so that one query finds both."""
    page = {"url": "https://a.example/x", "referrer": "https://b.example/", "path": "/x", "title": "X"}
    session, event = event_of(TRACK | {"context": {"page": page, "ip": "203.0.113.7", "userAgent": "U", "os": {}}})
    assert (session, event) == (
        "s-1",
        {"type": "usage", "id": "m-1", "ts": TS, "url": page["url"], "referrer": page["referrer"],
         "properties": {"n": 1, "event": "Opened"}},
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["page", "screen"])
def test_page_and_screen_are_page_views(kind: str) -> None:
    """Name and category have no field of their own; an app has no URL."""
    call = {**BASE, "type": kind, "name": "Docs", "category": "Help", "properties": {"plan": "free", "name": "Docs"}}
    assert event_of(call) == (
        "s-1",
        {"type": "page_view", "id": "m-1", "ts": TS, "url": "", "referrer": "",
         "properties": {"plan": "free", "name": "Docs", "category": "Help"}},
    )  # fmt: skip


def test_page_of_a_server_has_its_url_among_the_properties() -> None:
    """No browser there fills the context."""
    written = {"url": "https://a.example/x", "referrer": "https://b.example/"}
    _, event = event_of(PAGE | {"properties": written})
    assert (event["url"], event["referrer"]) == (written["url"], written["referrer"])
    _, event = event_of(TRACK | {"properties": written})
    assert (event["url"], event["referrer"]) == ("", "")


@pytest.mark.parametrize(
    ("traits", "contact"),
    [
        ({"name": "N", "country": "DE", "role": "integrator"}, {"name": "N", "country": "DE", "role": "integrator"}),
        ({"firstName": "A", "lastName": "B", "address": {"country": "FR"}}, {"name": "A B", "country": "FR"}),
        ({"lastName": "B", "firstName": None, "address": None}, {"name": "B"}),
        ({}, {}),
    ],
)
def test_identify_is_a_contact_of_an_account(traits: dict[str, Any], contact: dict[str, Any]) -> None:
    """A contact has no session; what its traits say by another name is taken too."""
    session, event = event_of(IDENTIFY | {"traits": {"email": "a@acme.example", **traits}})
    assert (session, event) == (
        "",
        {"type": "contact", "id": "m-1", "ts": TS, "account": "acme", "email": "a@acme.example",
         "name": "", "role": "", "country": "", **contact},
    )  # fmt: skip


REJECTED = [
    ("a number", 5, Reason.NOT_AN_OBJECT),
    ("null", None, Reason.NOT_AN_OBJECT),
    ("no type", BASE, Reason.MISSING_FIELD),
    ("type of another type", BASE | {"type": 5}, Reason.WRONG_TYPE),
    ("group", BASE | {"type": "group", "groupId": "g"}, Reason.UNKNOWN_TYPE),
    ("alias", BASE | {"type": "alias", "previousId": "p", "userId": "u"}, Reason.UNKNOWN_TYPE),
    ("no messageId", {**TRACK, "messageId": None}, Reason.MISSING_FIELD),
    ("empty messageId", TRACK | {"messageId": ""}, Reason.MISSING_FIELD),
    ("messageId a number", TRACK | {"messageId": 7}, Reason.WRONG_TYPE),
    ("no time, sentAt does not count", {**TRACK, "timestamp": None, "sentAt": ISO}, Reason.MISSING_FIELD),
    ("time in words", TRACK | {"timestamp": "yesterday"}, Reason.INVALID_VALUE),
    ("time before 1970", TRACK | {"timestamp": "1969-12-31T23:59:59Z"}, Reason.INVALID_VALUE),
    ("time beyond the calendar", TRACK | {"timestamp": "9999-12-31T23:59:59-23:00"}, Reason.INVALID_VALUE),
    ("time a number", TRACK | {"timestamp": TS}, Reason.WRONG_TYPE),
    ("nobody", {**TRACK, "anonymousId": None}, Reason.MISSING_FIELD),
    ("nobody, with two empty names", TRACK | {"anonymousId": "", "userId": ""}, Reason.MISSING_FIELD),
    ("session a fraction", TRACK | {"anonymousId": 1.5}, Reason.WRONG_TYPE),
    ("session a truth", TRACK | {"anonymousId": True}, Reason.WRONG_TYPE),
    ("no event", {**TRACK, "event": None}, Reason.MISSING_FIELD),
    ("event a number", TRACK | {"event": 5}, Reason.WRONG_TYPE),
    ("name a number", PAGE | {"name": 5}, Reason.WRONG_TYPE),
    ("another event among the properties", TRACK | {"properties": {"event": "Closed"}}, Reason.INVALID_VALUE),
    ("another name among the properties", PAGE | {"properties": {"name": "Help"}}, Reason.INVALID_VALUE),
    ("properties a list", TRACK | {"properties": []}, Reason.WRONG_TYPE),
    ("context a text", TRACK | {"context": "page"}, Reason.WRONG_TYPE),
    ("url a number", TRACK | {"context": {"page": {"url": 5}}}, Reason.WRONG_TYPE),
    ("a member of nobody's", TRACK | {"color": "red"}, Reason.UNKNOWN_FIELD),
    ("a member of another call", PAGE | {"event": "Opened"}, Reason.UNKNOWN_FIELD),
    ("traits of who tracks", TRACK | {"traits": {"email": "a@b.c"}}, Reason.UNKNOWN_FIELD),
    ("a trait without a field", IDENTIFY | {"traits": {"email": "a@b.c", "plan": "pro"}}, Reason.UNKNOWN_FIELD),
    ("a street", IDENTIFY | {"traits": {"email": "a@b.c", "address": {"street": "S"}}}, Reason.UNKNOWN_FIELD),
    ("no account", {**IDENTIFY, "userId": None}, Reason.MISSING_FIELD),
    ("no email", IDENTIFY | {"traits": {"name": "N"}}, Reason.MISSING_FIELD),
    ("no traits", {**IDENTIFY, "traits": None}, Reason.MISSING_FIELD),
    ("an email that is none", IDENTIFY | {"traits": {"email": "at home"}}, Reason.INVALID_VALUE),
    ("name of a person a number", IDENTIFY | {"traits": {"email": "a@b.c", "name": 5}}, Reason.WRONG_TYPE),
    ("an account of 300 characters", IDENTIFY | {"userId": "u" * 300}, Reason.INVALID_VALUE),
    ("a lone surrogate", TRACK | {"properties": {"a": "\ud800"}}, Reason.INVALID_TEXT),
    ("too deep", TRACK | {"properties": nested(40)}, Reason.TOO_DEEP),
    ("too deep where nothing is taken", TRACK | {"context": nested(40)}, Reason.TOO_DEEP),
]  # fmt: skip


@pytest.mark.parametrize(("call", "reason"), [case[1:] for case in REJECTED], ids=[case[0] for case in REJECTED])
def test_call_that_is_no_event_of_ours_is_rejected_with_a_reason(call: Any, reason: Reason) -> None:
    """Stored or refused: what a caller wrote is never dropped without a word."""
    assert reason_of(call) == reason


def test_number_that_no_float_holds_is_invalid_where_it_would_be_stored() -> None:
    """JSON has no bounds; an INSERT has."""
    text = json.dumps(TRACK).replace('"n": 1', '"n": 1e999').encode()
    (batch,) = PARSERS["/v1/t"](text, LIMITS)
    assert [entry.reason for entry in batch.rejected] == [Reason.INVALID_VALUE]
    left_out = json.dumps(TRACK | {"context": {"n": 1}}).replace('{"n": 1}}', '{"n": 1e999}}').encode()
    (batch,) = PARSERS["/v1/t"](left_out, LIMITS)
    assert len(batch.events) == 1


def test_call_larger_than_an_event_may_be_is_too_large() -> None:
    """What is left out counts: it had to be read."""
    assert reason_of(TRACK | {"context": {"text": "x" * 40_000}}) == Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("text", "ts"),
    [
        (ISO, TS),
        ("2026-09-21T16:13:20.123+02:00", TS),
        ("2026-09-21T14:13:20.123", TS),
        ("2026-09-21T14:13:20.123999Z", TS),
        ("2026-09-21 14:13:20Z", TS - 123),
        ("1970-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ],
)
def test_time_is_the_callers_in_milliseconds(text: str, ts: int) -> None:
    """ISO 8601; without an offset it is UTC."""
    assert event_of(TRACK | {"timestamp": text})[1]["ts"] == ts
    assert event_of({**TRACK, "timestamp": None, "originalTimestamp": text})[1]["ts"] == ts


def test_send_again_under_another_sent_at_is_the_same_event() -> None:
    """Every retry of an SDK has a new `sentAt`, and tells how many there were; one row has to come of them."""
    first = TRACK | {"sentAt": "2026-09-21T14:13:21Z"}
    again = TRACK | {"sentAt": "2026-09-21T15:00:00Z", "_metadata": {"retryCount": 3}, "receivedAt": ISO}
    assert event_of(first) == event_of(again)


@pytest.mark.parametrize(
    ("text", "ts"),
    [
        ("2026-09-21t14:13:20.123z", TS),
        ("2026-09-21T14:13:20.123456789Z", TS),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("2016-12-31T23:59:60.5Z", 1_483_228_800_000),
        ("2017-01-01T00:59:60+01:00", 1_483_228_800_000),
        ("2016-12-31T24:00:00Z", 1_483_228_800_000),
        ("2016-12-31T24:00Z", 1_483_228_800_000),
        ("2016-12-31T24:00:00.000+00:00", 1_483_228_800_000),
    ],
)
def test_time_that_iso_8601_or_rfc_3339_allows_is_read(text: str, ts: int) -> None:
    """Small letters, leap seconds and the end of a day: some platform's formatter writes each."""
    assert event_of(TRACK | {"timestamp": text})[1]["ts"] == ts


@pytest.mark.parametrize("text", ["2016-12-31T24:00:01Z", "2016-12-31T23:59:61Z", "2016-12-31T25:00:00Z", "24:00:00Z"])
def test_time_that_no_clock_shows_is_invalid(text: str) -> None:
    assert reason_of(TRACK | {"timestamp": text}) == Reason.INVALID_VALUE


@given(st.text(max_size=40) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]{1,12}[Zz+\-]?[0-9:]{0,5}"))
def test_any_text_is_a_time_or_none(text: str) -> None:
    """Whatever Python's parser makes of it."""
    ts = ms_of(text)
    assert ts is None or 0 <= ts <= TS_MAX


@pytest.mark.parametrize(
    ("sent_at", "ms"), [(ISO, TS), ("2026-09-21T14:13:20Z", TS - 123), ("soon", 0), (5, 0), (None, 0), ({}, 0)]
)
@pytest.mark.parametrize("path", ["/v1/batch", "/v1/track"])
def test_when_a_body_was_sent_corrects_its_clock_and_refuses_nothing(path: str, sent_at: Any, ms: int) -> None:
    """An SDK adds it by itself, so that its caller can do nothing about a strange one."""
    body = {"batch": [TRACK], "sentAt": sent_at} if path == "/v1/batch" else TRACK | {"sentAt": sent_at}
    (batch,) = PARSERS[path](json.dumps(body).encode(), LIMITS)
    assert (batch.sent_at, len(batch.events)) == (ms, 1)


def test_batch_of_a_stock_sdk_that_gathers_a_thousand_calls_is_taken() -> None:
    """`maxEventsInBatch: 1000` is a documented setting, and a 413 would lose them all."""
    batches = parsed(*[TRACK | {"messageId": f"m-{number}"} for number in range(1_000)])
    assert sum(len(batch.events) for batch in batches) == 1_000


def test_session_is_the_visitor_or_else_the_user() -> None:
    """Who is known by both names stays with the one that says less."""
    assert event_of(TRACK | {"userId": "acme"})[0] == "s-1"
    assert event_of({**TRACK, "anonymousId": None, "userId": "acme"})[0] == "acme"
    assert event_of({**TRACK, "anonymousId": "", "userId": 7})[0] == "7"


@given(st.text(), st.text())
def test_any_id_becomes_one_that_keeps_our_rules_and_stays_itself(one: str, other: str) -> None:
    """The same on every resend, another for another; what is valid already stays as it is."""
    try:
        one.encode(), other.encode()
    except UnicodeEncodeError:
        return
    msgspec.convert(fitted(one or "x", 100), EventId)
    msgspec.convert(fitted(one or "x", 64), Session)
    assert (fitted(one, 64) == fitted(other, 64)) == (one == other)
    assert fitted("A-z_0.9:", 64) == "A-z_0.9:"


def test_rejected_call_is_named_by_its_message_id_if_that_is_one() -> None:
    """An answer never echoes anything else."""
    bad = {"type": "group", **BASE}
    (batch,) = parsed(bad, bad | {"messageId": "a/b"}, bad | {"messageId": 5}, 5)
    assert [(entry.index, entry.id) for entry in batch.rejected] == [(0, "m-1"), (1, None), (2, None), (3, None)]


def test_batch_is_cut_by_session_and_every_call_keeps_its_place() -> None:
    """A server's batch holds the calls of many people; each lands under its own."""
    calls = [TRACK, TRACK | {"anonymousId": "s-2"}, IDENTIFY, {"type": "alias"}, PAGE, IDENTIFY]
    batches = {batch.session: batch for batch in parsed(*calls)}
    assert {name: [index for index, _ in batch.events] for name, batch in batches.items()} == {
        "": [2, 5], "s-1": [0, 4], "s-2": [1]
    }  # fmt: skip
    assert [entry.index for batch in batches.values() for entry in batch.rejected] == [3]
    assert [(batch.events, batch.rejected) for batch in parsed()] == [([], [])]


@pytest.mark.parametrize("kind", sorted(PATHS.keys() - {"batch"}))
def test_path_says_the_type_of_a_single_call(kind: str) -> None:
    """Segment's documentation leaves it out there; one that says otherwise is refused."""
    of_kind: dict[str, Any] = {"track": TRACK, "identify": IDENTIFY, "page": PAGE, "screen": PAGE}
    call = {name: value for name, value in of_kind.get(kind, BASE).items() if name != "type"}
    for path in PATHS[kind]:
        (batch,) = parsed(call, path=path)
        taken = [msgspec.to_builtins(event)["type"] for _, event in batch.events]
        expected = {"track": "usage", "identify": "contact", "page": "page_view", "screen": "page_view"}
        assert taken == ([expected[kind]] if kind in expected else [])
        assert [entry.reason for entry in batch.rejected] == ([] if taken else [Reason.UNKNOWN_TYPE])
        (batch,) = parsed(call | {"type": "hold"}, path=path)
        assert [entry.reason for entry in batch.rejected] == [Reason.INVALID_VALUE]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"batch": 5}', b"\xff", b'{"batch": ["\xff"]}', b"[" * 5_000]
)
def test_body_without_a_batch_is_a_400(body: bytes) -> None:
    """As a whole: there is no call to name."""
    with pytest.raises(Rejection) as refused:
        parse_segment_batch(body, LIMITS)
    assert (refused.value.status, refused.value.error) == (400, RequestError.NOT_A_BATCH)


def test_batch_of_too_many_calls_is_a_413() -> None:
    """SDKs are configured to larger batches than our own are."""
    with pytest.raises(Rejection) as refused:
        parsed(*[TRACK] * 3, limits=request_limits(batch_calls_max=2))
    assert (refused.value.status, refused.value.error) == (413, RequestError.TOO_MANY_EVENTS)


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"batch": [], "writeKey": "k"}', "k"),
        (b'{"event": "x", "writeKey": "k"}', "k"),
        (b'{"writeKey": null}', None),
        (b'{"writeKey": ""}', None),
        (b'{"writeKey": 5}', None),
        (b'{"batch": [{"writeKey": "k"}]}', None),
        (b"[]", None),
        (b"\xff", None),
        (b"[" * 5_000, None),
    ],
)
def test_key_is_found_in_a_body(body: bytes, key: str | None) -> None:
    """Or is not, which is an unknown key and no failure."""
    assert write_key_of(body) == key


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
members = st.sampled_from(
    ["type", "messageId", "timestamp", "originalTimestamp", "anonymousId", "userId", "event", "name", "category",
     "properties", "traits", "context", "integrations", "color"]
)  # fmt: skip


@given(st.lists(st.builds(lambda base, more: base | more, st.sampled_from([TRACK, PAGE, IDENTIFY]),
                          st.dictionaries(members, json_values, max_size=3)) | json_values, max_size=5))  # fmt: skip
@settings(max_examples=100)
def test_every_call_of_any_batch_has_one_fate_and_what_is_taken_is_valid(calls: list[Any]) -> None:
    """No input of a stranger breaks the parser, or gets past the rules for our own events."""
    body = json.dumps({"batch": calls}).encode()
    try:
        batches = parse_segment_batch(body, LIMITS)
    except Rejection as refused:
        assert refused.error is RequestError.NOT_A_BATCH  # noqa: PT017  # NaN is not JSON
        assert b"NaN" in body or b"Infinity" in body
        return
    fates = [index for batch in batches for index, _ in batch.events]
    fates += [entry.index for batch in batches for entry in batch.rejected]
    assert sorted(fates) == list(range(len(calls)))
    for batch in batches:
        for _, event in batch.events:
            plain = msgspec.json.decode(msgspec.json.encode(event))
            assert msgspec.convert(plain, AnyEvent) == event
            msgspec.convert(event.id, EventId)
            if event.category == "analytics":
                msgspec.convert(batch.session, Session)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_batch_or_a_rejection(body: bytes) -> None:
    """On every path."""
    for path in ("/v1/batch", "/v1/t", "/v1/i"):
        try:
            assert PARSERS[path](body, LIMITS)
        except Rejection as refused:
            assert refused.status == 400  # noqa: PT017


def test_every_path_and_call_is_documented() -> None:
    """Who moves over reads what becomes of each."""
    text = (Path(__file__).parents[3] / "docs" / "segment.md").read_text()
    assert all(f"`{path}`" in text for paths in PATHS.values() for path in paths)
    assert all(f"`{kind}`" in text for kind in PATHS.keys() - {"batch"})


call_members = st.sampled_from(
    ["type", "messageId", "timestamp", "originalTimestamp", "anonymousId", "userId", "event", "name", "category",
     "properties", "traits", "context", "sentAt", "foo"]
)  # fmt: skip
inner_members = st.sampled_from(["email", "firstName", "name", "address", "country", "page", "url", "referrer", "foo"])
call_values = st.recursive(
    st.none() | st.integers() | st.sampled_from(["", "track", "identify", "page", ISO, "a@b", "x"]),
    lambda inner: st.dictionaries(inner_members, inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(call_members, call_values))
def test_rejection_of_any_call_names_a_documented_field_or_none(call: dict[str, Any]) -> None:
    """A closed list, which a client may switch on."""
    for base in (call, TRACK | call, IDENTIFY | call):
        for batch in parsed(base):
            assert all(entry.field is None or entry.field in FIELD_NAMES for entry in batch.rejected)
