"""uvicorn's HTTP protocol with the bounds and the answers that it lacks.

The bounds: bytes and seconds of a request's headers, requests sent ahead, seconds that a client does not read, the
number of connections. Besides: refusals before there is a task, and errors in JSON.

Every request gets one answer, in order, or none and the end of its connection:

- An offer to upgrade is ignored (RFC 9110, 7.8). httptools would end the message at its head (uvicorn#2722,
  httptools#124), and what follows, its body, would be read as the next request.
- What cannot be read as one HTTP/1.1 request, and no other, is refused: a proxy in front may have read it otherwise.
  The requests before it are answered first.
- A client that has ended its side still gets the answers to its whole requests.
- Trailers are dropped (RFC 9110, 6.5.1): they are no headers.

uvicorn's httptools protocol has a timer between requests and none for a request line and headers that never end, nor
a bound on their size (llhttp has none). `tests/ingest/http/test_protocol.py` shows when upstream no longer needs this.
"""

import asyncio
import logging
import resource
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ingest.errors import Rejection
from ingest.http.fast_path import EXTENSION, FastPath, response_bytes
from ingest.http.request_line import are_hosts, origin_form, own_path
from ingest.http.responses import HttpResponse, error_response
from ingest.limits import RequestLimits
from schemas.outcomes import RequestError

# A client that reads nothing for this long loses its connection.
UNREAD_SECONDS_MAX = 30.0
# Until the body of a request that was refused from its head has been read past.
REFUSED_BODY_SECONDS_MAX = 5.0
# Requests that a client sends ahead, without waiting for an answer; each costs some kB until its turn.
PIPELINED_MAX = 32
# What a client may still send after its last answer, and how long it has to end its side.
LINGER_BYTES_MAX = 8_388_608
LINGER_SECONDS_MAX = 2.0
_FRAMING = frozenset({b"expect", b"host", b"transfer-encoding"})
_ONE_HOST = "The request must have one Host header, which names a host."
_TARGET = "The request line must name a path, as /path or http://host/path."
_VERSION = "The request must be of HTTP/1.1 or HTTP/1.0."
_CODING = "Transfer-Encoding must be chunked or absent."
_TUNNEL = "This is no proxy."
# Files that are left to everything but clients: brokers, the spool, the listener, the log.
RESERVED_FILES = 128

log = logging.getLogger(__name__)

# From a request's method, URL, headers and peer to its refusal; None where it is to be handled.
Shed = Callable[[bytes, bytes, list[tuple[bytes, bytes]], str], HttpResponse | None]


class _Refused(Exception):
    """Stops the parser: the connection reads no further request."""


