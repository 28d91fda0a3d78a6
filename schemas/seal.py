"""The seal of a label: only the door's private key of the day reads what the edge writes to `events.labeled`.

Hybrid public-key encryption (RFC 9180, base mode: X25519, HKDF-SHA-256, AES-256-GCM) seals a *content key*, which a
process of the edge makes anew every few minutes; AES-256-GCM under the content key seals each label. So a label costs
a microsecond, where a key agreement a label would cost eighty.

    door's key pair of the day    derived from the epoch key (RFC 5869), so that it is destroyed with it
    wrapped key                   80 bytes: 32 of the ephemeral public key, 32 of the content key, 16 of its tag
    nonce                         the label's number under its content key, never used twice
    associated data               topic and partition: a sealed label is worth nothing anywhere else
    plaintext                     its length in 4 bytes, the label, zeros up to a size class

The cryptography is pyca/cryptography's. Nothing is authenticated but the place: whoever may write to the topic can
seal a label, as whoever holds a browser key can post one.
"""

import datetime
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from schemas.events import Redacted
from schemas.outcomes import DeadLetterReason, DecodeError, UnjoinError

PUBLIC_KEY_BYTES: Final = 32
WRAPPED_KEY_BYTES: Final = 80
CONTENT_KEY_BITS: Final = 256
CONTENT_KEY_SECONDS_MAX: Final = 300.0
SIZE_CLASSES: Final = (256, 1_024, 5_120)
"""Bytes of a padded plaintext: nearly every label is of the first; the longest allowed answer is of the last."""
NONCE_BYTES: Final = 12
WRAPPED_KEYS_REMEMBERED_MAX: Final = 4_096

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_PRIVATE_KEY_INFO = b"unjoin door private key 1"
_WRAP_INFO = b"unjoin content key 1\0"
_LABEL_INFO = b"unjoin sealed label 1\0"
_LENGTH_BYTES = 4


class SealError(UnjoinError):
    """The door's public key is none: 32 bytes that are a point of X25519."""


class Sealed(Redacted, frozen=True):
    """A label that only the door can read.

    Attributes:
        day: whose key opens it.
        wrapped_key: 80 bytes.
        number: of the label under its content key, 0 to 2**63 - 1.
        ciphertext: a size class and 16 bytes of tag.
    """

    day: datetime.date
    wrapped_key: bytes
    number: int
    ciphertext: bytes


def private_key_of(epoch_key: bytes) -> X25519PrivateKey:
    """The door's private key of a day; whoever destroys the epoch key destroys it.

    Args:
        epoch_key: 32 random bytes that serve one day.

    Source: RFC 5869; any 32 bytes are an X25519 private key, RFC 7748, section 5.
    """
    derived = HKDF(hashes.SHA256(), PUBLIC_KEY_BYTES, salt=None, info=_PRIVATE_KEY_INFO).derive(epoch_key)
    return X25519PrivateKey.from_private_bytes(derived)


def public_key_of(epoch_key: bytes) -> bytes:
    """The 32 bytes that the door publishes for a day."""
    return private_key_of(epoch_key).public_key().public_bytes_raw()


class Sealer:
    """Seals a day's labels in one process of the edge; makes a new content key every `CONTENT_KEY_SECONDS_MAX`.

    Args:
        public_key: the door's, 32 bytes.
        monotonic: seconds.

    Raises:
        SealError: the public key is none.
    """

    def __init__(self, day: datetime.date, public_key: bytes, monotonic: Callable[[], float]) -> None:
        try:
            self._public_key = X25519PublicKey.from_public_bytes(public_key)
        except ValueError:
            raise SealError(f"the door's public key of {day} is not one") from None
        self._day = day
        self._monotonic = monotonic
        self._renew_at = float("-inf")
        self._number = 0

    def seal(self, label: bytes, place: bytes) -> Sealed:
        """One label, for one place alone.

        Args:
            label: at most 2**31 bytes.
            place: `place_of` the topic and partition it is written to.
        """
        now = self._monotonic()
        if now >= self._renew_at:
            self._renew(now)
        number = self._number
        self._number = number + 1
        ciphertext = self._aead.encrypt(number.to_bytes(NONCE_BYTES, "big"), padded(label), place)
        return Sealed(self._day, self._wrapped_key, number, ciphertext)

    def _renew(self, now: float) -> None:
        content_key = AESGCM.generate_key(CONTENT_KEY_BITS)
        try:
            self._wrapped_key = _SUITE.encrypt(content_key, self._public_key, _wrap_info(self._day))
        except ValueError:  # a point of small order: the shared secret would be zero
            raise SealError(f"the door's public key of {self._day} is not one") from None
        self._aead = AESGCM(content_key)
        self._number = 0
        self._renew_at = now + CONTENT_KEY_SECONDS_MAX


