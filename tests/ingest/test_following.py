"""A request can be followed to its block, unless a label is in it."""

import itertools
import logging

import pytest

from ingest.encode.records import Run
from ingest.following import Follower
from schemas.following import HEADER, Span, header_of, ids_of
from schemas.topics import LABELED
from sinks.kafka.following import FOLLOWED_MAX, FollowedRecords

SIGNALS, VOTES = Run("events.signals", b"s-1", 0, [b"a", b"b"]), Run(LABELED, None, 0, [b"c"], 0)


def follower_of(every: int, spans: list[Span]) -> Follower:
    numbers = itertools.count(1)
    return Follower(every, spans.append, lambda size: f"{next(numbers):0{2 * size}x}")


def test_one_request_in_so_many_is_followed_and_none_where_nobody_asked() -> None:
    """Each followed request costs a line, and each record of it thirty bytes."""
    follower = follower_of(3, [])
    followed = [follower.follow([SIGNALS])[1] is not None for _ in range(7)]
    assert followed == [False, False, True, False, False, True, False]
    assert follower_of(0, []).follow([SIGNALS]) == ([SIGNALS], None)


def test_request_with_a_label_is_never_followed_and_moves_no_other_ones_turn() -> None:
    """An id at the door would tie what leaves it to a request; a turn that moved would tell that a label came."""
    follower = follower_of(2, [])
    assert follower.follow([SIGNALS])[1] is None
    for _ in range(5):
        assert follower.follow([SIGNALS, VOTES]) == ([SIGNALS, VOTES], None)
        assert follower.follow([VOTES]) == ([VOTES], None)
    assert follower.follow([SIGNALS])[1] is not None


def test_request_and_block_say_the_same_id(caplog: pytest.LogCaptureFixture) -> None:
    """From what a client was answered to where it is stored, through two processes that share nothing else."""
    caplog.set_level(logging.INFO)
    spans: list[Span] = []
    (run,), followed = follower_of(1, spans).follow([SIGNALS])
    assert followed is not None
    followed.ended(2, 0, durable=True)
    records = FollowedRecords("signals", 1, spans.append)
    for offset in (10, 11):
        records.note(offset, run.headers)
    records.stored(5, 11, 6)
    records.stored(11, 12, 1)
    lines = [(record.getMessage(), record.fields) for record in caplog.records]
    assert [name for name, _ in lines] == ["followed a request", "stored a block", "stored a block"]
    assert {fields["trace"] for _, fields in lines} == {followed.trace_id}
    assert [(fields["first"], fields["end"]) for _, fields in lines[1:]] == [(5, 11), (11, 12)]
    request, produce, *inserts = spans
    assert produce.parent_id == request.span_id
    assert [span.parent_id for span in inserts] == [produce.span_id] * 2
    assert {span.trace_id for span in spans} == {followed.trace_id}


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"00-x",
        b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01\n",
        b"00-" + b"Z" * 32 + b"-" + b"2" * 16 + b"-01",
    ],
)
def test_header_that_somebody_else_wrote_is_no_id(value: bytes | None, caplog: pytest.LogCaptureFixture) -> None:
    """What is not checked ends up in a log."""
    assert ids_of(value) is None
    records = FollowedRecords("signals", 0, lambda span: None)
    records.note(1, [("other", b"x"), (HEADER, value)])  # type: ignore[list-item]
    records.stored(0, 2, 2)
    assert caplog.records == []


def test_what_waits_is_bounded_and_what_was_set_aside_is_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    """A table that stands still for a day must not fill the sink's memory with ids."""
    caplog.set_level(logging.INFO)
    records = FollowedRecords("signals", 0, lambda span: None)
    for offset in range(FOLLOWED_MAX + 10):
        records.note(offset, [header_of(f"{offset:032x}", "0" * 16)])
    records.stored(FOLLOWED_MAX - 1, FOLLOWED_MAX + 10, 11)
    assert len(caplog.records) == 1
    records.note(FOLLOWED_MAX + 20, [header_of("1" * 32, "0" * 16)])
    records.stored(FOLLOWED_MAX + 20, FOLLOWED_MAX + 21, 1)
    assert len(caplog.records) == 2
