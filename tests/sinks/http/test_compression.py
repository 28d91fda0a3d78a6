"""Bodies in content codings and in ClickHouse's blocks: whole, or refused before they grow."""

import gzip
import struct
import zlib
from contextlib import suppress

import brotli
import lz4.frame
import pytest
from backports import zstd
from clickhouse_cityhash.cityhash import CityHash128
from hypothesis import given
from hypothesis import strategies as st

from sinks.http.compression import BLOCK_BYTES, NotCompressed, as_blocks, chosen_coding, coded, decoded, from_blocks

DECODED = {
    "zstd": zstd.decompress,
    "br": brotli.decompress,
    "lz4": lz4.frame.decompress,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
}


def block(method: int, compressed: bytes, data_bytes: int) -> bytes:
    """A block as a client writes it."""
    content = struct.pack("<BII", method, len(compressed) + 9, data_bytes) + compressed
    return struct.pack("<QQ", *divmod(CityHash128(content), 1 << 64)) + content


@given(st.binary(max_size=2_000), st.sampled_from(sorted(DECODED)), st.integers(1, 9))
def test_any_body_comes_out_of_its_coding_as_it_went_in(body: bytes, coding: str, level: int) -> None:
    assert DECODED[coding](coded(bytearray(body), coding, level)) == body
    assert from_blocks(as_blocks(body), 2_000) == body


def test_a_long_body_is_several_blocks() -> None:
    body = bytes(range(256)) * (BLOCK_BYTES // 128)
    assert from_blocks(as_blocks(body), len(body)) == body
    assert as_blocks(b"") == b""


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", None),
        ("identity", None),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1.0, br;q=0", "gzip"),
        ("GZIP", "gzip"),
        ("lz4, gzip", "lz4"),
        ("x-unknown, *;q=0.1", None),
    ],
)
def test_the_coding_is_one_that_the_client_accepts(accepted: str, coding: str | None) -> None:
    assert chosen_coding(accepted) == coding


@given(st.binary(max_size=200))
def test_any_bytes_are_blocks_or_refused(body: bytes) -> None:
    with suppress(NotCompressed):
        assert len(from_blocks(body, 1_000)) <= 1_000
    for coding in DECODED:
        with suppress(NotCompressed):
            assert len(decoded(body, coding, 1_000)) <= 1_000


@given(st.binary(min_size=1, max_size=2_000), st.sampled_from(sorted(DECODED)), st.data())
def test_a_body_in_a_coding_is_whole_or_refused(body: bytes, coding: str, data: st.DataObject) -> None:
    """A statement that is cut short may be another statement."""
    compressed = coded(body, coding, 3)
    assert decoded(compressed, coding, len(body)) == body
    cut = data.draw(st.integers(0, len(compressed) - 1))
    for broken, bytes_max in ((compressed[:cut], 2_000), (compressed, len(body) - 1), (compressed + b"junk", 2_000)):
        with pytest.raises(NotCompressed):
            decoded(broken, coding, bytes_max)


def test_a_short_body_that_swells_is_refused_before_it_has_grown() -> None:
    for coding in DECODED:
        with pytest.raises(NotCompressed, match="is over 1000 bytes"):
            decoded(coded(bytes(50_000_000), coding, 3), coding, 1_000)


def test_codings_go_by_all_their_names() -> None:
    raw = zlib.compressobj(wbits=-15)
    assert decoded(raw.compress(b"SELECT 1") + raw.flush(), "deflate", 99) == b"SELECT 1"
    assert decoded(gzip.compress(b"SELECT 1"), "x-gzip", 99) == b"SELECT 1"
    assert decoded(gzip.compress(b"SELECT ") + gzip.compress(b"1"), "gzip", 99) == b"SELECT 1"
    with pytest.raises(NotCompressed, match="is in a coding"):
        decoded(b"", "gzip, gzip", 99)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (as_blocks(b"x" * 900)[:-1], "ends within"),
        (as_blocks(b"x" * 900)[:20], "ends within"),
        (b"\0" * 16 + as_blocks(b"x" * 900)[16:], "checksum"),
        (as_blocks(b"x" * 1_001), "is over 1000 bytes"),
        (as_blocks(b"x" * 600) * 2, "is over 1000 bytes"),
        (block(0x82, b"\xff" * 20, 100), "cannot be decompressed"),
        (block(0x90, zstd.compress(b"x" * 900), 100), "another length"),
        (block(0x02, b"xy", 3), "another length"),
        (block(0x91, b"xy", 2), "neither LZ4 nor ZSTD"),
    ],
)
def test_a_block_that_is_not_as_it_says_is_refused(body: bytes, why: str) -> None:
    """Its lengths come from the client, and are checked before anything is allocated."""
    with pytest.raises(NotCompressed, match=why):
        from_blocks(body, 1_000)


def test_clients_blocks_of_each_method_are_read() -> None:
    body = block(0x90, zstd.compress(b"SELECT "), 7) + block(0x02, b"1", 1)
    assert from_blocks(body, 8) == b"SELECT 1"
