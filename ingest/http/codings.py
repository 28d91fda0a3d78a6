"""Pure: a compressed body, chunk by chunk, to no more output than was asked for. Source: RFC 9110, 8.4.1; RFC 9659.

Every decompressor here can stop in the middle of a chunk, so that a body that says "unpack me to gigabytes" costs what
its limit allows.
"""

import sys
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from ingest.errors import Rejection
from schemas.outcomes import RequestError

GZIP_WINDOW_BITS = 16 + zlib.MAX_WBITS  # Source: zlib's manual, inflateInit2: 16 more means a gzip header and trailer.
ZSTD_WINDOW_LOG_MAX = 23  # Source: RFC 9659, 3: 8 MB for a content coding
# Members of a gzip body, frames of a zstd body. Both may be empty and a few bytes long, and each costs a decompressor.
MEMBERS_MAX = 64


def _undecodable() -> Rejection:
    return Rejection(400, RequestError.NOT_A_BATCH, "The body is not what its Content-Encoding says, whole and once.")


class Decompressor(Protocol):
    """One body's decompressor."""

    def feed(self, chunk: bytes, output_bytes_max: int) -> bytes:
        """What a chunk adds, at most so many bytes; where it is as many, the rest of the body is not to be fed.

        Raises:
            Rejection: 400, the body is not of this coding.
        """
        ...

    @property
    def complete(self) -> bool:
        """Whether what was fed is a whole body."""
        ...


class _Members:
    """A coding whose members or frames may follow each other: gzip (RFC 1952, 2.2), zstd (RFC 8878, 3).

    Args:
        one: makes the decompressor of one member, with `decompress`, `eof` and `unused_data`.
        padding: bytes that may lie between members and behind the last, as tapes and some clients leave them.
    """

    def __init__(self, one: Callable[[], Any], errors: type[Exception], padding: bytes = b"") -> None:
        self._one, self._errors, self._padding = one, errors, padding
        self._member: Any = None
        self._members = 0

    def feed(self, chunk: bytes, output_bytes_max: int) -> bytes:
        output = bytearray()
        while chunk and len(output) < output_bytes_max:
            if self._member is None or self._member.eof:
                chunk = chunk.lstrip(self._padding) if self._member is not None and self._padding else chunk
                if not chunk:
                    break
                if self._members == MEMBERS_MAX:
                    raise _undecodable()
                self._member = self._one()
                self._members += 1
            try:
                output += self._member.decompress(chunk, output_bytes_max - len(output))
            except self._errors:
                raise _undecodable() from None
            chunk = self._member.unused_data if self._member.eof else b""
        return bytes(output)

    @property
    def complete(self) -> bool:
        return self._member is not None and bool(self._member.eof)


class _Deflate:
    """zlib's format (RFC 1950), which the coding means, or bare deflate (RFC 1951), which some clients send."""

    def __init__(self) -> None:
        self._inflater: Any = None

    def feed(self, chunk: bytes, output_bytes_max: int) -> bytes:
        if not chunk:
            return b""
        if self._inflater is None:
            # Its first byte names the method, 8; no bare deflate of an ordinary encoder begins with those bits.
            wrapped = chunk[0] & 0x0F == 8
            self._inflater = zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
        try:
            output = self._inflater.decompress(chunk, output_bytes_max)
        except zlib.error:
            raise _undecodable() from None
        if self._inflater.unused_data:
            raise _undecodable()
        return bytes(output)

    @property
    def complete(self) -> bool:
        return self._inflater is not None and bool(self._inflater.eof)


class _Brotli:
    """RFC 7932."""

    def __init__(self) -> None:
        self._decompressor = brotli.Decompressor()

    def feed(self, chunk: bytes, output_bytes_max: int) -> bytes:
        output = bytearray()
        try:
            output += self._decompressor.process(chunk, output_buffer_limit=output_bytes_max)
            while len(output) < output_bytes_max and not self._decompressor.can_accept_more_data():
                output += self._decompressor.process(b"", output_buffer_limit=output_bytes_max - len(output))
        except brotli.error:
            raise _undecodable() from None
        return bytes(output)

    @property
    def complete(self) -> bool:
        return bool(self._decompressor.is_finished())


_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG_MAX}

_DECOMPRESSORS: dict[str, Callable[[], Decompressor]] = {
    "gzip": lambda: _Members(lambda: zlib.decompressobj(GZIP_WINDOW_BITS), zlib.error, b"\0"),
    "deflate": _Deflate,
    "br": _Brotli,
    "zstd": lambda: _Members(lambda: zstd.ZstdDecompressor(options=_ZSTD_OPTIONS), zstd.ZstdError),
}
CODINGS = tuple(_DECOMPRESSORS)


def decompressor_of(content_encoding: str | None) -> Decompressor | None:
    """A decompressor for a body's Content-Encoding; None where it is not compressed.

    Raises:
        Rejection: 415, another coding, or more than one.
    """
    if not content_encoding:
        return None
    codings = [coding.strip().lower().removeprefix("x-") for coding in content_encoding.split(",")]
    applied = [coding for coding in codings if coding not in ("", "identity")]
    if not applied:
        return None
    if len(applied) > 1 or applied[0] not in _DECOMPRESSORS:
        raise Rejection(415, RequestError.UNSUPPORTED_ENCODING)
    return _DECOMPRESSORS[applied[0]]()