class Opener:
    """Opens the labels that were sealed to a door, whichever process of the edge sealed them.

    Args:
        epoch_keys: the epoch key of a day; None where it was destroyed on record.
    """

    def __init__(self, epoch_keys: Callable[[datetime.date], bytes | None]) -> None:
        self._epoch_keys = epoch_keys
        # Only of days whose key is there: what is remembered must not outlive it.
        self._opened: OrderedDict[tuple[datetime.date, bytes], tuple[bytes, AESGCM]] = OrderedDict()

    def open(self, sealed: Sealed, place: bytes) -> bytes | None:
        """The label; None where its day's key was destroyed on record.

        Args:
            place: where it was read.

        Raises:
            DecodeError: `seal_broken`: cut, changed, sealed to another key, or read at another place.
        """
        epoch_key = self._epoch_keys(sealed.day)
        if epoch_key is None:
            self._forget(sealed.day)
            return None
        try:
            aead = self._content_key(sealed, epoch_key)
            return unpadded(aead.decrypt(sealed.number.to_bytes(NONCE_BYTES, "big"), sealed.ciphertext, place))
        except (InvalidTag, ValueError, OverflowError):
            raise DecodeError(DeadLetterReason.SEAL_BROKEN) from None

    def _content_key(self, sealed: Sealed, epoch_key: bytes) -> AESGCM:
        of = sealed.day, sealed.wrapped_key
        found = self._opened.get(of)
        if found is not None and found[0] == epoch_key:
            self._opened.move_to_end(of)
            return found[1]
        content_key = _SUITE.decrypt(sealed.wrapped_key, private_key_of(epoch_key), _wrap_info(sealed.day))
        aead = AESGCM(content_key)
        self._opened[of] = epoch_key, aead
        if len(self._opened) > WRAPPED_KEYS_REMEMBERED_MAX:
            self._opened.popitem(last=False)
        return aead

    def _forget(self, day: datetime.date) -> None:
        for of in [of for of in self._opened if of[0] == day]:
            del self._opened[of]


def place_of(topic: str, partition: int) -> bytes:
    """The associated data of a label on a partition."""
    return _LABEL_INFO + partition.to_bytes(4, "big") + topic.encode()


def padded(label: bytes) -> bytes:
    """A label behind its length in 4 bytes, with zeros up to the next size class; beyond the last, a power of two."""
    size = _LENGTH_BYTES + len(label)
    padded_size = SIZE_CLASSES[0]
    if size > padded_size:
        padded_size = next((one for one in SIZE_CLASSES if one >= size), 1 << (size - 1).bit_length())
    return (len(label).to_bytes(_LENGTH_BYTES, "big") + label).ljust(padded_size, b"\0")


def unpadded(plaintext: bytes) -> bytes:
    """The label in a padded plaintext.

    Raises:
        ValueError: it is not padded so.
    """
    length = int.from_bytes(plaintext[:_LENGTH_BYTES], "big")
    label = plaintext[_LENGTH_BYTES : _LENGTH_BYTES + length]
    if len(plaintext) < _LENGTH_BYTES or padded(label) != plaintext:
        raise ValueError("not a padded label")
    return label


def _wrap_info(day: datetime.date) -> bytes:
    return _WRAP_INFO + day.isoformat().encode()
