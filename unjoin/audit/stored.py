"""Reads the keys of a table's rows where the sink writes them, slice by slice: an answer over HTTP is bounded."""

from collections.abc import Iterator
from contextlib import contextmanager

from sinks.clickhouse.address import AddressError
from sinks.clickhouse.server import Server
from sinks.engine import EngineError
from unjoin.audit.keys import RowKey
from unjoin.audit.scratch import Buckets
from unjoin.audit.snapshot import AuditError
from unjoin.connections.clickhouse_address import server_address_of
from unjoin.query import QueryError, SelectRows, answer_over_http
from unjoin.settings import Settings

SLICE_ROWS = 200_000


@contextmanager
def source_of(settings: Settings) -> Iterator[SelectRows]:
    """ClickHouse as the settings name it; selects every row that lies in a table, also where another replaces it.

    Raises:
        AuditError: it does not answer, or refuses.
    """
    try:
        address = server_address_of(settings)
    except AddressError as error:
        raise AuditError(str(error)) from None
    if address is None:
        yield lambda sql: _over_http(settings, sql)
        return
    server = Server(address)
    try:
        yield lambda sql: server.select(sql, "TabSeparated", final=False)
    except EngineError as error:
        raise AuditError(
            f"ClickHouse where UNJOIN_CLICKHOUSE_URL points: {error}; start it, then audit again"
        ) from None
    finally:
        server.close()


def slices_of(source: SelectRows, named: RowKey) -> int:
    """How many slices keep each answer small."""
    return 1 + int(source(f"SELECT count() FROM unjoin.{named.table.name}")) // SLICE_ROWS  # noqa: S608  our own name


def read_slice(source: SelectRows, named: RowKey, number: int, slices: int, buckets: Buckets) -> int:
    """Puts the rows of one slice into their buckets; how many they were."""
    rows = 0
    for line in source(named.statement(number, slices)).splitlines():
        name, version, time_ms, count = line.split(b"\t")
        buckets.add(bytes.fromhex(name.decode()), int(version) + named.bias, int(time_ms), int(count))
        rows += int(count)
    return rows


def set_aside(source: SelectRows, topic: str, partition: int, offsets: list[int]) -> set[int]:
    """Which of these offsets the table of dead letters knows."""
    found: set[int] = set()
    for start in range(0, len(offsets), 1_000):
        among = ", ".join(str(offset) for offset in offsets[start : start + 1_000])
        where = f"topic = '{topic}' AND partition = {partition} AND offset IN ({among})"
        found |= {int(line) for line in source(f"SELECT offset FROM unjoin.dead_letters WHERE {where}").splitlines()}  # noqa: S608
    return found


def _over_http(settings: Settings, sql: str) -> bytes:
    try:
        # With `final`, which the HTTP interface sets by default, a row would hide its doubles.
        return answer_over_http(settings, sql, "TabSeparated", final="0")
    except QueryError as error:
        raise AuditError(str(error)) from None
