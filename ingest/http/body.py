"""Reads a request's body, bounded in bytes, before and after decompression, and in time."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any, NamedTuple

from ingest.errors import Rejection
from ingest.http.codings import Decompressor
from schemas.outcomes import RequestError, UnjoinError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_CUT_SHORT = "The body ends before its compressed data does."


class ClientGone(UnjoinError):
    """The client closed the connection before its body was whole: there is nobody to answer."""


class NoRoom(UnjoinError):
    """Bodies that are still arriving hold as much memory as they may, and its owner more than its share."""


class Owner(NamedTuple):
    """Whose body it is.

    Attributes:
        key: names the key of the request; "" while none is known.
        address: tells addresses apart, as `address_mark` does.
    """

    key: str
    address: int


class BodyRoom:
    """Counts the memory of bodies that are still arriving, of all connections together.

    Args:
        bytes_max: of all of them. Beyond it an owner still has its share: each key the same, and within a key each
            address. So whoever holds many large bodies keeps nobody else out, and all together never hold more than
            twice `bytes_max`.

    Attributes:
        bytes: held now.
    """

    def __init__(self, bytes_max: int) -> None:
        self.bytes = 0
        self._bytes_max = bytes_max
        self._held: dict[str, dict[int, tuple[int, int]]] = {}  # by key, by address: bodies, bytes

    def enter(self, owner: Owner) -> None:
        """A body begins."""
        addresses = self._held.setdefault(owner.key, {})
        bodies, held = addresses.get(owner.address, (0, 0))
        addresses[owner.address] = bodies + 1, held

    def leave(self, owner: Owner, size: int) -> None:
        """A body that holds so many bytes is whole, or given up."""
        self.bytes -= size
        addresses = self._held[owner.key]
        bodies, held = addresses.pop(owner.address)
        if bodies > 1:
            addresses[owner.address] = bodies - 1, held - size
        elif not addresses:
            del self._held[owner.key]

    def grow(self, owner: Owner, size: int) -> bool:
        """Whether a body of this owner may hold so many bytes more, which are counted if so."""
        addresses = self._held[owner.key]
        bodies, held = addresses[owner.address]
        share = self._bytes_max // len(self._held) // len(addresses)
        if self.bytes + size > self._bytes_max and held + size > share:
            return False
        self.bytes += size
        addresses[owner.address] = bodies, held + size
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
        self, decompressor: Decompressor | None, bytes_max: int, seconds_max: float, room: BodyRoom, owner: Owner
    ) -> bytes:
        """The whole body, decompressed.

        Args:
            room: counts what it holds while it arrives.
            owner: whose share of the room it takes.

        Raises:
            NoRoom: all together hold too much, and its owner more than its share.
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
        room.enter(owner)
        body = bytearray()
        try:
            async with asyncio.timeout(seconds_max):
                hold = partial(self._hold, room, owner)
                if decompressor is None:
                    await self._fill(body, bytes_max, hold)
                else:
                    await self._decompress(decompressor, body, bytes_max, hold)
        except TimeoutError:
            raise Rejection(408, RequestError.BODY_STALLED) from None
        finally:
            room.leave(owner, self._held)
        return bytes(body)

    async def _fill(self, body: bytearray, bytes_max: int, hold: Callable[[int], None]) -> None:
        while not self.complete:
            body += await self._next()
            if len(body) > bytes_max:
                raise Rejection(413, RequestError.BODY_TOO_LARGE)
            hold(len(body))

    async def _decompress(
        self, decompressor: Decompressor, body: bytearray, bytes_max: int, hold: Callable[[int], None]
    ) -> None:
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
            hold(len(body))
        if not decompressor.complete:
            raise Rejection(400, RequestError.NOT_A_BATCH, _CUT_SHORT)

    def _hold(self, room: BodyRoom, owner: Owner, size: int) -> None:
        if not self.complete:
            if not room.grow(owner, size - self._held):
                raise NoRoom("bodies on their way hold too much")
            self._held = size

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the client went away")
        self.complete = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk
