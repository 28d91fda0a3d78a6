"""Keys of the day in files: 32 random bytes each, mode 600, one folder a role.

A key is made the first time its day is asked for. `journal.jsonl` beside the keys records what was made and what was
destroyed, so that a key that is gone on purpose and a key that is lost are told apart: the first suppresses, the
second stops. What the journal calls destroyed stays so, whatever files come back.

    UnjoinError
    └── KeyringError
        ├── KeyDestroyed      destroyed on record: whatever needs it is suppressed, and counted
        ├── KeyLost           made once, gone without a record: stop, lose nothing
        └── KeysUnreachable   the folder cannot be read or written: as KeyLost
"""

import datetime
import errno
import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from schemas.outcomes import UnjoinError

KEY_BYTES = 32
MEND = "restore it, or say that it is destroyed: `unjoin keys destroy`"


class KeyringError(UnjoinError):
    """A day's key cannot be had."""


class KeyDestroyed(KeyringError):
    """The day's key was destroyed, on record."""


class KeyLost(KeyringError):
    """The day's key was made once and is gone, and nothing says that it was destroyed."""


class KeysUnreachable(KeyringError):
    """The folder of keys cannot be read or written."""


class Keyring:
    """The keys of one role.

    Args:
        directory: made with mode 700 where it does not exist; several processes of the role may share it.
        random_bytes: the source of keys.
        now_ms: Unix milliseconds, for the journal.
    """

    def __init__(
        self,
        directory: Path,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._directory = directory
        self._random_bytes = random_bytes
        self._now_ms = now_ms
        self._cached: dict[datetime.date, bytes] = {}
        self._destroyed: set[datetime.date] = set()

    def key_of(self, day: datetime.date) -> bytes:
        """The day's key, made now if it never was.

        Raises:
            KeyDestroyed, KeyLost: there was one.
            KeysUnreachable: the folder cannot be read or written.
        """
        key = self._cached.get(day)
        if key is None:
            with self._reached():
                if self.is_destroyed(day):
                    raise KeyDestroyed(f"the key of {day} was destroyed")
                key = self._read(day) or self._make(day)
            self._cached[day] = key
        return key

    def existing_key_of(self, day: datetime.date) -> bytes | None:
        """The day's key if there is one; never makes one.

        Raises:
            KeyLost: it is damaged.
            KeysUnreachable: it cannot be read.
        """
        with self._reached():
            return self._cached.get(day) or (None if self.is_destroyed(day) else self._read(day))

    def is_destroyed(self, day: datetime.date) -> bool:
        """Whether the day's key is destroyed on record, which nothing takes back."""
        if day not in self._destroyed and "destroyed" in self._events_of(day):
            self._destroyed.add(day)
        return day in self._destroyed

    def forget_cached(self) -> None:
        """Reads every key from its file again, so that one destroyed or lost since is noticed."""
        self._cached.clear()

    def days(self) -> list[datetime.date]:
        """The days that have a file of a key now, oldest first; the file of a destroyed key is what a crash left."""
        return sorted(_dated(path.stem for path in self._directory.glob("*.key")))

    def history(self) -> list[dict[str, str | int]]:
        """What was made and destroyed, oldest first: {event, day, at}, `at` in Unix milliseconds.

        A line that a full disk cut short is left out: the record comes before the deed, which then was not done.
        """
        with self._reached():
            try:
                lines = (self._directory / "journal.jsonl").read_text(errors="replace").splitlines()
            except FileNotFoundError:
                return []
        return [entry for line in lines if (entry := _entry(line)) is not None]

    def destroy(self, day: datetime.date) -> bool:
        """Destroys the day's key: overwritten, unlinked, on record. False where there is none to destroy.

        The record comes first: a crash between the two leaves a file that the next call destroys, and that nobody uses.
        Of a key that is lost, only the record is made.

        Raises:
            KeysUnreachable: it is not destroyed, or not wholly.
        """
        if not self._directory.exists():
            return False
        with self._reached(), self._locked():
            events = self._events_of(day)
            files = [path for path in (self._path(day), *self._directory.glob(f".{day}.*")) if path.exists()]
            if not files and ("created" not in events or "destroyed" in events):
                return False
            if "destroyed" not in events:
                self._record("destroyed", day)
            for path in files:
                _erase(path)
            self._sync_directory()
        self._destroyed.add(day)
        self._cached.pop(day, None)
        return True

    def _read(self, day: datetime.date) -> bytes | None:
        try:
            key = self._path(day).read_bytes()
        except FileNotFoundError:
            return None
        if len(key) != KEY_BYTES or key == bytes(KEY_BYTES):
            if self.is_destroyed(day):  # read while it was being overwritten
                return None
            raise KeyLost(f"the key of {day} in {self._directory} is damaged; {MEND}")
        return key

    def _make(self, day: datetime.date) -> bytes:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            events = self._events_of(day)
            if "destroyed" in events:
                raise KeyDestroyed(f"the key of {day} was destroyed")
            if (made_meanwhile := self._read(day)) is not None:
                return made_meanwhile
            if "created" in events:
                raise KeyLost(f"the key of {day} is missing from {self._directory}; {MEND}")
            draft = self._directory / f".{day}.{os.getpid()}.{secrets.token_hex(4)}"
            key = self._random_bytes(KEY_BYTES)
            try:
                _write(draft, os.O_EXCL, key)
                draft.rename(self._path(day))
            except OSError:
                draft.unlink(missing_ok=True)
                raise
            self._sync_directory()
            self._record("created", day)
        return key

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process and thread at a time makes or destroys; readers need no lock, since a key appears whole."""
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise KeysUnreachable(f"the keys in {self._directory} cannot be used: {error.strerror}") from None

    def _path(self, day: datetime.date) -> Path:
        return self._directory / f"{day}.key"

    def _events_of(self, day: datetime.date) -> set[str | int]:
        return {entry["event"] for entry in self.history() if entry["day"] == str(day)}

    def _record(self, event: str, day: datetime.date) -> None:
        journal = self._directory / "journal.jsonl"
        line = json.dumps({"event": event, "day": str(day), "at": self._now_ms()}) + "\n"
        whole = not journal.exists() or not (before := journal.read_bytes()) or before.endswith(b"\n")
        _write(journal, os.O_APPEND, (line if whole else "\n" + line).encode())

    def _sync_directory(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write(path: Path, flags: int, data: bytes) -> None:
    """Writes and syncs.

    Raises:
        OSError: it is not on disk; a full disk takes part of it without an error.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _erase(path: Path) -> None:
    """Overwrites a file where it lies, as far as the file system lets one, and unlinks it."""
    with path.open("r+b") as file:
        file.write(bytes(max(KEY_BYTES, path.stat().st_size)))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()


def _entry(line: str) -> dict[str, str | int] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and {"event", "day", "at"} <= entry.keys() else None


def _dated(names: Iterator[str]) -> Iterator[datetime.date]:
    for name in names:
        with suppress(ValueError):
            yield datetime.date.fromisoformat(name)
