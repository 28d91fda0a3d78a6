"""The spool's file: packs of records in SQLite, each with a checksum, synced before `append` returns.

UnjoinError
└── SpoolError        the file cannot take or give records now
    ├── SpoolFull     its bound is reached, or the disk's
    └── SpoolHeld     another process has the folder

Not a log of our own: SQLite in WAL mode with synchronous=FULL survives a kill at any moment, and syncs the log at every
commit (https://www.sqlite.org/pragma.html#pragma_synchronous). A pack holds the records of one request that live equally
long, so that a commit is a handful of calls: each lets go of the interpreter's lock, and getting that back from a busy
loop takes up to 5 ms.
"""

import contextlib
import logging
import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from ingest.records import Record
from schemas.events import Redacted
from schemas.outcomes import UnjoinError

log = logging.getLogger(__name__)

PAGE_BYTES = 4_096
# Of its own, so that what frees pages can still be written when the bound is reached.
SLACK_PAGES = 64
# The log beside the file is cut to this whenever it starts anew; one commit may make it longer for a while.
WAL_BYTES_MAX = 4_194_304
ROWS_PER_INSERT_MAX = 500
BROKEN = ".broken-"

# AUTOINCREMENT: a number that is given twice could delete a pack that nobody has sent.
_TABLES = """
CREATE TABLE IF NOT EXISTS spooled
(seq INTEGER PRIMARY KEY AUTOINCREMENT, expires_ms INTEGER, records INTEGER NOT NULL, pack BLOB NOT NULL,
 checksum INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS spooled_expiring ON spooled (expires_ms) WHERE expires_ms IS NOT NULL;
CREATE TABLE IF NOT EXISTS set_aside
(seq INTEGER PRIMARY KEY, expires_ms INTEGER, records INTEGER NOT NULL, pack BLOB, checksum INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, records INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO counts VALUES ('spooled', 0), ('drained', 0), ('expired', 0), ('set_aside', 0);
"""
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class SpoolError(UnjoinError):
    """The file cannot take or give records now."""


class SpoolFull(SpoolError):
    """Its bound is reached, or the disk is full."""


class SpoolHeld(SpoolError):
    """Another process has the folder."""


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


class SpoolCounts(msgspec.Struct, frozen=True):
    """Durable counts of records, since the file was made.

    spooled = drained + expired + set_aside + waiting.

    Attributes:
        waiting: in the file, to be drained.
        spooled: ever written.
        drained: acknowledged by Kafka, then deleted.
        expired: deleted because they may live no longer.
        set_aside: failed their checksum; kept apart for as long as the shortest-lived records.
        used_bytes: of the file, without free pages and without its log.
    """

    waiting: int = 0
    spooled: int = 0
    drained: int = 0
    expired: int = 0
    set_aside: int = 0
    used_bytes: int = 0


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[tuple[str, bytes | None, bytes, int]])


def pack_of(records: Sequence[Record], expires_ms: int | None) -> Pack:
    """The records as the file keeps them."""
    rows = [(record.topic, record.key, record.value, record.timestamp_ms) for record in records]
    return Pack(expires_ms, len(rows), _encoder.encode(rows))


def records_in(data: bytes) -> list[Record]:
    """The records of a pack.

    Raises:
        msgspec.DecodeError: not a pack.
    """
    return [Record(*row) for row in _decoder.decode(data)]


