"""What the page at `/` is told: the visitor's own signals and analytics, and totals of everything else.

It looks at the collector's metrics, the door's, and ClickHouse; at totals once for all open pages together.
No query about labels names a session; an answer is shown where at least `CONSENSUS_VOTES_MIN` gave it.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import aiohttp
import msgspec

from ingest.access.sites import DEVELOPMENT_SITE
from ingest.web.page import CollectorView
from unjoin.playground.door_totals import DoorTotals, door_totals_of
from unjoin.playground.edge_totals import EdgeTotals, edge_totals_of

LOOK_SECONDS = 0.5
CLICKHOUSE_SECONDS_MAX = 3.0
CONSENSUS_VOTES_MIN = 5  # as exports leave out what fewer say, see docs/privacy.md
ROWS_MAX = 40  # rows of each table, as in the query below

_LATEST = (
    "SELECT * FROM (SELECT '{table}' AS category, event_id, type, toUnixTimestamp64Milli(received_at) AS received, "
    "count() OVER () AS n FROM unjoin.{table} WHERE site = {{site:String}} AND session = {{session:String}} "
    "ORDER BY received DESC, event_id LIMIT 40)"
)
_OWN = " UNION ALL ".join(_LATEST.format(table=table) for table in ("signals", "analytics"))
_LABELS = "SELECT count() AS n FROM unjoin.labels"
# Only the page's own tasks, which lie together in the table; `total` counts the answers that are left out as well.
_CONSENSUS = (
    "SELECT task, answer, votes, total FROM "
    "(SELECT task, answer, count() AS votes, sum(votes) OVER (PARTITION BY task) AS total "
    "FROM unjoin.labels FINAL WHERE startsWith(task, 'playground-') GROUP BY task, answer) "
    "WHERE votes >= {least:UInt64} ORDER BY task, votes DESC, answer LIMIT 100"
)


class StoredRow(msgspec.Struct, frozen=True):
    """One stored row of the visitor's, without its content."""

    event_id: str
    type: str


class SessionRows(msgspec.Struct, frozen=True):
    """What is stored of one session, latest rows first."""

    signals: int
    analytics: int
    latest: list[StoredRow]


class AnswerVotes(msgspec.Struct, frozen=True):
    """How many of all who answered a task said this."""

    task: str
    answer: str
    votes: int
    total: int


class LabelTotals(msgspec.Struct, frozen=True):
    """Everybody's labels: how many, and what enough of them agree on."""

    rows: int
    votes: list[AnswerVotes]


class PipelineTotals(msgspec.Struct, frozen=True):
    """Totals of everybody; None for what did not answer.

    Attributes:
        kafka: whether requests go to Kafka first, rather than to the spool or back.
    """

    kafka: bool
    edge: EdgeTotals | None
    door: DoorTotals | None
    labels: LabelTotals | None


class ClickHouseAway(Exception):
    """The engine did not answer, or not with rows."""


class Feed:
    """Asks, and remembers for a moment.

    Args:
        clickhouse_http_url: the HTTP interface of the engine that the sink writes to.
        collector_metrics_urls: of each of the collector's workers.
        door_metrics_url: the processor's metrics; empty where there are none to ask for.
        collector: its state.
    """

    def __init__(
        self,
        clickhouse_http_url: str,
        collector_metrics_urls: Sequence[str],
        door_metrics_url: str,
        collector: CollectorView,
    ) -> None:
        self._clickhouse_url = clickhouse_http_url
        self._edge_urls = collector_metrics_urls
        self._door_url = door_metrics_url
        self._collector = collector
        self._http: aiohttp.ClientSession | None = None
        self._one_at_a_time = asyncio.Lock()
        self._whole: tuple[float, PipelineTotals] | None = None

    async def totals(self) -> PipelineTotals:
        """Everybody's totals, at most half a look old."""
        async with self._one_at_a_time:
            if self._whole is None or time.monotonic() - self._whole[0] > LOOK_SECONDS / 2:
                edge, door, labels = await asyncio.gather(self._edge(), self._door(), self._labels())
                self._whole = time.monotonic(), PipelineTotals(self._collector.reaches_kafka(), edge, door, labels)
            return self._whole[1]

    async def session_rows(self, session: str) -> SessionRows | None:
        """A session's own rows; None while ClickHouse is away."""
        try:
            rows = await self._rows(_OWN, session=session, site=DEVELOPMENT_SITE)
        except ClickHouseAway:
            return None
        counts = {row["category"]: int(row["n"]) for row in rows}
        rows.sort(key=lambda row: int(row["received"]), reverse=True)
        latest = [StoredRow(row["event_id"], row["type"]) for row in rows]
        return SessionRows(counts.get("signals", 0), counts.get("analytics", 0), latest)

    async def close(self) -> None:
        """Lets go of the connections."""
        if self._http is not None:
            await self._http.close()

    async def _edge(self) -> EdgeTotals | None:
        try:
            return edge_totals_of("".join(await asyncio.gather(*map(self._metrics, self._edge_urls))))
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None  # rather than a part of it

    async def _door(self) -> DoorTotals | None:
        if not self._door_url:
            return None
        try:
            return door_totals_of(await self._metrics(self._door_url))
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None

    async def _metrics(self, url: str) -> str:
        async with self._client().get(url) as answer:
            return await answer.text()

    async def _labels(self) -> LabelTotals | None:
        try:
            (count,) = await self._rows(_LABELS)
            votes = await self._rows(_CONSENSUS, least=CONSENSUS_VOTES_MIN)
        except ClickHouseAway:
            return None
        agreed = [AnswerVotes(row["task"], row["answer"], int(row["votes"]), int(row["total"])) for row in votes]
        return LabelTotals(int(count["n"]), agreed)

    async def _rows(self, sql: str, **values: str | int) -> list[dict[str, Any]]:
        # Values travel beside the query, never in it.
        parameters = {"query": f"{sql} FORMAT JSONEachRow"} | {f"param_{name}": v for name, v in values.items()}
        try:
            async with self._client().get(self._clickhouse_url, params=parameters) as answer:
                text = await answer.text()
                if answer.status != 200:
                    raise ClickHouseAway
                return [json.loads(line) for line in text.splitlines() if line]
        except (aiohttp.ClientError, TimeoutError, ValueError):
            raise ClickHouseAway from None

    def _client(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CLICKHOUSE_SECONDS_MAX))
        return self._http
