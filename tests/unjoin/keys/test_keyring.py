"""A day's key is one key, however many processes ask for it, and its loss is never silent."""

import datetime
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from unjoin.keys.keyring import KeyDestroyed, KeyLost, Keyring, KeysUnreachable

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


def test_destroyed_on_record_stays_destroyed_whatever_files_come_back(tmp_path: Path) -> None:
    """A restored backup brings the file, not the right to use it."""
    key = Keyring(tmp_path).key_of(DAY)
    Keyring(tmp_path).destroy(DAY)
    (tmp_path / "2026-11-24.key").write_bytes(key)
    keyring = Keyring(tmp_path)
    with pytest.raises(KeyDestroyed):
        keyring.key_of(DAY)
    assert keyring.existing_key_of(DAY) is None
    assert keyring.is_destroyed(DAY)


def test_destroyed_key_is_overwritten_where_it_lies(tmp_path: Path) -> None:
    """Unlinking alone leaves the bytes for whoever reads the disk, and drafts of a crash hold them as well."""
    key = Keyring(tmp_path).key_of(DAY)
    draft = tmp_path / ".2026-11-24.1.abcd"
    draft.write_bytes(key)
    with (tmp_path / "2026-11-24.key").open("rb") as still_open, draft.open("rb") as draft_open:
        assert Keyring(tmp_path).destroy(DAY)
        assert still_open.read() == draft_open.read() == bytes(32)
    assert [path.name for path in tmp_path.iterdir()] == ["journal.jsonl"]


def test_lost_key_can_be_given_up_on_record(tmp_path: Path) -> None:
    """Who knows that it will not come back says so, and the door goes on without it."""
    Keyring(tmp_path).key_of(DAY)
    (tmp_path / "2026-11-24.key").unlink()
    assert Keyring(tmp_path).destroy(DAY)
    with pytest.raises(KeyDestroyed):
        Keyring(tmp_path).key_of(DAY)
    assert not Keyring(tmp_path).destroy(DAY)


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_record_that_a_full_disk_cut_short_harms_no_other(tmp_path: Path, cut: int) -> None:
    """The record comes before the deed, so a record that is not whole stands for nothing."""
    Keyring(tmp_path).key_of(DAY)
    journal = tmp_path / "journal.jsonl"
    whole = journal.read_text()
    journal.write_text(whole + whole.replace("created", "destroyed")[:cut])
    assert Keyring(tmp_path).key_of(DAY)
    assert Keyring(tmp_path).destroy(DAY)
    assert [entry["event"] for entry in Keyring(tmp_path).history()] == ["created", "destroyed"]
    with pytest.raises(KeyDestroyed):
        Keyring(tmp_path).key_of(DAY)


def test_key_that_a_full_disk_cut_short_is_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a key is half as strong; the next attempt makes a whole one."""
    with monkeypatch.context() as full:
        full.setattr("os.write", lambda *_: 5)
        with pytest.raises(KeysUnreachable, match="No space left"):
            Keyring(tmp_path).key_of(DAY)
    assert list(tmp_path.glob("*")) == []
    assert len(Keyring(tmp_path).key_of(DAY)) == 32


def test_folder_that_is_no_folder_is_one_sentence(tmp_path: Path) -> None:
    """Whoever mounts the wrong thing reads which one, not a traceback."""
    (tmp_path / "edge").write_text("")
    with pytest.raises(KeysUnreachable, match=r"edge cannot be used"):
        Keyring(tmp_path / "edge").key_of(DAY)


def test_making_and_destroying_at_once_leaves_no_key_of_a_destroyed_day(tmp_path: Path) -> None:
    """A collector that had begun to make the day's key while another destroyed it would bring it back."""

    def use(number: int) -> None:
        keyring = Keyring(tmp_path)
        if number % 4 == 3:
            keyring.destroy(DAY)
        else:
            with suppress(KeyDestroyed):
                keyring.key_of(DAY)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(64)))
    events = [entry["event"] for entry in Keyring(tmp_path).history()]
    assert events == ["created", "destroyed"]
    assert Keyring(tmp_path).days() == []


def test_stray_files_are_no_days(tmp_path: Path) -> None:
    """What somebody else left in the folder must not stop the housekeeping."""
    keyring = Keyring(tmp_path)
    keyring.key_of(DAY)
    (tmp_path / "old.key").write_text("")
    assert keyring.days() == [DAY]
