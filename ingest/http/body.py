"""Reads a request's body, bounded in bytes, before and after decompression, and in time."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ingest.errors import Rejection
from ingest.http.codings import Decompressor
from schemas.outcomes import RequestError, UnjoinError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_CUT_SHORT = "The body ends before its compressed data does."


class ClientGone(UnjoinError):
    """The client closed the connection before its body was whole: there is nobody to answer."""


class NoRoom(UnjoinError):
    """Bodies that are still arriving hold as much memory as they may, and this one more than its share."""


class BodyRoom:
    """Counts the memory of bodies that are still arriving, of all connections together.

    Args:
        bytes_max: of all of them. Beyond it a body may still grow to its share, `bytes_max` by the number of bodies, so
            that small ones pass whatever large ones do. All together never hold more than twice `bytes_max`.

    Attributes:
        bytes: held now.
    """

    def __init__(self, bytes_max: int) -> None:
        self.bytes = 0
        self._bytes_max = bytes_max
        self._bodies = 0

    def enter(self) -> None:
        """A body begins."""
        self._bodies += 1

    def leave(self, held: int) -> None:
        """A body that holds so many bytes is whole, or given up."""
        self._bodies -= 1
        self.bytes -= held

    def grow(self, held: int, size: int) -> bool:
        """Whether a body that holds `held` bytes may hold `size` more, which are counted if so."""
        if self.bytes + size > self._bytes_max and held + size > self._bytes_max // self._bodies:
            return False
        self.bytes += size
        return True


class Body:
    """One request's body, still to be read.

    Args:
        receive: of ASGI.
        declared_bytes: of Content-Length, if there is one.
        chunked: whether it comes in chunks, of unknown total length.
        arrived: gives the whole body where all of it has arrived, else None.

    Attributes:
        complete: whether all of it was read; the rest is still in the connection.
    """

    def __init__(
        self,
        receive: Receive,
        declared_bytes: int | None,
        chunked: bool,
        arrived: Callable[[], bytes | None] = lambda: None,
    ) -> None:
        self._receive = receive
        self._arrived = arrived
        self._declared_bytes = declared_bytes
        self._held = 0
        self.complete = not chunked and not declared_bytes

    async def read(
        self, decompressor: Decompressor | None, bytes_max: int, seconds_max: float, room: BodyRoom
    ) -> bytes:
        """The whole body, decompressed.

        Args:
            room: counts what it holds while it arrives.

        Raises:
            NoRoom: others hold too much, and this one more than its share.
            Rejection: 413, more than `bytes_max` before or after decompression, as soon as that shows; 408, not whole
                after `seconds_max` from now; 400, not whole, or not of its coding, once decompressed.
            ClientGone: the client did not wait for an answer.
        """
        if self._declared_bytes is not None and self._declared_bytes > bytes_max:
            raise Rejection(413, RequestError.BODY_TOO_LARGE)
        if decompressor is None and (whole := self._arrived()) is not None:  # nearly always: all is there
            self.complete = True
            if len(whole) > bytes_max:
                raise Rejection(413, RequestError.BODY_TOO_LARGE)
            return whole
        room.enter()
        body = bytearray()
        try:
            async with asyncio.timeout(seconds_max):
                if decompressor is None:
                    await self._fill(body, bytes_max, room)
                else:
                    await self._decompress(decompressor, body, bytes_max, room)
        except TimeoutError:
            raise Rejection(408, RequestError.BODY_STALLED) from None
        finally:
            room.leave(self._held)
        return bytes(body)

    async def _fill(self, body: bytearray, bytes_max: int, room: BodyRoom) -> None:
        while not self.complete:
            body += await self._next()
            if len(body) > bytes_max:
                raise Rejection(413, RequestError.BODY_TOO_LARGE)
            self._hold(len(body), room)

    async def _decompress(self, decompressor: Decompressor, body: bytearray, bytes_max: int, room: BodyRoom) -> None:
        received_bytes = 0
        while not self.complete:
            chunk = await self._next()
            received_bytes += len(chunk)
            if received_bytes > bytes_max:
                raise Rejection(413, RequestError.BODY_TOO_LARGE)
            # One byte more than allowed: a decompression bomb costs what the limit allows, whatever its full size.
            body += decompressor.feed(chunk, bytes_max + 1 - len(body))
            if len(body) > bytes_max:
                raise Rejection(413, RequestError.BODY_TOO_LARGE)
            self._hold(len(body), room)
        if not decompressor.complete:
            raise Rejection(400, RequestError.NOT_A_BATCH, _CUT_SHORT)

    def _hold(self, size: int, room: BodyRoom) -> None:
        if not self.complete:
            if not room.grow(self._held, size - self._held):
                raise NoRoom("bodies on their way hold too much")
            self._held = size

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the client went away")
        self.complete = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk

    async def discard(self, bytes_max: int, seconds_max: float) -> None:
        """Reads and drops the rest within both bounds: closing on a client in mid-send would reset the connection.

        The reset can overtake the answer, and the client would see a broken pipe instead of its 413.

        Source: RFC 9112, section 9.6; nginx's lingering_close.
        """
        try:
            async with asyncio.timeout(seconds_max):
                while not self.complete and bytes_max > 0:
                    bytes_max -= len(await self._next())
        except (TimeoutError, ClientGone):
            pass
