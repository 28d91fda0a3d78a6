"""What is spoken at each path that takes events: our own batches, and the shapes of Segment's SDKs.

Everything else about a request, its key, quota, turn, durability, is the same whatever it speaks: `collector.py`.
"""

from collections.abc import Callable

import msgspec

from ingest.decode.batch import Batch, parse_batch
from ingest.decode.segment import PARSERS, write_key_of
from ingest.http.headers import JSON_TYPES
from ingest.http.responses import Answer, Receipt, receipt_answer, segment_receipt_answer
from ingest.limits import RequestLimits

EVENTS_PATH = "/v1/events"


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """What is spoken at a path.

    Attributes:
        parse: a decompressed body to its batches, at least one, each of one session.
        answer: what is said when every accepted event is durable.
        types: of bodies.
        key_in: finds the key in a body, for clients that put it there.
    """

    parse: Callable[[bytes, RequestLimits], list[Batch]]
    answer: Callable[[Receipt], Answer]
    types: frozenset[str]
    key_in: Callable[[bytes], str | None] | None = None


def _one(body: bytes, limits: RequestLimits) -> list[Batch]:
    return [parse_batch(body, limits)]


def _of_segment(parse: Callable[[bytes, RequestLimits], list[Batch]]) -> Wire:
    """Some SDKs post with the type that their HTTP client sets by itself, a form's."""
    types = JSON_TYPES | {"application/x-www-form-urlencoded"}
    return Wire(parse=parse, answer=segment_receipt_answer, types=types, key_in=write_key_of)


WIRES = {
    EVENTS_PATH: Wire(parse=_one, answer=receipt_answer, types=JSON_TYPES),
    **{path: _of_segment(parse) for path, parse in PARSERS.items()},
}
