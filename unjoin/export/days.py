"""Pure: which days are closed, so that no vote of them can come any more.

Of a closed day the door's key is destroyed, and without it no label of that day leaves the door; a day more is for
what is on its way to the table. What a sink that was away for longer brings later is counted and never exported.
"""

import datetime

from unjoin.keys.retention import destroy_due

DAY = datetime.timedelta(days=1)


def closes_at(day: datetime.date, labeled_hours: int) -> datetime.datetime:
    """The moment, UTC, from which on a day is closed."""
    return destroy_due(day, labeled_hours) + DAY


def last_closed_day(now: datetime.datetime, labeled_hours: int) -> datetime.date:
    """The last UTC day that is closed.

    Args:
        now: UTC.
        labeled_hours: retention of identified labels.
    """
    day = now.date()
    while closes_at(day, labeled_hours) > now:
        day -= DAY
    return day
