"""Counts and logs requests that are refused before there is a task: anyone can send those, at any rate."""

import logging
from collections.abc import Callable

from ingest.metrics.counters import Counters
from schemas.outcomes import RequestError

LINE_SECONDS = 60.0

log = logging.getLogger(__name__)


class RefusalLog:
    """Counts each refusal; logs at most a line in `LINE_SECONDS` for each error, and nothing of what was sent.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, counters: Counters, clock: Callable[[], float]) -> None:
        self._counters = counters
        self._clock = clock
        self._lines: dict[RequestError, tuple[float, int]] = {}  # when the last line was written, how many since

    def note(self, error: RequestError) -> None:
        """One request was refused for this."""
        self._counters.count_refused(error)
        now = self._clock()
        since, count = self._lines.get(error, (now - LINE_SECONDS, 0))
        if now - since < LINE_SECONDS:
            self._lines[error] = since, count + 1
            return
        log.warning("refused as %s: %d requests; at most a line a minute says so", error, count + 1)
        self._lines[error] = now, 0
