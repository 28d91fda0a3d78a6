"""What a request may cost. Pure."""

import msgspec


class RequestLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a request may cost.

    Attributes:
        body_bytes_max: before and after decompression.
        event_depth_max: levels of arrays and objects, the event itself being the first.
        answer_bytes_max: of an answer in UTF-8.
        body_seconds_max: until the whole body has arrived.
        header_bytes_max: request line and headers.
        header_seconds_max: until the whole of them has arrived.
    """

    body_bytes_max: int = 1_048_576
    batch_events_max: int = 500
    event_bytes_max: int = 32_768
    event_depth_max: int = 32
    answer_bytes_max: int = 4_096
    body_seconds_max: float = 10.0
    header_bytes_max: int = 16_384
    header_seconds_max: float = 10.0
