"""What a rejection says: a documented field and its bound, and never a word that was sent."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.decode.batch import parse_batch
from ingest.decode.flaws import FIELD_NAMES, FIELDS, TYPES, flaw_of_field
from ingest.decode.segment import parse_segment_batch
from ingest.errors import RejectedEvent
from schemas.outcomes import RejectionReason as Reason
from tests.ingest.configs import request_limits
from tests.ingest.decode.test_batch import ANSWER, KEY, PAGE, POINTER, REJECTED, nested
from tests.ingest.decode.test_segment import IDENTIFY, TRACK

LIMITS = request_limits()


def rejected_of(*events: Any) -> list[RejectedEvent]:
    body = json.dumps({"session": "s-1", "events": events}).encode()
    return [entry for batch in parse_batch(body, LIMITS) for entry in batch.rejected]


def rejected_call(call: Any) -> RejectedEvent:
    ((entry,),) = [batch.rejected for batch in parse_segment_batch(json.dumps({"batch": [call]}).encode(), LIMITS)]
    return entry


CHARACTERS = "characters of A-Z, a-z, 0-9 and _.:-."


@pytest.mark.parametrize(
    ("event", "field", "detail"),
    [
        ({**ANSWER, "task": 5}, "task", f"`task` must be text of 1 to 128 {CHARACTERS}"),
        ({**ANSWER, "task": "a b"}, "task", f"`task` must be text of 1 to 128 {CHARACTERS}"),
        ({**ANSWER, "id": "a b"}, "id", f"`id` must be text of 1 to 100 {CHARACTERS}"),
        ({**ANSWER, "ts": -1}, "ts", "`ts` must be Unix milliseconds, an integer from 0 to 253402300799999."),
        ({**POINTER, "x": [1, "2"]}, "x", "`x` must be an array of 1 to 1,024 numbers."),
        ({**POINTER, "y": [1]}, "y", "t, x, y must have equal lengths."),
        ({**POINTER, "t": [0]}, "x", "t, x, y must have equal lengths."),
        ({**ANSWER, "secret": 1}, None, "`image_label` has these fields and no others: id, type, ts, task, answer."),
        ({**KEY, "code": 1}, None, "`key` has these fields and no others: id, type, ts, t_down, t_up."),
        ({**ANSWER, "type": "x"}, "type", f"`type` must be one of: {', '.join(TYPES)}."),
        ({**PAGE, "properties": nested(32)}, "properties", "An event nests at most 32 levels of arrays and objects, "
                                                           "itself the first."),
        ({**PAGE, "properties": 5}, "properties", "`properties` must be a JSON object."),
        ({**PAGE, "url": "\ud800"}, "url", "A string holds a lone surrogate, which no UTF-8 text can."),
        ({**PAGE, "secret": "\ud800"}, None, "A string holds a lone surrogate, which no UTF-8 text can."),
        ({"type": "pointer", "id": "e", "ts": 1}, "t", "`t` must be an array of 1 to 1,024 numbers."),
        ({**ANSWER, "answer": "a" * 40_000}, None, "An event has at most 32,768 bytes."),
    ],
)  # fmt: skip
def test_rejection_names_the_field_and_the_bound(event: Any, field: str | None, detail: str) -> None:
    """Whoever wrote the client sees what to change without asking."""
    (rejected,) = rejected_of(event)
    assert (rejected.field, rejected.detail) == (field, detail)


def test_number_beyond_a_float_is_named_by_its_field() -> None:
    body = json.dumps({"session": "s-1", "events": [POINTER]}).encode().replace(b"2.5", b"1e400")
    ((rejected,),) = [batch.rejected for batch in parse_batch(body, LIMITS)]
    assert (rejected.field, rejected.detail) == ("x", "A number must fit in a 64-bit float.")


@pytest.mark.parametrize(
    ("call", "field"),
    [
        ({**TRACK, "messageId": ""}, "messageId"),
        ({**TRACK, "timestamp": "yesterday"}, "timestamp"),
        ({**TRACK, "timestamp": None}, "timestamp"),
        ({**TRACK, "timestamp": None, "originalTimestamp": 5}, "timestamp"),
        ({**IDENTIFY, "traits": {"email": "a@b", "firstName": 5}}, "traits.firstName"),
        ({**IDENTIFY, "traits": {"email": "a@b", "address": 5}}, "traits.address"),
        ({**TRACK, "properties": 5}, "properties"),
        ({**TRACK, "anonymousId": None}, "userId"),
        ({**TRACK, "event": 5}, "event"),
        ({**TRACK, "context": {"page": {"url": 5}}}, "context.page.url"),
        ({**TRACK, "context": {"page": 5}}, "context.page"),
        ({**TRACK, "secret": 5}, None),
        ({**TRACK, "type": "group"}, "type"),
        ({**IDENTIFY, "traits": {"email": "nobody"}}, "traits.email"),
        ({**IDENTIFY, "traits": {"email": "a@b", "secret": 1}}, "traits"),
        ({**IDENTIFY, "userId": "a" * 257}, "userId"),
    ],
)
def test_rejected_call_is_told_in_its_sdks_words(call: Any, field: str | None) -> None:
    """`account` is no word of whoever wrote `identify`."""
    rejected = rejected_call(call)
    assert rejected.field == field
    assert field is None or field in FIELD_NAMES
    assert "secret" not in rejected.detail
    assert "`account`" not in rejected.detail


@pytest.mark.parametrize("tag", TYPES)
def test_every_field_of_every_type_has_its_bound_in_words(tag: str) -> None:
    """A new type whose fields have none would answer with nothing."""
    assert {*FIELDS[tag]} == {"type", *TYPES[tag].__struct_fields__}
    for field in FIELDS[tag]:
        assert field in FIELD_NAMES
        assert len(flaw_of_field(Reason.WRONG_TYPE, tag, field).detail) < 300


secrets = st.text(st.sampled_from("qQzZ\u1234\u5678"), min_size=6, max_size=20)
values = st.one_of(secrets, st.lists(secrets, max_size=2), st.dictionaries(secrets, secrets, max_size=2), st.none())


@given(st.sampled_from([POINTER, KEY, ANSWER, PAGE]), st.data())
def test_no_rejection_repeats_what_was_sent(event: dict[str, Any], data: st.DataObject) -> None:
    """An answer may be logged where the event must not be: no value, and no name that the client invented."""
    name = data.draw(st.sampled_from(sorted(event)) | secrets)
    bad = {**event, name: data.draw(values)}
    for rejected in rejected_of(bad):
        said = f"{rejected.field} {rejected.detail}"
        assert rejected.field is None or rejected.field in FIELD_NAMES
        for text in json.dumps([name if name not in event else "", bad[name]], ensure_ascii=False).split('"'):
            assert len(text) < 6 or text not in said


@pytest.mark.parametrize("event", [row[1] for row in REJECTED if not isinstance(row[1], bytes)])
def test_every_rejection_has_a_sentence(event: Any) -> None:
    (rejected,) = rejected_of(event)
    assert rejected.detail.endswith(".")
    assert rejected.field is None or rejected.field in FIELD_NAMES
