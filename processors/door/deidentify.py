"""The door. The only code that turns an identified label into a row. Pure.

All that leaves is keyed with the day's epoch key, which no other part holds, over inputs that are framed with
their lengths (`("ab", "c")` and `("a", "bc")` differ) and begin with what they are for (a row_id never equals a
version). Source: RFC 2104; truncation, its section 5.
"""

import datetime
import uuid
from collections.abc import Callable
from functools import lru_cache

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from processors.masking.canonical import canonical
from schemas.events import DeidentifiedLabel, IdentifiedLabel

EpochKeys = Callable[[datetime.date], bytes | None]
"""The epoch key of a day, 32 random bytes; None where it was destroyed on record. Whatever it raises stops the door."""

Mask = Callable[[str], str]
"""A canonical answer -> the answer without what could name somebody, canonical too."""

ROW_ID = b"unjoin row_id 1\0"
VERSION = b"unjoin version 1\0"
VERDICT = b"unjoin verdict 1\0"


def row_id(voter: bytes, task: str, epoch_key: bytes) -> uuid.UUID:
    """One voter's vote on one task, unlinkable once `epoch_key` is destroyed.

    The same voter and task give the same id within an epoch, so that a replayed or repeated answer replaces itself
    instead of voting twice.

    Returns:
        The left 16 of 32 bytes; as a UUID it claims no variant or version, since every bit is the key's.
    """
    return uuid.UUID(bytes=_vote(voter, task, epoch_key)[:16])


def rank(voter: bytes, task: str, epoch_key: bytes) -> bytes:
    """Which of a voter's votes is given up first, 8 bytes: arbitrary, always the same one, and unlike any field.

    Eight bytes of the half of the digest that `row_id` leaves out, so that they tell nothing about it.
    """
    return _vote(voter, task, epoch_key)[16:24]


def verdict_id(voter: bytes, epoch_key: bytes) -> bytes:
    """A voter as the door remembers a verdict about it, 16 bytes: no row_id and no voter can be computed from it."""
    return _keyed(epoch_key, VERDICT, voter)[:16]


def version(voter: bytes, task: str, kind: str, answer: str, epoch_key: bytes) -> int:
    """Which of several answers of one vote is kept, 0 to 2**64 - 1: arbitrary, always the same one, without an order.

    Over the answer *as it leaves*, kind included: equal (row_id, version) then means an equal row, so whoever stores
    it may skip what is already there; and what masking and the canonical form removed leaves no trace, not even for a
    holder of the key.
    """
    return int.from_bytes(_keyed(epoch_key, VERSION, voter, task.encode(), kind.encode(), answer.encode())[:8], "big")


def deidentify(label: IdentifiedLabel, epoch_key: bytes, mask: Mask) -> DeidentifiedLabel:
    """The row of one vote, not tied to any identified individual.

    Args:
        epoch_key: of `label.day`.
        mask: applied to the canonical answer, whatever its kind: every answer is a free string.
    """
    return row_and_rank(label, epoch_key, mask)[0]


def row_and_rank(label: IdentifiedLabel, epoch_key: bytes, mask: Mask) -> tuple[DeidentifiedLabel, bytes]:
    """`deidentify` and `rank`, which share a digest."""
    answer = mask(canonical(label.answer))
    vote = _vote(label.voter, label.task, epoch_key)
    shown = vote[:16].hex()
    row = DeidentifiedLabel(
        # as `str` of `row_id` writes it, at a fourth of the time
        row_id=f"{shown[:8]}-{shown[8:12]}-{shown[12:16]}-{shown[16:20]}-{shown[20:]}",
        day=label.day,
        task=label.task,
        kind=label.kind,
        answer=answer,
        version=version(label.voter, label.task, label.kind, answer, epoch_key),
    )
    return row, vote[16:24]


def _vote(voter: bytes, task: str, epoch_key: bytes) -> bytes:
    return _keyed(epoch_key, ROW_ID, voter, task.encode())


def _keyed(key: bytes, domain: bytes, *parts: bytes) -> bytes:
    """HMAC-SHA-256 of a domain and its parts, each after its length in 4 bytes, big-endian."""
    framed = domain
    for part in parts:
        framed += len(part).to_bytes(4, "big") + part
    keyed = _hmac_of(key).copy()
    keyed.update(framed)
    return keyed.finalize()


@lru_cache(maxsize=1)  # the last key alone: no other outlives the next day's first label
def _hmac_of(key: bytes) -> HMAC:
    """With the key taken in, which costs twice as much as all that follows for a label."""
    return HMAC(key, SHA256())
