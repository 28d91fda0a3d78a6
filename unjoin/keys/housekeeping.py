"""Each role destroys its own keys when they are due; several processes may do so at once."""

import datetime
import logging
import threading
from collections.abc import Callable
from types import TracebackType

from unjoin.keys.keyring import Keyring, KeyringError
from unjoin.keys.retention import destroy_due

log = logging.getLogger(__name__)

LOOK_EVERY_S = 30.0
"""Half of the minute within which a role stops using a key that another process destroyed: one look may come late."""


def days_due(keyring: Keyring, now: datetime.datetime, labeled_hours: int) -> list[datetime.date]:
    """The days whose key is there and due, or is what a crash left of one that was destroyed.

    Raises:
        KeyringError: the folder cannot be read.
    """
    return [day for day in keyring.days() if keyring.is_destroyed(day) or destroy_due(day, labeled_hours) <= now]


def destroy_expired(keyring: Keyring, now: datetime.datetime, labeled_hours: int) -> list[datetime.date]:
    """Destroys every key that is due, and what a crash left of those destroyed before; gives their days.

    Raises:
        KeyringError: the folder cannot be read or written.
    """
    return [day for day in days_due(keyring, now, labeled_hours) if keyring.destroy(day)]


class Housekeeping:
    """Looks at a role's keys, now and then every half a minute, from a thread of its own.

    Args:
        role: the keys' role, for the log.
        labeled_hours: retention of identified labels.
        now: the time in UTC.
    """

    def __init__(
        self, keyring: Keyring, role: str, labeled_hours: int, now: Callable[[], datetime.datetime], every_s: float
    ) -> None:
        self._keyring = keyring
        self._role = role
        self._labeled_hours = labeled_hours
        self._now = now
        self._every_s = every_s
        self._said = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keys", daemon=True)

    def __enter__(self) -> "Housekeeping":
        self.look()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped.set()
        self._thread.join()

    def look(self) -> None:
        """Forgets what was read of keys, so that one destroyed elsewhere is noticed, and destroys what is due."""
        self._keyring.forget_cached()
        try:
            for day in destroy_expired(self._keyring, self._now(), self._labeled_hours):
                log.info("destroyed the %s key of %s: its labels are past their retention", self._role, day)
            self._said = ""
        except KeyringError as error:
            if str(error) != self._said:
                log.error("keys that are due are not destroyed: %s", error)
            self._said = str(error)

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            self.look()
