"""Labels that only the door can read."""

import datetime
import itertools

import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from schemas.outcomes import DecodeError
from schemas.seal import (
    CONTENT_KEY_SECONDS_MAX,
    SIZE_CLASSES,
    WRAPPED_KEY_BYTES,
    Opener,
    Sealed,
    Sealer,
    SealError,
    padded,
    place_of,
    public_key_of,
    unpadded,
)

DAY = datetime.date(2026, 11, 28)
EPOCH_KEY = bytes(range(32))
PLACE = place_of("events.labeled", 0)


def sealer(epoch_key: bytes = EPOCH_KEY, day: datetime.date = DAY) -> Sealer:
    return Sealer(day, public_key_of(epoch_key), lambda: 0.0)


def opener(epoch_key: bytes | None = EPOCH_KEY) -> Opener:
    return Opener(lambda _: epoch_key)


@given(st.binary(max_size=6_000))
def test_any_label_comes_back_byte_for_byte(label: bytes) -> None:
    """Padding and number are the seal's business alone."""
    assert opener().open(sealer().seal(label, PLACE), PLACE) == label


@given(st.binary(max_size=5_116))
def test_length_of_a_sealed_label_is_one_of_three(label: bytes) -> None:
    """Lengths of answers would name who typed them."""
    assert len(sealer().seal(label, PLACE).ciphertext) - 16 in SIZE_CLASSES


def test_number_is_never_used_twice_under_one_content_key() -> None:
    """A nonce used twice under AES-GCM gives both labels away, and the key that authenticates them."""
    clock = itertools.count(0.0, CONTENT_KEY_SECONDS_MAX / 50)
    sealing = Sealer(DAY, public_key_of(EPOCH_KEY), lambda: next(clock))
    sealed = [sealing.seal(b"same", PLACE) for _ in range(500)]
    assert len({(one.wrapped_key, one.number) for one in sealed}) == 500
    assert len({one.ciphertext for one in sealed}) == 500
    assert 5 <= len({one.wrapped_key for one in sealed}) <= 12


def test_two_processes_share_no_content_key() -> None:
    """They would number their labels alike."""
    one, other = sealer().seal(b"a", PLACE), sealer().seal(b"a", PLACE)
    assert one.wrapped_key != other.wrapped_key


def test_content_key_opens_by_the_standard_alone() -> None:
    """The format is RFC 9180 and AES-GCM as any other implementation has them, and the document says how."""
    sealed = sealer().seal(b"beagle", PLACE)
    suite = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derived = HKDF(hashes.SHA256(), 32, salt=None, info=b"unjoin door private key 1").derive(EPOCH_KEY)
    private_key = X25519PrivateKey.from_private_bytes(derived)
    content_key = suite.decrypt(sealed.wrapped_key, private_key, b"unjoin content key 1\x002026-11-28")
    place = b"unjoin sealed label 1\x00" + bytes(4) + b"events.labeled"
    plaintext = AESGCM(content_key).decrypt(bytes(12), sealed.ciphertext, place)
    assert plaintext == (b"\0\0\0\x06beagle" + bytes(256))[:256]


@pytest.mark.parametrize(
    "other",
    [
        {"ciphertext": b""},
        {"ciphertext": b"short"},
        {"wrapped_key": b""},
        {"wrapped_key": bytes(WRAPPED_KEY_BYTES)},
        {"number": 7},
        {"number": -1},
        {"day": DAY + datetime.timedelta(days=1)},
    ],
    ids=str,
)
def test_what_is_cut_or_changed_does_not_open(other: dict[str, object]) -> None:
    """It becomes a dead letter with its own reason, and costs its neighbours nothing."""
    sealed = sealer().seal(b"beagle", PLACE)
    fields = {name: getattr(sealed, name) for name in Sealed.__struct_fields__} | other
    with pytest.raises(DecodeError, match="does not open"):
        opener().open(Sealed(**fields), PLACE)


@given(st.data())
def test_any_flipped_bit_does_not_open(data: st.DataObject) -> None:
    """GCM's tag and HPKE's cover every bit."""
    sealed = sealer().seal(b"beagle", PLACE)
    field = data.draw(st.sampled_from(["wrapped_key", "ciphertext"]))
    changed = bytearray(getattr(sealed, field))
    bit = data.draw(st.integers(0, 8 * len(changed) - 1))
    changed[bit // 8] ^= 1 << bit % 8
    fields = {name: getattr(sealed, name) for name in Sealed.__struct_fields__} | {field: bytes(changed)}
    with pytest.raises(DecodeError):
        opener().open(Sealed(**fields), PLACE)


@pytest.mark.parametrize("place", [place_of("events.labeled", 1), place_of("events.labeled.dead_letters", 0), b""])
def test_sealed_label_opens_nowhere_else(place: bytes) -> None:
    """Whoever copies it to another topic or partition copies nothing."""
    sealed = sealer().seal(b"beagle", PLACE)
    with pytest.raises(DecodeError):
        opener().open(sealed, place)


def test_another_epoch_key_opens_nothing() -> None:
    """A door with a key of its own reads none of the labels, rather than some of them."""
    with pytest.raises(DecodeError):
        opener(bytes(32)).open(sealer().seal(b"beagle", PLACE), PLACE)


def test_once_the_key_is_destroyed_a_label_that_was_open_is_closed() -> None:
    """The door remembers content keys; they end with their day's key."""
    keys: dict[datetime.date, bytes | None] = {DAY: EPOCH_KEY}
    opening = Opener(keys.get)
    sealed = sealer().seal(b"beagle", PLACE)
    assert opening.open(sealed, PLACE) == b"beagle"
    keys[DAY] = None
    assert opening.open(sealed, PLACE) is None
    assert not opening._opened


@pytest.mark.parametrize("public_key", [b"", bytes(31), bytes(33), bytes(32), b"\1" + bytes(31)], ids=len)
def test_public_key_that_is_none_is_refused_with_a_sentence(public_key: bytes) -> None:
    """Of the wrong length, or a point with which every shared secret is zero: nothing is sealed to it."""
    with pytest.raises(SealError, match="public key of 2026-11-28 is not one"):
        Sealer(DAY, public_key, lambda: 0.0).seal(b"beagle", PLACE)


@given(st.binary(max_size=300))
def test_what_is_not_padded_as_labels_are_is_no_label(plaintext: bytes) -> None:
    """Two paddings of one label would be two ciphertexts that differ in what somebody chose."""
    try:
        label = unpadded(plaintext)
    except ValueError:
        return
    assert padded(label) == plaintext
