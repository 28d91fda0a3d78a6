"""What roles tell each other about their keys of a day: fingerprints, and the door's public key. Pure.

Every collector has to have the same edge key of a day, and every door the same epoch key: two keys make two voters of
one session. So each announces a fingerprint of its key on `keys.announcements`, and the first one of a day is in
force. The door's announcement carries its public key of the day as well, signed by the door's identity: an Ed25519 key
that lasts, and whose fingerprint a collector can be told (`UNJOIN_DOOR_IDENTITY`), so that whoever may write to the
topic still cannot have labels sealed to a key of their own.

    UnjoinError
    └── AnnouncementError   a record that is no announcement, or one that is not believed; the text says why
"""

import datetime
import hashlib
import hmac
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from schemas.outcomes import UnjoinError
from schemas.seal import PUBLIC_KEY_BYTES, public_key_of

Role = Literal["edge", "door"]

FINGERPRINT_BYTES = 16
_FINGERPRINT = b"unjoin key fingerprint 1\0"
_IDENTITY = b"unjoin door identity 1\0"
_SIGNED = b"unjoin announcement 1\0"


class AnnouncementError(UnjoinError):
    """A record of `keys.announcements` that says nothing."""


class Announcement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One role's key of one day, without the key. On the topic it is JSON.

    Attributes:
        fingerprint: of the key, 32 hexadecimal digits; the same for the same key alone.
        public_key: the door's, 64 hexadecimal digits; empty for an edge.
        identity: the door's public identity, 64 hexadecimal digits; empty for an edge.
        signature: by that identity, 128 hexadecimal digits; empty for an edge.
    """

    role: Role
    day: datetime.date
    fingerprint: str
    public_key: str = ""
    identity: str = ""
    signature: str = ""

    def encoded(self) -> bytes:
        """The record's value."""
        return msgspec.json.encode(self)


def fingerprint_of(role: Role, key: bytes) -> str:
    """32 hexadecimal digits that tell two keys apart and nothing about either.

    Source: HMAC-SHA-256 (RFC 2104) of a constant, truncated by its section 5.
    """
    return hmac.digest(key, _FINGERPRINT + role.encode(), "sha256")[:FINGERPRINT_BYTES].hex()


def identity_fingerprint(identity: bytes) -> str:
    """What `UNJOIN_DOOR_IDENTITY` is compared with: 32 hexadecimal digits of SHA-256 of the public identity."""
    return hashlib.sha256(_IDENTITY + identity).digest()[:FINGERPRINT_BYTES].hex()


def edge_announcement(day: datetime.date, edge_key: bytes) -> Announcement:
    """A collector's."""
    return Announcement(role="edge", day=day, fingerprint=fingerprint_of("edge", edge_key))


def door_announcement(day: datetime.date, epoch_key: bytes, identity: Ed25519PrivateKey) -> Announcement:
    """A door's, signed."""
    plain = Announcement(
        role="door", day=day, fingerprint=fingerprint_of("door", epoch_key), public_key=public_key_of(epoch_key).hex()
    )
    return msgspec.structs.replace(
        plain,
        identity=identity.public_key().public_bytes_raw().hex(),
        signature=identity.sign(_signed(plain)).hex(),
    )


class Announcements:
    """What is in force, by role and day: the first that is believed.

    Args:
        door_identity: fingerprint of the only door that is believed; empty for the first of each day.

    Attributes:
        refused: records that were not believed, since the start.
    """

    def __init__(self, door_identity: str) -> None:
        self._door_identity = door_identity.strip().lower()
        self._in_force: dict[tuple[Role, datetime.date], Announcement] = {}
        self.refused = 0

    def take(self, value: bytes | None) -> None:
        """The next record of the topic.

        Raises:
            AnnouncementError: it changes nothing.
        """
        try:
            announcement = announcement_of(value, self._door_identity)
        except AnnouncementError:
            self.refused += 1
            raise
        self._in_force.setdefault((announcement.role, announcement.day), announcement)

    def in_force(self, role: Role, day: datetime.date) -> Announcement | None:
        """The announcement that everybody of that role has to agree with."""
        return self._in_force.get((role, day))

    def every(self) -> list[Announcement]:
        """All that are in force, in the order in which they came."""
        return list(self._in_force.values())

    def forget_before(self, day: datetime.date) -> None:
        """Lets go of the days before."""
        self._in_force = {of: one for of, one in self._in_force.items() if of[1] >= day}


def announcement_of(value: bytes | None, door_identity: str) -> Announcement:
    """The announcement in a record's value.

    Raises:
        AnnouncementError: it is none, its signature does not hold, or another door made it than the one expected.
    """
    try:
        announcement = msgspec.json.decode(value or b"", type=Announcement)
    except (msgspec.DecodeError, ValueError):
        raise AnnouncementError("a record of keys.announcements is no announcement") from None
    if not _is_hex(announcement.fingerprint, FINGERPRINT_BYTES):
        raise AnnouncementError("a fingerprint is not 32 hexadecimal digits")
    if announcement.role == "door":
        _check_door(announcement, door_identity)
    return announcement


def _check_door(announcement: Announcement, door_identity: str) -> None:
    if not _is_hex(announcement.public_key, PUBLIC_KEY_BYTES):
        raise AnnouncementError(f"the door's public key of {announcement.day} has not {PUBLIC_KEY_BYTES} bytes")
    try:
        identity = bytes.fromhex(announcement.identity)
        Ed25519PublicKey.from_public_bytes(identity).verify(
            bytes.fromhex(announcement.signature), _signed(announcement)
        )
    except (InvalidSignature, ValueError):
        raise AnnouncementError(
            f"the door's announcement of {announcement.day} is not signed by who it names"
        ) from None
    if door_identity and identity_fingerprint(identity) != door_identity:
        raise AnnouncementError(
            f"the door's announcement of {announcement.day} is by {identity_fingerprint(identity)}, and "
            f"UNJOIN_DOOR_IDENTITY says {door_identity}"
        )


def _signed(announcement: Announcement) -> bytes:
    parts = (announcement.day.isoformat(), announcement.fingerprint, announcement.public_key)
    return _SIGNED + "\0".join(parts).encode()


def _is_hex(text: str, size: int) -> bool:
    return len(text) == 2 * size and all(digit in "0123456789abcdef" for digit in text)
