"""What was compiled makes the records of what was not; test_batch.py compares what both decode, body by body."""

import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.decode import packed
from ingest.decode.batch import parse_batch
from ingest.encode.records import Record, records_of
from schemas.events import SAMPLES_MAX, AnyEvent
from tests.ingest.configs import request_limits
from tests.ingest.encode.test_records import SEALS, SENDER, edge_key

LIMITS = request_limits()
KINDS = [kind for kind in AnyEvent.__args__ if kind.category == "signals"]

pytestmark = pytest.mark.skipif(packed.read is None, reason="_packed.c was not compiled: there is no compiler")


def records(body: bytes) -> list[Record]:
    (batch,) = parse_batch(body, LIMITS)
    assert not batch.rejected
    made, closed = records_of(batch.events, SENDER, edge_key, SEALS)
    assert not closed
    return list(made)


def body_of(*events: str, blank: str = "") -> bytes:
    return f'{{"session":"s-1",{blank}"sent_at":{blank}7,"events":[{blank}{f",{blank}".join(events)}]{blank}}}'.encode()


def signal(kind: Any, arrays: str) -> str:
    members = {name: json.loads(arrays) for name in kind.samples}
    return json.dumps({"id": "e-1", "ts": 1_790_000_000_123, "type": kind.__struct_config__.tag, **members})


def both(body: bytes) -> tuple[list[Record], list[Record]]:
    with patch.object(packed, "read", None):
        pure = records(body)
    return records(body), pure


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("samples", [1, 6, 16, 17, SAMPLES_MAX])
def test_signal_of_every_kind_and_length_is_the_same_record(kind: Any, samples: int) -> None:
    """A key event's strokes beyond the sixteenth are left out of both."""
    arrays = json.dumps([n / 10 for n in range(samples)])
    body = body_of(signal(kind, arrays), signal(kind, "[-1.5]"), blank=" \n\r\t")
    assert type(getattr(parse_batch(body, LIMITS)[0].events[0][1], kind.samples[0])) is bytes
    compiled, pure = both(body)
    assert compiled == pure


@settings(deadline=None)
@given(st.lists(st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)))
@example(["-0", "-0.0", "0e5", "-0e5", "123456789012345", "1234567890123456", "0.00000000000001", "0.000000000000001"])
@example(["9007199254740993", "9007199254740992.5", "5e-324", "2.4703282292062327e-324", "1.7976931348623157e308"])
@example(["1" * 64, "1" * 65, "0." + "1" * 63, "0." + "1" * 64, "16.700000762939453", "1e0005"])
def test_number_is_the_nearest_float(numbers: list[str]) -> None:
    """However many digits it has: what is exact is divided once, for the rest there is Python's own parser."""
    array = f"[{','.join([*numbers, '0'])}]"
    compiled, pure = both(body_of(f'{{"type":"key","id":"e","ts":1,"t_down":{array},"t_up":{array}}}'))
    assert compiled == pure


def test_other_events_and_consent_stand_between_signals() -> None:
    """Their text goes to the decoder of every event, escapes, nesting and all."""
    page = json.dumps({"id": "e-2", "ts": 1, "type": "page_view", "url": 'é\\"]}', "properties": {"a": [{"b": "{["}]}})
    answer = json.dumps({"id": "e-3", "ts": 1, "type": "image_label", "task": "t", "answer": "犬"}, ensure_ascii=False)
    pointer = signal(KINDS[0], "[1, 2.5]")
    body = body_of(page, pointer, answer, pointer).replace(b'"sent_at"', b'"consent":{"analytics":true},"sent_at"')
    found = packed.packed_batch(body, 32_768)
    assert found is not None
    assert found.consent is not None
    assert found.consent.analytics is True
    assert [event.id for event in found.others] == ["e-2", "e-3"]
    compiled, pure = both(body)
    assert [(one.topic, one.key) for one in compiled] == [(one.topic, one.key) for one in pure]
    assert [one.value for one in compiled if one.key] == [
        one.value for one in pure if one.key
    ]  # no two seals are alike


def test_body_that_ends_anywhere_is_left_to_the_other_decoder() -> None:
    """No byte behind the end is looked at, wherever that is."""
    body = body_of(signal(KINDS[0], "[1, -2.5e1]"), json.dumps({"id": "e", "type": "usage", "ts": 1, "url": "\\n"}))
    assert packed.packed_batch(body, 32_768) is not None
    assert [packed.packed_batch(body[:end], 32_768) for end in range(len(body))] == [None] * len(body)
