"""A request's body off the wire: bounded in bytes, before and after decompression, and in time."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ingest.rejection import Rejection
from schemas.outcomes import RequestError, UnjoinError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

GZIP_WINDOW_BITS = 16 + zlib.MAX_WBITS  # Source: zlib's manual, inflateInit2: 16 more means a gzip header and trailer.
_NOT_ONE_GZIP = "The body is not one whole gzip member."


class ClientGone(UnjoinError):
    """The client closed the connection before its body was whole: nobody is left to answer."""


class Body:
    """A body on its way.

    Args:
        receive: of ASGI.
        declared_bytes: of Content-Length, if there is one.
        chunked: whether it comes in chunks, so that nobody knows how long it is.

    Attributes:
        complete: whether all of it was read; what was not is still in the connection.
    """

    def __init__(self, receive: Receive, declared_bytes: int | None, chunked: bool) -> None:
        self._receive = receive
        self._declared_bytes = declared_bytes
        self.complete = not chunked and not declared_bytes

    async def read(self, gzip: bool, bytes_max: int, seconds_max: float) -> bytes:
        """The whole body, decompressed.

        Raises:
            Rejection: 413, more than `bytes_max` before or after decompression, as soon as that shows; 408, not whole
                after `seconds_max` from now; 400, not one gzip member.
            ClientGone: the client did not wait for an answer.
        """
        if self._declared_bytes is not None and self._declared_bytes > bytes_max:
            raise Rejection(413, RequestError.BODY_TOO_LARGE)
        try:
            async with asyncio.timeout(seconds_max):
                return await (self._inflated(bytes_max) if gzip else self._plain(bytes_max))
        except TimeoutError:
            raise Rejection(408, RequestError.BODY_STALLED) from None

    async def _plain(self, bytes_max: int) -> bytes:
        body = bytearray()
        while not self.complete:
            body += await self._next()
            if len(body) > bytes_max:
                raise Rejection(413, RequestError.BODY_TOO_LARGE)
        return bytes(body)

    async def _inflated(self, bytes_max: int) -> bytes:
        inflater = zlib.decompressobj(GZIP_WINDOW_BITS)
        body = bytearray()
        received_bytes = 0
        while not self.complete:
            chunk = await self._next()
            received_bytes += len(chunk)
            if received_bytes > bytes_max:
                raise Rejection(413, RequestError.BODY_TOO_LARGE)
            try:
                # One byte more than may be: a bomb costs what the limit allows, whatever it would unfold to.
                body += inflater.decompress(chunk, bytes_max + 1 - len(body))
            except zlib.error:
                raise Rejection(400, RequestError.NOT_A_BATCH, _NOT_ONE_GZIP) from None
            if len(body) > bytes_max:
                raise Rejection(413, RequestError.BODY_TOO_LARGE)
            if inflater.unused_data:
                break
        if inflater.unused_data or not inflater.eof:
            raise Rejection(400, RequestError.NOT_A_BATCH, _NOT_ONE_GZIP)
        return bytes(body)

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the client went away")
        self.complete = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk

    async def discard(self, bytes_max: int, seconds_max: float) -> None:
        """Reads and drops what is left, for a moment: closing on a client in mid-send would reset the connection.

        The reset can overtake the answer, and the client would see a broken pipe instead of its 413.

        Source: RFC 9112, section 9.6; nginx's lingering_close.
        """
        try:
            async with asyncio.timeout(seconds_max):
                while not self.complete and bytes_max > 0:
                    bytes_max -= len(await self._next())
        except (TimeoutError, ClientGone):
            pass
