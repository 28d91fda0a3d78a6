"""Keys die by themselves, once, whoever looks; and a key that died is not used from memory."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from unjoin.keys.housekeeping import LOOK_EVERY_S, Housekeeping, destroy_expired
from unjoin.keys.keyring import KeyDestroyed, KeyLost, Keyring
from unjoin.keys.retention import destroy_due

DAY = date(2026, 11, 24)
DUE = destroy_due(DAY, 6)
A_MOMENT = timedelta(milliseconds=1)


def housekeeping(keyring: Keyring, now: Callable[[], datetime], every_s: float = 3600) -> Housekeeping:
    return Housekeeping(keyring, "edge", 6, now, every_s)


def test_key_is_destroyed_when_due_and_not_before(tmp_path: Path) -> None:
    """Early loses labels; late leaves them joinable."""
    keyring = Keyring(tmp_path)
    keyring.key_of(DAY)
    keyring.key_of(DAY + timedelta(days=1))
    assert destroy_expired(keyring, DUE - A_MOMENT, 6) == []
    assert destroy_expired(keyring, DUE, 6) == [DAY]
    assert keyring.days() == [DAY + timedelta(days=1)]
    assert destroy_expired(keyring, DUE, 6) == []


def test_many_processes_destroy_a_key_once(tmp_path: Path) -> None:
    """Each collector of a folder looks; the record must be one."""
    Keyring(tmp_path).key_of(DAY)
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: destroy_expired(Keyring(tmp_path), DUE, 6), range(8)))
    assert sorted(done) == [[]] * 7 + [[DAY]]
    assert [entry["event"] for entry in Keyring(tmp_path).history()] == ["created", "destroyed"]


def test_key_destroyed_elsewhere_is_not_used_from_memory(tmp_path: Path) -> None:
    """Another collector, or an operator, destroyed it: within a minute it is gone here as well."""
    keyring = Keyring(tmp_path)
    keyring.key_of(DAY)
    Keyring(tmp_path).destroy(DAY)
    housekeeping(keyring, lambda: DUE - timedelta(days=1)).look()
    with pytest.raises(KeyDestroyed):
        keyring.key_of(DAY)
    assert keyring.existing_key_of(DAY) is None
    assert LOOK_EVERY_S <= 30


def test_key_lost_elsewhere_is_not_used_from_memory(tmp_path: Path) -> None:
    """A process that goes on with a lost key and one that starts without it would disagree on every voter."""
    keyring = Keyring(tmp_path)
    keyring.key_of(DAY)
    (tmp_path / f"{DAY}.key").unlink()
    housekeeping(keyring, lambda: DUE - timedelta(days=1)).look()
    with pytest.raises(KeyLost):
        keyring.key_of(DAY)


def test_clock_that_goes_back_resurrects_nothing(tmp_path: Path) -> None:
    """A day that is yesterday again finds its key destroyed, or as it was."""
    keyring = Keyring(tmp_path)
    kept = keyring.key_of(DAY + timedelta(days=1))
    keyring.key_of(DAY)
    now = DUE
    keeper = housekeeping(keyring, lambda: now)
    keeper.look()
    now -= timedelta(days=1)
    keeper.look()
    with pytest.raises(KeyDestroyed):
        keyring.key_of(DAY)
    assert keyring.key_of(DAY + timedelta(days=1)) == kept
    assert [entry["event"] for entry in keyring.history()] == ["created", "created", "destroyed"]


def test_destruction_that_a_crash_interrupted_is_finished(tmp_path: Path) -> None:
    """On record and still there: the next look takes the rest away, long before it is due."""
    keyring = Keyring(tmp_path)
    key = keyring.key_of(DAY)
    keyring.destroy(DAY)
    (tmp_path / f"{DAY}.key").write_bytes(key)
    fresh = Keyring(tmp_path)
    with pytest.raises(KeyDestroyed):
        fresh.key_of(DAY)
    housekeeping(fresh, lambda: DUE - timedelta(days=2)).look()
    assert not (tmp_path / f"{DAY}.key").exists()
    assert [entry["event"] for entry in fresh.history()] == ["created", "destroyed"]


def test_role_looks_at_its_start_and_until_it_ends(tmp_path: Path) -> None:
    """A role that was down when a key was due destroys it before it serves; one that runs for weeks goes on looking."""
    keyring = Keyring(tmp_path)
    keyring.key_of(DAY)
    later = DAY + timedelta(days=1)
    keyring.key_of(later)
    now = DUE
    with housekeeping(keyring, lambda: now, every_s=0.01):
        assert keyring.days() == [later]
        now = destroy_due(later, 6)
        deadline = time.monotonic() + 20
        while keyring.days():
            assert time.monotonic() < deadline
            time.sleep(0.005)
    assert not [thread for thread in threading.enumerate() if thread.name == "keys"]


def test_folder_that_cannot_be_written_is_said_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk at night must neither end the role nor fill its log."""
    keyring = Keyring(tmp_path)
    keyring.key_of(DAY)
    keeper = housekeeping(keyring, lambda: DUE)
    with monkeypatch.context() as full, caplog.at_level(logging.INFO):
        full.setattr("os.write", lambda *_: 0)
        keeper.look()
        keeper.look()
    assert keyring.days() == [DAY]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    keeper.look()
    assert keyring.days() == []
