"""Pure: how the spool encodes records: in packs, each with a checksum."""

import zlib
from collections.abc import Sequence

import msgspec

from ingest.encode.records import Record
from schemas.events import Redacted


class Pack(Redacted, frozen=True):
    """Records of one request that expire together, encoded for the file.

    Attributes:
        expires_ms: Unix milliseconds at which they have to be deleted, or None.
        records: their number.
        data: MessagePack, an array of [topic, key, value, timestamp_ms], with the partition behind them where a record
            has one.
    """

    expires_ms: int | None
    records: int
    data: bytes

    @property
    def checksum(self) -> int:
        """CRC-32 of `data`, `expires_ms` and `records`."""
        return zlib.crc32(self.data, zlib.crc32(b"%d %d" % (self.expires_ms or 0, self.records)))


class Entry(Redacted, frozen=True):
    """A pack in the file, decoded.

    Attributes:
        seq: number in the order of writing, never used twice.
    """

    seq: int
    expires_ms: int | None
    records: list[Record]


_encoder = msgspec.msgpack.Encoder()


class _Row(Redacted, frozen=True, array_like=True):
    topic: str
    key: bytes | None
    value: bytes
    timestamp_ms: int
    partition: int | None = None


_decoder = msgspec.msgpack.Decoder(list[_Row])


def pack_of(records: Sequence[Record], expires_ms: int | None) -> Pack:
    """Encodes records for the file."""
    rows = [
        (record.topic, record.key, record.value, record.timestamp_ms)
        if record.partition is None
        else (record.topic, record.key, record.value, record.timestamp_ms, record.partition)
        for record in records
    ]
    return Pack(expires_ms, len(rows), _encoder.encode(rows))


def records_in(pack: Pack, checksum: int) -> list[Record] | None:
    """Decodes the records of a pack; None when its checksum is not the one given."""
    try:
        if pack.checksum != checksum:
            return None
        return [
            Record(row.topic, row.key, row.value, row.timestamp_ms, row.partition) for row in _decoder.decode(pack.data)
        ]
    except (TypeError, msgspec.MsgspecError):  # a damaged file may hold text in place of a number
        return None
