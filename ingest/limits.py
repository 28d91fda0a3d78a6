"""Pure: what a request may cost and how long it may take; `Settings` has the values that an operator can choose."""

import msgspec

# What the disk gets for a batch after Kafka had its `produce_seconds_max`.
SPOOL_SECONDS_MAX = 0.9
# Beyond `produce_seconds_max` a request may wait this long for its turn: an outage of Kafka is noticed only once
# `produce_seconds_max` has passed, and from then on the spool takes what waited.
LATE_SPARE_SECONDS = 2.0
# Of a `key` event, that are kept: whoever counts the strokes of an answer knows its length. The SDK tells three.
KEY_STROKES_MAX = 16


class RequestLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a request may cost.

    Attributes:
        body_bytes_max: before and after decompression.
        batch_calls_max: of a batch as Segment's SDKs post it.
        event_depth_max: levels of arrays and objects, the event itself being the first.
        answer_bytes_max: of an answer in UTF-8.
        body_seconds_max: until the whole body has arrived.
        header_bytes_max: request line and headers.
        header_seconds_max: until the whole of them has arrived.
    """

    body_bytes_max: int
    batch_events_max: int
    batch_calls_max: int
    event_bytes_max: int
    event_depth_max: int
    answer_bytes_max: int
    body_seconds_max: float
    header_bytes_max: int
    header_seconds_max: float
