"""Record values of the door's two topics."""

import datetime
import uuid
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.door.records import labeled_of, midnight_s, released_partition, value_of
from schemas.codec import decode, encode
from schemas.events import DeidentifiedLabel, IdentifiedLabel, IdentifiedVerdict, Unopened
from schemas.outcomes import DeadLetterReason, DecodeError, UnjoinError
from schemas.seal import Opener, Sealed, place_of
from schemas.topics import LABELED
from testkit.seals import EpochKeys, sealed_of, sealed_record_value, sealed_value, unsealed_value

DAY = datetime.date(2026, 3, 4)
NOON_MS = 1_772_625_600_000
VOTER = b"v" * 32


EPOCH_KEY = b"e" * 32
PLACE = place_of(LABELED, 3)


def datum_of(act: dict[str, Any], day: datetime.date = DAY) -> dict[str, Any]:
    return {"voter": VOTER, "day": day, "act": act}


def sealed(act: dict[str, Any], day: datetime.date = DAY, epoch_key: bytes = EPOCH_KEY, **where: Any) -> bytes:
    return sealed_value(datum_of(act, day), epoch_key, **{"partition": 3, **where})


def unsealed(act: dict[str, Any], day: datetime.date = DAY) -> bytes:
    return unsealed_value(datum_of(act, day))


def read(
    value: bytes | None, keys: EpochKeys = lambda day: EPOCH_KEY, place: bytes = PLACE
) -> IdentifiedLabel | IdentifiedVerdict | Unopened:
    return labeled_of(value, NOON_MS, place, Opener(keys))


def reason_of(value: bytes | None, **how: Any) -> DeadLetterReason:
    with pytest.raises(DecodeError) as caught:
        read(value, **how)
    return caught.value.reason


both = pytest.mark.parametrize("labeled", [sealed, unsealed])


ANSWER = {"kind": "image_label", "task": "dogs-1", "answer": "beagle"}


def released(version: int = 1, row_id: str = str(uuid.UUID(int=0))) -> DeidentifiedLabel:
    return DeidentifiedLabel(row_id=row_id, day=DAY, task="t", kind="image_label", answer="a", version=version)


@both
def test_answers_and_verdicts_are_told_apart(labeled: Any) -> None:
    """They share a topic, so that a verdict cannot overtake what it judges; what lay there unsealed is read as well."""
    assert read(labeled(ANSWER)) == IdentifiedLabel(VOTER, DAY, "image_label", "dogs-1", "beagle")
    assert read(labeled({"human": False})) == IdentifiedVerdict(VOTER, DAY, False)


@both
def test_record_with_bytes_behind_its_datum_is_set_aside(labeled: Any) -> None:
    """A record is one datum; whoever appends to one must not have the rest of it believed."""
    for behind in (b"\0", labeled(ANSWER), labeled(ANSWER)[5:]):
        assert reason_of(labeled(ANSWER) + behind) == DeadLetterReason.TRAILING_BYTES


def test_sealed_record_that_was_cut_changed_or_moved_does_not_open() -> None:
    """Whoever may write to the topic has the records of others; none of them is worth anything changed or elsewhere."""
    value = sealed(ANSWER)
    whole = sealed_of(value)
    cut = msgspec.structs.replace(whole, ciphertext=whole.ciphertext[:-1])
    changed = msgspec.structs.replace(whole, ciphertext=bytes([whole.ciphertext[0] ^ 1]) + whole.ciphertext[1:])
    for wrong in (
        cut,
        changed,
        msgspec.structs.replace(whole, number=1),
        msgspec.structs.replace(whole, number=-1),
        msgspec.structs.replace(whole, wrapped_key=whole.wrapped_key[:-1]),
        msgspec.structs.replace(whole, day=DAY - datetime.timedelta(days=1)),
        msgspec.structs.replace(whole, ciphertext=b""),
    ):
        assert reason_of(sealed_record_value(wrong)) == DeadLetterReason.SEAL_BROKEN
    for place in (place_of(LABELED, 2), place_of("events.other", 3)):
        assert reason_of(value, place=place) == DeadLetterReason.SEAL_BROKEN
    assert reason_of(value[:-1]) == DeadLetterReason.MALFORMED_DATUM
    assert reason_of(sealed(ANSWER, epoch_key=b"o" * 32)) == DeadLetterReason.SEAL_BROKEN


def test_label_sealed_to_a_destroyed_key_cannot_be_opened_and_is_no_dead_letter() -> None:
    """Nothing can be done about it: it is counted as suppressed, and the stream goes on."""
    assert read(sealed(ANSWER), lambda day: None) == Unopened(DAY)


def test_door_without_its_private_key_stops() -> None:
    """A key that is gone without a record may come back; a dead letter would be final."""

    def lost(day: datetime.date) -> bytes:
        raise UnjoinError("the key of the day is missing")

    with pytest.raises(UnjoinError, match="missing"):
        read(sealed(ANSWER), lost)


def test_key_of_a_day_that_no_clock_names_is_not_asked_for() -> None:
    """Asking makes a key: whoever writes to the topic could fill the folder of keys."""
    for day in (datetime.date(1969, 1, 1), DAY + datetime.timedelta(days=2), datetime.date.max):
        value = sealed_record_value(msgspec.structs.replace(sealed_of(sealed(ANSWER)), day=day))
        assert reason_of(value, keys=pytest.fail) == DeadLetterReason.MALFORMED_DATUM


def test_day_outside_the_seal_is_the_day_inside() -> None:
    """Its row is keyed with one day's key: it must not stay readable for as long as another's."""
    outside = DAY - datetime.timedelta(days=1)
    assert reason_of(sealed(ANSWER, outer_day=outside)) == DeadLetterReason.MALFORMED_DATUM


def test_content_that_is_not_sealed_is_not_believed() -> None:
    """Only what the version before wrote may lie there in the clear."""
    assert reason_of(encode("events.labeled.content-value", datum_of(ANSWER))) == DeadLetterReason.WRONG_SCHEMA


@both
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
def test_record_that_no_edge_wrote_is_set_aside(labeled: Any, day: datetime.date, kind: str) -> None:
    """A broker refuses a stamp that lies ahead, for ever: such a record would stop the stream at the way out."""
    assert reason_of(labeled({**ANSWER, "kind": kind}, day)) is DeadLetterReason.MALFORMED_DATUM


@given(
    st.one_of(
        st.none(),
        st.binary(max_size=80),
        st.binary(max_size=80).map(lambda datum: b"\0\0\0\0\2" + datum),
        st.binary(max_size=400).map(lambda datum: b"\0\0\0\0\x15" + datum),
        st.builds(
            Sealed, st.dates(), st.binary(max_size=90), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=400)
        ).map(sealed_record_value),
    )
)
def test_any_bytes_are_a_record_or_raise_decode_error(value: bytes | None) -> None:
    """Whatever lies on the topic, the stream goes on."""
    with suppress(DecodeError):
        assert isinstance(read(value), IdentifiedLabel | IdentifiedVerdict)


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
