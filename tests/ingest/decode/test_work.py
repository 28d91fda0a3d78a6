"""What one body costs: steps of Python are counted, never time, on bodies that search found to be the worst."""

import gc
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st

from ingest.decode.batch import parse_batch
from ingest.decode.envelope import CONTAINERS_MAX
from ingest.decode.segment import parse_segment_batch
from ingest.encode.records import Sender, records_of
from ingest.errors import Rejection
from testkit.seals import seals_of
from tests.ingest.configs import request_limits

LIMITS = request_limits()
SEALS = seals_of(lambda _: bytes(32))
SENDER = Sender("shop", "s-1", 1_790_000_000_000, "203.0.113.9", "Mozilla/5.0")
# Lines and calls of Python for one event, whatever it holds. What a value costs is C's alone: some ten nanoseconds.
STEPS_OF_EVENT_MAX = 500
EVENT = '{"id":"e-%d","type":"page_view","ts":1790000000000,"url":"u","properties":%s}'
CALL = (
    '{"type":"track","messageId":"m-%d","timestamp":"2026-09-21T14:13:20Z","anonymousId":"s","event":"o",'
    '"properties":%s}'
)


def steps_of(work: Callable[[], object]) -> int:
    """Lines and calls of Python that a piece of work takes, once what is made but once is there."""
    work()
    steps = 0

    def trace(*_: object) -> Any:
        nonlocal steps
        steps += 1
        return trace

    before = sys.gettrace()
    gc.disable()  # Hypothesis is called at each collection, and its steps would count
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
        gc.enable()
    return steps


def take(body: bytes, parse: Callable[..., Any] = parse_batch) -> None:
    """What a collector does with a body between its last byte and Kafka."""
    try:
        batches = parse(body, LIMITS)
    except Rejection:
        return
    for batch in batches:
        records_of(batch.events, SENDER, lambda _: bytes(32), SEALS)


def body_of(properties: str, events: int = 4) -> bytes:
    return ('{"session":"s","events":[' + ",".join(EVENT % (n, properties) for n in range(events)) + "]}").encode()


def calls_of(properties: str, calls: int = 4) -> bytes:
    return ('{"batch":[' + ",".join(CALL % (n, properties) for n in range(calls)) + "]}").encode()


def filled(unit: str, size: int = 30_000) -> str:
    return '{"a":[' + ",".join([unit] * (size // (len(unit) + 1))) + "]}"


HOSTILE = {
    "empty arrays": "[]",
    "empty objects": "{}",
    "thirty levels": "[" * 29 + "]" * 29,
    "too many levels": "[" * 31 + "]" * 31,
    "objects in objects": '{"a":' * 20 + "0" + "}" * 20,
    "digits": "0",
    "floats": "1e1",
    "integers beyond 64 bits": "9" * 30,
    "integers beyond a float": "9" * 400,
    "a number beyond a float": "1e999",
    "empty strings": '""',
    "escapes": '"\\n\\n\\n"',
    "brackets in strings": '"[[[["',
    "pairs of surrogates": '"\\ud83d\\ude00"',
    "strings and arrays": '"\\n",[]',
    "lone surrogates": '"\\ud800"',
    "duplicate members": '{"a":1,"a":1}',
}


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize(("body", "parse"), [(body_of, parse_batch), (calls_of, parse_segment_batch)])
def test_event_costs_steps_by_its_kind_and_not_by_what_it_holds(unit: str, body: Any, parse: Any) -> None:
    """The input chooses how many values there are, and the event loop stands still until all are seen."""
    assert steps_of(lambda: take(body(filled(unit)), parse)) < 4 * STEPS_OF_EVENT_MAX


def test_lone_surrogate_costs_no_steps_for_what_lies_around_it() -> None:
    """One of them has the whole body searched."""
    around = filled('"\\n\\n\\n"')[:-2] + ',"\\ud800"]}'
    assert steps_of(lambda: take(body_of(around))) < 4 * STEPS_OF_EVENT_MAX


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(json_values, st.sampled_from([parse_batch, parse_segment_batch]))
def test_search_for_the_costliest_event_finds_none_beyond_the_bound(value: Any, parse: Any) -> None:
    """The list above is what was thought of; Hypothesis climbs from there by the steps it counts."""
    build = body_of if parse is parse_batch else calls_of
    body = build(filled(json.dumps(value), 5_000))
    steps = steps_of(lambda: take(body, parse))
    target(steps)
    assert steps < 4 * STEPS_OF_EVENT_MAX


def test_body_holds_no_more_arrays_and_objects_than_its_bound() -> None:
    """Each is an object of Python: half a million of them took 224 ms of one body, and nobody else was served."""
    take(body_of("{}"))
    for parse, build in ((parse_batch, body_of), (parse_segment_batch, calls_of)):
        with pytest.raises(Rejection) as refused:
            parse(build(filled("[]", 200_000)), LIMITS)
        assert refused.value.status == 413
    fits = body_of(filled("[]", 30_000), events=CONTAINERS_MAX // 10_100)
    assert len(parse_batch(fits, LIMITS)[0].events) == CONTAINERS_MAX // 10_100
