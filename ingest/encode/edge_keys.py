"""The keys of the day that labels need. A missing one is logged once, and shown in metrics and `/readyz`."""

import datetime
import logging

from ingest.encode.pseudonym import EdgeKeys
from ingest.encode.seals import DoorKeys
from schemas.outcomes import UnjoinError

log = logging.getLogger(__name__)

_TWO_DAYS = datetime.timedelta(days=2)


class WatchedKeys:
    """`EdgeKeys` that remember the days of which a key was missing when it was last asked for.

    Both are needed for a label: the edge's, to name its voter, and the door's public one, to seal it.

    Labels of such a day are refused with 503, so that nothing is lost; all other events are accepted.

    Attributes:
        missing: those days.
    """

    def __init__(self, keys: EdgeKeys, door_keys: DoorKeys) -> None:
        self._keys = keys
        self._door_keys = door_keys
        self.missing: set[datetime.date] = set()

    def __call__(self, day: datetime.date) -> bytes | None:
        """The day's key; None where it was destroyed on record.

        Raises:
            UnjoinError: it is missing, or the door's public key of the day is.
        """
        try:
            key = self._both(day)
        except UnjoinError as error:
            if day not in self.missing:
                log.error("batches with labels of %s are refused: %s", day, error)
                self.missing.add(day)
            raise
        if day in self.missing:
            log.warning("the key of %s is back", day)
            self.missing.discard(day)
        return key

    def are_there(self, day: datetime.date) -> bool:
        """Whether both can be had; nothing is logged or remembered."""
        try:
            self._both(day)
        except UnjoinError:
            return False
        return True

    def _both(self, day: datetime.date) -> bytes | None:
        key = self._keys(day)
        if key is not None:
            self._door_keys(day)
        return key

    def can_be_had(self, day: datetime.date) -> bool:
        """Whether today's key is there. Asks for it, and again for those that were missing: labels may ask for none.

        Args:
            day: today. Missing days more than two days older are forgotten: no label can belong there any more.
        """
        self.missing = {one for one in self.missing if one >= day - _TWO_DAYS}
        for asked in sorted({day, *self.missing}):
            try:
                self(asked)
            except UnjoinError:
                continue
        return day not in self.missing
