"""A ClickHouse server, through clickhouse-driver and its native protocol.

A block travels as an external table, one block of it, and one `INSERT … SELECT` makes the rows of it: so the table's
expressions and the anti-join of a repair run in the server, and nothing is stored before every datum has arrived.
"""

import datetime
import io
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import unquote, urlsplit

import fastavro
import msgspec
from clickhouse_driver import Client, errors

from schemas.outcomes import UnjoinError
from sinks.embedded import DATA_ERRORS, QueryFailed
from sinks.engine import Block, EngineError, Refused, Table, Unknown
from sinks.migrate import migrate

# Definite, and no row's fault: the table and this code do not belong together. A sink that is refused everything
# halts and says so. Whatever is in neither list (too many parts, memory, time, read-only, access, a full disk) may
# pass, and is tried again.
DEPLOYMENT_ERRORS = {
    16: "NO_SUCH_COLUMN_IN_TABLE",
    20: "NUMBER_OF_COLUMNS_DOESNT_MATCH",
    43: "ILLEGAL_TYPE_OF_ARGUMENT",
    46: "UNKNOWN_FUNCTION",
    47: "UNKNOWN_IDENTIFIER",
    50: "UNKNOWN_TYPE",
    60: "UNKNOWN_TABLE",
    62: "SYNTAX_ERROR",
    81: "UNKNOWN_DATABASE",
}
REFUSALS = DATA_ERRORS | DEPLOYMENT_ERRORS

# Raised by the driver while it writes the external table: the server never saw the end of it and runs nothing.
_NOT_SENT = (errors.TypeMismatchError, errors.UnknownTypeError, errors.TooLargeStringSize, errors.CannotParseUuidError)
_NO_ANSWER = (errors.Error, EOFError, OSError)

# As in statements.py: one part a block, no token, no queue. Older servers know only some of them, and refuse the rest.
_SETTINGS = {
    "max_threads": 1,
    "max_insert_threads": 1,
    "async_insert": 0,
    "insert_deduplicate": 0,
    "deduplicate_insert": "disable",
    "max_insert_block_size": 1_000_000_000,
    "min_insert_block_size_rows": 1_000_000_000,
    "min_insert_block_size_bytes": 1_000_000_000_000,
    "insert_allow_materialized_columns": 0,
    "log_queries": 0,
}
CONNECT_SECONDS_MAX = 5
ANSWER_SECONDS_MAX = 120
_DEFAULTS: dict[str, Any] = {"Array": [], "String": "", "Int": 0, "UInt": 0, "Float": 0.0}


class AddressError(UnjoinError):
    """The server's URL cannot be used; its text never shows the URL."""


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server listens, and as whom; the password stays out of every text."""

    host: str
    port: int
    user: str = "default"
    password: str = ""
    secure: bool = False

    def __repr__(self) -> str:
        return f"Address({self.host}:{self.port})"


def address_of(url: str) -> Address:
    """Reads `clickhouse://user:password@host:9000/unjoin`; `clickhouses` for TLS.

    Raises:
        AddressError: it is none.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressError("the port of UNJOIN_CLICKHOUSE_URL is not a number up to 65535") from None
    if parts.scheme not in ("clickhouse", "clickhouses") or not parts.hostname:
        raise AddressError("UNJOIN_CLICKHOUSE_URL must look like clickhouse://user:password@host:9000/unjoin")
    if parts.path not in ("", "/", "/unjoin") or parts.query or parts.fragment:
        raise AddressError("UNJOIN_CLICKHOUSE_URL must end with the database, which is /unjoin, and nothing after it")
    secure = parts.scheme == "clickhouses"
    return Address(
        host=parts.hostname,
        port=port or (9440 if secure else 9000),
        user=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        secure=secure,
    )


