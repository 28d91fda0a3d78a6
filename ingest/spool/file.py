"""The spool's file: packs of records in SQLite, each with a checksum, synced before `append` returns.

UnjoinError
└── SpoolError        the file cannot take or give records now
    ├── SpoolFull     its bound is reached, or the disk's
    └── SpoolHeld     another process has the folder

SQLite in WAL mode with synchronous=FULL survives a kill at any moment, since it syncs its log at every commit
(https://www.sqlite.org/pragma.html#pragma_synchronous). A pack holds the records of one request that expire together,
so that a commit takes few calls: each call releases the interpreter's lock, and the spool's thread may wait up to 5 ms
for a busy event loop to give the lock back.
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
# Pages beyond the bound, for the statements that delete packs once the bound is reached.
SLACK_PAGES = 64
# SQLite truncates its log to this size at a checkpoint; one commit may make it longer until then.
WAL_BYTES_MAX = 4_194_304
# Bytes left free on the disk: deleting needs room, and other programs write to the disk, too.
DISK_FREE_BYTES_MIN = 16_777_216
ERASE_MS = 60_000
ROWS_PER_INSERT_MAX = 500
_BROKEN_SUFFIX = ".broken-"

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
# Errors that the disk, the machine or another process cause. Any other error means that the file is damaged.
_TEMPORARY_ERRORS = {
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
    """Durable counts of records since the file was made.

    Attributes:
        spooled: records ever written.
        drained: records that Kafka acknowledged and that were then deleted.
        expired: records deleted because their retention ended.
        set_aside: records with a wrong checksum, kept in another table for the shortest retention of any topic.
        used_bytes: bytes of the file, without free pages and without the log.
    """

    spooled: int = 0
    drained: int = 0
    expired: int = 0
    set_aside: int = 0
    used_bytes: int = 0

    @property
    def waiting(self) -> int:
        """Records in the file that are still to be drained."""
        return self.spooled - self.drained - self.expired - self.set_aside


class SpoolFile:
    """One SQLite file. Every method blocks; all methods belong to one thread.

    Each change is one transaction, which includes the durable counts and is synced before the method returns. Methods
    raise SpoolFull when only room is missing, and SpoolError otherwise; after either, call `open` again.

    Args:
        path: of the file, in a folder that exists.
        bytes_max: of the file; the log needs about `WAL_BYTES_MAX` more.
        set_aside_ms_max: how long unreadable packs and damaged files are kept. Nobody can say what is in them.
        now_ms: Unix milliseconds.

    Attributes:
        counts: as of the last change.
        broken: how often a damaged file was renamed and a new one started.
    """

    def __init__(self, path: Path, bytes_max: int, set_aside_ms_max: int, now_ms: Callable[[], int]) -> None:
        self.counts = SpoolCounts()
        self.broken = 0
        self._path = path
        self._pages_max = bytes_max // PAGE_BYTES + SLACK_PAGES
        self._set_aside_ms_max = set_aside_ms_max
        self._now_ms = now_ms
        self._connection: sqlite3.Connection | None = None
        # Deleted packs are overwritten in the file, but the log may still hold copies of them.
        self._log_has_copies = True
        self._erased_at_ms = 0

    def open(self) -> None:
        """Opens the file, or makes it; does nothing while it is open."""
        if self._connection is not None:
            return
        try:
            # Made here for mode 600; SQLite gives its log the same mode.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            sync_folder(self._path.parent)
        except OSError as error:
            raise SpoolError(f"the spool cannot be opened: {error.strerror}") from None
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        with self._guarded() as connection:
            for pragma in (*_PRAGMAS, f"max_page_count = {self._pages_max}"):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            connection.executescript(_TABLES)
            self._read_counts(connection)

    def append(self, packs: Sequence[Pack]) -> None:
        """Writes all packs in one transaction."""
        self._check_disk()
        with self._transaction() as connection:
            for start in range(0, len(packs), ROWS_PER_INSERT_MAX):
                some = packs[start : start + ROWS_PER_INSERT_MAX]
                connection.execute(
                    _INSERT + ", (?, ?, ?, ?)" * (len(some) - 1),
                    [field for pack in some for field in (pack.expires_ms, pack.records, pack.data, pack.checksum)],
                )
            _add_to_count(connection, "spooled", sum(pack.records for pack in packs))

    def read(self, after: int, records_max: int, bytes_max: int) -> list[Entry]:
        """Reads the packs whose number is above `after`, oldest first, until one of the bounds is reached.

        A pack with a wrong checksum is set aside and counted.
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
        """Deletes packs that `read` returned and Kafka acknowledged; skips those that are deleted already."""
        ends = (entries[0].seq, entries[-1].seq)
        with self._transaction() as connection:
            (drained,) = connection.execute(f"SELECT ifnull(sum(records), 0) {_BETWEEN}", ends).fetchone()
            connection.execute(f"DELETE {_BETWEEN}", ends)
            _add_to_count(connection, "drained", drained)
        self._log_has_copies = True
        if not self.counts.waiting:
            self._erase_copies()

    def split(self, entry: Entry) -> None:
        """Replaces a pack by one pack for each record, at the end: Kafka refuses one record, and takes the others."""
        packs = [pack_of([record], entry.expires_ms) for record in entry.records]
        with self._transaction() as connection:
            connection.execute("DELETE FROM spooled WHERE seq = ?", (entry.seq,))
            connection.executemany(
                _INSERT, [(pack.expires_ms, pack.records, pack.data, pack.checksum) for pack in packs]
            )

    def expire(self) -> int:
        """Deletes the records whose retention has ended; returns their number."""
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
            if self._log_has_copies and abs(now_ms - self._erased_at_ms) >= ERASE_MS:
                self._erase_copies()
            return 0
        with self._transaction() as connection:
            connection.execute("DELETE FROM spooled WHERE expires_ms <= ?", (now_ms,))
            connection.execute("DELETE FROM set_aside WHERE expires_ms <= ?", (now_ms,))
            _add_to_count(connection, "expired", expired)
        self._log_has_copies = True
        self._erase_copies()
        return expired

    def probe(self) -> None:
        """Writes and syncs, without a change, to find out whether the disk works."""
        self._check_disk()
        with self._transaction() as connection:
            _add_to_count(connection, "spooled", 0)

    def close(self) -> None:
        """Closes the file; its packs stay."""
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
        """Gives the connection, and closes it after an error, so that SQLite reads anew what a failing disk has stored.

        After SQLITE_FULL it stays open, since opening needs room, too.
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
            if code & 0xFF not in _TEMPORARY_ERRORS:
                self._set_file_aside()
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
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._guarded() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
            self._read_counts(connection)

    def _read_counts(self, connection: sqlite3.Connection) -> None:
        """Sets `counts` to those in the file."""
        counts = dict(connection.execute("SELECT name, records FROM counts").fetchall())
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        if counts.keys() != _COUNTED or not all(isinstance(count, int) for count in counts.values()):
            raise sqlite3.DatabaseError("the counts are damaged")
        self.counts = SpoolCounts(**counts, used_bytes=(pages - free) * PAGE_BYTES)

    def _erase_copies(self) -> None:
        """Truncates the log, which may hold copies of deleted packs; frees all pages once no pack is left."""
        with self._guarded() as connection:
            if not self.counts.waiting:
                connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._read_counts(connection)
        self._log_has_copies = False
        self._erased_at_ms = self._now_ms()

    def _set_aside(self, failed: Sequence[tuple[int, int]]) -> None:
        # Their topic cannot be trusted, so they get the shortest retention of any topic.
        expires_ms = self._now_ms() + self._set_aside_ms_max
        with self._transaction() as connection:
            for seq, records in failed:
                connection.execute(
                    "INSERT INTO set_aside SELECT seq, ?, records, pack, checksum FROM spooled WHERE seq = ?",
                    (expires_ms, seq),
                )
                connection.execute("DELETE FROM spooled WHERE seq = ?", (seq,))
                _add_to_count(connection, "set_aside", records)
        log.error("%d packs of the spool fail their checksum and were set aside", len(failed))

    def _set_file_aside(self) -> None:
        """Renames a damaged file; the next `open` makes a new one."""
        self.broken += 1
        aside = self._path.with_name(f"{self._path.name}{_BROKEN_SUFFIX}{self._now_ms()}")
        log.critical("the spool is no database any more; it is kept as %s for a while, try .recover on it", aside.name)
        for end in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                Path(f"{self._path}{end}").rename(f"{aside}{end}")

    def _expire_broken(self, now_ms: int) -> None:
        for file in self._path.parent.glob(f"{self._path.name}{_BROKEN_SUFFIX}*"):
            since_ms = int(file.name.rpartition(_BROKEN_SUFFIX)[2].partition("-")[0])
            if since_ms + self._set_aside_ms_max <= now_ms:
                file.unlink(missing_ok=True)


def waiting_by_topic(path: Path) -> tuple[SpoolCounts, Counter[str]]:
    """Reads the durable counts of a spool's file, and counts the records in it, by topic, at the same moment.

    A collector may have the file open. A pack that cannot be read is not counted, so that the difference to
    `SpoolCounts.waiting` shows it.

    Raises:
        SpoolError: there is no such file, or it cannot be read.
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


def _add_to_count(connection: sqlite3.Connection, name: str, records: int) -> None:
    connection.execute("UPDATE counts SET records = records + ? WHERE name = ?", (records, name))


def sync_folder(folder: Path) -> None:
    """Syncs a folder, so that the names of new files in it survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
