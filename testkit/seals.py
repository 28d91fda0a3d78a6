"""Labels as they lie on `events.labeled`, written and read by whoever holds the keys: tests, benches, attacks."""

import datetime
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from ingest.encode.seals import CONTENT_SUBJECT, Seals
from ingest.kafka.partitioner import positive_hash
from schemas.codec import HEADER, HEADER_BYTES, decode, decode_datum, encode, split
from schemas.registry import latest
from schemas.seal import Opener, Sealed, Sealer, place_of, public_key_of
from schemas.topics import LABELED

LABELED_SUBJECT = "events.labeled-value"
UNSEALED_ID = 2
"""Of the schema that labels had before they were sealed."""

EpochKeys = Callable[[datetime.date], bytes | None]


def seals_of(epoch_key: Callable[[datetime.date], bytes], partitions: int = 1) -> Seals:
    """What a collector seals with, whose door has these keys."""
    public_key = cache(public_key_of)
    return Seals(
        lambda day: public_key(epoch_key(day)), lambda voter: positive_hash(voter) % partitions, time.monotonic
    )


def sealed_value(
    datum: dict[str, Any],
    epoch_key: bytes,
    *,
    topic: str = LABELED,
    partition: int = 0,
    outer_day: datetime.date | None = None,
) -> bytes:
    """A record value of `events.labeled`.

    Args:
        datum: of what is inside.
        outer_day: on the outside; None for the datum's own.
    """
    sealer = Sealer(outer_day or datum["day"], public_key_of(epoch_key), time.monotonic)
    return sealed_record_value(sealer.seal(encode(CONTENT_SUBJECT, datum), place_of(topic, partition)))


def sealed_record_value(sealed: Sealed) -> bytes:
    """The record value of something sealed."""
    return encode(LABELED_SUBJECT, {name: getattr(sealed, name) for name in sealed.__struct_fields__})


def unsealed_value(datum: dict[str, Any]) -> bytes:
    """A record value of `events.labeled` as the version before labels were sealed wrote it."""
    return HEADER.pack(0, UNSEALED_ID) + encode(CONTENT_SUBJECT, datum)[HEADER_BYTES:]


def sealed_of(value: bytes | None) -> Sealed:
    """The inverse of `sealed_record_value`.

    Raises:
        DecodeError: it is none.
    """
    writer, datum = split(value, LABELED_SUBJECT)
    return Sealed(**decode_datum(writer, datum, latest(LABELED_SUBJECT)))


def opened_datum(
    value: bytes | None, epoch_keys: EpochKeys, *, topic: str = LABELED, partition: int = 0
) -> dict[str, Any]:
    """What a sealed record says.

    Raises:
        DecodeError: it does not open.
        LookupError: its day's key was destroyed.
    """
    content = Opener(epoch_keys).open(sealed_of(value), place_of(topic, partition))
    if content is None:
        raise LookupError("the key of its day was destroyed")
    return decode(content, CONTENT_SUBJECT)
