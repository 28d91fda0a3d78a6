"""Datum <-> record value in the Confluent wire format: 0x00, four bytes of schema id, the Avro datum.

fastavro encodes and decodes; tests hold every faster encoder to its bytes.
Source: Avro 1.12 specification, binary encoding; Confluent's wire format.
"""

import io
import struct
from functools import cache
from typing import Any

import fastavro

from schemas.outcomes import DeadLetterReason, DecodeError
from schemas.registry import Registered, by_id, latest

HEADER = struct.Struct(">bI")
HEADER_BYTES = HEADER.size

# What fastavro raises on bytes that are not a datum of the schema.
MALFORMED = (
    EOFError,
    IndexError,
    KeyError,
    ValueError,
    TypeError,
    OverflowError,
    MemoryError,
    struct.error,
    StopIteration,
)


@cache
def header(subject: str) -> bytes:
    """The five bytes before every datum of a subject's newest schema."""
    return HEADER.pack(0, latest(subject).id)


def encode(subject: str, datum: dict[str, Any]) -> bytes:
    """A record value: header and datum, written with the subject's newest schema.

    Raises:
        ValueError, TypeError, KeyError: the datum does not fit its schema, which is a bug of the caller.
    """
    out = io.BytesIO()
    out.write(header(subject))
    fastavro.schemaless_writer(out, latest(subject).parsed, datum)
    return out.getvalue()


def split(value: bytes | None, subject: str) -> tuple[Registered, memoryview]:
    """The writer's schema and the undecoded datum of a record value.

    Raises:
        DecodeError: no Confluent header, an id that nobody registered, or one of another subject.
    """
    writer = None if value is None else writers(subject).get(value[:HEADER_BYTES])
    if value is None or writer is None:
        raise DecodeError(unreadable(value))
    return writer, memoryview(value)[HEADER_BYTES:]


def unreadable(value: bytes | None) -> DeadLetterReason:
    """The reason why the header of a value names no schema of the expected subject."""
    if value is None or len(value) < HEADER_BYTES:
        return DeadLetterReason.NOT_CONFLUENT
    magic, schema_id = HEADER.unpack_from(value)
    if magic != 0:
        return DeadLetterReason.NOT_CONFLUENT
    return DeadLetterReason.WRONG_SCHEMA if schema_id in by_id() else DeadLetterReason.UNKNOWN_SCHEMA


@cache
def writers(subject: str) -> dict[bytes, Registered]:
    """Every schema of a subject by the five bytes before its datums."""
    return {HEADER.pack(0, writer.id): writer for writer in by_id().values() if writer.subject == subject}


def decode(value: bytes | None, subject: str) -> dict[str, Any]:
    """The datum of a record value, resolved to the subject's newest schema.

    Raises:
        DecodeError: the bytes are not exactly one datum of a schema of the subject.
    """
    writer, datum = split(value, subject)
    return decode_datum(writer, datum, latest(subject))


def decode_datum(writer: Registered, datum: bytes | memoryview, reader: Registered) -> dict[str, Any]:
    """A bare datum, written with `writer` and resolved to `reader`.

    Raises:
        DecodeError: the bytes are not exactly one datum.
    """
    source = io.BytesIO(datum)
    try:
        decoded = fastavro.schemaless_reader(source, writer.parsed, reader.parsed)
    except MALFORMED:
        raise DecodeError(DeadLetterReason.MALFORMED_DATUM) from None
    if source.tell() != len(datum):
        raise DecodeError(DeadLetterReason.TRAILING_BYTES)
    assert isinstance(decoded, dict)
    return decoded
