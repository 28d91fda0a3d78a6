"""uvicorn's HTTP protocol with the bounds that it lacks.

The bounds: bytes and seconds of a request's headers, requests sent ahead, seconds that a client does not read, the
number of connections. Besides: refusals before there is a task, and errors in JSON.

uvicorn's httptools protocol has a timer between requests and none for a request line and headers that never end, nor
a bound on their size (llhttp has none). `tests/ingest/http/test_protocol.py` shows when upstream no longer needs this.
"""

import asyncio
import logging
import resource
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ingest.errors import ErrorBody
from ingest.http.fast_path import EXTENSION, FastPath, response_bytes
from ingest.http.responses import HttpResponse
from ingest.limits import RequestLimits
from schemas.outcomes import EXPLANATION, RequestError

# A client that reads nothing for this long loses its connection.
UNREAD_SECONDS_MAX = 30.0
# Until the body of a request that was refused from its head has been read past.
REFUSED_BODY_SECONDS_MAX = 5.0
# Requests that a client sends ahead, without waiting for an answer; each costs some kB until its turn.
PIPELINED_MAX = 32
# Files that are left to everything but clients: brokers, the spool, the listener, the log.
RESERVED_FILES = 128

log = logging.getLogger(__name__)

# From a request's method, URL, headers and peer to its refusal; None where it is to be handled.
Shed = Callable[[bytes, bytes, list[tuple[bytes, bytes]], str], HttpResponse | None]


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Subclassed per collector by `bounded_protocol`, since uvicorn makes instances itself."""

    limits: RequestLimits
    connections_max: int
    # Connections that wait for their client to send, the one that has waited for longest first.
    idle: "dict[BoundedProtocol, None]"

    @staticmethod
    def shed(method: bytes, url: bytes, headers: list[tuple[bytes, bytes]], peer: str) -> HttpResponse | None:
        """Whether to refuse a request from its head alone."""
        return None

    def __init__(self, config: Config, server_state: Any, app_state: Any, _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.access_log = False  # a query may hold a key; the setting alone leaves it on where the root logger listens
        self._in_head = True
        self._head_bytes = 0
        self._seen_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._refused_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the timer of the first head; beyond `connections_max` aborts the longest idle connection."""
        super().connection_made(transport)
        self._arm()
        self.idle[self] = None
        if len(self.connections) > self.connections_max:
            # The one that has sent nothing whole for longest: a slow client, or a connection kept for later use.
            victim = next(iter(self.idle))  # this connection itself, where all others wait for the collector
            del self.idle[victim]
            victim.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancels what was started for the connection."""
        self._disarm()
        self.idle.pop(self, None)
        if self._refused_timer is not None:
            self._refused_timer.cancel()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses what came, and refuses a head that grows beyond `header_bytes_max`."""
        if self.transport.is_closing():
            return  # refused already, and what comes now answers nothing
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and (self._head_bytes or self._seen_bytes):  # a head that has begun and is not whole
            self._arm()
            # What the parser holds of a header that has not ended is seen here alone.
            if self._head_bytes > self.limits.header_bytes_max:
                self._refuse(431, RequestError.HEADERS_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Notes that a head has begun."""
        super().on_message_begin()
        self._seen_bytes = 1

    def on_url(self, url: bytes) -> None:
        """Counts the bytes of the URL."""
        super().on_url(url)
        self._see(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keeps a header and counts its bytes."""
        name = name.lower()  # as upstream's, without a call for each header of each request
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))
        self._seen_bytes += len(name) + len(value) + 4
        if self._seen_bytes > self.limits.header_bytes_max:
            self._see(0)

    def on_headers_complete(self) -> None:
        """Refuses the request from its head, or starts its task."""
        self._disarm()
        self._in_head = False
        if self.transport.is_closing():
            return
        if len(self.pipeline) >= PIPELINED_MAX:
            self.transport.close()
            return
        if self.cycle is None or self.cycle.response_complete:
            refusal = self.shed(self.parser.get_method(), self.url, self.headers, self.client[0] if self.client else "")
            if refusal is not None:
                self._refuse_early(refusal)
                return
        super().on_headers_complete()
        self.scope["extensions"] = {EXTENSION: FastPath(self.cycle)}  # type: ignore[dict-item]

    def on_message_complete(self) -> None:
        """Ends the request; the next head may begin."""
        self._in_head = True
        self._head_bytes = self._seen_bytes = 0
        self.idle.pop(self, None)
        if self._refused_timer is not None:
            self._refused_timer.cancel()
            self._refused_timer = None
            self.idle[self] = None
            if not self.transport.is_closing():
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )
            return
        if self.cycle is not None:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Notes that the connection waits for its client again."""
        self.idle[self] = None
        super().on_response_complete()

    def on_body(self, body: bytes) -> None:
        """Drops the body of a request that was refused from its head."""
        if self.cycle is not None:
            super().on_body(body)

    def pause_writing(self) -> None:
        """Gives the client `UNREAD_SECONDS_MAX` to read."""
        super().pause_writing()
        self._unread_timer = self.loop.call_later(UNREAD_SECONDS_MAX, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP, in JSON."""
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
            self._arm()  # a pipelined request waits for the one before it: the client is not slow
        elif self._head_bytes or self._seen_bytes:
            self._refuse(408, RequestError.BODY_STALLED)
        else:
            self.transport.close()

    def _refuse_early(self, refusal: HttpResponse) -> None:
        """Answers without a task; the parser reads past the body, which has no cycle that could take it."""
        keep = self.parser.should_keep_alive() and not self.expect_100_continue
        self.transport.write(response_bytes(refusal, self.server_state.default_headers, closes=not keep))
        if keep:
            self._refused_timer = self.loop.call_later(REFUSED_BODY_SECONDS_MAX, self.transport.close)
        else:
            self.transport.close()

    def _refuse(self, status: int, error: RequestError) -> None:
        """Answers if no answer is under way, and closes."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            body = msgspec.json.encode(ErrorBody(error, EXPLANATION[error]))
            head = (
                f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()


def bounded_protocol(limits: RequestLimits, shed: Shed, connections_max: int) -> type[BoundedProtocol]:
    """The protocol class of a collector.

    Args:
        connections_max: beyond it the one that has been idle for longest is closed for a new one.
    """
    return type(
        "BoundedProtocol",
        (BoundedProtocol,),
        {"limits": limits, "shed": staticmethod(shed), "idle": {}, "connections_max": connections_max},
    )


def raise_file_limit(connections_max: int) -> int:
    """Lets this process have a file for each connection, as far as it may; gives how many connections that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections_max + RESERVED_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    allowed = min(connections_max, max(1, soft - RESERVED_FILES))
    if allowed < connections_max:
        log.warning("at most %d connections at once: raise the limit of open files for more", allowed)
    return allowed
