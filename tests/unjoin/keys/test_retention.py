"""A day's keys die when nothing can need them any more, and not a moment before."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ingest.encode.pseudonym import day_of_event
from schemas.topics import LABELED, topics
from unjoin.keys.retention import destroy_due

DAY = date(2026, 11, 24)
HOURS = st.integers(1, 200)


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def test_keys_are_due_a_day_a_retention_and_a_segment_after_their_day() -> None:
    """As documented: with 6 hours of retention, 31 hours after midnight."""
    assert destroy_due(DAY, 6) == datetime(2026, 11, 26, 7, tzinfo=UTC)
    assert destroy_due(date(2026, 12, 31), 1) == datetime(2027, 1, 2, 2, tzinfo=UTC)


@given(st.dates(date(2020, 1, 1), date(2090, 1, 1)), HOURS, st.integers(-100, 100), st.integers(-(10**9), 10**9))
def test_no_label_of_a_day_is_left_to_read_when_its_keys_are_due(day: date, hours: int, away: int, ts: int) -> None:
    """Whatever the clocks said: a label that the day rule puts on a day has expired from its topic by then."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    received = ms(midnight + timedelta(hours=away))
    topic = {one.name: one for one in topics(partitions=1, labeled_partitions=1, events_days=1, labeled_hours=hours)}
    labeled = topic[LABELED]
    own_day = day_of_event(received + ts, received)
    assert received + labeled.retention_ms + labeled.segment_ms <= ms(destroy_due(own_day, hours))


@given(HOURS)
def test_the_last_label_of_a_day_can_still_be_read_a_moment_before(hours: int) -> None:
    """Keys that die early lose labels."""
    last_ts = ms(datetime(2026, 11, 25, tzinfo=UTC)) - 1
    last_received = last_ts + 24 * 3_600_000
    assert day_of_event(last_ts, last_received) == DAY
    (labeled,) = (
        one
        for one in topics(partitions=1, labeled_partitions=1, events_days=1, labeled_hours=hours)
        if one.name == LABELED
    )
    assert last_received + labeled.retention_ms + labeled.segment_ms == ms(destroy_due(DAY, hours)) - 1
