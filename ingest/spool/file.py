"""The spool's file: packs of records in SQLite, each with a checksum, synced before `append` returns.

UnjoinError
└── SpoolError        the file cannot take or give records now
    ├── SpoolFull     its bound is reached, or the disk's
    └── SpoolHeld     another process has the folder

Not a log of our own: SQLite in WAL mode with synchronous=FULL survives a kill at any moment, and syncs its log at
every commit (https://www.sqlite.org/pragma.html#pragma_synchronous). A pack holds the records of one request that live
equally long, so that a commit is a handful of calls: each lets go of the interpreter's lock, and getting that back from
a busy loop takes up to 5 ms.
"""

import contextlib
import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from ingest.spool.packs import Entry, Pack, pack_of, records_in
from schemas.outcomes import UnjoinError

log = logging.getLogger(__name__)

PAGE_BYTES = 4_096
# Of its own, so that what frees pages can still be written when the bound is reached.
SLACK_PAGES = 64
# The log beside the file is cut to this whenever it starts anew; one commit may make it longer for a while.
WAL_BYTES_MAX = 4_194_304
# Left free on the disk: deleting takes room, too, and others write there.
DISK_FREE_BYTES_MIN = 16_777_216
FORGET_MS = 60_000
ROWS_PER_INSERT_MAX = 500
_BROKEN = ".broken-"

# FULL: in WAL mode, NORMAL would sync only at checkpoints. secure_delete: what is deleted is overwritten.
_PRAGMAS = (
    f"page_size = {PAGE_BYTES}",
    "journal_mode = WAL",
    "synchronous = FULL",
    "secure_delete = ON",
    "temp_store = MEMORY",
    f"journal_size_limit = {WAL_BYTES_MAX}",
)

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
_INSERT = "INSERT INTO spooled (expires_ms, records, pack, checksum) VALUES (?, ?, ?, ?)"
_COUNTED = {"spooled", "drained", "expired", "set_aside"}
_BETWEEN = "FROM spooled WHERE seq BETWEEN ? AND ?"
# Errors of the disk, the machine or another process; after any other, the file is not what we wrote.
_PASSING = {
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM),
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOMEM),
}


class SpoolError(UnjoinError):
    """The file cannot take or give records now."""


class SpoolFull(SpoolError):
    """Its bound is reached, or the disk is full."""


class SpoolHeld(SpoolError):
    """Another process has the folder."""


class SpoolCounts(msgspec.Struct, frozen=True):
    """Durable counts of records, since the file was made.

    Attributes:
        spooled: ever written.
        drained: acknowledged by Kafka, then deleted.
        expired: deleted because they may live no longer.
        set_aside: failed their checksum; kept apart for as long as the shortest-lived records.
        used_bytes: of the file, without free pages and without its log.
    """

    spooled: int = 0
    drained: int = 0
    expired: int = 0
    set_aside: int = 0
    used_bytes: int = 0

    @property
    def waiting(self) -> int:
        """In the file, to be drained."""
        return self.spooled - self.drained - self.expired - self.set_aside


