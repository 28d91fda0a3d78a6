"""Whether the brokers acknowledge a record only once as many of them have it as the settings want.

A topic with `min.insync.replicas` 1 acknowledges what one broker has, though it keeps three copies: if two brokers were
away and the third loses its disk, what was acknowledged meanwhile is gone. So a collector in front of such a topic says
so, is not ready, and sends it nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from ingest.kafka.aiokafka_client import ProducerSession
from schemas.topics import MIN_INSYNC

log = logging.getLogger(__name__)

CHECK_SECONDS = 30.0  # an operator may change a topic at any time
CHECK_AGAIN_SECONDS = 1.0  # after no answer, or while a topic has too few


class InSyncCopies:
    """Asks the brokers again and again.

    Args:
        topics: those that are produced to.
        insync_min: the least `min.insync.replicas`; with 1 nothing is asked.
        usable_session: waits for a session of the producer.
    """

    def __init__(
        self, topics: Iterable[str], insync_min: int, usable_session: Callable[[], Awaitable[ProducerSession]]
    ) -> None:
        self._topics, self._insync_min = sorted(topics), insync_min
        self._usable_session = usable_session
        self._thin: tuple[str, ...] | None = None  # what is wrong; None before the first answer

    def enough(self) -> bool:
        """Whether every topic is known to keep what it acknowledges in enough copies."""
        return self._insync_min <= 1 or self._thin == ()

    def too_few(self) -> bool:
        """Whether a topic is known not to."""
        return bool(self._thin)

    async def watch(self) -> None:
        """Asks until it is cancelled."""
        while self._insync_min > 1:
            session = await self._usable_session()
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    found = await session.topic_settings(self._topics, MIN_INSYNC)
            except Exception as error:  # the producer's own requests tell what is wrong with Kafka
                log.debug("the brokers did not tell %s: %s", MIN_INSYNC, type(error).__name__)
                await asyncio.sleep(CHECK_AGAIN_SECONDS)
                continue
            self._note(too_thin(found, self._insync_min))
            await asyncio.sleep(CHECK_AGAIN_SECONDS if self._thin else CHECK_SECONDS)

    def _note(self, thin: tuple[str, ...]) -> None:
        if thin and thin != self._thin:
            log.error(
                "not ready: topics acknowledge with fewer copies than %d: %s; run `unjoin topics`, "
                "or set UNJOIN_REPLICATION_FACTOR=1 where one copy is meant",
                self._insync_min,
                ", ".join(thin),
            )
        elif self._thin and not thin:
            log.info("topics acknowledge with enough copies now")
        self._thin = thin


def too_thin(found: Mapping[str, str | None], insync_min: int) -> tuple[str, ...]:
    """The topics whose `min.insync.replicas` is too small or was not told, and what it is; pure."""
    return tuple(
        f"{topic} ({value or 'not told; the collector needs DescribeConfigs'})"
        for topic, value in sorted(found.items())
        if value is None or int(value) < insync_min
    )
