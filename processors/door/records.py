"""Record values of the door's three topics <-> the types that flow. Pure."""

import datetime
from collections.abc import Iterable
from functools import cache
from typing import Any

from processors.door.plain_datums import label_of, sealed_of
from processors.door.verdicts import StoredVerdict
from schemas.codec import HEADER_BYTES, decode, decode_datum, encode, header, split
from schemas.encoders import Encoder, encoder_maker
from schemas.events import DeidentifiedLabel, IdentifiedLabel, IdentifiedVerdict, Unopened
from schemas.outcomes import DeadLetterReason, DecodeError
from schemas.registry import latest
from schemas.seal import Opener, Sealed

LABELED_SUBJECT = "events.labeled-value"
CONTENT_SUBJECT = "events.labeled.content-value"
DEIDENTIFIED_SUBJECT = "labels.deidentified-value"
VERDICTS_SUBJECT = "door.verdicts-value"
UNSEALED_VERSION = 1
"""Of the subject, before labels were sealed: such records are read until their retention is over."""
KINDS = frozenset({"image_label", "audio_transcript", "text_answer"})
EPOCH = datetime.date(1970, 1, 1)
DAY_MS = 86_400_000


def labeled_of(
    value: bytes | None, received_at_ms: int, place: bytes, opener: Opener
) -> IdentifiedLabel | IdentifiedVerdict | Unopened:
    """What a record of `events.labeled` says.

    Args:
        received_at_ms: when the broker appended it, Unix milliseconds.
        place: where it was read, `schemas.seal.place_of`.

    Raises:
        DecodeError: not exactly one datum of the subject, a seal that does not open, a kind that no label has, or a
            day that no clock of the edge can have named: the released record is stamped with it, and a broker refuses
            what lies ahead.
        Exception: whatever the opener's keys raise.
    """
    writer, datum = split(value, LABELED_SUBJECT)
    if writer.version == UNSEALED_VERSION:
        return _content_of(decode_datum(writer, datum, writer), received_at_ms)
    sealed = sealed_of(value, HEADER_BYTES) if value is not None and writer is latest(LABELED_SUBJECT) else None
    if sealed is None:
        sealed = Sealed(**decode_datum(writer, datum, latest(LABELED_SUBJECT)))
    _check_day(sealed.day, received_at_ms)  # before anybody asks for its key
    content = opener.open(sealed, place)
    if content is None:
        return Unopened(sealed.day)
    said = _said_in(content, received_at_ms)
    if said.day != sealed.day:  # its row would be keyed with one day's key, and be readable for as long as another's
        raise DecodeError(DeadLetterReason.MALFORMED_DATUM)
    return said


def _said_in(content: bytes, received_at_ms: int) -> IdentifiedLabel | IdentifiedVerdict:
    if content.startswith(header(CONTENT_SUBJECT)):
        label = label_of(content, HEADER_BYTES)
        if label is not None and label.kind in KINDS:
            return label
    return _content_of(decode(content, CONTENT_SUBJECT), received_at_ms)


def _check_day(day: datetime.date, received_at_ms: int) -> None:
    if not 0 < (day - EPOCH).days <= received_at_ms // DAY_MS + 1:
        raise DecodeError(DeadLetterReason.MALFORMED_DATUM)


def _content_of(datum: dict[str, Any], received_at_ms: int) -> IdentifiedLabel | IdentifiedVerdict:
    day, act = datum["day"], datum["act"]
    _check_day(day, received_at_ms)
    if "human" in act:
        return IdentifiedVerdict(voter=datum["voter"], day=day, human=act["human"])
    if act["kind"] not in KINDS:
        raise DecodeError(DeadLetterReason.MALFORMED_DATUM)
    return IdentifiedLabel(voter=datum["voter"], day=day, kind=act["kind"], task=act["task"], answer=act["answer"])


def values_of(labels: Iterable[DeidentifiedLabel]) -> list[bytes]:
    """The record values of released labels."""
    return _encoder()(labels)


def value_of(label: DeidentifiedLabel) -> bytes:
    """The record value of a released label."""
    return values_of([label])[0]


@cache
def _encoder() -> Encoder:
    return encoder_maker(DEIDENTIFIED_SUBJECT, attributes={"version": "signed_version"})()


def released_partition(label: DeidentifiedLabel, partitions: int) -> int:
    """The partition of a released label: by the first byte of its row_id, so it tells nothing that row_id does not."""
    return int(label.row_id[:2], 16) % partitions


def midnight_s(day: datetime.date) -> float:
    """The record timestamp of a released label: midnight UTC of its day, Unix seconds."""
    return (day - EPOCH).days * 86_400.0


def verdict_key_of(verdict: StoredVerdict) -> bytes:
    """The record key of a stored verdict: its voter and its place, so that one that is written again is compacted.

    Not the voter alone: of several verdicts on one voter each is needed, for a replay that goes on between them.
    """
    return verdict.voter_id + verdict.partition.to_bytes(4, "big") + verdict.offset.to_bytes(8, "big")


def verdict_value_of(verdict: StoredVerdict) -> bytes:
    """The record value of a stored verdict."""
    return encode(VERDICTS_SUBJECT, {name: getattr(verdict, name) for name in verdict.__struct_fields__})


def stored_verdict_of(value: bytes | None) -> StoredVerdict:
    """The inverse of `verdict_value_of`.

    Raises:
        DecodeError: no door wrote it.
    """
    return StoredVerdict(**decode(value, VERDICTS_SUBJECT))
