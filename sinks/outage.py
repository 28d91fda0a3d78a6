"""Back-off and log lines while Kafka or ClickHouse does not answer."""

import logging
import random
import time
from collections.abc import Callable

FIRST_SECONDS = 0.1
SECONDS_MAX = 5.0
REPEAT_SECONDS = 60.0


class Outage:
    """Logs each reason of an outage once, and a line when it ends; in between it says how long to wait.

    Args:
        what: its name in the log, e.g. "ClickHouse for signals-0".
        clock: seconds, monotonic.
        jitter: draws the part of the wait that is left out, so that many partitions do not retry at once.
    """

    def __init__(self, what: str, log: logging.Logger, clock: Callable[[], float], jitter: random.Random) -> None:
        self._what, self._log, self._clock, self._jitter = what, log, clock, jitter
        self._since: float | None = None
        self._attempts = 0
        self._reasons: set[str] = set()

    def failed(self, why: str) -> float:
        """Returns the seconds to wait before the next try: doubled from 0.1 to 5, and shortened by up to half."""
        if self._since is None:
            self._since = self._clock()
        if why not in self._reasons:
            self._reasons.add(why)
            self._log.warning("%s does not answer (%s); waiting and trying again", self._what, why)
        ceiling: float = min(SECONDS_MAX, FIRST_SECONDS * 2 ** min(self._attempts, 10))
        self._attempts += 1
        return ceiling * (0.5 + self._jitter.random() / 2)

    def over(self) -> None:
        """Notes that it answered."""
        if self._since is not None:
            self._log.warning("%s answers again after %.1f s", self._what, self._clock() - self._since)
        self._since, self._attempts = None, 0
        self._reasons.clear()


class RateLimitedHandler(logging.Handler):
    """Passes each message of a library on once a minute: in an outage aiokafka repeats it ten times a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._clock = clock
        self._said: dict[tuple[str, str], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Compares messages by template, not by text: offsets and correlation ids differ each time."""
        now, template = self._clock(), (record.name, str(record.msg))
        if now - self._said.get(template, -REPEAT_SECONDS) >= REPEAT_SECONDS:
            self._said[template] = now
            logging.getLogger().handle(record)


def quieten(library: str, level: int = logging.WARNING) -> None:
    """Makes a library's loggers say each thing once a minute, and nothing below `level`; never keys or values."""
    logger = logging.getLogger(library)
    logger.setLevel(level)
    logger.propagate = False
    logger.handlers = [RateLimitedHandler()]
