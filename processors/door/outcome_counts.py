"""What became of the records of one partition of `events.labeled`, as totals committed together with the offset. Pure.

The offset says how far the door is, the metadata beside it what became of everything below: one commit, so that no
kill comes between the two, and what is read again after a kill is counted again from the same totals. `unjoin audit`
adds them up. They say no more than the log's ends, the commits, the released topic and the door's metrics together.
"""

import copy
from collections.abc import Mapping
from typing import Self

import msgspec

from schemas.outcomes import Suppression


class OutcomeCounts(msgspec.Struct, kw_only=True):
    """Records below a committed offset, by outcome; each record has exactly one.

    Attributes:
        since: the offset at which counting began; 0 unless a commit was found that says nothing.
        released: labels that left.
        collapsed: answers that replaced, or lost to, one of the same voter on the same task in the same crowd.
        verdicts: judgements taken in.
        dead_lettered: records set aside.
        expired: records that the log dropped before the door read them.
        suppressed: labels that will never leave, by reason.
    """

    since: int
    released: int = 0
    collapsed: int = 0
    verdicts: int = 0
    dead_lettered: int = 0
    expired: int = 0
    suppressed: dict[Suppression, int] = {}

    @property
    def records(self) -> int:
        """All outcomes; the committed offset is `since` and so many more, or records were lost or counted twice."""
        counted = self.released + self.collapsed + self.verdicts + self.dead_lettered + self.expired
        return counted + sum(self.suppressed.values())

    def suppress(self, labels: Mapping[Suppression, int]) -> None:
        """Adds labels, by reason."""
        for reason, count in labels.items():
            self.suppressed[reason] = self.suppressed.get(reason, 0) + count

    def copied(self) -> Self:
        """As it is now."""
        now = copy.copy(self)
        now.suppressed = dict(self.suppressed)
        return now

    def metadata(self) -> str:
        """For the commit; some 150 of the 4,096 bytes that a coordinator keeps."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def of(cls, metadata: str) -> Self | None:
        """The inverse of `metadata`; None for what no door wrote, such as an operator's reset of the offset."""
        try:
            counts = msgspec.json.decode(metadata, type=cls)
        except (msgspec.MsgspecError, UnicodeError):
            return None
        plain = (counts.since, counts.released, counts.collapsed, counts.verdicts, counts.dead_lettered, counts.expired)
        return counts if min(*plain, *counts.suppressed.values(), 0) == 0 else None

    @classmethod
    def resumed(cls, committed: int | None, metadata: str, first: int) -> Self:
        """Where a new owner goes on from.

        Args:
            committed: the group's offset; None where there is none.
            first: of the first record that the log still has from there on; what lies between expired.
        """
        counts = cls.of(metadata) if committed is not None else cls(since=0)
        start = committed or 0
        if counts is None or first < start:
            counts = cls(since=min(start, first))
            start = min(start, first)
        counts.expired += first - start
        return counts