class Server:
    """An `Engine`. Calls may come from any thread; each has a connection of its own while it lasts."""

    def __init__(self, address: Address, *, answer_seconds_max: float = ANSWER_SECONDS_MAX) -> None:
        self._address = address
        self._answer_seconds_max = answer_seconds_max
        self._lock = threading.Lock()
        self._idle: list[tuple[Any, dict[str, Any]]] = []
        self._busy: list[Any] = []
        self._closed = False

    def migrate(self) -> None:
        """Applies the migrations that this server has not seen yet."""
        migrate(self._run, self.select)

    def insert(self, block: Block) -> None:
        """Stores the whole block as one part."""
        self._store(block, lambda table: [_insert(table)])

    def insert_missing(self, block: Block) -> int:
        """Stores the rows of the block whose key is not stored yet, and tells how many they were."""
        return self._store(block, lambda table: [_count_missing(table), _insert_missing(table)])

    def select(self, sql: str, output_format: str = "JSONEachRow") -> bytes:
        """The answer to a query of our own; the native protocol knows no formats, so only these few."""
        if output_format not in _FORMATS:
            raise QueryFailed(73, f"Unknown format {output_format}; over the native protocol: {', '.join(_FORMATS)}")
        rows, columns = self._run(sql)
        return _FORMATS[output_format]([name for name, _ in columns], rows)

    def close(self) -> None:
        """Ends every connection; calls in other threads end with Unknown."""
        with self._lock:
            self._closed = True
            clients = [client for client, _ in self._idle]
            for client in self._busy:
                with suppress(AttributeError, OSError):  # not connected yet, or no more
                    client.connection.socket.shutdown(socket.SHUT_RDWR)
            self._idle = []
        for client in clients:
            client.disconnect()

    def _run(self, sql: str) -> Any:
        """Rows and columns of a statement."""
        failure: EngineError
        try:
            with self._client() as (client, _):
                return client.execute(sql, with_column_types=True)
        except errors.ServerException as error:
            failure = QueryFailed(error.code, error.message)
        except _NO_ANSWER as error:
            failure = Unknown(f"no answer from clickhouse: {type(error).__name__}")
        raise failure

    def _store(self, block: Block, statements: Callable[[Table], Sequence[str]]) -> int:
        """Runs the statements over the block; the last one inserts. Returns the first one's count, if it gave one."""
        rows = {"name": "block", "structure": [(name, kind) for name, kind, _ in block.table.columns]}
        failure: EngineError
        try:
            rows["data"] = _rows(block)
            with self._client() as (client, settings):
                count = len(block.datums)
                for sql in statements(block.table):
                    answer = client.execute(sql, external_tables=[rows], settings=settings, types_check=True)
                    count = answer[0][0] if answer else count
                    if not count:
                        break
                return count
        except errors.ServerException as error:
            if error.code in REFUSALS:
                failure = Refused(f"clickhouse refused the block: {error.code} ({REFUSALS[error.code]})")
            else:
                failure = Unknown(f"clickhouse failed on the block with code {error.code}")
        except (*_NOT_SENT, ValueError, TypeError, KeyError, OverflowError) as error:
            failure = Refused(f"the block does not fit the table: {type(error).__name__}")
        except _NO_ANSWER as error:
            failure = Unknown(f"no answer from clickhouse: {type(error).__name__}")
        # Raised outside the handlers: a server's text holds values, and must not hang on as the context.
        raise failure

    @contextmanager
    def _client(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        """A connected client and the settings that its server knows; thrown away unless all went well."""
        with self._lock:
            if self._closed:
                raise EOFError
            client, settings = self._idle.pop() if self._idle else (self._new_client(), None)
            self._busy.append(client)
        try:
            if settings is None:
                settings = _known_settings(client)
            yield client, settings
        except BaseException:
            with self._lock:
                self._busy.remove(client)
            client.disconnect()
            raise
        with self._lock:
            self._busy.remove(client)
            closed = self._closed
            if not closed:
                self._idle.append((client, settings))
        if closed:
            client.disconnect()

    def _new_client(self) -> Any:
        address = self._address
        return Client(
            address.host,
            port=address.port,
            user=address.user,
            password=address.password,
            secure=address.secure,
            client_name="unjoin",
            connect_timeout=CONNECT_SECONDS_MAX,
            send_receive_timeout=self._answer_seconds_max,
            sync_request_timeout=CONNECT_SECONDS_MAX,
        )


def _known_settings(client: Any) -> dict[str, Any]:
    known = {name for (name,) in client.execute("SELECT name FROM system.settings")}
    return {name: value for name, value in _SETTINGS.items() if name in known}


# The statements. Names of tables and columns are our own: hence S608 is off.


def _insert(table: Table) -> str:
    return f"{_into(table)} SELECT {_columns(table)} FROM ({_made(table)})"  # noqa: S608


def _insert_missing(table: Table) -> str:
    return f"{_into(table)} SELECT {_columns(table)} {_missing(table)}"


def _count_missing(table: Table) -> str:
    return f"SELECT count() {_missing(table)}"


def _missing(table: Table) -> str:
    key = ", ".join(f"`{name}`" for name in table.key)
    among = f"SELECT {key} FROM ({_made(table)})"  # noqa: S608
    stored = f"SELECT {key} FROM unjoin.{table.name} WHERE ({key}) IN ({among})"  # noqa: S608
    return f"FROM ({_made(table)}) WHERE ({key}) NOT IN ({stored})"


def _into(table: Table) -> str:
    return f"INSERT INTO unjoin.{table.name} ({_columns(table)})"


def _made(table: Table) -> str:
    made = ", ".join(f"{expression} AS `{name}`" for name, _, expression in table.columns)
    return f"SELECT {made} FROM block"  # noqa: S608


def _columns(table: Table) -> str:
    return ", ".join(f"`{name}`" for name, _, _ in table.columns)


def _rows(block: Block) -> list[tuple[Any, ...]]:
    """The datums as rows in column order; a field that an older schema lacks is its type's default."""
    names = [(name, _default(kind)) for name, kind, _ in block.table.columns]
    rows = []
    for datum in block.datums:
        row: Any = fastavro.schemaless_reader(io.BytesIO(datum), block.schema, None)
        rows.append(tuple(row.get(name, default) for name, default in names))
    return rows


def _default(kind: str) -> Any:
    return next((default for start, default in _DEFAULTS.items() if kind.startswith(start)), None)


# Output formats.


def _plain(value: Any) -> Any:
    """A value as ClickHouse writes it in JSON."""
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S") + (f".{value.microsecond // 1000:03}" if value.microsecond else "")
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | None) else str(value)


def _json_each_row(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    lines = (msgspec.json.encode(dict(zip(names, map(_plain, row), strict=True))) for row in rows)
    return b"".join(line + b"\n" for line in lines)


def _tab_separated(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    del names
    return "".join("\t".join(map(_escaped, row)) + "\n" for row in rows).encode()


def _tab_separated_with_names(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    return _tab_separated([], [names]) + _tab_separated([], rows)


def _escaped(value: Any) -> str:
    if value is None:
        return "\\N"
    text = str(_plain(value))
    return re.sub(r"[\\\t\n]", lambda match: {"\\": "\\\\", "\t": "\\t", "\n": "\\n"}[match[0]], text)


_FORMATS = {
    "JSONEachRow": _json_each_row,
    "TabSeparated": _tab_separated,
    "TabSeparatedWithNames": _tab_separated_with_names,
}
