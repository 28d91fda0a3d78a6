"""A ClickHouse server, through clickhouse-driver and its native protocol.

A block is sent as an external table, in Native as `transcoder.py` makes it, and one `INSERT … SELECT` makes rows of it:
so the table's expressions and the anti-join of a repair run in the server, and nothing is stored before every datum has
arrived.

The statements of a partition share one query id, and a server runs one query of an id at a time. So a repair never
looks for missing rows while an insert whose answer was lost still runs, whether this process or an earlier one sent it.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from clickhouse_driver import Client, defines, errors
from clickhouse_driver.block import BlockInfo
from clickhouse_driver.protocol import ClientPacketTypes
from clickhouse_driver.varint import write_varint
from clickhouse_driver.writer import write_binary_str

from schemas.outcomes import UnjoinError
from sinks.clickhouse.driver_errors import DRIVER_ERRORS, SAME_ID_IS_RUNNING, insert_failure, server_exception
from sinks.clickhouse.errors import QueryFailed
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.output_formats import FORMATS
from sinks.clickhouse.transcoder import Transcoder
from sinks.engine import Block, EngineError, Table, Unknown

# As in statements.py: one part a block, no deduplication token, no queue of inserts. An older server refuses settings
# that it does not know, so it gets only those that it lists.
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
    "replace_running_query": 0,
    "log_queries": 0,
}
CONNECT_SECONDS_MAX = 5
ANSWER_SECONDS_MAX = 120
# How long a statement waits for one of the same id to end. A longer wait would let a plain insert follow another
# sink's insert of the same rows.
BUSY_SECONDS_MAX = 1.0
BUSY_SECONDS = 0.01
# From the next revision on, each column of a block names its serialization, which the format Native does not.
REVISION_MAX = defines.DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION - 1


class AddressError(UnjoinError):
    """The server's URL cannot be used; its text never shows the URL."""


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server listens, and the user to log in as; `repr` leaves out the password."""

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
    """An `Engine`. Any thread may call its methods; each call has a connection of its own.

    Args:
        scratch: the transcoder's folder for temporary files; None for the system's.
    """

    def __init__(
        self, address: Address, *, scratch: Path | None = None, answer_seconds_max: float = ANSWER_SECONDS_MAX
    ) -> None:
        self._address = address
        self._transcoder = Transcoder(scratch)
        self._answer_seconds_max = answer_seconds_max
        self._lock = threading.Lock()
        self._idle: list[tuple[Any, dict[str, Any]]] = []
        self._busy: list[Any] = []
        self._closed = threading.Event()

    def migrate(self) -> None:
        """Applies the migrations that this server has not seen yet."""
        migrate(self._run, self.select)

    def insert(self, block: Block) -> None:
        """Stores the whole block as one part."""
        self._store(block, lambda table: [_insert(table)])

    def insert_missing(self, block: Block) -> int:
        """Stores the rows of the block whose key is not stored yet, and tells how many they were."""
        return self._store(block, lambda table: [_count_missing(table), _insert_missing(table)])

    def select(self, sql: str, output_format: str = "JSONEachRow", *, final: bool = True) -> bytes:
        """The answer to a query of our own, in one of `FORMATS`: the native protocol has no formats.

        Args:
            final: each row once, whatever the user's profile says; else as the profile says, a sink's every stored row.
        """
        if output_format not in FORMATS:
            raise QueryFailed(73, f"Unknown format {output_format}; over the native protocol: {', '.join(FORMATS)}")
        rows, columns = self._run(sql, {"final": 1} if final else {})
        return FORMATS[output_format]([name for name, _ in columns], rows)

    def close(self) -> None:
        """Closes every connection; calls in other threads raise Unknown."""
        with self._lock:
            self._closed.set()
            clients = [client for client, _ in self._idle]
            for client in self._busy:
                with suppress(AttributeError, OSError):  # not connected yet, or no more
                    client.connection.socket.shutdown(socket.SHUT_RDWR)
            self._idle = []
        for client in clients:
            client.disconnect()
        self._transcoder.close()

    def _run(self, sql: str, settings: Mapping[str, int] = MappingProxyType({})) -> Any:
        """Rows and columns of a statement."""
        failure: EngineError
        try:
            with self._client() as (client, _):
                return client.execute(sql, with_column_types=True, settings=dict(settings))
        except errors.ServerException as error:
            failure = QueryFailed(error.code, error.message)
        except (errors.Error, EOFError, OSError) as error:
            failure = Unknown(f"no answer from clickhouse: {type(error).__name__}")
        raise failure

    def _store(self, block: Block, statements: Callable[[Table], Sequence[str]]) -> int:
        """Runs the statements over the block; the last one inserts. Returns the first one's count, if it gave one."""
        rows = self._transcoder.native(block)
        query_id = f"unjoin {block.table.name} {block.topic} {block.partition}"
        client: Any = None
        failure: EngineError
        try:
            with self._client() as (client, settings):
                count = len(block.datums)
                for sql in statements(block.table):
                    answer = self._alone(client, sql, rows, query_id, settings)
                    count = answer[0][0] if answer else count
                    if not count:
                        break
                return count
        except DRIVER_ERRORS as error:
            failure = insert_failure(error, sent=client is not None and client.sent)
        # This is raised outside the handler, so that the server's text, which holds values, is not its context.
        raise failure

    def _alone(self, client: Any, sql: str, rows: bytes, query_id: str, settings: dict[str, Any]) -> Any:
        """The statement's answer; retries for up to `BUSY_SECONDS_MAX` while another statement of its id runs."""
        until = time.monotonic() + BUSY_SECONDS_MAX
        while True:
            client.sent = False
            try:
                return client.execute(sql, external_tables=rows, settings=settings, query_id=query_id)
            except errors.ServerException as error:
                if error.code != SAME_ID_IS_RUNNING or time.monotonic() > until or self._closed.wait(BUSY_SECONDS):
                    raise

    @contextmanager
    def _client(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        """A connected client and the settings that its server knows; after an exception it is not used again."""
        with self._lock:
            if self._closed.is_set():
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
            closed = self._closed.is_set()
            if not closed:
                self._idle.append((client, settings))
        if closed:
            client.disconnect()

    def _new_client(self) -> Any:
        address = self._address
        client = _Client(
            address.host,
            port=address.port,
            user=address.user,
            password=address.password,
            secure=address.secure,
            client_name="unjoin",
            connect_timeout=CONNECT_SECONDS_MAX,
            send_receive_timeout=self._answer_seconds_max,
            sync_request_timeout=CONNECT_SECONDS_MAX,
            client_revision=REVISION_MAX,
        )
        client.connection.send_external_tables = partial(_send_block, client.connection)
        client.connection.receive_exception = lambda: server_exception(client.connection.fin)
        return client


class _Client(Client):  # type: ignore[misc]  # clickhouse-driver has no types
    """Knows whether its query and the block that belongs to it were sent.

    Attributes:
        sent: whether both were; before, the server runs nothing, for it waits for the end of the block.
    """

    sent = False

    def receive_result(self, *args: Any, **kwargs: Any) -> Any:
        """Notes that all is sent: `execute` calls this next."""
        self.sent = True
        return super().receive_result(*args, **kwargs)


def _send_block(connection: Any, native: bytes | None, types_check: bool = False) -> None:
    """Replaces the driver's method: sends bytes that are Native already, as the external table `block`."""
    del types_check
    if native:
        write_varint(ClientPacketTypes.DATA, connection.fout)
        write_binary_str("block", connection.fout)
        BlockInfo().write(connection.fout)
        connection.fout.write(native)
    type(connection).send_external_tables(connection, ())  # an empty block ends the data


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
