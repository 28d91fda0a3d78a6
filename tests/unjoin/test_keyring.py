"""A day's key is one key, however many processes ask for it, and its loss is never silent."""

import datetime
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from unjoin.keyring import KeyDestroyed, KeyLost, Keyring

DAY = datetime.date(2026, 11, 24)


def test_key_is_made_once_and_read_by_everybody(tmp_path: Path) -> None:
    """Two collectors with two keys would give one session two votes."""
    keyrings = [Keyring(tmp_path / "edge") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda keyring: keyring.key_of(DAY), keyrings))
    assert len(keys) == 1
    assert len(keys.pop()) == 32
    assert [path.name for path in sorted((tmp_path / "edge").iterdir())] == ["2026-11-24.key", "journal.jsonl"]


def test_key_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Whoever reads a key can join what it unlinks."""
    Keyring(tmp_path / "edge").key_of(DAY)
    assert stat.S_IMODE((tmp_path / "edge").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "edge" / "2026-11-24.key").stat().st_mode) == 0o600


def test_days_have_different_keys(tmp_path: Path) -> None:
    """One key for two days would tie a session's days together."""
    keyring = Keyring(tmp_path)
    assert keyring.key_of(DAY) != keyring.key_of(DAY + datetime.timedelta(days=1))


def test_destroyed_key_stays_destroyed_and_says_so(tmp_path: Path) -> None:
    """A key made anew for the day would look like the old one and join nothing, silently."""
    keyring = Keyring(tmp_path, now_ms=lambda: 1_790_000_000_000)
    keyring.key_of(DAY)
    assert keyring.destroy(DAY)
    with pytest.raises(KeyDestroyed):
        keyring.key_of(DAY)
    with pytest.raises(KeyDestroyed):
        Keyring(tmp_path).key_of(DAY)
    assert keyring.existing_key_of(DAY) is None
    assert [(entry["event"], entry["at"]) for entry in keyring.history()] == [
        ("created", 1_790_000_000_000),
        ("destroyed", 1_790_000_000_000),
    ]


def test_lost_key_stops_instead_of_being_replaced(tmp_path: Path) -> None:
    """A volume that was not mounted must not start a second identity for every vote of the day."""
    Keyring(tmp_path).key_of(DAY)
    (tmp_path / "2026-11-24.key").unlink()
    with pytest.raises(KeyLost):
        Keyring(tmp_path).key_of(DAY)


def test_damaged_key_is_not_used(tmp_path: Path) -> None:
    """A key cut short by a full disk would be a weak one."""
    Keyring(tmp_path).key_of(DAY)
    (tmp_path / "2026-11-24.key").write_bytes(b"short")
    with pytest.raises(KeyLost):
        Keyring(tmp_path).key_of(DAY)


def test_destroying_what_is_not_there_is_not_an_event(tmp_path: Path) -> None:
    """The journal is evidence; it records what happened."""
    assert not Keyring(tmp_path).destroy(DAY)
    assert Keyring(tmp_path).history() == []
