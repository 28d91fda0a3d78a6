"""The ASGI app of a collector: the collector itself, and Starlette's routes beside it."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from ingest.collector import Collector, log_without_values
from ingest.decode.formats import FORMATS
from ingest.errors import Rejection
from ingest.http.body import ClientGone, Receive
from ingest.http.responses import CLOSE, HttpResponse, Send, error_response, send_response
from ingest.request import Scope
from ingest.web.app import Web
from schemas.outcomes import RequestError

# uvicorn learns of a connection's end only after the answer failed, and logs an answer that has not ended by then.
GONE_SECONDS = 0.05
_ALLOW = [(b"allow", b"GET, HEAD, OPTIONS, POST")]


class Application:
    """The ASGI app: requests that post events go to the collector, all others to Starlette."""

    def __init__(self, collector: Collector, web: Web) -> None:
        self._collector = collector
        self._web = web

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request. Shape and source: ASGI 3."""
        if scope["type"] != "http":
            raise NotImplementedError  # lifespan and websockets are off

        async def send_while_open(message: MutableMapping[str, Any]) -> None:
            if closes and message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], CLOSE]}
            try:
                await send(message)
            except RuntimeError:  # uvloop's, once the connection has ended and uvicorn does not know it yet
                raise ClientGone("there is nobody to answer") from None

        path = scope["path"]
        closes = path not in FORMATS and _may_keep_its_body(scope)
        try:
            if path in FORMATS:
                await self._collector(scope, receive, send_while_open)
            elif path == "*":  # OPTIONS of the server as a whole
                await send_response(send_while_open, HttpResponse(204, _ALLOW, b""), [])
            else:
                await self._answer_web(scope, receive, send_while_open)
        except ClientGone:
            await asyncio.sleep(GONE_SECONDS)

    async def _answer_web(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._web(scope, receive, send)
        except ClientGone:
            raise
        except Exception as error:
            log_without_values(error)
            await send_response(send, error_response(Rejection(500, RequestError.INTERNAL)), [])


def _may_keep_its_body(scope: Scope) -> bool:
    """Whether a client waits for a 100 before it sends its body; if it gets its answer instead, it may send it or not.

    So what it sends next could be either. The collector closes by itself where it reads no body, and no other route
    reads any. Source: RFC 9110, section 10.1.1.
    """
    names = {name for name, _ in scope["headers"]}
    return b"expect" in names and not names.isdisjoint((b"content-length", b"transfer-encoding"))
