"""Pure: what was sent, what was acknowledged, and what of it is known to be stored.

An event's id says all of it: `r12.345.p3` is the third pointer of batch 345, sent in round 12. A label has no id in its
table; its task is as unique, and stands for it.
"""

from collections.abc import Iterable

import msgspec

TABLES = ("signals", "analytics", "personal", "labelers", "labels")


class Batch(msgspec.Struct):
    """One request's events.

    Attributes:
        ids: per table, of the events that end there.
        sent_at: of the first try; seconds, monotonic.
        acknowledged_at: None as long as no answer said so; then it may be stored or not.
        tries: how often it was sent.
        rejected: events that were answered with a reason.
    """

    number: int
    round: int
    ids: dict[str, list[str]]
    sent_at: float
    acknowledged_at: float | None = None
    tries: int = 0
    rejected: int = 0

    @property
    def session(self) -> str:
        """Also the account of what a server sends."""
        return f"r{self.round}.{self.number}"

    @property
    def size(self) -> int:
        return sum(map(len, self.ids.values()))


class Ledger:
    """Every batch of one scenario."""

    def __init__(self) -> None:
        self.round = 0
        self.batches: list[Batch] = []
        self._unverified: dict[int, Batch] = {}

    def open(self, batch: Batch) -> None:
        """Notes a batch before it is sent."""
        self.batches.append(batch)
        self._unverified[batch.number] = batch

    def acknowledged_before(self, moment: float) -> list[Batch]:
        """Batches that were acknowledged by then and not yet found stored whole."""
        return [
            batch
            for batch in self._unverified.values()
            if batch.acknowledged_at is not None and batch.acknowledged_at <= moment
        ]

    def verified(self, batches: Iterable[Batch]) -> None:
        """These were found stored whole."""
        for batch in batches:
            self._unverified.pop(batch.number, None)


def round_of(event_id: str) -> int:
    """Number of the round in which an event was first sent."""
    return int(event_id[1 : event_id.index(".")])
