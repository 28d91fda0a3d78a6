"""What stands for a session, and which day it lasts."""

import datetime
import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from ingest.encode.pseudonym import day_of_event, voter_of

DAY = datetime.date(2026, 9, 22)
NOON_MS = int(datetime.datetime(2026, 9, 22, 12, tzinfo=datetime.UTC).timestamp() * 1_000)
HOUR_MS = 3_600_000
KEY = bytes(range(32))


def test_day_is_that_of_the_event_while_its_clock_is_believable() -> None:
    """A resend after midnight stays the same vote; 24 h back and 5 min ahead are still believed, a ms more is not."""
    received = NOON_MS
    assert day_of_event(received - 24 * HOUR_MS, received) == DAY - datetime.timedelta(days=1)
    assert day_of_event(received - 24 * HOUR_MS - 1, received) == DAY
    midnight = NOON_MS + 12 * HOUR_MS
    assert day_of_event(midnight, midnight - 300_000) == DAY + datetime.timedelta(days=1)
    assert day_of_event(midnight + 1, midnight - 300_000) == DAY
    assert day_of_event(midnight - 1, midnight) == DAY


@given(st.integers(0, 253_402_300_799_999), st.integers(0, 2**42))
def test_day_is_never_more_than_one_from_when_it_was_received(ts: int, received_at_ms: int) -> None:
    """Whatever a client claims, it reaches two days' keys at most, and tomorrow's only around midnight."""
    received_day = datetime.date(1970, 1, 1) + datetime.timedelta(days=received_at_ms // (24 * HOUR_MS))
    assert -1 <= (day_of_event(ts, received_at_ms) - received_day).days <= 1


def test_voter_is_the_documented_hmac() -> None:
    """Others must be able to check it: lengths in four big-endian bytes before each text."""
    message = b"\x00\x00\x00\x04shop" + b"\x00\x00\x00\x03s-1"
    assert voter_of("shop", "s-1", KEY) == hmac.new(KEY, message, hashlib.sha256).digest()


@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_two_sessions_never_share_a_voter(site: str, session: str, other_site: str, other_session: str) -> None:
    """Without the lengths, site `ab` with session `c` and site `a` with session `bc` would be one."""
    same = (site, session) == (other_site, other_session)
    assert (voter_of(site, session, KEY) == voter_of(other_site, other_session, KEY)) == same
    assert voter_of(site, session, KEY) != voter_of(site, session, bytes(32))
