"""Everything but `/v1/events`: health, metrics, the documents, the schema registry, the SDK; with Starlette."""

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, Router

from ingest.answers import Send
from ingest.bodies import Receive
from ingest.collector import Edge, Scope
from ingest.docs_page import docs_page
from ingest.openapi import openapi
from ingest.registry_routes import REGISTRY_ROUTES
from ingest.voter import day_of_event
from schemas.outcomes import EXPLANATION, RequestError

SDK = Path(__file__).parent / "sdk.js"

_NOSNIFF = {"x-content-type-options": "nosniff"}
_PAGE_POLICY = {
    **_NOSNIFF,
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
}
_ERROR_OF_STATUS = {404: RequestError.NOT_FOUND, 405: RequestError.METHOD_NOT_ALLOWED}


class Web:
    """The Starlette side of the collector.

    Args:
        version: of the distribution, for the documents.
        more: routes beside its own, as the playground's.
    """

    def __init__(self, edge: Edge, version: str, more: Sequence[Route] = ()) -> None:
        self._edge = edge
        self._document = openapi(edge.limits, version)
        self._page = docs_page(self._document)
        self._sdk = SDK.read_bytes()
        routes = [
            Route("/healthz", self.health),
            Route("/readyz", self.ready),
            Route("/metrics", self.metrics),
            Route("/openapi.json", self.openapi),
            Route("/docs", self.docs),
            Route("/sdk.js", self.sdk),
            *REGISTRY_ROUTES,
            *more,
        ]
        self._router = Router(routes, redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self  # where a router looks before it raises instead of answering in plain text
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:
            await _error(error)(scope, receive, send)

    async def health(self, _: Request) -> Response:
        """The process answers."""
        return JSONResponse({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        """Whether events can be made durable right now; for labels that takes today's key, which is made if need be.

        A missing key of another day refuses labels that come late, and no balancer should send the others elsewhere.
        """
        edge = self._edge
        if not edge.producer.ready():
            return JSONResponse({"status": "not ready", "detail": "neither Kafka nor the spool takes events"}, 503)
        now_ms = edge.now_ms()
        if not edge.edge_keys.can_be_had(day_of_event(now_ms, now_ms)):
            return JSONResponse({"status": "not ready", "detail": "the edge's key of today is missing"}, 503)
        if edge.edge_keys.missing:
            days = ", ".join(str(day) for day in sorted(edge.edge_keys.missing))
            return JSONResponse(
                {"status": "ready", "detail": f"labels of {days} are refused: the edge's key is missing"}
            )
        return JSONResponse({"status": "ready"})

    async def metrics(self, _: Request) -> Response:
        """Counters."""
        return Response(self._edge.counters.exposition(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def openapi(self, _: Request) -> Response:
        """The contract for machines."""
        return JSONResponse(self._document, headers=_NOSNIFF)

    async def docs(self, _: Request) -> Response:
        """The contract for people."""
        return HTMLResponse(self._page, headers=_PAGE_POLICY)

    async def sdk(self, _: Request) -> Response:
        """The browser SDK, for pages of any origin."""
        headers = {**_NOSNIFF, "cross-origin-resource-policy": "cross-origin", "cache-control": "max-age=300"}
        return Response(self._sdk, media_type="text/javascript", headers=headers)


def _error(error: HTTPException) -> Response:
    name: Any = _ERROR_OF_STATUS.get(error.status_code)
    detail = EXPLANATION[name] if name else HTTPStatus(error.status_code).phrase
    body = {"error": str(name or RequestError.INTERNAL), "detail": detail}
    return JSONResponse(body, error.status_code, headers={**_NOSNIFF, **(error.headers or {})})