class SpoolFile:
    """One SQLite file. Every method blocks; all belong to the thread that made it.

    Each change is one transaction, synced before the method returns, durable counts included.

    Args:
        path: its folder exists.
        bytes_max: of the file; its log comes on top, some `WAL_BYTES_MAX`.
        set_aside_ms_max: how long what cannot be read is kept: nobody can say what is in it.

    Attributes:
        counts: as of the last change.

    Raises:
        SpoolError: of every method; SpoolFull where only room is missing.
    """

    def __init__(self, path: Path, bytes_max: int, set_aside_ms_max: int) -> None:
        self.counts = SpoolCounts()
        self._path = path
        self._pages_max = bytes_max // PAGE_BYTES + SLACK_PAGES
        self._set_aside_ms_max = set_aside_ms_max
        self._connection: sqlite3.Connection | None = None

    def open(self, now_ms: int) -> None:
        """Opens or makes it; one that is no database any more is put aside, whole."""
        if self._connection is not None:
            return
        try:
            self._connect()
        except sqlite3.DatabaseError as error:
            self.close()
            if not _is_corrupt(error):
                raise _spool_error(error) from None
            self._put_aside_whole(now_ms)
        except OSError as error:
            raise SpoolError(f"the spool cannot be opened: {error.strerror}") from None

    def append(self, packs: Sequence[Pack]) -> None:
        """Writes the packs, all or none."""
        with self._changing() as connection:
            for start in range(0, len(packs), ROWS_PER_INSERT_MAX):
                some = packs[start : start + ROWS_PER_INSERT_MAX]
                values = ", ".join(["(?, ?, ?, ?)"] * len(some))
                connection.execute(
                    f"INSERT INTO spooled (expires_ms, records, pack, checksum) VALUES {values}",  # noqa: S608
                    [field for pack in some for field in (pack.expires_ms, pack.records, pack.data, pack.checksum)],
                )
            _count(connection, "spooled", sum(pack.records for pack in packs))

    def read(self, after: int, records_max: int, now_ms: int) -> list[Entry]:
        """The packs that follow `after`, oldest first, of `records_max` records or a little more.

        What fails its checksum is set aside and counted.
        """
        entries: list[Entry] = []
        broken: list[tuple[int, int]] = []
        records = 0
        with self._guarded() as connection:
            rows = connection.execute(
                "SELECT seq, expires_ms, records, pack, checksum FROM spooled WHERE seq > ? ORDER BY seq LIMIT ?",
                (after, records_max),
            )
            for seq, expires_ms, count, data, checksum in rows:
                try:
                    whole = Pack(expires_ms, count, data).checksum == checksum
                    found = records_in(data) if whole else None
                except (msgspec.MsgspecError, ValueError):
                    found = None
                if found is None:
                    broken.append((seq, count))
                    continue
                entries.append(Entry(seq, expires_ms, found))
                records += count
                if records >= records_max:
                    break
            rows.close()
        if broken:
            self._set_aside(broken, now_ms)
        return entries

    def delete(self, entries: Sequence[Entry]) -> None:
        """Deletes packs that `read` gave and Kafka acknowledged; with the last one, the file shrinks to nothing."""
        with self._changing() as connection:
            connection.execute("DELETE FROM spooled WHERE seq BETWEEN ? AND ?", (entries[0].seq, entries[-1].seq))
            _count(connection, "drained", sum(len(entry.records) for entry in entries))
        self._forget_if_empty()

    def split(self, entry: Entry) -> None:
        """Makes a pack of each record, at the end: one of them is refused, and must not hold back the others."""
        packs = [pack_of([record], entry.expires_ms) for record in entry.records]
        with self._changing() as connection:
            connection.execute("DELETE FROM spooled WHERE seq = ?", (entry.seq,))
            connection.executemany(
                "INSERT INTO spooled (expires_ms, records, pack, checksum) VALUES (?, ?, ?, ?)",
                [(pack.expires_ms, pack.records, pack.data, pack.checksum) for pack in packs],
            )

    def expire(self, now_ms: int) -> int:
        """Deletes what may live no longer; how many records, those set aside not among them."""
        for file in self._path.parent.glob(f"{self._path.name}{BROKEN}*"):
            if int(file.name.rpartition("-")[2]) + self._set_aside_ms_max <= now_ms:
                file.unlink(missing_ok=True)
        with self._guarded() as connection:
            (expired,) = connection.execute(
                "SELECT ifnull(sum(records), 0) FROM spooled WHERE expires_ms <= ?", (now_ms,)
            ).fetchone()
            aside = connection.execute("SELECT 1 FROM set_aside WHERE expires_ms <= ?", (now_ms,)).fetchone()
        if expired or aside:
            with self._changing() as connection:
                connection.execute("DELETE FROM spooled WHERE expires_ms <= ?", (now_ms,))
                connection.execute("DELETE FROM set_aside WHERE expires_ms <= ?", (now_ms,))
                _count(connection, "expired", expired)
            self._forget()
        return int(expired)

    def probe(self) -> None:
        """Writes and syncs something, to see whether that is possible."""
        with self._changing() as connection:
            _count(connection, "spooled", 0)

    def close(self) -> None:
        """Lets go of it; what is in it stays."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _connect(self) -> None:
        # Made here for its mode; SQLite gives the same to what it puts beside it.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._connection = connection = sqlite3.connect(self._path, isolation_level=None)
        for pragma in (
            f"page_size = {PAGE_BYTES}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "secure_delete = ON",
            "temp_store = MEMORY",
            f"journal_size_limit = {WAL_BYTES_MAX}",
            f"max_page_count = {self._pages_max}",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        connection.executescript(_TABLES)
        self._look()
        _sync_folder(self._path.parent)

    def _look(self) -> None:
        """Takes the counts from the file."""
        assert self._connection is not None
        ((waiting, (pages,), (free,), counts),) = [
            (
                self._connection.execute("SELECT ifnull(sum(records), 0) FROM spooled").fetchone()[0],
                self._connection.execute("PRAGMA page_count").fetchone(),
                self._connection.execute("PRAGMA freelist_count").fetchone(),
                dict(self._connection.execute("SELECT name, records FROM counts")),
            )
        ]
        self.counts = SpoolCounts(waiting=waiting, used_bytes=(pages - free) * PAGE_BYTES, **counts)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection]:
        """The connection; SQLite's errors become ours, and after them it is opened anew at the next `open`."""
        if self._connection is None:
            raise SpoolError("the spool is not open")
        try:
            yield self._connection
        except sqlite3.Error as error:
            full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
            if not full or self._connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.rollback()
            if not full:
                self.close()  # whatever SQLite remembers of a disk that fails, it shall read again
            raise _spool_error(error) from None

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._guarded() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
            self._look()
