"""What is read by hand is what fastavro reads, or is left to it."""

import datetime
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from processors.door.plain_datums import label_of, sealed_of
from processors.door.records import CONTENT_SUBJECT, LABELED_SUBJECT
from schemas.codec import HEADER_BYTES, decode, encode, header
from schemas.events import IdentifiedLabel
from schemas.seal import Sealed
from testkit.seals import sealed_record_value

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=80)
answers = st.builds(
    IdentifiedLabel, voter=st.binary(min_size=32, max_size=32), day=st.dates(), kind=texts, task=texts, answer=texts
)
sealeds = st.builds(Sealed, st.dates(), st.binary(max_size=90), st.integers(0, 2**54), st.binary(max_size=400))
changes = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), min_size=1, max_size=3)


def content_of(label: IdentifiedLabel) -> bytes:
    act = {"kind": label.kind, "task": label.task, "answer": label.answer}
    return encode(CONTENT_SUBJECT, {"voter": label.voter, "day": label.day, "act": ("unjoin.Answer", act)})


def changed(value: bytes, places: list[tuple[int, int]]) -> bytes:
    """With other bytes behind the header; past the end, cut or longer."""
    datum = bytearray(value)
    for place, byte in places:
        at = HEADER_BYTES + place
        if at < len(datum):
            datum[at] = byte
        else:
            datum = datum[: len(datum) - byte % 7] if byte % 2 else datum + bytes([byte])
    return bytes(datum)


def by_fastavro(value: bytes, subject: str) -> Any:
    datum = decode(value, subject)
    return (
        Sealed(**datum) if subject == LABELED_SUBJECT else IdentifiedLabel(datum["voter"], datum["day"], **datum["act"])
    )


@given(answers, sealeds)
@example(IdentifiedLabel(bytes(32), datetime.date.min, "", "", "é" * 9_000), Sealed(datetime.date.max, b"", 0, b""))
def test_what_a_producer_writes_is_read_by_hand(label: IdentifiedLabel, sealed: Sealed) -> None:
    """Otherwise it would be slow, and nobody would notice."""
    assert label_of(content_of(label), HEADER_BYTES) == label
    assert sealed_of(sealed_record_value(sealed), HEADER_BYTES) == sealed


@given(answers, sealeds, changes)
@example(
    IdentifiedLabel(bytes(32), datetime.date(2026, 3, 4), "k", "t", "a"),
    Sealed(datetime.date.max, b"", 0, b""),
    [(34, 2)],
)
def test_bytes_that_are_read_by_hand_are_read_so_by_fastavro(
    label: IdentifiedLabel, sealed: Sealed, places: list[tuple[int, int]]
) -> None:
    """A record that one of the two takes and the other does not would be a label here and a dead letter there."""
    value = changed(content_of(label), places)
    if (read := label_of(value, HEADER_BYTES)) is not None:
        assert by_fastavro(value, CONTENT_SUBJECT) == read
    value = changed(sealed_record_value(sealed), places)
    if (read_sealed := sealed_of(value, HEADER_BYTES)) is not None:
        assert by_fastavro(value, LABELED_SUBJECT) == read_sealed


@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_left_to_fastavro(datum: bytes) -> None:
    """Nothing else is raised."""
    for read, subject in ((label_of, CONTENT_SUBJECT), (sealed_of, LABELED_SUBJECT)):
        value = header(subject) + datum
        if (found := read(value, HEADER_BYTES)) is not None:
            assert by_fastavro(value, subject) == found
