"""The edge's keys of the day. A missing key is logged once, and shown in metrics and `/readyz` until it is back."""

import datetime
import logging

from ingest.encode.pseudonym import EdgeKeys
from schemas.outcomes import UnjoinError

log = logging.getLogger(__name__)

_TWO_DAYS = datetime.timedelta(days=2)


class WatchedKeys:
    """`EdgeKeys` that remember the days whose key was missing when it was last asked for.

    Labels of such a day are refused with 503, so that nothing is lost; all other events are accepted.

    Attributes:
        missing: those days.
    """

    def __init__(self, keys: EdgeKeys) -> None:
        self._keys = keys
        self.missing: set[datetime.date] = set()

    def __call__(self, day: datetime.date) -> bytes | None:
        """The day's key; None where it was destroyed on record.

        Raises:
            UnjoinError: it is missing.
        """
        try:
            key = self._keys(day)
        except UnjoinError as error:
            if day not in self.missing:
                log.error("batches with labels of %s are refused: %s", day, error)
                self.missing.add(day)
            raise
        if day in self.missing:
            log.warning("the key of %s is back", day)
            self.missing.discard(day)
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
