"""Keys of the day in files: 32 random bytes each, mode 600, one folder a role.

A key is made the first time its day is asked for. `journal.jsonl` beside the keys records what was made and what was
destroyed, so that a key that is gone on purpose and a key that is lost are told apart: the first suppresses, the
second stops.

    UnjoinError
    └── KeyringError
        ├── KeyDestroyed   destroyed on record: whatever needs it is suppressed, and counted
        └── KeyLost        made once, gone without a record: stop, lose nothing
"""

import datetime
import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from schemas.outcomes import UnjoinError

KEY_BYTES = 32


class KeyringError(UnjoinError):
    """A day's key cannot be had."""


class KeyDestroyed(KeyringError):
    """The day's key was destroyed, on record."""


class KeyLost(KeyringError):
    """The day's key was made once and is gone, and nothing says that it was destroyed."""


class Keyring:
    """The keys of one role.

    Args:
        directory: made with mode 700 where it does not exist; several processes of the role may share it.
        random_bytes: where keys come from.
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

    def key_of(self, day: datetime.date) -> bytes:
        """The day's key, made now if it never was.

        Raises:
            KeyDestroyed, KeyLost: there was one.
            OSError: the folder cannot be read or written.
        """
        key = self._cached.get(day)
        if key is None:
            key = self._read(day) or self._make(day)
            self._cached[day] = key
        return key

    def existing_key_of(self, day: datetime.date) -> bytes | None:
        """The day's key if there is one; never makes one."""
        return self._cached.get(day) or self._read(day)

    def forget_cached(self) -> None:
        """Reads every key from its file again, so that one destroyed since is noticed."""
        self._cached.clear()

    def days(self) -> list[datetime.date]:
        """The days that have a key now, oldest first."""
        return sorted(datetime.date.fromisoformat(path.stem) for path in self._directory.glob("*.key"))

    def history(self) -> list[dict[str, str | int]]:
        """What was made and destroyed, oldest first: {event, day, at}, `at` in Unix milliseconds."""
        try:
            lines = (self._directory / "journal.jsonl").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines if line]

    def destroy(self, day: datetime.date) -> bool:
        """Destroys the day's key: overwritten, unlinked, on record. False where there was none.

        The record comes first: a crash between the two leaves a key that the next call destroys.
        """
        path = self._path(day)
        if not path.exists():
            return False
        self._record("destroyed", day)
        with path.open("r+b") as file:
            file.write(b"\0" * KEY_BYTES)
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        self._sync_directory()
        self._cached.pop(day, None)
        return True

    def _read(self, day: datetime.date) -> bytes | None:
        try:
            key = self._path(day).read_bytes()
        except FileNotFoundError:
            return None
        if len(key) != KEY_BYTES or key == b"\0" * KEY_BYTES:
            raise KeyLost(f"the key of {day} in {self._directory} is damaged")
        return key

    def _make(self, day: datetime.date) -> bytes:
        events = [entry["event"] for entry in self.history() if entry["day"] == day.isoformat()]
        if "destroyed" in events:
            raise KeyDestroyed(f"the key of {day} was destroyed")
        if "created" in events:
            raise KeyLost(
                f"the key of {day} is missing from {self._directory}; restore it, or record that it is destroyed"
            )
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._directory / f".{day}.{os.getpid()}.{secrets.token_hex(4)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, self._random_bytes(KEY_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(draft, self._path(day))  # whoever links first made the key; the others read it
            self._sync_directory()
            self._record("created", day)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        key = self._read(day)
        if key is None:
            raise KeyLost(f"the key of {day} vanished from {self._directory} while it was made")
        return key

    def _path(self, day: datetime.date) -> Path:
        return self._directory / f"{day.isoformat()}.key"

    def _record(self, event: str, day: datetime.date) -> None:
        line = json.dumps({"event": event, "day": day.isoformat(), "at": self._now_ms()}) + "\n"
        descriptor = os.open(self._directory / "journal.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _sync_directory(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
