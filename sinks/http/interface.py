"""ClickHouse's HTTP interface over the embedded engine, read-only: for curl, clickhouse-connect and dashboards.

    request ─▶ no web page? ─▶ a place free? ─▶ formatQuery: one statement? ─▶ admit ─▶ run with readonly = 1 ─▶ send

The queries share the sink's process, so their memory is bounded in sum. There are `LIGHT_QUERIES` places with a small
bound and one with the whole bound of a query. Each query runs in a small place first; the engine refuses one that needs
more, and that runs again in the large place. A place is free again once the answer is sent.

    a place of N bytes     at most
    while a query runs     N * ENGINE_SHARE by the engine's `max_memory_usage`, and the rest for the answer
                           (of the former, a quarter for its external tables)
    while it is sent       two copies of the answer

Source: ClickHouse documentation, "HTTP Interface"; status codes: src/Server/HTTP/exceptionCodeToHTTPStatus.cpp.
"""

import asyncio
import logging
import re
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, Protocol

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from schemas.outcomes import UnjoinError
from schemas.web_pages import LOOPBACK_HOSTS, REFUSED, is_web_page
from sinks.clickhouse.embedded import QueryResult
from sinks.clickhouse.errors import MEMORY_LIMIT_EXCEEDED, TOO_MANY_ROWS_OR_BYTES, UNKNOWN_EXCEPTION, QueryFailed
from sinks.engine import EngineError
from sinks.http.compression import as_blocks, coded
from sinks.http.external_tables import ExternalTable
from sinks.http.native_blocks import UnknownType, with_version
from sinks.http.output_formats import check_format, content_type
from sinks.http.plain_words import plainly
from sinks.http.quiet_errors import QuietRunner
from sinks.http.read_only import (
    PROGRESS,
    QueryBounds,
    ReadOnlyPolicy,
    capped,
    changeable_settings,
    policy_of,
    settings_of_labels,
)
from sinks.http.refusals import (
    NOT_IMPLEMENTED,
    SAME_ID_IS_ALREADY_RUNNING,
    TOO_MANY_SIMULTANEOUS_QUERIES,
    UNKNOWN_FORMAT,
    NotAllowed,
)
from sinks.http.request_body import SENT_BYTES_MAX, asked_by
from sinks.http.request_fields import Question, question_of
from sinks.http.statement import last_settings, output_format_of
from sinks.metrics import SinkMetrics

log = logging.getLogger(__name__)

THREADS = 4
WAITING_MAX = 64
CAPPED_HEADER = "X-Unjoin-Capped"
LINE_BYTES_MAX = 1_048_576  # of a request: @clickhouse/client sends parameters in the URL
LIGHT_QUERIES = THREADS - 1
LIGHT_BYTES_MIN = 16_777_216
MALFORMED_SECONDS = 60
ENGINE_SHARE = 0.75
SEND_SECONDS_MAX = 60

_STATUS = {
    400: (36, 271, 427, 6, 25, 26, 38, 41, 72, 441, 675, 676, 27, 376, 15, 44, 10, 168, 167, 8, 62, 117, 53, 321, 457),
    404: (372, 60, 46, 47, 50, 56, 81, 115, 99, 63, 73, 336, 78, 511, 82),
    403: (497,),
    408: (159,),
    413: (317, 307),
    501: (48,),
    503: (202,),
}
_STATUS_OF_CODE = {code: status for status, codes in _STATUS.items() for code in codes}


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

    def read_bounded(
        self,
        canonical: str,
        output_format: str,
        settings: Mapping[str, str],
        parameters: Mapping[str, str],
        database: str,
        body_bytes_max: int,
        tables: Sequence[ExternalTable] = (),
    ) -> QueryResult:
        """Runs one statement and refuses an answer that is too long; `Embedded.read_bounded` says how."""

    def release_memory(self) -> None:
        """Gives memory that the engine does not use back to the system."""


class QueryMemoryError(UnjoinError):
    """The bounds of queries' memory do not fit each other; the text says which setting to change."""


