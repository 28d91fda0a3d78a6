"""Pure: records as the spool keeps them, packed, with a checksum."""

import zlib
from collections.abc import Sequence

import msgspec

from ingest.encode.records import Record
from schemas.events import Redacted


class Pack(Redacted, frozen=True):
    """Records of one request that live equally long, as the file keeps them.

    Attributes:
        expires_ms: Unix milliseconds after which they must be gone, or None.
        records: how many.
        data: MessagePack, an array of [topic, key, value, timestamp_ms].
    """

    expires_ms: int | None
    records: int
    data: bytes

    @property
    def checksum(self) -> int:
        """CRC-32 of all of it, `expires_ms` included."""
        return zlib.crc32(self.data, zlib.crc32(b"%d %d" % (self.expires_ms or 0, self.records)))


class Entry(Redacted, frozen=True):
    """A pack that is in the file.

    Attributes:
        seq: rises with the order in which packs were written, and is never given twice.
    """

    seq: int
    expires_ms: int | None
    records: list[Record]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[tuple[str, bytes | None, bytes, int]])


def pack_of(records: Sequence[Record], expires_ms: int | None) -> Pack:
    """The records as the file keeps them."""
    rows = [(record.topic, record.key, record.value, record.timestamp_ms) for record in records]
    return Pack(expires_ms, len(rows), _encoder.encode(rows))


def records_in(pack: Pack, checksum: int) -> list[Record] | None:
    """The records of a pack; None when its checksum is another."""
    try:
        return [Record(*row) for row in _decoder.decode(pack.data)] if pack.checksum == checksum else None
    except (TypeError, msgspec.MsgspecError):  # a damaged file may give a text for a number
        return None
