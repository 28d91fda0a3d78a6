"""ClickHouse's HTTP interface over the embedded engine, read-only: for curl, clickhouse-connect and dashboards.

    request ─▶ Host known? ─▶ formatQuery: one statement? ─▶ admit ─▶ a session: settings, readonly = 1 ─▶ answer

Source: ClickHouse documentation, "HTTP Interface"; status codes: src/Server/HTTP/exceptionCodeToHTTPStatus.cpp.
"""

import asyncio
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import msgspec
from aiohttp import web

from sinks.clickhouse.embedded import QueryResult
from sinks.clickhouse.errors import UNKNOWN_EXCEPTION, QueryFailed
from sinks.engine import EngineError
from sinks.http.read_only import (
    NOT_IMPLEMENTED,
    READONLY,
    TRANSPORT,
    NotAllowed,
    QueryBounds,
    ReadOnlyPolicy,
    changeable_settings,
    output_format_of,
    policy_of,
)

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 1_048_576
THREADS = 4
WAITING_MAX = 64
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")

TOO_MANY_SIMULTANEOUS_QUERIES, UNKNOWN_FORMAT = 202, 73

_STATUS = {
    400: (36, 427, 6, 25, 26, 38, 41, 72, 441, 675, 676, 27, 376, 15, 44, 10, 168, 167, 8, 62, 117, 53, 321, 457),
    404: (60, 46, 47, 50, 56, 81, 115, 99, 63, 73, 336, 78, 511, 82),
    403: (497,),
    408: (159,),
    413: (317, 307),
    501: (48,),
    503: (202,),
}
_STATUS_OF_CODE = {code: status for status, codes in _STATUS.items() for code in codes}

_MIME = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONStrings": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "Arrow": "application/vnd.apache.arrow.file",
    "ArrowStream": "application/vnd.apache.arrow.stream",
    "Parquet": "application/vnd.apache.parquet",
}


class Reader(Protocol):
    """The part of `Embedded` that this module uses."""

    def read(
        self,
        sql: str,
        output_format: str,
        settings: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
        database: str = "unjoin",
    ) -> QueryResult:
        """Runs one statement in a session of its own; `Embedded.read` says how."""


class HttpInterfaceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the interface listens, and what one query may cost.

    Attributes:
        port: 0 for any free one.
        hosts: names in `Host` that are answered beside the names of loopback; without port.
    """

    host: str
    port: int
    hosts: tuple[str, ...]
    bounds: QueryBounds


class HttpInterface:
    """Answers HTTP requests with an engine's results. Queries run in its own threads, not in the event loop."""

    def __init__(self, reader: Reader, settings: HttpInterfaceConfig) -> None:
        self._reader = reader
        self._bounds = settings.bounds
        self._hosts = frozenset(host.lower() for host in (*LOOPBACK_HOSTS, *settings.hosts))
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="clickhouse-http")
        self._waiting = 0
        self._policy: ReadOnlyPolicy = policy_of(
            self._names("SELECT name FROM system.settings"),
            self._names("SELECT name FROM system.table_functions"),
            self._names("SELECT name FROM system.functions"),
        )
        self._version, self._timezone = self._names("SELECT arrayJoin([version(), timezone()]) AS name")

    def app(self) -> web.Application:
        """An aiohttp application with the routes of a ClickHouse server."""
        app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[self._only_known_hosts])
        app.router.add_get("/ping", _ok)
        app.router.add_get("/replicas_status", _ok)
        app.router.add_get("/", self._get)
        app.router.add_post("/", self._post)
        return app

    def close(self) -> None:
        """Waits for the queries that run; each has a time limit."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    @web.middleware
    async def _only_known_hosts(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        # DNS rebinding: a web page can let its own name resolve to 127.0.0.1, but it cannot send another Host.
        name = re.sub(r":\d+\Z", "", request.headers.get("Host", "")).lower()
        if name not in self._hosts:
            return web.Response(status=403, text="This Host is not served here.\n")
        return await handler(request)

    async def _get(self, request: web.Request) -> web.Response:
        if "query" not in request.query:
            return await _ok(request)
        return await self._answer(request, request.query["query"])

    async def _post(self, request: web.Request) -> web.Response:
        try:
            body = await request.text()
        except (UnicodeDecodeError, LookupError):
            refused = NotAllowed(READONLY, "Cannot execute query in readonly mode: its body is no text. (READONLY)")
            return self._refusal(refused, "")
        # As a server does: the statement is the URL's query, a line break and the body.
        return await self._answer(request, "\n".join(part for part in (request.query.get("query"), body) if part))

    async def _answer(self, request: web.Request, sql: str) -> web.Response:
        query_id = request.query.get("query_id") or str(uuid.uuid4())
        if self._waiting >= WAITING_MAX:
            return self._refusal(NotAllowed(TOO_MANY_SIMULTANEOUS_QUERIES, "Too many simultaneous queries."), query_id)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            query = dict(request.query.items())
            asked_format = query.get("default_format") or request.headers.get("X-ClickHouse-Format") or "TabSeparated"
            database = query.get("database") or request.headers.get("X-ClickHouse-Database") or "unjoin"
            answer, output_format = await loop.run_in_executor(
                self._threads, self._read, sql, query, asked_format, database
            )
        except (NotAllowed, QueryFailed) as error:
            return self._refusal(error, query_id)
        except EngineError:
            log.warning("the embedded clickhouse did not answer a query")
            return self._refusal(NotAllowed(UNKNOWN_EXCEPTION, "The engine does not answer."), query_id)
        finally:
            self._waiting -= 1
        headers = {
            **self._headers(query_id),
            "Content-Type": _MIME.get(output_format, "text/plain; charset=UTF-8"),
            "X-ClickHouse-Format": output_format,
            "X-ClickHouse-Timezone": self._timezone,
            "X-ClickHouse-Summary": _summary(answer),
        }
        return web.Response(body=answer.body, headers=headers)

    def _read(self, sql: str, query: Mapping[str, str], asked_format: str, database: str) -> tuple[QueryResult, str]:
        """Checks and runs one query; called in a thread."""
        parameters = {name.removeprefix("param_"): value for name, value in query.items() if name.startswith("param_")}
        for name in ("compress", "decompress"):
            if query.get(name, "0") not in ("", "0"):
                raise NotAllowed(NOT_IMPLEMENTED, f"`{name}` is not implemented here. (NOT_IMPLEMENTED)")
        asked = {
            name: value for name, value in query.items() if name not in TRANSPORT and not name.startswith("param_")
        }
        settings = self._policy.session_settings(asked, self._bounds)
        if not re.fullmatch(r"\w{1,64}", asked_format):
            raise NotAllowed(UNKNOWN_FORMAT, "Unknown format. (UNKNOWN_FORMAT)")
        canonical = self._canonical(sql)
        self._policy.admit(canonical, parameters, database)
        answer = self._reader.read(changeable_settings(canonical), asked_format, settings, parameters, database)
        return answer, output_format_of(canonical, asked_format)

    def _canonical(self, sql: str) -> str:
        """The one statement of a text, as `formatQuery` writes it.

        Raises:
            QueryFailed: it is none, or more than one.
        """
        escaped = sql.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
        try:
            answer = self._reader.read(
                "SELECT formatQuery({sql:String})", "RawBLOB", {"readonly": "1"}, {"sql": escaped.replace("\0", "\\0")}
            )
        except QueryFailed as error:
            detail = re.sub(
                r"\.? ?: In scope SELECT formatQuery\(.*\)\. (?=\(\w+\)\Z)", ". ", error.detail, flags=re.DOTALL
            )
            raise QueryFailed(error.code, detail) from None
        return answer.body.decode()

    def _names(self, sql: str) -> list[str]:
        rows = self._reader.read(sql, "JSONCompactEachRow").body.splitlines()
        return [msgspec.json.decode(row, type=tuple[str])[0] for row in rows if row]

    def _refusal(self, error: NotAllowed | QueryFailed, query_id: str) -> web.Response:
        text = f"Code: {error.code}. DB::Exception: {error.detail} (version {self._version})\n"
        headers = {
            **self._headers(query_id),
            "Content-Type": "text/plain; charset=UTF-8",
            "X-ClickHouse-Exception-Code": str(error.code),
        }
        return web.Response(status=_STATUS_OF_CODE.get(error.code, 500), body=text.encode(), headers=headers)

    def _headers(self, query_id: str) -> dict[str, str]:
        # A query decides what the answer contains; a browser must not show it as a page.
        shown = query_id if re.fullmatch(r"[\w.:-]{1,100}", query_id) else ""
        return {
            "X-ClickHouse-Query-Id": shown,
            "X-ClickHouse-Server-Display-Name": "unjoin",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }


class HttpServer:
    """An interface that listens.

    Attributes:
        port: the port that it got.
    """

    def __init__(self, interface: HttpInterface, runner: web.AppRunner, port: int) -> None:
        self._interface = interface
        self._runner = runner
        self.port = port

    async def close(self) -> None:
        """Stops listening, then waits for the running queries."""
        await self._runner.cleanup()
        await asyncio.get_running_loop().run_in_executor(None, self._interface.close)


async def serve_http(reader: Reader, settings: HttpInterfaceConfig) -> HttpServer:
    """Listens until `close`.

    Raises:
        OSError: the address is taken.
    """
    interface = await asyncio.get_running_loop().run_in_executor(None, HttpInterface, reader, settings)
    runner = web.AppRunner(interface.app(), access_log=None, handle_signals=False, shutdown_timeout=5)
    await runner.setup()
    site = web.TCPSite(runner, settings.host, settings.port)
    try:
        await site.start()
    except OSError:
        await runner.cleanup()
        interface.close()
        raise
    addresses: list[Any] = runner.addresses
    return HttpServer(interface, runner, addresses[0][1])


async def _ok(_request: web.Request) -> web.Response:
    return web.Response(text="Ok.\n", content_type="text/html", charset="UTF-8")


def _summary(answer: QueryResult) -> str:
    fields = {
        "read_rows": answer.rows_read,
        "read_bytes": answer.bytes_read,
        "written_rows": 0,
        "written_bytes": 0,
        "total_rows_to_read": answer.rows_read,
        "result_rows": answer.rows,
        "result_bytes": len(answer.body),
        "elapsed_ns": int(answer.elapsed_s * 1e9),
    }
    return msgspec.json.encode({name: str(value) for name, value in fields.items()}).decode()
