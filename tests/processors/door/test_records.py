"""Record values of the door's two topics."""

import datetime
import uuid
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.door.records import labeled_of, midnight_s, released_partition, value_of
from schemas.codec import decode, encode
from schemas.events import DeidentifiedLabel, IdentifiedLabel, IdentifiedVerdict
from schemas.outcomes import DeadLetterReason, DecodeError

DAY = datetime.date(2026, 3, 4)
NOON_MS = 1_772_625_600_000
VOTER = b"v" * 32


def labeled(act: dict[str, Any], day: datetime.date = DAY) -> bytes:
    return encode("events.labeled-value", {"voter": VOTER, "day": day, "act": act})


ANSWER = {"kind": "image_label", "task": "dogs-1", "answer": "beagle"}


def released(version: int = 1, row_id: str = str(uuid.UUID(int=0))) -> DeidentifiedLabel:
    return DeidentifiedLabel(row_id=row_id, day=DAY, task="t", kind="image_label", answer="a", version=version)


def test_answers_and_verdicts_are_told_apart() -> None:
    """They share a topic, so that a verdict cannot overtake what it judges."""
    assert labeled_of(labeled(ANSWER), NOON_MS) == IdentifiedLabel(VOTER, DAY, "image_label", "dogs-1", "beagle")
    assert labeled_of(labeled({"human": False}), NOON_MS) == IdentifiedVerdict(VOTER, DAY, False)


def test_record_with_bytes_behind_its_datum_is_set_aside() -> None:
    """A record is one datum; whoever appends to one must not have the rest of it believed."""
    for behind in (b"\0", labeled(ANSWER), labeled(ANSWER)[5:]):
        with pytest.raises(DecodeError) as error:
            labeled_of(labeled(ANSWER) + behind, NOON_MS)
        assert error.value.reason == DeadLetterReason.TRAILING_BYTES


@pytest.mark.parametrize(
    ("day", "kind"),
    [
        (datetime.date(1970, 1, 1), "image_label"),
        (datetime.date(1969, 12, 31), "image_label"),
        (DAY + datetime.timedelta(days=2), "image_label"),
        (datetime.date.max, "image_label"),
        (DAY, "pointer"),
    ],
)
def test_record_that_no_edge_wrote_is_set_aside(day: datetime.date, kind: str) -> None:
    """A broker refuses a stamp that lies ahead, for ever: such a record would stop the stream at the way out."""
    with pytest.raises(DecodeError) as caught:
        labeled_of(labeled({**ANSWER, "kind": kind}, day), NOON_MS)
    assert caught.value.reason is DeadLetterReason.MALFORMED_DATUM


@given(st.one_of(st.none(), st.binary(max_size=80), st.binary(max_size=80).map(lambda datum: b"\0\0\0\0\2" + datum)))
def test_any_bytes_are_a_record_or_raise_decode_error(value: bytes | None) -> None:
    """Whatever lies on the topic, the stream goes on."""
    with suppress(DecodeError):
        assert isinstance(labeled_of(value, NOON_MS), IdentifiedLabel | IdentifiedVerdict)


@given(st.integers(0, 2**64 - 1))
def test_version_keeps_its_64_bits(version: int) -> None:
    """Avro's long is signed, the column is not."""
    datum = decode(value_of(released(version)), "labels.deidentified-value")
    assert datum["version"] % 2**64 == version


@given(st.uuids(), st.integers(1, 64))
def test_partition_is_the_first_byte_of_the_row_id(row_id: uuid.UUID, partitions: int) -> None:
    """The partition must tell nothing that the row does not."""
    assert released_partition(released(row_id=str(row_id)), partitions) == row_id.bytes[0] % partitions


def test_time_of_a_released_record_is_midnight() -> None:
    """The day is all the time there is."""
    assert midnight_s(DAY) * 1000 == NOON_MS - 12 * 3_600_000
