"""The ASGI app of a collector: the collector itself, and Starlette's routes beside it."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from ingest.collector import Collector, log_without_values
from ingest.decode.formats import FORMATS
from ingest.errors import Rejection
from ingest.http.body import ClientGone, Receive
from ingest.http.responses import Send, error_response, send_response
from ingest.request import Scope
from ingest.web.app import Web
from schemas.outcomes import RequestError

# uvicorn learns of a connection's end only after the answer failed, and logs an answer that has not ended by then.
GONE_SECONDS = 0.05


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
            try:
                await send(message)
            except RuntimeError:  # uvloop's, once the connection has ended and uvicorn does not know it yet
                raise ClientGone("there is nobody to answer") from None

        try:
            if scope["path"] in FORMATS:
                await self._collector(scope, receive, send_while_open)
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
