"""chdb over a directory: a ClickHouse engine within the sink's process.

One process owns a directory, and a process has one directory. Every call opens a session of its own (about 0.5 ms), so
that calls from several threads share nothing. The engine releases Python's global lock while it works.
"""

import fcntl
import os
import re
import resource
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import msgspec

from sinks.blocks.memory_file import file_of
from sinks.clickhouse import statements
from sinks.clickhouse.errors import DATA_ERRORS, INCORRECT_DATA, TOO_MANY_ROWS_OR_BYTES, UNKNOWN_EXCEPTION, QueryFailed
from sinks.clickhouse.migrate import migrate
from sinks.engine import Block, EngineError, Refused, Unknown

# chdb raises these with the engine's error text: the second one where the text is not UTF-8.
FAILURES = (RuntimeError, UnicodeDecodeError)
PIECE_BYTES = 65_536
_ERROR = re.compile(r"\ACode: (\d+)\. DB::\w*Exception: (.*)\Z", re.DOTALL)
_ONLY_IN_PYTHON = frozenset({"arrowtable", "dataframe", "datastore", "debug"})


class QueryResult(msgspec.Struct, frozen=True):
    """The result of a query.

    Attributes:
        body: the rows, in the output format that was asked for.
        rows_read, bytes_read: how much of its storage the engine read.
        rows: how many rows it returned.
    """

    body: bytes | bytearray
    rows_read: int
    bytes_read: int
    rows: int
    elapsed_s: float


class TemporaryTable(Protocol):
    """A table that one session has."""

    @property
    def name(self) -> str:
        """An identifier."""

    @property
    def columns(self) -> Sequence[tuple[str, str]]:
        """Name and type of each."""

    @property
    def input_format(self) -> str:
        """How the engine is to read `data`."""

    @property
    def data(self) -> bytes:
        """The rows."""

    @property
    def memory_bytes(self) -> int:
        """What the engine may allocate to make it."""


