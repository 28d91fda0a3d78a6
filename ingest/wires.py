"""What is spoken at each path that takes events: our own batches, and the shapes of Segment's SDKs.

Everything else about a request, its key, quota, turn, durability, is the same whatever it speaks: `collector.py`.
"""

from collections.abc import Callable

import msgspec

from ingest.answers import Answer, Receipt, receipt_answer, segment_receipt_answer
from ingest.headers import JSON_TYPES
from ingest.rejection import Rejection
from ingest.request import Batch, Limits, parse_batch
from ingest.segment import PARSERS, write_key_of

EVENTS_PATH = "/v1/events"


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """What is spoken at a path.

    Attributes:
        parse: a decompressed body to its batches, at least one, each of one session.
        answer: what is said when every accepted event is durable.
        types: of bodies.
        key_in: finds the key in a body, for clients that put it there.
        busy_status: of the answer that the request is to be sent again later.
    """

    parse: Callable[[bytes, Limits], list[Batch]]
    answer: Callable[[Receipt], Answer]
    types: frozenset[str]
    key_in: Callable[[bytes], str | None] | None = None
    busy_status: int = 503

    def refusal(self, rejection: Rejection) -> Rejection:
        """A refusal with the status that this path's clients understand."""
        if rejection.status != 503 or self.busy_status == 503:
            return rejection
        return Rejection(self.busy_status, rejection.error, rejection.detail, rejection.retry_after_s)


def _one(body: bytes, limits: Limits) -> list[Batch]:
    return [parse_batch(body, limits)]


def _of_segment(parse: Callable[[bytes, Limits], list[Batch]]) -> Wire:
    """Segment's SDKs give a 503 up after a few tries, whatever Retry-After says; a 429 they keep and send when told.

    Some post with the type that their HTTP client sets by itself, a form's.
    """
    return Wire(
        parse=parse,
        answer=segment_receipt_answer,
        types=JSON_TYPES | {"application/x-www-form-urlencoded"},
        key_in=write_key_of,
        busy_status=429,
    )


WIRES = {
    EVENTS_PATH: Wire(parse=_one, answer=receipt_answer, types=JSON_TYPES),
    **{path: _of_segment(parse) for path, parse in PARSERS.items()},
}
