"""What a dead letter looks like: the original bytes, and headers that say why and from where."""

from typing import Any

import msgspec

from schemas.outcomes import DeadLetterReason

Headers = list[tuple[str, bytes]]

TRUNCATED_FROM = "truncated_from"
"""The header of a dead letter whose value was cut, since it did not fit with headers: its length before."""


class Origin(msgspec.Struct, frozen=True):
    """Where a dead letter lay before, and why it was set aside.

    Attributes:
        offset: of the original record, not of the dead letter.
    """

    reason: str
    topic: str
    partition: int
    offset: int


def headers_of(reason: DeadLetterReason, topic: str, partition: int, offset: int) -> Headers:
    """The headers of a dead letter; its value and key are the original's, byte for byte."""
    return [
        ("reason", str(reason).encode()),
        ("topic", topic.encode()),
        ("partition", b"%d" % partition),
        ("offset", b"%d" % offset),
    ]


def origin_of(headers: Any) -> Origin | None:
    """What a dead letter's headers say, or None where they are not those of a dead letter."""
    try:
        fields = {name: value.decode() for name, value in headers}
        return Origin(fields["reason"], fields["topic"], int(fields["partition"]), int(fields["offset"]))
    except (KeyError, ValueError, AttributeError, TypeError):
        return None
