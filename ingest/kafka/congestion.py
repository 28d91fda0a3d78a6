"""Pure: how many bytes may be on their way to Kafka before more of them would only wait longer.

As many as it acknowledges in the time that a record may take. While Kafka keeps up, what is on its way is far below
that, whatever the load; once it does not, more bytes on their way are no more bytes a second, only a longer queue, in
which an honest client's records stand behind a flood's.

Source: Little's law; the window of TCP Vegas (Brakmo and Peterson, SIGCOMM 1994).
"""

from math import exp

# From a batch's first record to its acknowledgement; some times what it takes while Kafka keeps up.
TARGET_SECONDS = 0.05
# Over so long the rate is taken.
MEMORY_SECONDS = 0.5
# Two full batches and what gathers meanwhile: below that, batches would get small.
WINDOW_BYTES_MIN = 524_288


class AckWindow:
    """Follows the acknowledgements of one producer. Times are seconds on a monotonic clock.

    Args:
        away_seconds: without an acknowledgement for so long Kafka is away; then waiting for room is for nothing.
    """

    def __init__(self, away_seconds: float) -> None:
        self._away_seconds = away_seconds
        self._rate = 0.0  # bytes a second, as of `_at`
        self._at = float("-inf")

    def note(self, size: int, now: float) -> None:
        """So many bytes were acknowledged."""
        self._rate = self._faded(now) + size / MEMORY_SECONDS
        self._at = now

    def bytes_max(self, now: float) -> int:
        """How many may be on their way."""
        return max(WINDOW_BYTES_MIN, int(self._faded(now) * TARGET_SECONDS))

    def acknowledging(self, now: float) -> bool:
        """Whether Kafka is there, slow as it may be."""
        return now - self._at < self._away_seconds

    def _faded(self, now: float) -> float:
        return self._rate * exp((self._at - now) / MEMORY_SECONDS)
