"""The body format of each path that takes events: our own batches, and the shapes of Segment's SDKs.

Everything else about a request, its key, quota, turn and durability, is the same for all of them: `collector.py`.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from ingest.decode.batch import EventBatch, parse_batch
from ingest.decode.segment import PARSERS, write_key_of
from ingest.decode.signal_values import Arrival
from ingest.http.headers import JSON_TYPES
from ingest.http.responses import HttpResponse, Receipt, receipt_response, segment_receipt_response
from ingest.limits import RequestLimits

EVENTS_PATH = "/v1/events"


class BodyFormat(msgspec.Struct, frozen=True, kw_only=True):
    """What is posted at a path, and how it is answered.

    Attributes:
        parse: a decompressed body to its batches: at least one, no two of one session.
            Sound signals may be written for their arrival.
        response: the 200 once every accepted event is durable.
        types: media types that a body may have.
        key_in: finds the key in a body, for clients that put it there.
    """

    parse: Callable[[bytes, RequestLimits, Arrival], list[EventBatch]]
    response: Callable[[Receipt], HttpResponse]
    types: frozenset[str]
    key_in: Callable[[bytes], str | None] | None = None


def _without_signals(parse: Callable[[bytes, RequestLimits], list[EventBatch]]) -> Any:
    return lambda body, limits, _arrival: parse(body, limits)


# Some of Segment's SDKs post with the media type that their HTTP client sets by itself, a form's.
_SEGMENT_TYPES = JSON_TYPES | {"application/x-www-form-urlencoded"}

FORMATS = {
    EVENTS_PATH: BodyFormat(parse=parse_batch, response=receipt_response, types=JSON_TYPES),
    **{
        path: BodyFormat(
            parse=_without_signals(parse),
            response=segment_receipt_response,
            types=_SEGMENT_TYPES,
            key_in=write_key_of,
        )
        for path, parse in PARSERS.items()
    },
}