class Embedded:
    """An `Engine`, and the reader behind the HTTP interface. Any thread may call its methods.

    Attributes:
        directory: absolute.
    """

    def __init__(self, directory: Path) -> None:
        """Opens the directory, or makes it.

        Raises:
            EngineError: another process has it open, or this one has another one open.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory.resolve()
        if str(self.directory) not in _PATHS and _is_open_elsewhere(self.directory):
            raise EngineError(_OPEN_ELSEWHERE.format(self.directory))  # the engine would write to standard error itself
        self._connection = engine_of(self.directory)
        self._closing = threading.Lock()
        try:
            # The engine stops when its last session closes; this one keeps it running.
            self._first: Any = self._connection(str(self.directory))
        except FAILURES as error:
            raise EngineError(_why_closed(self.directory, _text(error))) from None
        _PATHS.append(str(self.directory))
        self._first.query("CREATE DATABASE IF NOT EXISTS unjoin", "Null")

    def migrate(self) -> None:
        """Applies the migrations that this directory has not seen yet.

        Raises:
            MigrationError: it was migrated by other files.
            EngineError: the engine refused a statement.
        """
        migrate(self.select, self.select)

    def insert(self, block: Block) -> None:
        """Stores the whole block as one part, once it is known that none of it is stored yet.

        Raises:
            Refused: a row of it cannot be stored, so none was.
            Unknown: anything else went wrong.
        """
        with file_of(block) as file:
            self._store(statements.insert(block.table, file))

    def insert_missing(self, block: Block) -> int:
        """Stores the rows of the block whose key is not stored yet, and tells how many they were.

        Raises:
            Refused, Unknown: as `insert`; calling again is always safe.
        """
        with file_of(block) as file:
            return self._store(statements.insert_missing(block.table, file))

    def select(self, sql: str, output_format: str = "JSONEachRow") -> bytes:
        """The answer to a statement of our own, in a ClickHouse output format.

        Raises:
            QueryFailed: the engine refused it.
        """
        return bytes(self.read(sql, output_format).body)

    def read(
        self,
        sql: str,
        output_format: str,
        settings: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
        database: str = "unjoin",
        tables: Sequence[TemporaryTable] = (),
    ) -> QueryResult:
        """Runs one statement in a session of its own.

        Args:
            output_format: where the statement names none.
            settings: set in the session before the statement; if `readonly` is among them, the statement changes none.
            parameters: values of `{name:Type}` placeholders, escaped as in TabSeparated.
            tables: that the session has beside the database's, gone with it. They are made before the settings count.

        Raises:
            QueryFailed: the engine refused a setting or the statement.
        """
        if output_format.lower() in _ONLY_IN_PYTHON:
            raise QueryFailed(73, f"Unknown format {output_format}. (UNKNOWN_FORMAT)")
        with self._session() as session:
            try:
                session.query(f"USE {statements.name(database)}", "Null")
                for table in tables:
                    _make(session, table)
                if settings:
                    if strange := [name for name in settings if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII)]:
                        raise QueryFailed(115, f"Unknown setting '{strange[0][:100]}'. (UNKNOWN_SETTING)")
                    pairs = ", ".join(f"{name} = {statements.literal(value)}" for name, value in settings.items())
                    session.query(f"SET {pairs}", "Null")
                result = session.query(sql, output_format, params=dict(parameters or {}))
            except FAILURES as error:
                raise _failure(error) from None
            return QueryResult(
                body=bytes(result.bytes()),
                rows_read=result.storage_rows_read(),
                bytes_read=result.storage_bytes_read(),
                rows=result.rows_read(),
                elapsed_s=result.elapsed(),
            )

    def read_bounded(
        self,
        canonical: str,
        output_format: str,
        settings: Mapping[str, str],
        parameters: Mapping[str, str],
        database: str,
        body_bytes_max: int,
        tables: Sequence[TemporaryTable] = (),
    ) -> QueryResult:
        """Runs one statement as `read` does, and refuses an answer that is too long.

        The engine's bound of memory does not count the formatted answer, which can be many times as long as the rows.
        So the engine writes the answer into a pipe, piece by piece.

        Args:
            canonical: the statement as `formatQuery` writes it.
            body_bytes_max: bytes of the formatted answer.

        Raises:
            QueryFailed: as `read`; with code 396 where the answer is too long.
        """
        reading, writing = os.pipe()
        body = bytearray()
        reader = threading.Thread(target=_collect, args=(reading, body, body_bytes_max))
        reader.start()
        try:
            statement = statements.into_file(canonical, output_format, f"/proc/self/fd/{writing}")
            result = self.read(statement, output_format, settings, parameters, database, tables)
        finally:
            os.close(writing)
            reader.join()
        if len(body) > body_bytes_max:
            raise QueryFailed(
                TOO_MANY_ROWS_OR_BYTES, f"The answer is over {body_bytes_max} bytes. (TOO_MANY_ROWS_OR_BYTES)"
            )
        return msgspec.structs.replace(result, body=body)

    def release_memory(self) -> None:
        """Gives freed memory back to the system at once; the engine's allocator would do so within some seconds."""
        with suppress(EngineError):
            self.select("SYSTEM JEMALLOC PURGE", "Null")

    def close(self) -> None:
        """Closes the directory, so that another process can open it."""
        with self._closing:
            if self._first is not None:
                self._first.close()
                self._first = None
                _PATHS.remove(str(self.directory))

    @contextmanager
    def _session(self) -> Iterator[Any]:
        if self._first is None:
            raise EngineError("the embedded clickhouse is closed")
        session = self._connection(str(self.directory))
        try:
            yield session
        finally:
            session.close()

    def _store(self, sql: str) -> int:
        with self._session() as session:
            try:
                return int(session.query(sql, "Null").rows_written())
            except FAILURES as error:
                code = code_of(error)
        # This is raised outside the handler, so that the engine's text, which holds values, is not its context.
        if code in DATA_ERRORS:
            raise Refused(f"clickhouse refused the block: {code} ({DATA_ERRORS[code]})")
        raise Unknown(f"clickhouse failed on the block with code {code}")