def places_of_queries(query_bytes_max: int, queries_bytes_max: int) -> tuple[int, int]:
    """The bytes of the large place, and of each small one.

    Args:
        query_bytes_max: what one query may take, its answer included.
        queries_bytes_max: what all of them may take together.

    Raises:
        QueryMemoryError: no room is left for small places.
    """
    light = (queries_bytes_max - query_bytes_max) // LIGHT_QUERIES
    if light < LIGHT_BYTES_MIN:
        least = LIGHT_QUERIES * LIGHT_BYTES_MIN
        raise QueryMemoryError(f"UNJOIN_QUERIES_BYTES_MAX must be at least UNJOIN_QUERY_BYTES_MAX and {least} more")
    return query_bytes_max, light


class _Answer(NamedTuple):
    """A result as it is sent.

    Attributes:
        coding: its content coding.
        capped: the bounds that the query got other than it asked for; empty where there is none.
    """

    result: QueryResult
    output_format: str
    coding: str | None
    capped: str


class HttpInterfaceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the interface listens, and what one query may cost.

    Attributes:
        port: 0 for any free one.
        hosts: names in `Host` that are answered beside the names of loopback; without port.
        bounds: of one query, but for its memory.
        large_bytes: of the large place; bounds what one query may take, its answer included.
        light_bytes: of each small place.
    """

    host: str
    port: int
    hosts: tuple[str, ...]
    bounds: QueryBounds
    large_bytes: int
    light_bytes: int


class HttpInterface:
    """Answers HTTP requests with an engine's results. Queries run in its own threads, not in the event loop."""

    def __init__(self, reader: Reader, settings: HttpInterfaceConfig, metrics: SinkMetrics) -> None:
        self._reader = reader
        self._bounds = settings.bounds
        self._large_bytes, self._light_bytes = settings.large_bytes, settings.light_bytes
        self._most = msgspec.structs.replace(settings.bounds, max_memory_usage=int(settings.large_bytes * ENGINE_SHARE))
        self._metrics = metrics
        self._light_places = asyncio.Semaphore(LIGHT_QUERIES)
        self._large_place = asyncio.Lock()
        self._hosts = frozenset(host.lower() for host in (*LOOPBACK_HOSTS, *settings.hosts))
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="clickhouse-http")
        self._waiting = 0
        self._running: set[str] = set()
        self._formatting = {"max_memory_usage": str(int(settings.light_bytes * ENGINE_SHARE)), "readonly": "1"}
        self._policy: ReadOnlyPolicy = policy_of(
            self._names("SELECT name FROM system.settings"),
            self._names("SELECT name FROM system.table_functions"),
            self._names("SELECT name FROM system.functions"),
        )
        self._version, self._timezone = self._names("SELECT arrayJoin([version(), timezone()]) AS name")

    def app(self) -> web.Application:
        """An aiohttp application with the routes of a ClickHouse server."""
        app = web.Application(client_max_size=SENT_BYTES_MAX, middlewares=[self._no_web_pages])
        app.router.add_get("/ping", _ok)
        app.router.add_get("/replicas_status", _ok)
        app.router.add_get("/", self._get)
        app.router.add_post("/", self._answer)
        return app

    def close(self) -> None:
        """Waits for the queries that run; each has a time limit."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    @web.middleware
    async def _no_web_pages(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        origin, fetch_site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
        if is_web_page(host=request.headers.get("Host"), origin=origin, fetch_site=fetch_site, hosts=self._hosts):
            self._metrics.refused_web_pages.inc()
            return web.Response(status=403, text=REFUSED)
        return await handler(request)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if not request.query_string:
            return await _ok(request)
        return await self._answer(request)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        query_id = request.query.get("query_id") or str(uuid.uuid4())
        if self._waiting >= WAITING_MAX:
            return self._refusal(NotAllowed(TOO_MANY_SIMULTANEOUS_QUERIES, "Too many simultaneous queries."), query_id)
        self._waiting += 1
        try:
            asked = await asked_by(request)
            query_id = asked.fields.get("query_id") or query_id
            read = partial(self._read, question_of(asked.sql, asked.fields, request.headers, asked.files))
            with self._alone(query_id):
                async with self._light_places:
                    try:
                        return await self._sent(request, query_id, read, self._light_bytes)
                    except QueryFailed as error:
                        if error.code not in (MEMORY_LIMIT_EXCEEDED, TOO_MANY_ROWS_OR_BYTES):
                            raise
                async with self._large_place:
                    return await self._sent(request, query_id, read, self._large_bytes)
        except (NotAllowed, QueryFailed) as error:
            return self._refusal(error, query_id)
        except EngineError:
            log.warning("the embedded clickhouse did not answer a query")
            return self._refusal(NotAllowed(UNKNOWN_EXCEPTION, "The engine does not answer."), query_id)
        finally:
            self._waiting -= 1

    @contextmanager
    def _alone(self, query_id: str) -> Iterator[None]:
        """Within this context no other query has the id; raises where one has."""
        if query_id in self._running:
            raise NotAllowed(
                SAME_ID_IS_ALREADY_RUNNING,
                "A query with this `query_id` is already running. (QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING)",
            )
        self._running.add(query_id)
        try:
            yield
        finally:
            self._running.remove(query_id)

    async def _sent(
        self, request: web.Request, query_id: str, read: Callable[[int], _Answer], place_bytes: int
    ) -> web.Response:
        """Runs a query in a place of so many bytes and sends its answer, for `SEND_SECONDS_MAX` at most."""
        loop = asyncio.get_running_loop()
        answer, output_format, coding, changed = await loop.run_in_executor(self._threads, read, place_bytes)
        headers = {
            **self._headers(query_id),
            "Content-Type": content_type(output_format),
            "X-ClickHouse-Format": output_format,
            "X-ClickHouse-Timezone": self._timezone,
            "X-ClickHouse-Summary": _summary(answer),
            **({"Content-Encoding": coding} if coding else {}),
            **({CAPPED_HEADER: changed} if changed else {}),
        }
        response = web.Response(body=answer.body, headers=headers)
        try:
            async with asyncio.timeout(SEND_SECONDS_MAX):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()  # what it did not read would stay in memory
        return response

    def _read(self, question: Question, place_bytes: int) -> _Answer:
        """Checks and runs one query; called in a thread."""
        canonical, in_statement = last_settings(self._canonical(question.sql))
        asked = question.settings | in_statement
        judged = self._policy.judged(canonical, question.parameters, question.database)
        self._policy.admit(canonical, judged)
        tables, engine_bytes = _bounded(question.tables, int(place_bytes * ENGINE_SHARE))
        bounds = msgspec.structs.replace(self._bounds, max_memory_usage=engine_bytes)
        of_labels = settings_of_labels(judged, asked)
        settings = {**of_labels, **self._policy.session_settings(asked, bounds)}  # `readonly` last
        output_format = output_format_of(canonical, question.output_format)
        check_format(output_format)
        if of_labels and PROGRESS.search(output_format):
            raise NotAllowed(UNKNOWN_FORMAT, "No progress is told where labels are read. (UNKNOWN_FORMAT)")
        try:
            result = self._reader.read_bounded(
                changeable_settings(canonical),
                question.output_format,
                settings,
                question.parameters,
                question.database,
                int(place_bytes * (1 - ENGINE_SHARE)),
                tables,
            )
        except QueryFailed as error:
            raise plainly(error, judged) from None
        finally:
            # The engine's allocator keeps freed memory for some seconds, in which other queries may need as much.
            if place_bytes > self._light_bytes:
                self._reader.release_memory()
        if of_labels:
            result = msgspec.structs.replace(result, rows_read=result.rows, bytes_read=len(result.body))
        return _encoded(result, output_format, question, capped(asked, self._most))

    def _canonical(self, sql: str) -> str:
        """The one statement of a text, as `formatQuery` writes it.

        Raises:
            QueryFailed: it is none, or more than one.
        """
        escaped = sql.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
        try:
            answer = self._reader.read(
                "SELECT formatQuery({sql:String})", "RawBLOB", self._formatting, {"sql": escaped.replace("\0", "\\0")}
            )
        except QueryFailed as error:
            detail = re.sub(
                r"\.? ?: In scope SELECT formatQuery\(.*\)\. (?=\(\w+\)\Z)", ". ", error.detail, flags=re.DOTALL
            )
            raise plainly(QueryFailed(error.code, detail)) from None
        try:
            return answer.body.decode()
        except UnicodeDecodeError:
            raise NotAllowed(
                NOT_IMPLEMENTED,
                "A literal of other bytes than UTF-8 is not implemented here: write it with unhex('…'). "
                "(NOT_IMPLEMENTED)",
            ) from None

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


class _ServerLog(logging.LoggerAdapter[logging.Logger]):
    """What aiohttp logs of a request that fails, without its text: that quotes what the client sent.

    It gets malformed requests once a minute at most, for anybody can send them by the million.
    """

    def __init__(self, metrics: SinkMetrics) -> None:
        super().__init__(log)
        self._metrics = metrics
        self._said_at = float("-inf")

    def exception(self, msg: object, *args: object, **options: Any) -> None:
        """Called by aiohttp with the exception as `exc_info`."""
        error = options.get("exc_info")
        if isinstance(error, HttpProcessingError | web.RequestPayloadError):
            self._metrics.malformed_http.inc()
            if time.monotonic() - self._said_at >= MALFORMED_SECONDS:
                self._said_at = time.monotonic()
                log.warning("a request was not HTTP or too long (%s); the counter has all", type(error).__name__)
        elif isinstance(error, BaseException):
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("answering a request ended by %s\n%s", type(error).__name__, where)

    def debug(self, msg: object, *args: object, **options: Any) -> None:
        """Called by aiohttp for a first request that is not HTTP, and for what needs no line."""
        if isinstance(options.get("exc_info"), HttpProcessingError):
            self.exception(msg, *args, **options)


async def serve_http(reader: Reader, settings: HttpInterfaceConfig, metrics: SinkMetrics) -> HttpServer:
    """Listens until `close`.

    Raises:
        OSError: the address is taken.
    """
    interface = await asyncio.get_running_loop().run_in_executor(None, HttpInterface, reader, settings, metrics)
    runner = QuietRunner(
        interface.app(),
        auto_decompress=False,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=5,
        logger=_ServerLog(metrics),
        max_line_size=LINE_BYTES_MAX,
    )
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


def _bounded(tables: tuple[ExternalTable, ...], engine_bytes: int) -> tuple[list[ExternalTable], int]:
    """External tables with their shares of the engine's bytes, a quarter together; and what is left for the query."""
    if not tables:
        return [], engine_bytes
    of_tables = engine_bytes // 4
    share = of_tables // len(tables)
    return [msgspec.structs.replace(table, memory_bytes=share) for table in tables], engine_bytes - of_tables


def _encoded(result: QueryResult, output_format: str, question: Question, changed: str) -> _Answer:
    """A result as its client can read it: Native of its version, in compressed blocks, in a content coding."""
    body = result.body
    coding = question.coding if body else None
    if question.version and output_format == "Native":
        try:
            body = with_version(body, question.version)
        except UnknownType as unknown:
            raise NotAllowed(
                NOT_IMPLEMENTED,
                f"Native for this client cannot hold {unknown} here: make a String of the column, or leave "
                "`client_protocol_version` out. (NOT_IMPLEMENTED)",
            ) from None
    if question.blocks:
        body = as_blocks(body)
    elif coding:
        body = coded(body, coding, question.coding_level)
    return _Answer(msgspec.structs.replace(result, body=body), output_format, coding, changed)


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
