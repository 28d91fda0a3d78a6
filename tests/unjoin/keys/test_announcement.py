"""Which key of a day is in force, and whom a collector believes."""

import datetime

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from schemas.seal import public_key_of
from unjoin.keys.announcement import (
    AnnouncementError,
    Announcements,
    announcement_of,
    door_announcement,
    edge_announcement,
    fingerprint_of,
    identity_fingerprint,
)

DAY = datetime.date(2026, 11, 28)
KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
IDENTITY = Ed25519PrivateKey.from_private_bytes(bytes(32))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\1")
PIN = identity_fingerprint(IDENTITY.public_key().public_bytes_raw())


def test_first_announcement_of_a_day_stays_in_force() -> None:
    """A later one, by a second host or by somebody who may write to the topic, replaces nothing."""
    said = Announcements("")
    said.take(edge_announcement(DAY, KEY).encoded())
    said.take(edge_announcement(DAY, OTHER).encoded())
    in_force = said.in_force("edge", DAY)
    assert in_force is not None
    assert in_force.fingerprint == fingerprint_of("edge", KEY) != fingerprint_of("edge", OTHER)
    assert said.in_force("edge", DAY + datetime.timedelta(days=1)) is None


def test_door_announces_the_public_half_of_its_epoch_key() -> None:
    """Collectors seal to it, and only who has the epoch key opens."""
    said = Announcements(PIN)
    said.take(door_announcement(DAY, KEY, IDENTITY).encoded())
    in_force = said.in_force("door", DAY)
    assert in_force is not None
    assert bytes.fromhex(in_force.public_key) == public_key_of(KEY)
    assert KEY.hex() not in in_force.encoded().decode()


def test_pinned_identity_refuses_a_key_that_somebody_else_announced_first() -> None:
    """Who may write to the topic would otherwise have every label of the day sealed to a key of their own."""
    said = Announcements(PIN.upper() + " ")
    with pytest.raises(AnnouncementError, match="UNJOIN_DOOR_IDENTITY"):
        said.take(door_announcement(DAY, OTHER, STRANGER).encoded())
    said.take(door_announcement(DAY, KEY, IDENTITY).encoded())
    in_force = said.in_force("door", DAY)
    assert in_force is not None
    assert bytes.fromhex(in_force.public_key) == public_key_of(KEY)
    assert said.refused == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"public_key": public_key_of(OTHER).hex()}, "not signed"),
        ({"day": DAY + datetime.timedelta(days=1)}, "not signed"),
        ({"fingerprint": fingerprint_of("door", OTHER)}, "not signed"),
        ({"signature": ""}, "not signed"),
        ({"signature": "zz"}, "not signed"),
        ({"identity": STRANGER.public_key().public_bytes_raw().hex()}, "not signed"),
        ({"identity": "00"}, "not signed"),
        ({"public_key": ""}, "32 bytes"),
        ({"public_key": "ab" * 31}, "32 bytes"),
        ({"public_key": "ab" * 33}, "32 bytes"),
        ({"fingerprint": "short"}, "32 hexadecimal"),
    ],
    ids=str,
)
def test_changed_announcement_is_refused_with_the_reason(change: dict[str, object], why: str) -> None:
    """A public key of the wrong length, of another day, or that is not the signer's: nothing is sealed to it."""
    announcement = msgspec.structs.replace(door_announcement(DAY, KEY, IDENTITY), **change)
    with pytest.raises(AnnouncementError, match=why):
        Announcements("").take(announcement.encoded())


@given(st.one_of(st.none(), st.binary(), st.text().map(str.encode)))
def test_any_bytes_are_an_announcement_or_refused(value: bytes | None) -> None:
    """Whoever writes to the topic stops no collector."""
    with pytest.raises(AnnouncementError):
        announcement_of(value, "")


def test_days_that_are_over_are_forgotten() -> None:
    """A collector that runs for a year remembers a few days."""
    said = Announcements("")
    for number in range(10):
        said.take(edge_announcement(DAY + datetime.timedelta(days=number), KEY).encoded())
    said.forget_before(DAY + datetime.timedelta(days=8))
    assert len(said.every()) == 2