def _make(session: Any, table: TemporaryTable) -> None:
    descriptor = os.memfd_create("table", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(table.data)
        file.flush()
        path = f"/proc/self/fd/{descriptor}"
        session.query(
            statements.temporary_table(table.name, table.columns, table.input_format, path, table.memory_bytes), "Null"
        )


def _collect(reading: int, body: bytearray, bytes_max: int) -> None:
    """Reads a pipe to its end, or until more than `bytes_max` came."""
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while len(body) <= bytes_max and (piece := pipe.read(PIECE_BYTES)):
            body += piece


# The directory that is open in this process, if one is.
_PATHS: list[str] = []
_OPEN_ELSEWHERE = "another process has {} open; stop it, or choose another data directory"


def path_of_engine() -> str:
    """The path that a new session of this process must name: the open directory's, else `:memory:`."""
    return _PATHS[-1] if _PATHS else ":memory:"


def engine_of(directory: Path | None) -> Any:
    """Chdb's class of a session.

    It is imported late: the import starts threads, and threads that start before the process is confined stay
    unconfined.
    """
    # Parts, merges and threads take some hundred descriptors at once, close to 1,024, the usual soft limit.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with temporary_in(directory):
        from chdb.state.sqlitelike import Connection  # noqa: PLC0415
    return Connection


@contextmanager
def temporary_in(directory: Path | None) -> Iterator[None]:
    """Within this context chdb makes its temporary folder inside `directory`, when it is imported or starts in memory.

    Args:
        directory: None for the system's temporary folder.
    """
    if directory is None:
        yield
        return
    before = os.environ.get("TMPDIR")
    temporary = directory / "tmp"
    temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ["TMPDIR"] = str(temporary)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


# Python 3.11.2 drops an error's text that is no UTF-8, as only values are that the text quotes; 3.11.7 does not.
_DROPS_TEXTS = sys.version_info < (3, 11, 7)


def _text(error: Exception) -> str:
    """The engine's text; it quotes values, which need not be UTF-8."""
    return error.object.decode(errors="replace") if isinstance(error, UnicodeDecodeError) else str(error)


def _failure(error: Exception) -> QueryFailed:
    """Code and text of an engine's error, which repeats them for each layer that the error passed through."""
    code, detail = UNKNOWN_EXCEPTION, _text(error)
    if not detail and _DROPS_TEXTS:
        code, detail = INCORRECT_DATA, "A value is refused; the engine's text quotes it, and is not UTF-8."
    while match := _ERROR.match(detail):
        code, detail = (int(match[1]) if code == UNKNOWN_EXCEPTION else code), match[2]
    # "… (NAME) (version 26.9.2.1). (NAME)": once is enough.
    detail = re.sub(r"(\([A-Z_]+\))(?: \(version [^)]*\)\. \1)+\Z", r"\1", detail)
    return QueryFailed(code, detail)


def code_of(error: Exception) -> int:
    """The code in the engine's error text."""
    return _failure(error).code


def _is_open_elsewhere(directory: Path) -> bool:
    """Whether another process has the directory open: an engine locks a file of it."""
    try:
        with (directory / "status").open("rb") as status:
            fcntl.flock(status, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _why_closed(directory: Path, text: str) -> str:
    """Why the engine would not open a directory."""
    if "already initialized" in text:
        return f"this process has another directory open; {directory} needs a process of its own"
    if _is_open_elsewhere(directory):
        return _OPEN_ELSEWHERE.format(directory)
    return f"clickhouse cannot open {directory}; is it writable, and its disk not full?"
