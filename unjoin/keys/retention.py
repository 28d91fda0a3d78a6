"""The time at which a day's keys are due to be destroyed. Pure."""

import datetime

from ingest.encode.pseudonym import PAST_MS_MAX
from schemas.topics import HOUR_MS, labeled_segment_ms


def destroy_due(day: datetime.date, labeled_hours: int) -> datetime.datetime:
    """When no record of the day's labels can be left to read, so that nothing needs its keys any more.

    The day has to end, its labels may arrive for as long as the day rule believes a clock, and the last of them lies
    on its topic for its retention and until its segment is deleted.

    Args:
        labeled_hours: retention of identified labels.

    Returns:
        A moment in UTC.
    """
    day_end = datetime.datetime.combine(day, datetime.time(), datetime.UTC) + datetime.timedelta(days=1)
    wait_ms = PAST_MS_MAX + labeled_hours * HOUR_MS + labeled_segment_ms(labeled_hours)
    return day_end + datetime.timedelta(milliseconds=wait_ms)
