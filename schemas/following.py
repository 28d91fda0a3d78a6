"""One request in so many is followed to its block: an id of ours, in a record's header, in logs, and in traces.

The header is W3C's `traceparent`. Nothing that goes through the door is followed: `ingest/following.py` sees to it.
"""

import re
from collections.abc import Callable, Mapping

import msgspec

HEADER = "traceparent"
_FORM = re.compile(rb"\A00-([0-9a-f]{32})-([0-9a-f]{16})-01\Z")


class Span(msgspec.Struct, frozen=True):
    """A piece of work of a request that is followed.

    Attributes:
        trace_id: 32 hexadecimal digits, the same of all pieces of one request.
        span_id, parent_id: 16; no parent for the first piece.
        began_ns, ended_ns: Unix nanoseconds.
        attributes: numbers and names of ours alone.
    """

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    began_ns: int
    ended_ns: int
    attributes: Mapping[str, str | int]


EmitSpan = Callable[[Span], None]


def emit_nowhere(span: Span) -> None:
    """For a role whose spans nobody collects."""


def header_of(trace_id: str, span_id: str) -> tuple[str, bytes]:
    """The header of a record, as Kafka takes it."""
    return HEADER, f"00-{trace_id}-{span_id}-01".encode()


def ids_of(value: bytes | None) -> tuple[str, str] | None:
    """(trace id, id of the piece of work that wrote the record); None for what is no header of ours."""
    found = _FORM.match(value or b"")
    return (found[1].decode(), found[2].decode()) if found else None
