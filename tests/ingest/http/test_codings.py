"""Compressed bodies: every coding undone as its library does it, and never further than was asked for."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress

import brotli
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import Rejection
from ingest.http.codings import CODINGS, MEMBERS_MAX, ZSTD_WINDOW_LOG_MAX, decompressor_of

ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}
MEBIBYTE = 1_048_576


def decoded(coding: str, chunks: list[bytes], most: int = MEBIBYTE) -> tuple[bytes, bool]:
    decompressor = decompressor_of(coding)
    assert decompressor is not None
    body = bytearray()
    for chunk in chunks:
        body += decompressor.feed(chunk, most + 1 - len(body))
        if len(body) > most:
            break
    return bytes(body), decompressor.complete


def cut(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


@given(st.sampled_from(CODINGS), st.binary(max_size=3_000), st.integers(1, 500))
def test_body_comes_back_however_it_is_cut(coding: str, body: bytes, size: int) -> None:
    """Chunks are the network's."""
    assert decoded(coding, cut(ENCODERS[coding](body), size)) == (body, True)


@given(st.sampled_from(CODINGS), st.binary(max_size=2_000), st.integers(1, 200))
def test_any_bytes_are_a_body_or_a_refusal(coding: str, body: bytes, size: int) -> None:
    """They are a stranger's; another exception would be a 500."""
    with suppress(Rejection):
        decoded(coding, cut(body, size))


def bomb(coding: str) -> bytes:
    """At most a mebibyte that would unfold to a hundred."""
    zeros = bytes(100 * MEBIBYTE)
    made = {
        "gzip": lambda: gzip.compress(zeros),
        "deflate": lambda: zlib.compress(zeros),
        "br": lambda: brotli.compress(zeros, quality=1),
        "zstd": lambda: zstd.compress(zeros),
    }[coding]()
    assert len(made) < MEBIBYTE
    return made


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("chunk_bytes", [65_536, MEBIBYTE])
def test_bomb_costs_what_the_limit_allows(coding: str, chunk_bytes: int) -> None:
    """What a hundred mebibytes of zeros are compressed to is a stranger's favourite body."""
    chunks = cut(bomb(coding), chunk_bytes)
    tracemalloc.start()
    try:
        body, _ = decoded(coding, chunks)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert MEBIBYTE < len(body) < 3 * MEBIBYTE
    assert peak < 12 * MEBIBYTE


@pytest.mark.parametrize(("coding", "empty"), [("gzip", gzip.compress(b"", mtime=0)), ("zstd", zstd.compress(b""))])
def test_members_are_counted_for_each_costs_a_decompressor(coding: str, empty: bytes) -> None:
    """A mebibyte is fifty thousand empty ones, and not one byte of output."""
    assert decoded(coding, [empty * MEMBERS_MAX]) == (b"", True)
    with pytest.raises(Rejection):
        decoded(coding, [empty * (MEMBERS_MAX + 1)])


def test_deflate_is_read_with_zlibs_wrapping_and_bare() -> None:
    """RFC 9110 means the first; clients that took its name at its word send the second."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bare = compressor.compress(b"a body") + compressor.flush()
    assert decoded("deflate", [bare]) == decoded("deflate", cut(zlib.compress(b"a body"), 1)) == (b"a body", True)


def test_zstd_of_a_larger_window_than_the_web_allows_is_refused() -> None:
    """The window is memory that one header of a few bytes would claim."""
    options = {
        zstd.CompressionParameter.window_log: ZSTD_WINDOW_LOG_MAX + 1,
        zstd.CompressionParameter.content_size_flag: 0,
    }
    compressor = zstd.ZstdCompressor(options=options)
    large = compressor.compress(b"a") + compressor.flush(zstd.ZstdCompressor.FLUSH_FRAME)
    with pytest.raises(Rejection):
        decoded("zstd", [large])
