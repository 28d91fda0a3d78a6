"""Pure: compressed bodies of requests and answers.

Two kinds that have nothing to do with each other: HTTP's content codings (RFC 9110, section 8.4), and with `compress=1`
and `decompress=1` ClickHouse's own blocks, each with checksum, method and sizes.

Source: ClickHouse documentation, "HTTP Interface", compression; blocks: src/Compression/CompressedReadBufferBase.cpp.
"""

import struct
import sys
import zlib
from collections.abc import Callable
from enum import IntEnum
from functools import partial
from io import BytesIO
from typing import Any

import brotli
import lz4.block
import lz4.frame
from clickhouse_cityhash.cityhash import CityHash128
from clickhouse_driver.compression.lz4 import Compressor

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BLOCK_BYTES = 1_048_576
_HASH_BYTES, _HEADER = 16, struct.Struct("<BII")  # method; bytes compressed, this header included; bytes of the data


class _Method(IntEnum):
    """How a block is compressed."""

    NONE, LZ4, ZSTD = 0x02, 0x82, 0x90


class NotCompressed(ValueError):
    """A body is not compressed as its request says, or is longer than it may be; the text is a sentence's end."""


class TooLong(NotCompressed):
    """A body is longer than it may be."""


def as_blocks(body: bytes | bytearray) -> bytes:
    """A body as ClickHouse's blocks of LZ4; none where it is empty."""
    compressor, blocks = Compressor(), BytesIO()
    with memoryview(body) as view:
        for start in range(0, len(body), BLOCK_BYTES):
            compressor.write(view[start : start + BLOCK_BYTES])
            block = bytes([_Method.LZ4]) + compressor.get_compressed_data(extra_header_size=1)
            blocks.write(_checksum(block))
            blocks.write(block)
    return blocks.getvalue()


def from_blocks(body: bytes, bytes_max: int) -> bytes:
    """The data of ClickHouse's blocks.

    Raises:
        NotCompressed: it is none, or longer than `bytes_max`.
    """
    data, at = bytearray(), 0
    while at < len(body):
        start = at + _HASH_BYTES
        if len(body) < start + _HEADER.size:
            raise NotCompressed("ends within a block")
        method, size, data_bytes = _HEADER.unpack_from(body, start)
        at = start + size
        if size < _HEADER.size or at > len(body):
            raise NotCompressed("ends within a block")
        if len(data) + data_bytes > bytes_max:
            raise TooLong(f"is over {bytes_max} bytes")
        if _checksum(body[start:at]) != body[start - _HASH_BYTES : start]:
            raise NotCompressed("has a block whose checksum differs")
        piece = _block_data(method, body[start + _HEADER.size : at], data_bytes)
        if len(piece) != data_bytes:
            raise NotCompressed("has a block of another length than it says")
        data += piece
    return bytes(data)


def _checksum(block: bytes) -> bytes:
    high, low = divmod(CityHash128(block), 1 << 64)
    return struct.pack("<QQ", high, low)


def _block_data(method: int, compressed: bytes, data_bytes: int) -> bytes:
    match method:
        case _Method.NONE:
            return compressed
        case _Method.LZ4:
            return _tried(lz4.block.decompress, compressed, uncompressed_size=data_bytes)
        case _Method.ZSTD:
            return _tried(zstd.ZstdDecompressor().decompress, compressed, data_bytes + 1)  # 0 were no bound
    raise NotCompressed("has a block that is neither LZ4 nor ZSTD")


def decoded(body: bytes, coding: str, bytes_max: int) -> bytes:
    """The data of a body in a content coding, whole.

    Raises:
        NotCompressed: it is none, ends early, is longer than `bytes_max`, or the coding is unknown.
    """
    match coding:
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            return _whole(lambda: zlib.decompressobj(31), body, bytes_max)
        case "deflate":  # in zlib's format, or as many clients send it, without
            is_zlib = len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0
            return _whole(lambda: zlib.decompressobj(15 if is_zlib else -15), body, bytes_max)
        case "zstd":
            return _whole(zstd.ZstdDecompressor, body, bytes_max)
        case "lz4":
            return _whole(lz4.frame.LZ4FrameDecompressor, body, bytes_max)
        case "br":
            return _from_brotli(body, bytes_max)
    raise NotCompressed("is in a coding that is not read here; gzip, deflate, br, zstd and lz4 are")


def _whole(decompressor: Callable[[], Any], body: bytes, bytes_max: int) -> bytes:
    """The data of one stream or of several, one after the other, each to its own end."""
    data = b""
    while body or not data:
        one = decompressor()
        data += _tried(one.decompress, body, bytes_max + 1 - len(data))
        if len(data) > bytes_max:
            raise TooLong(f"is over {bytes_max} bytes")
        if not one.eof:
            raise NotCompressed("ends early")
        if not one.unused_data:
            break
        body = one.unused_data
    return data


def _from_brotli(body: bytes, bytes_max: int) -> bytes:
    one = brotli.Decompressor()
    data = _tried(one.process, body, output_buffer_limit=bytes_max + 1)
    while len(data) <= bytes_max and not one.can_accept_more_data():
        data += _tried(one.process, b"", output_buffer_limit=bytes_max + 1 - len(data))
    if len(data) > bytes_max:
        raise TooLong(f"is over {bytes_max} bytes")
    if not one.is_finished():
        raise NotCompressed("ends early")
    return data


def _tried(decompress: Callable[..., Any], *args: Any, **options: Any) -> bytes:
    """Libraries raise what they like (RuntimeError, LZ4BlockError, ZstdError), with texts that may quote the data."""
    try:
        return bytes(decompress(*args, **options))
    except Exception:
        raise NotCompressed("cannot be decompressed") from None


def chosen_coding(accept_encoding: str) -> str | None:
    """The content coding that an answer gets: of those that a client accepts, the first of `_CODINGS`."""
    accepted = set()
    for item in accept_encoding.lower().split(","):
        name, _, quality = item.replace(" ", "").partition(";q=")
        if quality not in ("0", "0.0", "0.00", "0.000"):
            accepted.add(name)
    return next((coding for coding in _CODINGS if coding in accepted), None)


def coded(body: bytes | bytearray, coding: str, level: int) -> bytes:
    """A body in a content coding.

    Args:
        level: `http_zlib_compression_level`, 1 to 9.
    """
    return _CODINGS[coding](level)(body)


def _zlib(level: int, wbits: int) -> Callable[[bytes | bytearray], bytes]:
    return partial(zlib.compress, level=level, wbits=wbits)


# As a server prefers them. Source: ClickHouse, src/IO/CompressionMethod.cpp, chooseHTTPCompressionMethod.
_CODINGS: dict[str, Callable[[int], Callable[[Any], bytes]]] = {
    "zstd": lambda level: partial(zstd.compress, level=level),
    "br": lambda level: partial(brotli.compress, quality=level),
    "lz4": lambda level: partial(lz4.frame.compress, compression_level=0),
    "gzip": lambda level: _zlib(level, 31),
    "deflate": lambda level: _zlib(level, 15),
}
