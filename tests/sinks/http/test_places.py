"""The places that queries take: what all of them may use together."""

import asyncio
import threading
from collections import Counter
from collections.abc import Mapping, Sequence

import aiohttp

from sinks.clickhouse.embedded import QueryResult
from sinks.clickhouse.errors import MEMORY_LIMIT_EXCEEDED, QueryFailed
from sinks.http.external_tables import ExternalTable
from sinks.http.interface import LIGHT_QUERIES, serve_http
from sinks.metrics import SinkMetrics
from testkit.sink_configs import SETTINGS, http_config

TOGETHER_SECONDS_MAX = 30
SECOND_SECONDS_MAX = 0.1


class Greedy:
    """An engine whose queries all need more than a small place, and that adds up what they were allowed."""

    def __init__(self) -> None:
        self.peak_bytes = self.large_at_once = 0
        self._taken = self._large = 0
        self._lock = threading.Condition()
        self._seen: Counter[str] = Counter()
        self._together = threading.Barrier(LIGHT_QUERIES)

    def read(
        self,
        sql: str,
        output_format: str,
        settings: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
        database: str = "unjoin",
    ) -> QueryResult:
        body = parameters["sql"].encode() if parameters else b'["26.9"]\n["UTC"]\n'
        return QueryResult(body=body, rows_read=0, bytes_read=0, rows=0, elapsed_s=0)

    def read_bounded(
        self,
        canonical: str,
        output_format: str,
        settings: Mapping[str, str],
        parameters: Mapping[str, str],
        database: str,
        body_bytes_max: int,
        tables: Sequence[ExternalTable] = (),
    ) -> QueryResult:
        allowed = int(settings["max_memory_usage"]) + body_bytes_max
        with self._lock:
            first = not self._seen[canonical]
            self._seen[canonical] += 1
            self._taken += allowed
            self._large += not first
            self.peak_bytes = max(self.peak_bytes, self._taken)
            self.large_at_once = max(self.large_at_once, self._large)
            self._lock.notify_all()
            if not first:  # a second one, if one may come, comes now
                self._lock.wait_for(lambda: self._large > 1, SECOND_SECONDS_MAX)
        if first:
            self._together.wait(TOGETHER_SECONDS_MAX)
        with self._lock:
            self._taken -= allowed
            self._large -= not first
        if first:
            raise QueryFailed(MEMORY_LIMIT_EXCEEDED, "more")
        return self.read(canonical, output_format)

    def release_memory(self) -> None:
        """Nothing is kept."""


def test_queries_at_once_never_get_more_than_the_sum() -> None:
    """Small places side by side, and one query after another in the large one."""
    engine = Greedy()

    async def play() -> list[int]:
        listening = await serve_http(engine, http_config(), SinkMetrics())
        try:
            async with aiohttp.ClientSession() as session:

                async def ask(number: int) -> int:
                    async with session.get(
                        f"http://127.0.0.1:{listening.port}/", params={"query": f"SELECT {number}"}
                    ) as answer:
                        return answer.status

                return await asyncio.gather(*(ask(number) for number in range(3 * LIGHT_QUERIES)))
        finally:
            await listening.close()

    assert asyncio.run(play()) == [200] * 3 * LIGHT_QUERIES
    assert engine.peak_bytes <= SETTINGS.queries_bytes_max
    assert engine.large_at_once == 1
