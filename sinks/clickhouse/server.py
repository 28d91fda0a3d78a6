"""A ClickHouse server, through clickhouse-driver and its native protocol.

A block is sent as an external table, in Native as `transcoder.py` makes it, and one `INSERT … SELECT` makes rows of it:
so the table's expressions and the anti-join of a repair run in the server, and nothing is stored before every datum has
arrived.

The statements of a partition share one query id, and a server runs one query of an id at a time. So a repair never
looks for missing rows while an insert whose answer was lost still runs, whether this process or an earlier one sent it.

Of replicas, the next one knows nothing of what runs on the first. There an insert counts once a majority has its part;
a read sees every part that counts, or fails; and a block that is inserted whole carries a token made of its bytes, by
which the replicas drop it where it is stored already, however late it arrives.
"""

import hashlib
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from clickhouse_driver import errors

from sinks.clickhouse.address import Address
from sinks.clickhouse.connections import CUT_OFF, Connections
from sinks.clickhouse.driver_errors import (
    CONNECT_ERRORS,
    DRIVER_ERRORS,
    MAJORITY_IS_WAITED_FOR,
    SAME_ID_IS_RUNNING,
    Unreachable,
    insert_failure,
    no_answer,
)
from sinks.clickhouse.errors import QueryFailed
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.output_formats import FORMATS
from sinks.clickhouse.statements import literal
from sinks.clickhouse.statements import name as identifier
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
# Of every statement on replicas. Reads see what counts only if one insert at a time waits for its majority.
REPLICATED: dict[str, Any] = {
    "insert_quorum": "auto",
    "insert_quorum_parallel": 0,
    "insert_quorum_timeout": 60_000,
    "select_sequential_consistency": 1,
}
ANSWER_SECONDS_MAX = 120
# How long a statement waits for one of the same id to end. A longer wait would let a plain insert follow another
# sink's insert of the same rows.
BUSY_SECONDS_MAX = 1.0
BUSY_SECONDS = 0.01
# How long one waits while another sink's insert into the same replicated table waits for its majority.
QUORUM_SECONDS_MAX = 20.0
# What a replica says of others, or of Keeper.
MAY_PASS = CUT_OFF | {
    159: "TIMEOUT_EXCEEDED",
    285: "TOO_FEW_LIVE_REPLICAS",
    286: "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE",
    319: "UNKNOWN_STATUS_OF_INSERT",
    341: "UNFINISHED",
}
BUSY = {SAME_ID_IS_RUNNING: BUSY_SECONDS_MAX, MAJORITY_IS_WAITED_FOR: QUORUM_SECONDS_MAX}


