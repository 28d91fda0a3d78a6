"""The page at `/` and what it asks: the visitor's own session, on this machine only.

Labels appear as one total and nowhere near who sent them.
"""

import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from ingest.door_totals import door_totals_of
from ingest.sites import DEVELOPMENT_SITE
from schemas.events import Session

PAGE = Path(__file__).parent / "playground.html"
ROWS_MAX = 20  # as in the queries below
CLICKHOUSE_SECONDS_MAX = 3.0

_LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
_HEADERS = {"cache-control": "no-store", "x-frame-options": "DENY", "referrer-policy": "no-referrer"}

_COUNT = "SELECT count() AS n FROM unjoin.{table} WHERE site = {{site:String}} AND session = {{session:String}}"
_LABELS = "SELECT count() AS n FROM unjoin.labels"
_SIGNALS = (
    "SELECT 'signals' AS category, event_id, type, ts, toUnixTimestamp64Milli(received_at) AS received, "
    "length(t) AS samples FROM unjoin.signals WHERE site = {site:String} AND session = {session:String} "
    "ORDER BY received_at DESC, event_id LIMIT 20"
)
_ANALYTICS = (
    "SELECT 'analytics' AS category, event_id, type, ts, toUnixTimestamp64Milli(received_at) AS received, url, "
    "referrer, browser, os, device FROM unjoin.analytics WHERE site = {site:String} AND session = {session:String} "
    "ORDER BY received_at DESC, event_id LIMIT 20"
)


class ClickHouseAway(Exception):
    """The engine did not answer, or not with rows."""


class Playground:
    """Its routes, and the connections to ClickHouse behind them.

    Args:
        clickhouse_http_url: of the engine that the sink writes to.
        door_metrics_url: of the processor, for what waits for its crowd; empty for nothing to show.
    """

    def __init__(self, clickhouse_http_url: str, door_metrics_url: str = "") -> None:
        self._url = clickhouse_http_url
        self._door_url = door_metrics_url
        self._client: aiohttp.ClientSession | None = None

    def routes(self) -> list[Route]:
        """`/` and what it asks for."""
        return [Route("/", self.page), Route("/playground/session/{session}", self.session)]

    async def page(self, request: Request) -> Response:
        """The page itself."""
        only_from_here(request)
        if not PAGE.is_file():
            raise HTTPException(404)
        # Named, for guessing it opens /etc/mime.types, which a confined collector may not.
        return FileResponse(PAGE, media_type="text/html; charset=utf-8", headers=_HEADERS)

    async def session(self, request: Request) -> Response:
        """What is stored of a session of the development site: `{"available": false}` while the engine is away."""
        only_from_here(request)
        try:
            session = msgspec.convert(request.path_params["session"], Session)
        except msgspec.ValidationError:
            raise HTTPException(404) from None
        try:
            return JSONResponse(await self._stored(session), headers=_HEADERS)
        except ClickHouseAway:
            return JSONResponse({"available": False}, headers=_HEADERS)

    async def _stored(self, session: str) -> dict[str, Any]:
        signals = await self._rows(_COUNT.format(table="signals"), session)
        analytics = await self._rows(_COUNT.format(table="analytics"), session)
        labels = await self._rows(_LABELS, session)
        recent = await self._rows(_SIGNALS, session) + await self._rows(_ANALYTICS, session)
        recent.sort(key=lambda row: int(row["received"]), reverse=True)
        return {
            "available": True,
            "signals": int(signals[0]["n"]),
            "analytics": int(analytics[0]["n"]),
            "labels_total": int(labels[0]["n"]),
            **await self._held(),
            "recent": recent[:ROWS_MAX],
        }

    async def _held(self) -> dict[str, int]:
        """How many sessions wait for how large a crowd; nothing where no door tells."""
        if not self._door_url:
            return {}
        try:
            async with self._http().get(self._door_url) as answer:
                totals = door_totals_of(await answer.text())
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return {}
        return {"held_sessions": totals.held_voters, "held_labels": totals.held_labels, "crowd_min": totals.crowd_min}

    def _http(self) -> aiohttp.ClientSession:
        if self._client is None:
            timeout = aiohttp.ClientTimeout(total=CLICKHOUSE_SECONDS_MAX)
            self._client = aiohttp.ClientSession(timeout=timeout)
        return self._client

    async def _rows(self, sql: str, session: str) -> list[dict[str, Any]]:
        # Values travel beside the query, never in it.
        parameters = {"query": f"{sql} FORMAT JSONEachRow", "param_session": session, "param_site": DEVELOPMENT_SITE}
        try:
            async with self._http().get(self._url, params=parameters) as answer:
                text = await answer.text()
                if answer.status != 200:
                    raise ClickHouseAway
                return [json.loads(line) for line in text.splitlines() if line]
        except (aiohttp.ClientError, TimeoutError, ValueError):
            raise ClickHouseAway from None

    async def close(self) -> None:
        """Lets go of the connections."""
        if self._client is not None:
            await self._client.close()


def only_from_here(request: Request) -> None:
    """Passes where browser and collector are on the same machine, and no other page pretends to be.

    The peer is loopback; Host is a loopback name, or a page whose name was made to resolve here could read the
    answer (DNS rebinding); and no proxy on this machine brought it from elsewhere.

    Raises:
        HTTPException: 404, so that from elsewhere there is nothing here.
    """
    peer = request.client.host if request.client else ""
    host = request.headers.get("host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    forwarded = any(header in request.headers for header in _FORWARDED)
    if not _is_loopback(peer) or name.lower() not in _LOOPBACK_HOSTS or forwarded:
        raise HTTPException(404)


def _is_loopback(peer: str) -> bool:
    try:
        return ip_address(peer).is_loopback
    except ValueError:
        return False
