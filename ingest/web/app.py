"""Everything but `/v1/events`: health, the documents, the schema registry, the SDK; with Starlette."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, Router

from ingest.edge import Edge
from ingest.encode.pseudonym import day_of_event
from ingest.http.body import Receive
from ingest.http.responses import Send
from ingest.request import Scope
from ingest.web.docs_page import docs_page
from ingest.web.openapi import openapi
from ingest.web.registry_routes import REGISTRY_ROUTES
from ingest.web.sdk_files import read_sdk_files
from ingest.web.segment_routes import SegmentRoutes
from schemas.outcomes import EXPLANATION, RequestError

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
        more: routes beside its own, as a page's.
        leaving: whether the collector was told to stop, and serves those alone who do not know yet.
    """

    def __init__(
        self, edge: Edge, version: str, more: Sequence[Route] = (), leaving: Callable[[], bool] = lambda: False
    ) -> None:
        self._edge, self._leaving = edge, leaving
        self._document = openapi(edge.limits, version)
        self._document_json = msgspec.json.encode(self._document)  # once: it takes a millisecond
        sdk = read_sdk_files()
        self._page = docs_page(self._document, sdk.current.tag("https://YOUR-COLLECTOR", "YOUR-KEY"))
        routes = [
            Route("/healthz", self.health),
            Route("/readyz", self.ready),
            Route("/openapi.json", self.openapi),
            Route("/docs", self.docs),
            *sdk.routes(),
            *REGISTRY_ROUTES,
            *SegmentRoutes(edge).routes(),
            *more,
        ]
        self._router = Router(routes, redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request. Shape and source: ASGI 3."""
        scope["app"] = self  # else the router answers a 404 in plain text, instead of raising HTTPException
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:
            await _error(error)(scope, receive, send)

    async def health(self, _: Request) -> Response:
        """The process answers."""
        return JSONResponse({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        """Whether events can be made durable right now; labels need today's key, which is made where there is none.

        A missing key of another day refuses late labels alone, so that the balancer still sends requests here.
        """
        edge = self._edge
        if self._leaving():
            return JSONResponse({"status": "not ready", "detail": "the collector is about to stop"}, 503)
        if not edge.producer.ready():
            return JSONResponse({"status": "not ready", "detail": "neither Kafka nor the spool takes events"}, 503)
        now_ms = edge.now_ms()
        if not edge.edge_keys.can_be_had(day_of_event(now_ms, now_ms)):
            return JSONResponse({"status": "not ready", "detail": "a key that today's labels need is missing"}, 503)
        if edge.edge_keys.missing:
            days = ", ".join(str(day) for day in sorted(edge.edge_keys.missing))
            return JSONResponse(
                {"status": "ready", "detail": f"labels of {days} are refused: a key that they need is missing"}
            )
        return JSONResponse({"status": "ready"})

    async def openapi(self, _: Request) -> Response:
        """The contract for machines."""
        return Response(self._document_json, headers={**_NOSNIFF, "content-type": "application/json"})

    async def docs(self, _: Request) -> Response:
        """The contract for people."""
        return HTMLResponse(self._page, headers=_PAGE_POLICY)


def _error(error: HTTPException) -> Response:
    name: Any = _ERROR_OF_STATUS.get(error.status_code)
    detail = EXPLANATION[name] if name else HTTPStatus(error.status_code).phrase
    body = {"error": str(name or RequestError.INTERNAL), "detail": detail}
    return JSONResponse(body, error.status_code, headers={**_NOSNIFF, **(error.headers or {})})
