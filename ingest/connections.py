"""What uvicorn leaves open on a connection: bounds on headers in bytes and seconds, on clients that do not read, and
errors in JSON.

uvicorn's httptools protocol has a timer between requests and none for a request line and headers that never end, nor
a bound on their size (llhttp has none). `tests/ingest/test_connections.py` shows when upstream no longer needs this.
"""

import asyncio
from http import HTTPStatus
from typing import Any

import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ingest.rejection import ErrorBody
from ingest.request import Limits
from schemas.outcomes import EXPLANATION, RequestError

UNREAD_SECONDS_MAX = 30.0


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Subclassed per collector by `bounded_protocol`, since uvicorn makes instances itself."""

    limits = Limits()

    def __init__(self, config: Config, server_state: Any, app_state: Any, _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.access_log = False  # a query may hold a key; the setting alone leaves it on where the root logger listens
        self._in_head = True
        self._head_bytes = 0
        self._seen_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return  # refused already, and what comes now answers nothing
        if self._in_head:
            self._arm()
            self._head_bytes += len(data)
        super().data_received(data)
        # What the parser holds of a header that has not ended is seen here alone.
        if self._in_head and self._head_bytes > self.limits.header_bytes_max:
            self._refuse(431, RequestError.HEADERS_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._arm()
        self._seen_bytes = 1

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._see(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._see(len(name) + len(value) + 4)

    def on_headers_complete(self) -> None:
        self._disarm()
        self._in_head = False
        if not self.transport.is_closing():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        self._head_bytes = self._seen_bytes = 0
        if self.cycle is not None:
            super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle is not None:
            super().on_body(body)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_timer = self.loop.call_later(UNREAD_SECONDS_MAX, self.transport.abort)

    def resume_writing(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, RequestError.MALFORMED_HTTP)

    def _see(self, size: int) -> None:
        """Counts what the parser handed out; of a chunked body's trailers too."""
        self._seen_bytes += size
        if self._seen_bytes > self.limits.header_bytes_max:
            self._refuse(431, RequestError.HEADERS_TOO_LARGE)

    def _arm(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.header_seconds_max, self._head_stalled)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_stalled(self) -> None:
        self._head_timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._arm()  # a pipelined request waits for the one before it; that is not the client's doing
        elif self._head_bytes or self._seen_bytes:
            self._refuse(408, RequestError.BODY_STALLED)
        else:
            self.transport.close()

    def _refuse(self, status: int, error: RequestError) -> None:
        """Answers if no answer is under way, and closes."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            body = msgspec.json.encode(ErrorBody(str(error), EXPLANATION[error]))
            head = (
                f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()


def bounded_protocol(limits: Limits) -> type[BoundedProtocol]:
    """The protocol class of a collector with these limits."""
    return type("BoundedProtocol", (BoundedProtocol,), {"limits": limits})