class SpoolFile:
    """One SQLite file. Every method blocks; all of them belong to one thread.

    Each change is one transaction, synced before the method returns, durable counts included. Methods raise SpoolError,
    SpoolFull where only room is missing; after that, `open` again.

    Args:
        path: its folder exists.
        bytes_max: of the file; its log comes on top, some `WAL_BYTES_MAX`.
        set_aside_ms_max: how long what cannot be read is kept, since nobody can say what is in it.
        now_ms: Unix milliseconds.

    Attributes:
        counts: as of the last change.
        broken: how often it was no database any more and was put aside, whole.
    """

    def __init__(self, path: Path, bytes_max: int, set_aside_ms_max: int, now_ms: Callable[[], int]) -> None:
        self.counts = SpoolCounts()
        self.broken = 0
        self._path = path
        self._pages_max = bytes_max // PAGE_BYTES + SLACK_PAGES
        self._set_aside_ms_max = set_aside_ms_max
        self._now_ms = now_ms
        self._connection: sqlite3.Connection | None = None
        # Deleted rows are overwritten in the file, but the log may still hold them.
        self._copies_left = True
        self._forgot_at_ms = 0

    def open(self) -> None:
        """Opens or makes it, unless it is open."""
        if self._connection is not None:
            return
        try:
            # Made here for its mode; SQLite gives the same to what it puts beside it.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            sync_folder(self._path.parent)
        except OSError as error:
            raise SpoolError(f"the spool cannot be opened: {error.strerror}") from None
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        with self._guarded() as connection:
            for pragma in (*_PRAGMAS, f"max_page_count = {self._pages_max}"):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            connection.executescript(_TABLES)
            self._look(connection)

    def append(self, packs: Sequence[Pack]) -> None:
        """Writes the packs, all or none."""
        self._check_disk()
        with self._changing() as connection:
            for start in range(0, len(packs), ROWS_PER_INSERT_MAX):
                some = packs[start : start + ROWS_PER_INSERT_MAX]
                connection.execute(
                    _INSERT + ", (?, ?, ?, ?)" * (len(some) - 1),
                    [field for pack in some for field in (pack.expires_ms, pack.records, pack.data, pack.checksum)],
                )
            _count(connection, "spooled", sum(pack.records for pack in packs))

    def read(self, after: int, records_max: int, bytes_max: int) -> list[Entry]:
        """The packs that follow `after`, oldest first, until one of the bounds is reached.

        What fails its checksum is set aside and counted.
        """
        entries: list[Entry] = []
        failed: list[tuple[int, int]] = []
        records = size = 0
        with self._guarded() as connection, contextlib.closing(connection.cursor()) as rows:
            rows.execute(
                "SELECT seq, expires_ms, records, pack, checksum FROM spooled WHERE seq > ? ORDER BY seq", (after,)
            )
            for seq, expires_ms, count, data, checksum in rows:
                found = records_in(Pack(expires_ms, count, data), checksum)
                if found is None:
                    failed.append((seq, count))
                    continue
                entries.append(Entry(seq, expires_ms, found))
                records += count
                size += len(data)
                if records >= records_max or size >= bytes_max:
                    break
        if failed:
            self._set_aside(failed)
        return entries

    def delete(self, entries: Sequence[Entry]) -> None:
        """Deletes packs that `read` gave and Kafka acknowledged; nothing happens to those that are gone already."""
        ends = (entries[0].seq, entries[-1].seq)
        with self._changing() as connection:
            (drained,) = connection.execute(f"SELECT ifnull(sum(records), 0) {_BETWEEN}", ends).fetchone()
            connection.execute(f"DELETE {_BETWEEN}", ends)
            _count(connection, "drained", drained)
        self._copies_left = True
        if not self.counts.waiting:
            self._forget()

    def split(self, entry: Entry) -> None:
        """Makes a pack of each record, at the end: one of them is refused, and must not hold back the others."""
        packs = [pack_of([record], entry.expires_ms) for record in entry.records]
        with self._changing() as connection:
            connection.execute("DELETE FROM spooled WHERE seq = ?", (entry.seq,))
            connection.executemany(
                _INSERT, [(pack.expires_ms, pack.records, pack.data, pack.checksum) for pack in packs]
            )

    def expire(self) -> int:
        """Deletes what may live no longer; how many records."""
        now_ms = self._now_ms()
        self._expire_broken(now_ms)
        with self._guarded() as connection:
            due = connection.execute(
                "SELECT (SELECT sum(records) FROM spooled WHERE expires_ms <= ?1),"
                " (SELECT 1 FROM set_aside WHERE expires_ms <= ?1 LIMIT 1)",
                (now_ms,),
            ).fetchone()
        expired = int(due[0] or 0)
        if due == (None, None):
            if self._copies_left and abs(now_ms - self._forgot_at_ms) >= FORGET_MS:
                self._forget()
            return 0
        with self._changing() as connection:
            connection.execute("DELETE FROM spooled WHERE expires_ms <= ?", (now_ms,))
            connection.execute("DELETE FROM set_aside WHERE expires_ms <= ?", (now_ms,))
            _count(connection, "expired", expired)
        self._copies_left = True
        self._forget()
        return expired

    def probe(self) -> None:
        """Writes and syncs, to see whether that is possible."""
        self._check_disk()
        with self._changing() as connection:
            _count(connection, "spooled", 0)

    def close(self) -> None:
        """Lets go of it; what is in it stays."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _check_disk(self) -> None:
        disk = os.statvfs(self._path.parent)
        if disk.f_bavail * disk.f_frsize < DISK_FREE_BYTES_MIN:
            raise SpoolFull("the spool's disk is full")

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection]:
        """The connection. When anything fails it is closed, for SQLite to read again what a failing disk really has.

        Not for want of room: opening it takes some.
        """
        if self._connection is None:
            raise SpoolError("the spool is not open")
        try:
            yield self._connection
        except (sqlite3.Error, UnicodeDecodeError) as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
            if code == sqlite3.SQLITE_FULL and self._rolled_back():
                raise SpoolFull("the spool or its disk is full") from None
            self.close()
            if code & 0xFF not in _PASSING:
                self._put_aside_whole()
            raise SpoolError(f"the spool failed: {getattr(error, 'sqlite_errorname', type(error).__name__)}") from None
        except BaseException:
            self.close()
            raise

    def _rolled_back(self) -> bool:
        try:
            if self._connection is not None and self._connection.in_transaction:
                self._connection.rollback()
        except sqlite3.Error:
            return False
        return True

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._guarded() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
            self._look(connection)

    def _look(self, connection: sqlite3.Connection) -> None:
        """Takes the counts from the file."""
        counts = dict(connection.execute("SELECT name, records FROM counts").fetchall())
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        if counts.keys() != _COUNTED or not all(isinstance(count, int) for count in counts.values()):
            raise sqlite3.DatabaseError("the counts are damaged")
        self.counts = SpoolCounts(**counts, used_bytes=(pages - free) * PAGE_BYTES)

    def _forget(self) -> None:
        """Leaves no copy of what was deleted in the log, and no empty pages when nothing is left."""
        with self._guarded() as connection:
            if not self.counts.waiting:
                connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._look(connection)
        self._copies_left = False
        self._forgot_at_ms = self._now_ms()

    def _set_aside(self, failed: Sequence[tuple[int, int]]) -> None:
        # Which topic they were of cannot be trusted, so they live as short as any.
        expires_ms = self._now_ms() + self._set_aside_ms_max
        with self._changing() as connection:
            for seq, records in failed:
                connection.execute(
                    "INSERT INTO set_aside SELECT seq, ?, records, pack, checksum FROM spooled WHERE seq = ?",
                    (expires_ms, seq),
                )
                connection.execute("DELETE FROM spooled WHERE seq = ?", (seq,))
                _count(connection, "set_aside", records)
        log.error("%d packs of the spool fail their checksum and were set aside", len(failed))

    def _put_aside_whole(self) -> None:
        """Renames a file that is no database any more; a new one takes its place at the next `open`."""
        self.broken += 1
        aside = self._path.with_name(f"{self._path.name}{_BROKEN}{self._now_ms()}")
        log.critical("the spool is no database any more; it is kept as %s for a while, try .recover on it", aside.name)
        for end in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                Path(f"{self._path}{end}").rename(f"{aside}{end}")

    def _expire_broken(self, now_ms: int) -> None:
        for file in self._path.parent.glob(f"{self._path.name}{_BROKEN}*"):
            since_ms = int(file.name.rpartition(_BROKEN)[2].partition("-")[0])
            if since_ms + self._set_aside_ms_max <= now_ms:
                file.unlink(missing_ok=True)


def waiting_by_topic(path: Path) -> tuple[SpoolCounts, Counter[str]]:
    """The durable counts of a spool's file, and of the same moment the records that lie in it, by topic, counted anew.

    Works whether a collector has the file open or not; for who adds up what became of records. A pack that cannot be
    read is left out, so that the difference to `SpoolCounts.waiting` shows it.

    Raises:
        SpoolError: there is none, or it cannot be read.
    """
    found: Counter[str] = Counter()
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            counts = SpoolCounts(**dict(connection.execute("SELECT name, records FROM counts").fetchall()))
            for expires_ms, count, data, checksum in connection.execute(
                "SELECT expires_ms, records, pack, checksum FROM spooled"
            ):
                found.update(record.topic for record in records_in(Pack(expires_ms, count, data), checksum) or ())
    except sqlite3.Error:
        raise SpoolError("the spool cannot be read") from None
    return counts, found


def _count(connection: sqlite3.Connection, name: str, records: int) -> None:
    connection.execute("UPDATE counts SET records = records + ? WHERE name = ?", (records, name))


def sync_folder(folder: Path) -> None:
    """Makes the names of new files in a folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
