"""The two datums that a door reads for every label, read by hand: a third of what fastavro takes. Pure.

Whatever is not plainly right, a verdict included, is None: then fastavro reads it, and says what is wrong.
Source: Avro 1.12 specification, binary encoding.
"""

import datetime

from schemas.events import IdentifiedLabel
from schemas.seal import Sealed

VOTER_BYTES = 32
_DAY_0 = datetime.date(1970, 1, 1).toordinal()
_SHIFT_MAX = 56
_NOT_PLAIN = (ValueError, IndexError, OverflowError)


def sealed_of(value: bytes, at: int) -> Sealed | None:
    """The sealed label whose datum begins at `at` and ends with the value."""
    try:
        day, at = _day(value, at)
        wrapped_key, at = _bytes(value, at)
        number, at = _long(value, at)
        ciphertext, at = _bytes(value, at)
    except _NOT_PLAIN:
        return None
    return Sealed(day, wrapped_key, number, ciphertext) if at == len(value) else None


def label_of(value: bytes, at: int) -> IdentifiedLabel | None:
    """The label whose datum begins at `at` and ends with the value."""
    voter, at = value[at : at + VOTER_BYTES], at + VOTER_BYTES
    try:
        day, at = _day(value, at)
        branch, at = _long(value, at)
        kind, at = _bytes(value, at)
        task, at = _bytes(value, at)
        answer, at = _bytes(value, at)
        if branch or at != len(value):
            return None
        return IdentifiedLabel(voter, day, kind.decode(), task.decode(), answer.decode())
    except _NOT_PLAIN:
        return None


def _long(value: bytes, at: int) -> tuple[int, int]:
    """A number, and where the next datum begins."""
    byte = value[at]
    number, shift = byte & 0x7F, 7
    while byte & 0x80:
        at += 1
        byte = value[at]
        number |= (byte & 0x7F) << shift
        shift += 7
        if shift > _SHIFT_MAX:
            raise ValueError
    return number >> 1 ^ -(number & 1), at + 1


def _day(value: bytes, at: int) -> tuple[datetime.date, int]:
    days, at = _long(value, at)
    return datetime.date.fromordinal(_DAY_0 + days), at


def _bytes(value: bytes, at: int) -> tuple[bytes, int]:
    length, at = _long(value, at)
    end = at + length
    if not at <= end <= len(value):
        raise ValueError
    return value[at:end], end
