"""Reads the rows of one person where the sink writes them, a page at a time: an answer over HTTP is bounded."""

import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from schemas.outcomes import UnjoinError
from schemas.subjects.selectors import Selector, where
from sinks.clickhouse.server import Server
from sinks.engine import EngineError, Table
from unjoin.connections.clickhouse_address import server_address_of
from unjoin.query import answer_over_http
from unjoin.settings import Settings

SelectJson = Callable[[str], bytes]
"""A statement -> its rows as ClickHouse's JSONEachRow."""

PAGE_ROWS = 1_000
AT = ("at", "DateTime64(3, 'UTC')", "`at`")  # made by the table when a row is stored
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class SubjectError(UnjoinError):
    """A request of rights could not be served; the text says why and what to do."""


@contextmanager
def rows_of(settings: Settings) -> Iterator[SelectJson]:
    """ClickHouse as the settings name it.

    Raises:
        SubjectError: it does not answer, or refuses.
        QueryError: the same of the embedded engine.
    """
    address = server_address_of(settings)
    if address is None:
        yield lambda sql: answer_over_http(settings, sql, "JSONEachRow")
        return
    server = Server(address)
    try:
        yield lambda sql: server.select(sql, "JSONEachRow")
    except EngineError as error:
        raise SubjectError(
            f"ClickHouse where UNJOIN_CLICKHOUSE_URL points: {error}; start it, then ask again"
        ) from None
    finally:
        server.close()


def count(source: SelectJson, selector: Selector, table: str) -> int:
    """How many rows of a table are the selector's."""
    answer = source(f"SELECT count() AS n FROM unjoin.{table} FINAL WHERE {where(selector, table)}")  # noqa: S608
    return int(msgspec.json.decode(answer)["n"])


def pages(
    source: SelectJson, selector: Selector, table: Table, page_rows: int = PAGE_ROWS
) -> Iterator[list[dict[str, Any]]]:
    """The selector's rows by the time of their receipt, each event once; every page is read when it is asked for.

    A time is there as it is stored, Unix milliseconds, and beside it as ISO 8601, in UTC.
    """
    columns = [*table.columns, AT]
    names = [name for name, _, _ in columns]
    times = [name for name, kind, _ in columns if kind.startswith("DateTime64")]
    shown = ", ".join(
        f"toUnixTimestamp64Milli({name}) AS {name}_ms" if name in times else f"`{name}`" for name in names
    )
    key = "received_at, " + ", ".join(name for name in table.key if name != "received_at")
    after = ""
    while True:
        page = [
            msgspec.json.decode(line.decode(errors="replace"))
            for line in source(
                f"SELECT {shown}, hex(event_id) AS event_id_hex FROM unjoin.{table.name} FINAL "  # noqa: S608
                f"WHERE {where(selector, table.name)}{after} ORDER BY {key} LIMIT {page_rows}"
            ).splitlines()
        ]
        if page:
            yield [_with_times(row, names, times) for row in page]
        if len(page) < page_rows:
            return
        last = page[-1]
        place = [f"fromUnixTimestamp64Milli({int(last['received_at_ms'])}, 'UTC')"]
        place += [_literal(last, name) for name in table.key if name != "received_at"]
        after = f" AND ({key}) > ({', '.join(place)})"


def _literal(row: dict[str, Any], name: str) -> str:
    text = row["event_id_hex"] if name == "event_id" else row[name].encode().hex()
    return f"unhex('{text}')"


def _with_times(row: dict[str, Any], names: list[str], times: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in names:
        value = row[f"{name}_ms" if name in times else name]
        made[name] = value
        if name in (*times, "ts", "sent_at"):
            made[f"{name}_iso"] = iso(int(value)) if int(value) or name == "ts" else None
    return made


def iso(unix_ms: int) -> str | None:
    """A time as ISO 8601, in UTC; None where it is beyond the year 9999."""
    try:
        at = _EPOCH + datetime.timedelta(milliseconds=unix_ms)
    except OverflowError:
        return None
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
