"""Record values of the door's three topics <-> the types that flow. Pure."""

import datetime

from processors.door.verdicts import StoredVerdict
from schemas.codec import decode, encode
from schemas.events import DeidentifiedLabel, IdentifiedLabel, IdentifiedVerdict
from schemas.outcomes import DeadLetterReason, DecodeError

LABELED_SUBJECT = "events.labeled-value"
DEIDENTIFIED_SUBJECT = "labels.deidentified-value"
VERDICTS_SUBJECT = "door.verdicts-value"
KINDS = frozenset({"image_label", "audio_transcript", "text_answer"})
EPOCH = datetime.date(1970, 1, 1)
DAY_MS = 86_400_000


def labeled_of(value: bytes | None, received_at_ms: int) -> IdentifiedLabel | IdentifiedVerdict:
    """What a record of `events.labeled` says.

    Args:
        received_at_ms: when the broker appended it, Unix milliseconds.

    Raises:
        DecodeError: not exactly one datum of the subject, a kind that no label has, or a day that no clock of the
            edge can have named: the released record is stamped with it, and a broker refuses what lies ahead.
    """
    datum = decode(value, LABELED_SUBJECT)
    day, act = datum["day"], datum["act"]
    if not 0 < (day - EPOCH).days <= received_at_ms // DAY_MS + 1:
        raise DecodeError(DeadLetterReason.MALFORMED_DATUM)
    if "human" in act:
        return IdentifiedVerdict(voter=datum["voter"], day=day, human=act["human"])
    if act["kind"] not in KINDS:
        raise DecodeError(DeadLetterReason.MALFORMED_DATUM)
    return IdentifiedLabel(voter=datum["voter"], day=day, kind=act["kind"], task=act["task"], answer=act["answer"])


def value_of(label: DeidentifiedLabel) -> bytes:
    """The record value of a released label. Avro has no unsigned long: `version` keeps its 64 bits as a signed one."""
    signed = label.version - (1 << 64) if label.version >> 63 else label.version
    return encode(
        DEIDENTIFIED_SUBJECT,
        {
            "row_id": label.row_id,
            "day": label.day,
            "task": label.task,
            "kind": label.kind,
            "answer": label.answer,
            "version": signed,
        },
    )


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