class Server:
    """An `Engine`. Any thread may call its methods; each call has a connection of its own.

    Args:
        scratch: the transcoder's folder for temporary files; None for the system's.
        database: that plain table names mean; "" for the user's own. It has to be there.
    """

    def __init__(
        self,
        address: Address,
        *,
        scratch: Path | None = None,
        answer_seconds_max: float = ANSWER_SECONDS_MAX,
        database: str = "",
    ) -> None:
        self._cluster = address.cluster
        self._replicated = REPLICATED if address.cluster else {}
        self._connections = Connections(address, _SETTINGS | self._replicated, answer_seconds_max, database)
        self._inserting: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # by table, on replicas
        self._transcoder = Transcoder(scratch)

    def migrate(self) -> None:
        """Applies the migrations that this server has not seen yet."""
        migrate(self.run, self.select, cluster=self._cluster)

    def insert(self, block: Block) -> None:
        """Stores the whole block as one part."""
        if self._cluster:
            with self._inserting[block.table.name]:
                self._store(block, [_insert(block.table)], once=True)
        else:
            self._store(block, [_insert(block.table)])

    def insert_missing(self, block: Block) -> int:
        """Stores the rows of the block whose key is not stored yet, and tells how many they were."""
        missing = [_count_missing(block.table), _insert_missing(block.table)]
        if not self._cluster:
            return self._store(block, missing)
        with self._inserting[block.table.name]:
            found = self._store(block, missing[:1])
            if found == len(block.datums):
                self._store(block, [_insert(block.table)], once=True)
            # A token outlives rows that were deleted, so what it made the replicas drop is looked for.
            return found and max(found, self._store(block, missing))

    def select(
        self,
        sql: str,
        output_format: str = "JSONEachRow",
        *,
        final: bool = True,
        parameters: Mapping[str, str] = MappingProxyType({}),
    ) -> bytes:
        """The answer to a query of our own, in one of `FORMATS`: the native protocol has no formats.

        Args:
            final: each row once, whatever the user's profile says; else as the profile says, a sink's every stored row.
            parameters: as `run` takes them.
        """
        if output_format not in FORMATS:
            raise QueryFailed(73, f"Unknown format {output_format}; over the native protocol: {', '.join(FORMATS)}")
        rows, columns = self.run(sql, {"final": 1} if final else {}, parameters)
        return FORMATS[output_format](columns, rows)

    def close(self) -> None:
        """Closes every connection; calls in other threads raise Unknown."""
        self._connections.close()
        self._transcoder.close()

    def run(
        self,
        sql: str,
        settings: Mapping[str, Any] = MappingProxyType({}),
        parameters: Mapping[str, str] = MappingProxyType({}),
    ) -> Any:
        """Rows and columns of a statement, the columns as name and type.

        Args:
            parameters: values of `{name:Type}` placeholders, escaped as in TabSeparated. The connection keeps them.

        Raises:
            QueryFailed: the server refused it.
            Unknown: no answer came.
        """
        failure: EngineError
        try:
            with self._connections.client() as (client, _):
                for name, value in parameters.items():  # the protocol's own way needs a newer one than `REVISION_MAX`
                    client.execute(f"SET {identifier(f'param_{name}')} = {literal(value)}")
                return client.execute(sql, with_column_types=True, settings={**self._replicated, **settings})
        except errors.ServerException as error:
            failure = QueryFailed(error.code, error.message)
            if self._cluster and error.code in MAY_PASS:
                failure = Unknown(f"clickhouse failed with code {error.code} ({MAY_PASS[error.code]})")
        except (*CONNECT_ERRORS, Unreachable) as error:
            failure = no_answer(error)
        raise failure

    def _store(self, block: Block, statements: Sequence[str], *, once: bool = False) -> int:
        """Runs the statements over the block. Returns the first one's count, if it gave one.

        Args:
            once: replicas drop what they have stored under the token of this block.
        """
        token = {"insert_deduplicate": 1, "deduplicate_insert": "enable", "insert_deduplication_token": token_of(block)}
        rows = self._transcoder.native(block)
        query_id = f"unjoin {block.table.name} {block.topic} {block.partition}"
        client: Any = None
        failure: EngineError
        try:
            with self._connections.client() as (client, settings):
                count = len(block.datums)
                for sql in statements:
                    answer = self._alone(client, sql, rows, query_id, settings | token if once else settings)
                    count = answer[0][0] if answer else count
                    if not count:
                        break
                return count
        except DRIVER_ERRORS as error:
            failure = insert_failure(error, sent=client is not None and client.sent)
        # This is raised outside the handler, so that the server's text, which holds values, is not its context.
        raise failure

    def _alone(self, client: Any, sql: str, rows: bytes, query_id: str, settings: dict[str, Any]) -> Any:
        """The statement's answer; waits a while where another one of its id runs, or has not reached its majority."""
        began = time.monotonic()
        while True:
            client.sent = False
            try:
                return client.execute(sql, external_tables=rows, settings=settings, query_id=query_id)
            except errors.ServerException as error:
                if time.monotonic() - began >= BUSY.get(error.code, 0.0):
                    raise
                if self._connections.closed.wait(BUSY_SECONDS):
                    raise


def token_of(block: Block) -> str:
    """What is the same for the same rows of the same table."""
    digest = hashlib.sha256(block.table.name.encode())
    for datum in block.datums:
        digest.update(len(datum).to_bytes(8, "little") + datum)
    return digest.hexdigest()


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
