"""A request past ASGI's messages: its body where it has arrived whole, and an answer in one write.

ASGI hands an answer over in two messages, so uvicorn sends it in two packets, and looks at every header twice; of a
request with one event that was a fifth of all CPU. Whatever is out of the ordinary, a body on its way, a connection
that is to be closed, still goes through ASGI.
"""

from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from ingest.http.responses import Answer, HeaderList

EXTENSION = "unjoin.direct"  # among a scope's `extensions`

_STATUS_LINE = {int(status): f"HTTP/1.1 {status} {status.phrase}\r\n".encode() for status in HTTPStatus}


class Direct:
    """One request, as uvicorn's protocol has it."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    def body(self) -> bytes | None:
        """The whole body, off the wire; None while it has not arrived, or where the client has gone."""
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        return body

    async def send(self, answer: Answer, headers: HeaderList) -> None:
        """Sends an answer to a request whose body was read, as `RequestResponseCycle.send` does in two steps."""
        cycle = self._cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        assert not cycle.response_started
        cycle.response_started = True
        cycle.transport.write(wire_of(answer, cycle.default_headers, headers, closes=not cycle.keep_alive))
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.scope.pop("extensions")  # or scope and cycle would hold each other until a garbage collection
        cycle.on_response()


def direct_of(scope: Any) -> Direct | None:
    """The request of a scope, where it came through a protocol that offers it."""
    found: Direct | None = scope.get("extensions", {}).get(EXTENSION)
    return found


def wire_of(answer: Answer, *headers: HeaderList, closes: bool) -> bytes:
    """An answer as it goes over the wire. Its headers are ours or checked: an Origin that is listed, never input.

    Args:
        headers: beside the answer's own.
        closes: whether the connection is closed after it.
    """
    lines = [_STATUS_LINE[answer.status]]
    for some in (answer.headers, *headers):
        lines += [b"%b: %b\r\n" % header for header in some]
    if answer.status != HTTPStatus.NO_CONTENT:  # RFC 9110, 8.6: a 204 has no Content-Length
        lines.append(b"content-length: %d\r\n" % len(answer.body))
    lines.append(b"connection: close\r\n\r\n" if closes else b"\r\n")
    lines.append(answer.body)
    return b"".join(lines)
