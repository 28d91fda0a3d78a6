"""Pure: how many bytes may be in flight to Kafka before more would only wait longer.

The window is the number of bytes that Kafka acknowledges in `LATENCY_SECONDS_TARGET`. While Kafka keeps up, the bytes
in flight stay far below the window at any load. Once Kafka does not keep up, more bytes in flight raise the latency and
not the throughput, and an honest client's records wait behind a flood's.

Source: Little's law; the window of TCP Vegas (Brakmo and Peterson, SIGCOMM 1994).
"""

from math import exp

# Seconds from a batch's first record to its acknowledgement: several times the latency while Kafka keeps up.
LATENCY_SECONDS_TARGET = 0.05
# The rate is an exponentially decaying average with this time constant.
RATE_DECAY_SECONDS = 0.5
# Two full batches and the records that arrive meanwhile; a smaller window would make batches small.
WINDOW_BYTES_MIN = 524_288


class CongestionWindow:
    """Follows the acknowledgements of one producer. Times are seconds on a monotonic clock.

    Args:
        away_seconds: Kafka counts as away once it acknowledged nothing for this long.
    """

    def __init__(self, away_seconds: float) -> None:
        self._away_seconds = away_seconds
        self._rate = 0.0  # bytes a second, as of `_at`
        self._at = float("-inf")

    def note_acknowledged(self, size: int, now: float) -> None:
        """Notes that `size` bytes were acknowledged."""
        self._rate = self._rate_at(now) + size / RATE_DECAY_SECONDS
        self._at = now

    def bytes_max(self, now: float) -> int:
        """How many bytes may be in flight."""
        return max(WINDOW_BYTES_MIN, int(self._rate_at(now) * LATENCY_SECONDS_TARGET))

    def acknowledging(self, now: float) -> bool:
        """Whether Kafka acknowledged anything within the last `away_seconds`."""
        return now - self._at < self._away_seconds

    def _rate_at(self, now: float) -> float:
        return self._rate * exp((self._at - now) / RATE_DECAY_SECONDS)