class _Transport:
    """A transport whose `close`, after an answer, leaves a client in mid-send the time to read it.

    Closing on it would reset the connection, and the reset can overtake the answer. So our side is ended, and what
    still comes is read and dropped, within both bounds. Source: RFC 9112, section 9.6; nginx's lingering_close.
    """

    def __init__(self, transport: asyncio.Transport, linger: Callable[[], None]) -> None:
        self.lingers = False
        self._transport, self._linger = transport, linger
        self.write, self.write_eof = transport.write, transport.write_eof
        self.close_now, self.abort = transport.close, transport.abort
        self.pause_reading, self.resume_reading = transport.pause_reading, transport.resume_reading
        self.get_extra_info = transport.get_extra_info

    def is_closing(self) -> bool:
        return self.lingers or self._transport.is_closing()

    def close(self) -> None:
        if not self.is_closing():
            self.lingers = True
            self._linger()


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Subclassed per collector by `collector_protocol`, since uvicorn makes instances itself."""

    limits: RequestLimits
    connections_max: int
    alias: bytes
    # Connections that wait for their client to send, the one that has waited for longest first.
    idle: "dict[BoundedProtocol, None]"

    @staticmethod
    def shed(method: bytes, url: bytes, headers: list[tuple[bytes, bytes]], peer: str) -> HttpResponse | None:
        """Whether to refuse a request from its head alone."""
        return None

    @staticmethod
    def note_refused(error: RequestError) -> None:
        """Told of each request that is refused as no HTTP, or for its headers, or ends too late."""

    def __init__(self, config: Config, server_state: Any, app_state: Any, _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.access_log = False  # a query may hold a key; the setting alone leaves it on where the root logger listens
        self.url = b""
        self._in_head = True
        self._head_bytes = 0
        self._seen_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._refused_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._lingered_bytes = 0
        self._offers_upgrade = False
        self._hosts: list[bytes] = []
        self._coding: bytes | None = None
        self._fast_path: FastPath | None = None
        self._ended = False  # no further request is read
        self._half_closed = False  # by the client
        self._last_words = b""  # sent after the answers that are under way
        self._last_error: RequestError | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the timer of the first head; beyond `connections_max` aborts the longest idle connection."""
        self.transport: _Transport  # type: ignore[assignment]
        super().connection_made(_Transport(transport, self._linger))  # type: ignore[arg-type]
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
        for timer in (self._refused_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses what came, and refuses a head that grows beyond `header_bytes_max`."""
        if self._ended or self.transport.is_closing():
            self._drop(len(data))  # what comes now answers nothing
            return
        self._unset_keepalive_if_required()
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError:  # `_Refused` as well, which the parser wraps
            self._refuse(400, RequestError.MALFORMED_HTTP)
        if self._ended:
            return
        if self._in_head and (self._head_bytes or self._seen_bytes):  # a head that has begun and is not whole
            self._arm()
            # What the parser holds of a header that has not ended is seen here alone.
            if self._head_bytes > self.limits.header_bytes_max:
                self._refuse(431, RequestError.HEADERS_TOO_LARGE)

    def _parse(self, data: bytes) -> None:
        """Feeds the parser; a head that offered an upgrade is fed again without the offer, then what follows it."""
        rest: bytes | memoryview = data
        while True:
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as offer:
                rest = memoryview(rest)[offer.args[0] :]
                head = self._head_without_offer()
                self._offers_upgrade = False
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as upstream's
                self.parser.feed_data(head)

    def _head_without_offer(self) -> bytes:
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        fields = [b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade"]
        return b"".join([line, *fields, b"\r\n"])

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether to keep open: a client may end its side once it has sent, and waits for its answers."""
        self._half_closed = True
        if self._ended:
            return not self.transport.lingers  # else all that had to be said was said
        self._ended = True
        self._disarm()
        cycle = self.cycle
        if cycle is not None and cycle.more_body and self.pipeline:
            self.pipeline.popleft()  # half a request
            return True
        return cycle is not None and not cycle.more_body and (bool(self.pipeline) or not cycle.response_started)

    def on_message_begin(self) -> None:
        """Notes that a head has begun."""
        super().on_message_begin()
        self._seen_bytes = 1
        self._hosts = []
        self._coding = None

    def on_url(self, url: bytes) -> None:
        """Counts the bytes of the URL."""
        super().on_url(url)
        self._see(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keeps a header and counts its bytes; a trailer is counted alone."""
        self._seen_bytes += len(name) + len(value) + 4
        if self._seen_bytes > self.limits.header_bytes_max:
            self._see(0)
        if not self._in_head:
            return
        name = name.lower()  # as upstream's, without a call for each header of each request
        if name in _FRAMING:
            self._note_framing(name, value)
        self.headers.append((name, value))

    def _note_framing(self, name: bytes, value: bytes) -> None:
        if name == b"host":
            self._hosts.append(value)
        elif name == b"transfer-encoding":
            self._coding = value if self._coding is None else self._coding + b", " + value
        elif value.lower() == b"100-continue":
            self.expect_100_continue = True

    def on_headers_complete(self) -> None:
        """Refuses the request from its head, or starts its task."""
        method = self.parser.get_method()
        if self.parser.should_upgrade():
            if method == b"CONNECT":
                self._refuse(405, RequestError.METHOD_NOT_ALLOWED, _TUNNEL)
                raise _Refused
            self._offers_upgrade = True  # the parser ends the message here; `_parse` begins it again
            return
        self._check_head(method)
        self._disarm()
        if len(self.pipeline) >= PIPELINED_MAX:
            self._ended = True  # those before it are answered, and the client knows that this one was not
            raise _Refused
        self._in_head = False
        if self.cycle is None or self.cycle.response_complete:
            refusal = self.shed(method, self.url, self.headers, self.client[0] if self.client else "")
            if refusal is not None:
                self._refuse_early(refusal)
                return
        super().on_headers_complete()
        self.scope["path"] = self.scope["raw_path"].decode()  # what is still encoded is another path
        self._fast_path = FastPath(self.cycle)
        self.scope["extensions"] = {EXTENSION: self._fast_path}  # type: ignore[dict-item]

    def _check_head(self, method: bytes) -> None:
        """Refuses what is no request to this server, or what a proxy might have read otherwise.

        Source: RFC 9112, sections 2.3, 3.2, 6.1; RFC 9110, section 10.1.1.
        """
        version = self.parser.get_http_version()
        url = origin_form(method, self.url)
        if version not in ("1.1", "1.0"):
            self._refuse(400, RequestError.MALFORMED_HTTP, _VERSION)
        elif url is None:
            self._refuse(400, RequestError.MALFORMED_HTTP, _TARGET)
        elif not (are_hosts(self._hosts) or (version == "1.0" and not self._hosts)):
            self._refuse(400, RequestError.MALFORMED_HTTP, _ONE_HOST)
        elif self._coding is not None and (version == "1.0" or self._coding.lower() != b"chunked"):
            understood = version == "1.1" and self._coding.lower().endswith((b", chunked", b",chunked"))
            if understood:
                self._refuse(501, RequestError.UNSUPPORTED_ENCODING, _CODING)
            else:
                self._refuse(400, RequestError.MALFORMED_HTTP, _CODING)
        else:
            self.url = own_path(url, self.alias)
            if version == "1.0":
                self.expect_100_continue = False
            return
        raise _Refused

    def on_message_complete(self) -> None:
        """Ends the request; the next head may begin."""
        if self._offers_upgrade:
            return
        self._in_head = True
        self._head_bytes = self._seen_bytes = 0
        self.url = b""  # what fails before there is another one has no method
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
        """Notes that the connection waits for its client again, or ends it."""
        self.idle[self] = None
        last = self._ended and not self.pipeline
        unread = not self.pipeline and self.cycle.more_body
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if last:
            self._end()
        elif unread:  # answered from its head
            self._refused_timer = self.loop.call_later(REFUSED_BODY_SECONDS_MAX, self.transport.close_now)

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

    def _see(self, size: int) -> None:
        """Counts what the parser handed out; of a chunked body's trailers too."""
        self._seen_bytes += size
        if self._seen_bytes > self.limits.header_bytes_max:
            self._refuse(431, RequestError.HEADERS_TOO_LARGE)
            raise _Refused

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
            self.transport.close_now()

    def _refuse_early(self, refusal: HttpResponse) -> None:
        """Answers without a task; the parser reads past the body, which has no cycle that could take it."""
        keep = self.parser.should_keep_alive() and not self.expect_100_continue
        self.transport.write(response_bytes(refusal, self.server_state.default_headers, closes=not keep))
        if keep:
            self._refused_timer = self.loop.call_later(REFUSED_BODY_SECONDS_MAX, self.transport.close_now)
        else:
            self.transport.close()

    def _refuse(self, status: int, error: RequestError, detail: str | None = None) -> None:
        """Reads no further, and says why after the answers that are under way; a request is never answered twice."""
        if self._ended or self.transport.is_closing():
            return
        self._ended = True
        under_way = self.cycle is not None and not self.cycle.response_complete
        if not self._in_head:  # it is the body of a request that has a task, or was answered
            cycle = self.cycle
            if self._refused_timer is not None or cycle.response_complete:
                self._end()
                return
            cycle.more_body = cycle.waiting_for_100_continue = False
            cycle.message_event.set()
            if cycle.response_started:
                return  # whoever answers it reads past its body, and closes
            assert self._fast_path is not None
            self._fast_path.refused = cycle.disconnected = True
            under_way = bool(self.pipeline)
            if under_way:
                self.pipeline.popleft()
        response, headers = error_response(Rejection(status, error, detail)), self.server_state.default_headers
        head_only = bool(self.url) and self.parser.get_method() == b"HEAD"
        self._last_words = response_bytes(response, headers, closes=True, head_only=head_only)
        self._last_error = error
        if not under_way:
            self._end()

    def _end(self) -> None:
        """Says the last words, if any, and closes."""
        if self._last_error is not None:
            self.note_refused(self._last_error)
            self.transport.write(self._last_words)
        self.transport.close()

    def _linger(self) -> None:
        self._ended = True
        self._disarm()
        self._unset_keepalive_if_required()
        self.idle[self] = None
        if self._half_closed:
            self.transport.close_now()
            return
        self.flow.resume_reading()
        self.transport.write_eof()
        self._linger_timer = self.loop.call_later(LINGER_SECONDS_MAX, self.transport.close_now)

    def _drop(self, size: int) -> None:
        self._lingered_bytes += size
        if self._lingered_bytes > LINGER_BYTES_MAX:
            self.transport.close_now()

    def timeout_keep_alive_handler(self) -> None:
        """Closes a connection whose client has sent nothing for long."""
        self.transport.close_now()

    def shutdown(self) -> None:
        """Closes the connection once its answers are sent."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close_now()
        else:
            super().shutdown()


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
