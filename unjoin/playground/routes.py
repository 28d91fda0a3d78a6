"""The page at `/`, on this machine only: its files, and the stream of events that keeps it up to date.

    GET /playground/events?session=S    text/event-stream: `data: {"whole": …, "own": …}` whenever it is another one

It shows the visitor's own session; labels appear as totals and nowhere near who sent them (`feed.py`).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from schemas.events import Session
from schemas.outcomes import EXPLANATION, RequestError
from unjoin.playground.feed import LOOK_SECONDS, Feed

FOLDER = Path(__file__).parent / "page"
STREAMS_MAX = 16
HEARTBEAT_SECONDS = 10.0
RECONNECT_MS = 1_000
RETRY_AFTER_SECONDS = 5
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)

_MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # without a referrer a beacon's origin is `null`, which no site lists
    "cross-origin-resource-policy": "same-origin",
}


class Playground:
    """Its routes, and how many pages look.

    Args:
        feed: what there is to tell.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._streams = 0
        self._stopping = asyncio.Event()
        # Files are read once: a confined collector may not open them later.
        self._files = page_files()

    def routes(self) -> list[Route]:
        """`/` and what it asks for."""
        return [
            Route("/", self.page),
            Route("/playground/events", self.events),
            Route("/playground/{name}", self.file),
        ]

    async def page(self, request: Request) -> Response:
        """The page itself."""
        only_from_here(request)
        return self._file("index.html")

    async def file(self, request: Request) -> Response:
        """One of its scripts and sheets."""
        only_from_here(request)
        return self._file(request.path_params["name"])

    async def events(self, request: Request) -> Response:
        """What changes, for as long as the page looks; 503 when enough pages do."""
        only_from_here(request)
        # Another page of this browser could not read the stream, but could use up all of them.
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise HTTPException(404)
        try:
            session = msgspec.convert(request.query_params.get("session", ""), Session)
        except msgspec.ValidationError:
            raise HTTPException(404) from None
        if self._streams >= STREAMS_MAX or self._stopping.is_set():
            error = RequestError.OVERLOADED
            body = {"error": str(error), "detail": EXPLANATION[error]}
            return JSONResponse(body, 503, {**_HEADERS, "retry-after": str(RETRY_AFTER_SECONDS)})
        self._streams += 1
        return _Stream(self._told(session), self._left)

    def end(self) -> None:
        """Ends every stream, so that a stop need not wait for pages to go."""
        self._stopping.set()

    async def close(self) -> None:
        """Closes the feed's connections."""
        await self._feed.close()

    async def _told(self, session: str) -> AsyncIterator[bytes]:
        yield b"retry: %d\n\n" % RECONNECT_MS
        said, said_at = b"", 0.0
        while not self._stopping.is_set():
            whole = await self._feed.totals()
            # Labels and rows lie in one engine: where it did not answer for labels, it is not asked again.
            own = None if whole.labels is None else await self._feed.session_rows(session)
            look, now = msgspec.json.encode({"whole": whole, "own": own}), time.monotonic()
            if look != said:
                said, said_at = look, now
                yield b"data: %s\n\n" % look
            elif now - said_at >= HEARTBEAT_SECONDS:
                said_at = now
                yield b"event: still\ndata: {}\n\n"
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), LOOK_SECONDS)

    def _left(self) -> None:
        self._streams -= 1

    def _file(self, name: str) -> Response:
        if name not in self._files:
            raise HTTPException(404)
        body, media_type = self._files[name]
        headers = {**_HEADERS, "content-security-policy": POLICY}
        return Response(body, media_type=media_type, headers=headers)


def page_files() -> dict[str, tuple[bytes, str]]:
    """Content and media type of each file of the page, by name."""
    return {path.name: (path.read_bytes(), _MEDIA_TYPES[path.suffix]) for path in sorted(FOLDER.iterdir())}


class _Stream(StreamingResponse):
    """One page's; `left` is called when it is over, however it ends."""

    def __init__(self, content: AsyncIterator[bytes], left: Callable[[], None]) -> None:
        super().__init__(content, media_type="text/event-stream", headers=_HEADERS)
        self._left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._left()


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
