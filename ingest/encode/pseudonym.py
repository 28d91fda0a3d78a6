"""The pseudonym of a session on `events.labeled`: a keyed hash that serves one day, and the rule for which day."""

import datetime
import hmac
from collections.abc import Callable

# The edge's key of a day, 32 bytes, or None where it was destroyed on record.
EdgeKeys = Callable[[datetime.date], bytes | None]

PAST_MS_MAX = 24 * 3_600_000
FUTURE_MS_MAX = 5 * 60_000

_EPOCH = datetime.date(1970, 1, 1)
_DAY_MS = 24 * 3_600_000


def day_of_event(ts: int, received_at_ms: int) -> datetime.date:
    """The UTC day whose keys apply to a label.

    It is the day of `ts`, so that a resend after midnight stays the same vote, where `ts` is at most 24 h old and at
    most 5 min ahead. Otherwise it is the day of the collector's own clock.

    Args:
        ts: Unix milliseconds, as sent.
        received_at_ms: Unix milliseconds.
    """
    believable = received_at_ms - PAST_MS_MAX <= ts <= received_at_ms + FUTURE_MS_MAX
    return _EPOCH + datetime.timedelta(days=(ts if believable else received_at_ms) // _DAY_MS)


def voter_of(site: str, session: str, edge_key: bytes) -> bytes:
    """A session of a site on one day, unlinkable to either once `edge_key` is destroyed.

    Args:
        edge_key: 32 random bytes that serve one day.

    Returns:
        32 bytes: HMAC-SHA-256 over both texts in UTF-8, each behind its length in four big-endian bytes, so that no
        two pairs share an input.

    Source: RFC 2104.
    """
    site_bytes, session_bytes = site.encode(), session.encode()
    message = b"".join(
        (len(site_bytes).to_bytes(4, "big"), site_bytes, len(session_bytes).to_bytes(4, "big"), session_bytes)
    )
    return hmac.digest(edge_key, message, "sha256")
