"""The protocol of a collector: a request whose head was read before goes past the parser and ASGI.

    bytes that came ──▶ one whole request of a known head ──▶ `Known.take` ──▶ answered in one write
          └── anything else ──▶ BoundedProtocol: parser, task, ASGI; the head is remembered from a connection's second
                                request on

No timer is set for such a request: the one that ends an idle connection looks at when it was last answered.
"""

from collections.abc import Callable
from typing import Any, Protocol

from uvicorn.config import Config

from ingest.errors import Rejection
from ingest.http.fast_path import response_bytes
from ingest.http.headers import Client, client_of
from ingest.http.known_heads import KnownHeads, fast_split
from ingest.http.protocol import BoundedProtocol, Shed
from ingest.http.responses import HeaderList, HttpResponse
from ingest.limits import RequestLimits
from schemas.outcomes import RequestError

# What a client sends ahead while a request is under way is kept up to this, and left in the socket beyond.
AHEAD_BYTES_MAX = 65_536


class Known(Protocol):
    """Handles requests whose head was read before: `ingest.collector.Collector`."""

    def knows(self, scope: Any) -> Any | None:
        """What a parsed request's head says; None where requests with this head are to be parsed each time."""

    def take(self, head: Any, client: Client, body: bytes, answer: Callable[[HttpResponse, HeaderList], None]) -> None:
        """Handles a request, and calls `answer` once."""


class KnownHeadsProtocol(BoundedProtocol):
    """One connection."""

    known: Known
    heads: KnownHeads

    def __init__(self, config: Config, server_state: Any, app_state: Any, _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._under_way = False  # a request that `known` took
        self._ahead = b""  # what came meanwhile
        self._eof_ahead = self._ends_next = False
        self._answered_at = 0.0

    def data_received(self, data: bytes) -> None:
        """Hands a request of a known head over; parses what else came, and remembers its head."""
        if self._under_way:
            self._ahead += data
            if len(self._ahead) > AHEAD_BYTES_MAX:
                self.flow.pause_reading()
            return
        message = None
        if self._waits():
            message = fast_split(data, self.limits.header_bytes_max)
            if message is not None:
                head, body_at, forwarded_for, user_agent = message
                says = self.heads.get(head)
                if says is not None:
                    self._under_way = True
                    self.idle.pop(self, None)
                    client = client_of(self.client[0] if self.client else "", forwarded_for, user_agent)
                    self.known.take(says, client, data[body_at:], self._answer)
                    return
        super().data_received(data)
        if message is None or self._ended or not self._in_head:
            return
        if self.cycle.scope is self.scope and self.cycle.keep_alive:  # it was handled, and was not the last one
            self._remember(message[0])

    def eof_received(self) -> bool:  # type: ignore[override]
        """As before, once what is under way was answered."""
        if self._under_way:
            self._eof_ahead = True
            return True
        return super().eof_received()

    def timeout_keep_alive_handler(self) -> None:
        """Closes a connection whose client has sent nothing for long."""
        left = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if self._under_way or left > 0:
            left = self.timeout_keep_alive if self._under_way else left
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """Closes the connection once its answers are sent."""
        if self._under_way:
            self._ends_next = True
        else:
            super().shutdown()

    def _waits(self) -> bool:
        """Whether the connection waits for the first byte of another request than its first."""
        return (
            not self._ended
            and self.cycle is not None
            and self.cycle.response_complete
            and not self._head_bytes
            and not self._seen_bytes
            and self._in_head
            and self._refused_timer is None
            and not self.flow.write_paused
            and not self.transport.is_closing()
        )

    def _remember(self, head: bytes) -> None:
        """Keeps what the head of the request that was parsed just now says."""
        try:
            says = self.known.knows(self.scope)
        except Rejection:  # which the request's task says
            return
        if says is not None:
            self.heads.remember(head, says)

    def _answer(self, response: HttpResponse, headers: HeaderList) -> None:
        """Answers a request that `known` took, and goes on with what came meanwhile."""
        self._under_way = False
        if self.transport.is_closing():
            return
        self.idle[self] = None
        ends = self._ends_next
        self.transport.write(response_bytes(response, self.server_state.default_headers, headers, closes=ends))
        self.server_state.total_requests += 1
        self._answered_at = self.loop.time()
        if ends:
            self.transport.close()
            return
        if self._ahead:
            ahead, self._ahead = self._ahead, b""
            self.flow.resume_reading()
            self.data_received(ahead)
        if self._eof_ahead and not self._under_way:
            self._eof_ahead = False
            if not self.eof_received():
                self.transport.close_now()


def collector_protocol(
    limits: RequestLimits,
    shed: Shed,
    note_refused: Callable[[RequestError], None],
    connections_max: int,
    known: Known,
    alias: str = "",
) -> type[KnownHeadsProtocol]:
    """The protocol class of a collector.

    Args:
        note_refused: told of each request that is refused as no HTTP, or for its headers, or ends too late.
        connections_max: beyond it the one that has been idle for longest is closed for a new one.
        known: handles requests whose head was read before.
        alias: a second path of `/v1/events` and of the SDK; "" for none.
    """
    members = {
        "limits": limits,
        "shed": staticmethod(shed),
        "note_refused": staticmethod(note_refused),
        "idle": {},
        "known": known,
        "heads": KnownHeads(),
        "connections_max": connections_max,
        "alias": alias.encode(),
    }
    return type("CollectorProtocol", (KnownHeadsProtocol,), members)
