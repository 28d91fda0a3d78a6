"""What compression hides from a search: ClickHouse's blocks, and batches of records in Kafka's segments.

Both are read as they lie on disk, piece by piece, from any readable stream.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

import cramjam
from aiokafka.errors import KafkaError
from aiokafka.record.memory_records import MemoryRecords

# A compressed block of ClickHouse: checksum, method, size with these nine bytes, size without compression.
# Source: ClickHouse, src/Compression/CompressionInfo.h.
_CHECKSUM_BYTES = 16
_BLOCK = struct.Struct("<BII")
_NONE, _LZ4, _ZSTD, _MULTIPLE = 0x02, 0x82, 0x90, 0x91
_BLOCK_BYTES_MAX = 1 << 30
# A batch of records: its first offset and the bytes that follow these twelve. Source: Apache Kafka, "Record Batch".
_BATCH = struct.Struct(">qi")
_BATCH_BYTES_MIN, _BATCH_BYTES_MAX = 49, 1 << 30
_MAGIC_AT, _MAGIC = 16, 2


class NotReadable(ValueError):
    """The stream holds something else from here on."""


def blocks(stream: BinaryIO) -> Iterator[bytes]:
    """A file of ClickHouse's compressed blocks, without its compression.

    Of a column with several codecs the outermost is undone: what is left of numbers may still be deltas.

    Raises:
        NotReadable: the file is none, or is damaged.
    """
    while head := stream.read(_CHECKSUM_BYTES + _BLOCK.size):
        if len(head) < _CHECKSUM_BYTES + _BLOCK.size:
            raise NotReadable
        method, size, plain_size = _BLOCK.unpack_from(head, _CHECKSUM_BYTES)
        if method not in (_NONE, _LZ4, _ZSTD, _MULTIPLE) or not _BLOCK.size <= size <= _BLOCK_BYTES_MAX:
            raise NotReadable
        body = stream.read(size - _BLOCK.size)
        if len(body) != size - _BLOCK.size:
            raise NotReadable
        yield _plain(method, body, plain_size)


def _plain(method: int, body: bytes, plain_size: int) -> bytes:
    if plain_size > _BLOCK_BYTES_MAX:
        raise NotReadable
    try:
        if method == _LZ4:
            return bytes(cramjam.lz4.decompress_block(body, output_len=plain_size))
        if method == _ZSTD:
            return bytes(cramjam.zstd.decompress(body))
        if method == _MULTIPLE:
            codecs, inner = body[1 : 1 + body[0]], body[1 + body[0] :]
            # The last codec's block carries a head of its own.
            inner_method, _, inner_size = _BLOCK.unpack_from(inner)
            if inner_method != codecs[-1]:
                raise NotReadable
            return _plain(inner_method, inner[_BLOCK.size :], inner_size)
    except (cramjam.DecompressionError, struct.error, IndexError):
        raise NotReadable from None
    return body


def batches(stream: BinaryIO) -> Iterator[bytes]:
    """Keys, values and headers of the records in a segment, a batch at a time; no text can arise across two of them.

    A segment that is written to ends in zeros, or within a batch.

    Raises:
        NotReadable: what follows is no batch, or a damaged one.
    """
    while len(head := stream.read(_BATCH.size)) == _BATCH.size:
        _, size = _BATCH.unpack(head)
        if not size and not any(head):
            return  # preallocated
        if not _BATCH_BYTES_MIN <= size <= _BATCH_BYTES_MAX:
            raise NotReadable
        body = stream.read(size)
        if len(body) < size:
            return
        yield _records(head + body)


def _records(batch: bytes) -> bytes:
    pieces: list[bytes] = []
    if batch[_MAGIC_AT] != _MAGIC:
        raise NotReadable
    try:
        found = MemoryRecords(batch).next_batch()
        if found is None or not found.validate_crc():  # of damaged batches the library's parser promises nothing
            raise NotReadable
        for record in found:
            pieces += [record.key or b"", record.value or b""]
            for name, value in record.headers:
                pieces += [name.encode(), value or b""]
    except (KafkaError, ValueError, struct.error, IndexError, RuntimeError, cramjam.DecompressionError):
        raise NotReadable from None
    return b"\n".join(piece for piece in pieces if piece)
