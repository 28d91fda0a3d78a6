"""Past ASGI's messages: the body of a request where it has arrived whole, and its answer in one write.

ASGI hands an answer over in two messages, so uvicorn sends two packets and looks at every header twice. For a request
with one event that was a fifth of all CPU. A body that is still arriving and a connection that is to be closed go
through ASGI.
"""

from functools import lru_cache
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from ingest.http.body import ClientGone
from ingest.http.responses import HeaderList, HttpResponse

EXTENSION = "unjoin.fast_path"  # among a scope's `extensions`

_STATUS_LINE = {int(status): f"HTTP/1.1 {status} {status.phrase}\r\n".encode() for status in HTTPStatus}


class FastPath:
    """Reads and answers one request through uvicorn's own state of it.

    Attributes:
        refused: the protocol answered it, since its body is no HTTP.
    """

    __slots__ = ("_cycle", "refused")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self.refused = False

    def body(self) -> bytes | None:
        """Takes the whole body; None while it has not arrived, or where the client has gone."""
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        return body

    async def send(self, response: HttpResponse, headers: HeaderList) -> None:
        """Sends an answer to a request whose body was read, as `RequestResponseCycle.send` does in two steps.

        Raises:
            ClientGone: the connection has ended.
        """
        cycle = self._cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        if cycle.transport.is_closing():  # and uvicorn has not been told yet
            raise ClientGone("there is nobody to answer")
        assert not cycle.response_started
        cycle.response_started = True
        head_only = cycle.scope["method"] == "HEAD"
        cycle.transport.write(
            response_bytes(response, cycle.default_headers, headers, closes=not cycle.keep_alive, head_only=head_only)
        )
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.scope.pop("extensions")  # or scope and cycle would hold each other until a garbage collection
        cycle.on_response()


def fast_path_of(scope: Any) -> FastPath | None:
    """The fast path of a request, where its server offers one."""
    found: FastPath | None = scope.get("extensions", {}).get(EXTENSION)
    return found


def response_bytes(response: HttpResponse, *headers: HeaderList, closes: bool, head_only: bool = False) -> bytes:
    """A response as HTTP/1.1 writes it. Its headers are ours or checked: an Origin that is listed, never other input.

    Args:
        headers: beside the response's own.
        closes: whether the connection is closed after it.
        head_only: whether the request was a HEAD; a body would be taken for the next answer.
    """
    head = _head(response.status, len(response.body), closes, tuple(response.headers), *map(tuple, headers))
    return head if head_only else head + response.body


@lru_cache(maxsize=256)  # most answers of a second have one head: the same length, and the same listed Origin or none
def _head(status: int, length: int, closes: bool, *headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    lines = [_STATUS_LINE[status]]
    for some in headers:
        lines += [b"%b: %b\r\n" % header for header in some]
    if status != HTTPStatus.NO_CONTENT:  # RFC 9110, 8.6: a 204 has no Content-Length
        lines.append(b"content-length: %d\r\n" % length)
    lines.append(b"connection: close\r\n\r\n" if closes else b"\r\n")
    return b"".join(lines)
