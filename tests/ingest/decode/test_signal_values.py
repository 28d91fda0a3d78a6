"""What was compiled makes the records of what was not; test_batch.py compares what both decode, body by body."""

import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ingest.decode import signal_values
from ingest.decode.batch import EventBatch, parse_batch
from ingest.decode.signal_values import Arrival, WrittenBatch, written_batch
from ingest.encode.records import Record, Records, records_of, runs_of_written
from schemas import codec
from schemas.events import SAMPLES_MAX, TS_MAX, AnyEvent, WrittenSignal
from schemas.registry import latest
from schemas.topics import SIGNALS
from tests.ingest.configs import request_limits
from tests.ingest.encode.test_records import SEALS, SENDER, edge_key

LIMITS = request_limits()
ARRIVAL = Arrival(SENDER.site, SENDER.received_at_ms)
KINDS = [kind for kind in AnyEvent.__args__ if kind.category == "signals"]

pytestmark = pytest.mark.skipif(signal_values.read is None, reason="_signal_values.c was not compiled")


def parsed(body: bytes) -> EventBatch:
    (batch,) = parse_batch(body, LIMITS, ARRIVAL)
    return batch


def written(body: bytes) -> WrittenBatch | None:
    return written_batch(body, ARRIVAL, 32_768)


def records(body: bytes) -> list[Record]:
    """Those of signals by their values: each way has an order of its own among kinds."""
    batch = parsed(body)
    assert not batch.rejected
    sender = replace(SENDER, session=batch.session, sent_at_ms=batch.sent_at)
    made, closed = records_of(batch.events, sender, edge_key, SEALS)
    assert not closed
    if batch.written:
        assert Records(runs_of_written(batch.events, sender)).runs == made.runs
    return sorted(made, key=lambda record: (record.topic, record.value if record.topic == SIGNALS else b""))


def body_of(*events: str, blank: str = "") -> bytes:
    return f'{{"session":"s-1",{blank}"sent_at":{blank}7,"events":[{blank}{f",{blank}".join(events)}]{blank}}}'.encode()


def signal(kind: Any, arrays: str) -> str:
    members = {name: json.loads(arrays) for name in kind.samples}
    return json.dumps({"id": "e-1", "ts": 1_790_000_000_123, "type": kind.__struct_config__.tag, **members})


def both(body: bytes) -> tuple[list[Record], list[Record]]:
    with patch.object(signal_values, "read", None):
        pure = records(body)
    return records(body), pure


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("samples", [1, 6, 16, 17, SAMPLES_MAX])
def test_signal_of_every_kind_and_length_is_the_same_record(kind: Any, samples: int) -> None:
    """A key event's strokes beyond the sixteenth are left out of both."""
    arrays = json.dumps([n / 10 for n in range(samples)])
    body = body_of(signal(kind, arrays), signal(kind, "[-1.5]"), blank=" \n\r\t")
    assert parsed(body).written
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
    found = written(body)
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
    assert written(body) is not None
    assert [written(body[:end]) for end in range(len(body))] == [None] * len(body)


NAMES = st.text("abcXYZ019_.:-", min_size=1, max_size=64)


@settings(deadline=None)
@given(NAMES, NAMES, st.text("aZ9_.-", min_size=1, max_size=64), st.integers(0, TS_MAX), st.integers(0, 2**47))
@example("e" * 64, "s" * 64, "a" * 64, TS_MAX, 2**47)
def test_value_is_what_fastavro_writes(event_id: str, session: str, site: str, ts: int, received_at_ms: int) -> None:
    """Whatever the lengths of texts and numbers, which the buffer before the samples has room for."""
    event = f'{{"id":"{event_id}","type":"key","ts":{ts},"t_up":[2],"t_down":[-1.5]}}'
    body = f'{{"session":"{session}","sent_at":{ts},"events":[{event}]}}'.encode()
    found = written_batch(body, Arrival(site, received_at_ms), 32_768)
    assert found is not None
    ((_, signal),) = found.events
    assert type(signal) is WrittenSignal
    assert (signal.id, signal.ts, signal.category) == (event_id, ts, "signals")
    times = {"ts": ts, "received_at": received_at_ms, "sent_at": ts}
    names = {"event_id": event_id, "site": site, "session": session, "type": "key"}
    samples = {**dict.fromkeys(("x", "y", "z", "force"), ()), "t": [-1.5], "t_up": [2.0]}
    assert signal.value == codec.encode("events.signals-value", {**names, **times, **samples})


@pytest.mark.parametrize(
    "body",
    [
        '{"events":[EVENT],"session":"s"}',
        '{"session":"s","events":[EVENT],"sent_at":5}',
        '{"session":"s","events":[EVENT],"session":"t"}',
    ],
)
def test_what_a_value_needs_and_comes_after_the_events_is_not_missed(body: str) -> None:
    """Members of an object have no order; such a body is read by the other decoder."""
    whole = body.replace("EVENT", signal(KINDS[0], "[1]")).encode()
    assert written(whole) is None
    compiled, pure = both(whole)
    assert compiled == pure


def test_schema_of_other_fields_is_not_written() -> None:
    """The layout is compiled in; a schema that has moved on must be written from its own text."""
    fields = [field["name"] for field in latest("events.signals-value").parsed["fields"]]
    assert fields == signal_values.FIELDS
