"""aiohttp's answers to what is not HTTP, without what the client sent.

Its own answer quotes the line that it could not read: a statement that is too long, and the personal data in it.
"""

from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

SENTENCES = {
    400: "The request is not HTTP, or its line or a header is too long.\n",
    500: "The server could not answer this request.\n",
}


class _Handler(RequestHandler):
    """A connection whose errors are sentences."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Logs as aiohttp does, and answers with a sentence of its own."""
        super().handle_error(request, status, exc, message)
        answer = web.Response(status=status, text=SENTENCES.get(status, SENTENCES[400]))
        answer.force_close()
        return answer


class _Server(web.Server):
    def __init__(self, made: web.Server, **options: Any) -> None:
        super().__init__(made.request_handler, request_factory=made.request_factory, **options)

    def __call__(self) -> RequestHandler:
        return _Handler(self, loop=self._loop, **self._kwargs)


class QuietRunner(web.AppRunner):
    """An AppRunner whose connections answer errors without what the client sent."""

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), **self._kwargs)
