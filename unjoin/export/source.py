"""Asks the embedded engine on port 8123, or a server, for rows as a table of Arrow."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow as pa

from sinks.clickhouse.errors import QueryFailed
from sinks.clickhouse.server import Server
from sinks.engine import EngineError
from unjoin.connections.clickhouse_address import server_address_of
from unjoin.export.files import ExportError
from unjoin.query import answer_over_http
from unjoin.settings import Settings

ReadTable = Callable[[str, pa.Schema], pa.Table]
"""A statement, and the columns it gives -> its rows."""


def table_of(arrow_stream: bytes, schema: pa.Schema) -> pa.Table:
    """The rows of ClickHouse's ArrowStream, with the types that a file has."""
    return pa.ipc.open_stream(arrow_stream).read_all().cast(schema)


@contextmanager
def source_of(settings: Settings) -> Iterator[ReadTable]:
    """Where the sink writes.

    Raises:
        ExportError, QueryError: nobody answers, or the statement was refused.
    """
    address = server_address_of(settings)
    if address is None:
        yield lambda sql, schema: table_of(answer_over_http(settings, sql, "ArrowStream"), schema)
        return
    server = Server(address)

    def read(sql: str, schema: pa.Schema) -> pa.Table:
        rows, _ = server.run(sql, {"final": 1})
        columns = list(zip(*rows, strict=True)) or [()] * len(schema)
        return pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)

    try:
        yield read
    except QueryFailed as error:
        raise ExportError(f"ClickHouse refused: {error.detail.splitlines()[0]}") from None
    except EngineError as error:
        raise ExportError(f"ClickHouse does not answer where UNJOIN_CLICKHOUSE_URL points: {error}") from None
    finally:
        server.close()
