"""The form of a dead letter, and how many of them are too many.

A dead letter is the bytes of the original record, with headers that say why it was set aside and where it lay. A few
bad records are set aside. Many in a row are the sign of a bad deployment, and setting them aside would drain the topic:
the reader halts instead, leaves all of them where they are, and says what to look at.
"""

from collections import deque
from typing import Any

import msgspec

from schemas.outcomes import DeadLetterReason

Headers = list[tuple[str, bytes]]

SHARE_RECORDS = 100
"""The share of dead letters is taken of so many records; with fewer, a few bad ones would halt a quiet topic."""

TRUNCATED_FROM = "truncated_from"
"""The header of a dead letter whose value was too large with headers and was cut; it holds the length before."""


class Origin(msgspec.Struct, frozen=True):
    """The place of the original record of a dead letter, and why it was set aside.

    Attributes:
        offset: of the original record, not of the dead letter.
    """

    reason: str
    topic: str
    partition: int
    offset: int


def dead_letter_headers(reason: DeadLetterReason, topic: str, partition: int, offset: int) -> Headers:
    """The headers of a dead letter; its value and key are the original's, byte for byte."""
    return [
        ("reason", str(reason).encode()),
        ("topic", topic.encode()),
        ("partition", b"%d" % partition),
        ("offset", b"%d" % offset),
    ]


def origin_of(headers: Any) -> Origin | None:
    """The origin in a dead letter's headers; None where the headers are not those of a dead letter."""
    try:
        fields = {name: value.decode() for name, value in headers}
        return Origin(fields["reason"], fields["topic"], int(fields["partition"]), int(fields["offset"]))
    except (KeyError, ValueError, AttributeError, TypeError):
        return None


class ShareCap:
    """Whether too many of the last records were set aside. Pure.

    Records that have not come yet count as good, so that the answer does not wait for them: with a share of 0.5, the
    51st bad one of the last 100 is one too many.

    Args:
        share_max: the share of the last `SHARE_RECORDS` that may be bad, 0 to 1; 1 for no cap.

    Attributes:
        set_aside: how many of the last `SHARE_RECORDS` were bad.
    """

    def __init__(self, share_max: float) -> None:
        self.set_aside = 0
        self._most = share_max * SHARE_RECORDS
        self._window: deque[bool] = deque(maxlen=SHARE_RECORDS)

    def note(self, *, bad: bool, records: int = 1) -> None:
        """Counts so many records, either all bad or all good."""
        if not bad and not self.set_aside:
            return  # good ones before the first bad one count as those that have not come yet
        for _ in range(min(records, SHARE_RECORDS)):
            if len(self._window) == SHARE_RECORDS:
                self.set_aside -= self._window[0]
            self._window.append(bad)
            self.set_aside += bad

    @property
    def exceeded(self) -> bool:
        """Whether too many are bad; then the reader halts before it sets the last ones aside."""
        return self.set_aside > self._most


def too_many(cap: ShareCap, records: str, what: str, look: str) -> str:
    """The error text of a reader that halts: how many records, why, where to look, and how to go on.

    Args:
        records: the kind of records, e.g. "records of events.labeled-0".
        what: what happened to them, e.g. "cannot be read".
        look: what to compare or correct.
    """
    return (
        f"{cap.set_aside} of the last {SHARE_RECORDS} {records} {what}; nothing more is set aside. {look}, then start "
        "again; to set them aside all the same, start once with UNJOIN_DEAD_LETTER_PERCENT_MAX=100"
    )
