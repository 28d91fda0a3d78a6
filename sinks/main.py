"""The sink's process: one engine, the HTTP interface of an embedded one, and one consumer a table.

The way of a block from Kafka to a table, file by file:

    file                              what it does with the block
    kafka/consumer.py                 joins the consumer group, reads records, hands each partition to a worker
    kafka/row_reader.py               makes rows of a batch's bytes, by compiled code, where a value is a row's datum
    kafka/partition_worker.py         one worker a partition: asks the planner what to do, does it, reports the outcome
    rows/tables.py                    else finds schema and datum of each record (rows/enrichment.py adds to analytics)
    kafka/block_planner.py            pure: chooses the block's offsets, the commits around it, retries and bisection
    engine.py                         what the worker calls: `insert`, or `insert_missing` after an unknown outcome
    clickhouse/embedded.py            the engine in this process: inserts the block with one statement
    blocks/memory_file.py             the block as a file in memory, in one of two forms:
    blocks/native.py                  pure: the datums as one block in Native, by compiled code where it is for them
    blocks/avro_container.py          pure: else as one Avro file, not decoded, each with a marked end
    clickhouse/statements.py          pure: the SQL that reads this file into the table as one part
    clickhouse/server.py              or a server: sends the block over the native protocol
    clickhouse/connections.py         its connections, to the first replica that greets
    clickhouse/transcoder.py          the block in Native, for a server; the engine makes it of the Avro file at need
    clickhouse/driver_errors.py       whether an error of the driver means refused or unknown
    kafka/dead_letters.py             sends what no table can hold to the topic of dead letters

Rows of people who asked to be gone: `erasure/topic.py` reads of whom, `erasure/eraser.py` deletes them.

What the process does, in order:

    serve metrics ─▶ open the engine ─▶ migrate ─▶ serve HTTP ─▶ consume until SIGTERM ─▶ finish blocks, commit

A consumer that ends by itself ends the process with status 1. Its supervisor starts it again, and it goes on from the
commits.
"""

import asyncio
import gc
import logging
import random
import signal
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import make_wsgi_app, start_http_server
from prometheus_client.registry import Collector

from schemas.following import EmitSpan, emit_nowhere
from schemas.kafka_access import KafkaAccess
from schemas.outcomes import UnjoinError
from schemas.web_pages import LOOPBACK_HOSTS, refusing_web_pages
from sinks.clickhouse.address import Address
from sinks.clickhouse.comments import describe
from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.errors import QueryFailed
from sinks.clickhouse.marks import Marks
from sinks.clickhouse.retention import keep
from sinks.clickhouse.server import Server
from sinks.engine import Engine, EngineError, Table, Unknown
from sinks.erasure.progress import Patience
from sinks.erasure.rows import Rows
from sinks.erasure.topic import ErasureTopic
from sinks.http.interface import ENGINE_SHARE, HttpInterfaceConfig, places_of_queries, serve_http
from sinks.http.read_only import QueryBounds
from sinks.kafka.block_planner import BlockLimits
from sinks.kafka.consumer import SESSION_TIMEOUT_MS, ConsumerConfig, TableConsumer
from sinks.kafka.dead_letters import DeadLetterProducer
from sinks.kafka.partition_worker import NotOurs
from sinks.metrics import SinkMetrics
from sinks.outage import Outage, quieten
from sinks.rows.dictionary import DICTIONARY
from sinks.rows.enrichment import IspOf, isps
from sinks.rows.tables import DEAD_LETTERS, check, reader_of, schemas_of

log = logging.getLogger(__name__)

GROUP_PREFIX = "unjoin-sink-"
HAND_OVER_SECONDS_MAX = 5.0
STOP_SECONDS_MAX = 9.0
# The garbage collector looks at young objects once this many are new. A block holds some ten thousand rows, and they
# form no cycles; with Python's default of 700, collections took a quarter of the reading thread's time.
YOUNG_OBJECTS_MAX = 50_000
# A backup that is restored is noticed where it is older than the last mark of what was committed.
MARK_SECONDS = 3_600.0
EXIT_NOT_OURS = 78  # EX_CONFIG of sysexits.h: starting again does not help
QUERY_SECONDS_MAX = 30
RESULT_ROWS_MAX = 10_000_000
RESULT_BYTES_MAX = 268_435_456
QUERY_THREADS_MAX = 2


class SinkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a sink is told. Its `repr` leaves out the password.

    Attributes:
        server: None for the embedded engine in `clickhouse_dir`.
        clickhouse_dir: with a server, the transcoder keeps its temporary files there.
        http_port: the port of the embedded engine's HTTP interface; 0 for any free one.
        http_hosts: names in `Host` that are answered beside the names of loopback.
        query_bytes_max: bytes of memory that one query of the HTTP interface may take, its answer included.
        queries_bytes_max: bytes that all of them may take together.
        dead_letter_share_max: the share of dead letters among a partition's last 100 rows, 0 to 1; above it the sink
            ends instead of setting more aside.
        metrics_port: 0 for none.
        group_prefix: a consumer group is called this and the table's name.
        ttl_days: by table, after how many days from its receipt a row is deleted; 0 for never.
        erasing: how long an erasure waits where nothing more is to be seen.
    """

    kafka: KafkaAccess
    server: Address | None
    clickhouse_dir: Path
    http_host: str
    http_port: int
    http_hosts: tuple[str, ...]
    query_bytes_max: int
    queries_bytes_max: int
    block_rows_max: int
    block_bytes_max: int
    block_ms_max: int
    dead_letter_share_max: float
    asn_database: str
    metrics_host: str
    metrics_port: int
    tables: tuple[Table, ...]
    group_prefix: str
    ttl_days: Mapping[str, int]
    erasing: Patience

    def __repr__(self) -> str:
        return f"SinkConfig({self.kafka}, {self.server or self.clickhouse_dir})"

    def limits(self) -> BlockLimits:
        """When a block is cut."""
        return BlockLimits(
            rows_max=self.block_rows_max,
            bytes_max=self.block_bytes_max,
            ms_max=self.block_ms_max,
            refused_share_max=self.dead_letter_share_max,
        )

    def http(self) -> HttpInterfaceConfig:
        """Where the HTTP interface listens, and what a query may cost.

        Raises:
            QueryMemoryError: the two bounds of memory do not fit each other.
        """
        large, light = places_of_queries(self.query_bytes_max, self.queries_bytes_max)
        bounds = QueryBounds(
            max_execution_time=QUERY_SECONDS_MAX,
            max_memory_usage=int(large * ENGINE_SHARE),
            max_result_rows=RESULT_ROWS_MAX,
            max_result_bytes=RESULT_BYTES_MAX,
            max_threads=QUERY_THREADS_MAX,
        )
        return HttpInterfaceConfig(
            host=self.http_host,
            port=self.http_port,
            hosts=self.http_hosts,
            bounds=bounds,
            large_bytes=large,
            light_bytes=light,
        )


def run(
    config: SinkConfig,
    on_ready: Callable[[], None] = lambda: None,
    role_metrics: Sequence[Collector] = (),
    emit: EmitSpan = emit_nowhere,
) -> int:
    """Runs the sink until SIGTERM or SIGINT, or until it fails in a way that only a restart can mend.

    Args:
        on_ready: called once queries are answered, and the groups' commits are known to be this database's.
        role_metrics: what Prometheus is told besides.
        emit: where the pieces of work of requests that are followed go.

    Returns:
        The exit status: 0 after a signal, 78 where the groups' commits are another database's, 1 otherwise.
    """
    quieten("aiokafka")
    # The driver warns of each failed connection with a traceback; `Outage` says the same in one line.
    quieten("clickhouse_driver", logging.ERROR)
    try:
        metrics = SinkMetrics(tables=[table.name for table in config.tables])
        for one in role_metrics:
            metrics.registry.register(one)
        isp_of = isps(config.asn_database, metrics.asn_errors.inc)
        return asyncio.run(_serve(config, metrics, isp_of, on_ready, emit))
    except UnjoinError as error:
        log.error("%s", error)
    except OSError as error:
        log.error("the sink cannot start: %s", error.strerror or type(error).__name__)
    return 1


def run_migrations(config: SinkConfig) -> int:
    """Brings the tables up to date, once, and reads nothing of Kafka.

    Returns:
        The exit status: 0 done, 1 where the engine is away or refuses, which is logged.
    """
    quieten("clickhouse_driver", logging.ERROR)
    try:
        with closing(_opened(config)) as engine:
            _prepare(engine, config)
    except UnjoinError as error:
        log.error("%s", error)
        return 1
    log.info("the tables are up to date")
    return 0


@contextmanager
def marks_of(config: SinkConfig) -> Iterator[Marks]:
    """The marks of the migrated database that a sink would write to, while no sink has it open.

    Raises:
        UnjoinError: the engine is away or refuses.
    """
    quieten("clickhouse_driver", logging.ERROR)
    with closing(_opened(config)) as engine:
        yield _prepared(engine, config)


async def _serve(
    config: SinkConfig, metrics: SinkMetrics, isp_of: IspOf, on_ready: Callable[[], None], emit: EmitSpan
) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        consumers: list[TableConsumer] = []
        if config.metrics_port:  # before the engine, which may be away: then it is alive, and not ready
            server, thread = start_http_server(config.metrics_port, config.metrics_host, metrics.registry)
            hosts = LOOPBACK_HOSTS if config.metrics_host in LOOPBACK_HOSTS else None
            server.set_app(refusing_web_pages(_metrics_and_readiness(metrics, consumers), hosts))
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
        opened = await stack.enter_async_context(_engine(config, stopping))
        if opened is None:
            return 0
        engine, marks = opened
        if isinstance(engine, Embedded):
            http = await serve_http(engine, config.http(), metrics)
            stack.push_async_callback(http.close)
            log.info("ClickHouse answers on http://%s:%d", config.http_host, http.port)
        dead_letters = DeadLetterProducer(config.kafka)
        stack.push_async_callback(dead_letters.close)
        consumers += [
            TableConsumer(
                table,
                engine,
                ConsumerConfig(
                    kafka=config.kafka,
                    limits=config.limits(),
                    group=config.group_prefix + table.name,
                    session_timeout_ms=SESSION_TIMEOUT_MS,
                    hand_over_seconds_max=HAND_OVER_SECONDS_MAX,
                ),
                marks=marks,
                datum_of=reader_of(table, isp_of),
                placed=table.name == DEAD_LETTERS.name,
                schemas=schemas_of(table),
                check=partial(check, table),
                dead_letters=dead_letters,
                metrics=metrics,
                emit=emit,
            )
            for table in config.tables
        ]
        renewing = asyncio.create_task(_renew(marks))
        stack.callback(renewing.cancel)
        erasures = ErasureTopic(
            config.kafka, Rows(engine.select), config.tables, config.group_prefix, config.erasing,
            metrics.erasures_open.set,
        )  # fmt: skip
        return await _consume(consumers, erasures, stopping, on_ready)
    raise AssertionError("unreachable")


def _metrics_and_readiness(metrics: SinkMetrics, consumers: Sequence[TableConsumer]) -> Any:
    """A WSGI application: Prometheus's, and `/readyz` beside it."""
    prometheus = make_wsgi_app(metrics.registry)

    def answer(environ: Any, start_response: Any) -> Any:
        if environ.get("PATH_INFO") != "/readyz":
            return prometheus(environ, start_response)
        away = [consumer.table.name for consumer in consumers if not consumer.joined]
        if not consumers:
            status, text = 503, "ClickHouse has not answered yet"
        elif away:
            status, text = 503, f"not read now: {', '.join(away)}"
        else:
            status, text = 200, "every table's topics are read"
        start_response(f"{status} {HTTPStatus(status).phrase}", [("Content-Type", "text/plain")])
        return [f"{text}\n".encode()]

    return answer


def _opened(config: SinkConfig) -> Engine:
    if config.server is not None:
        return Server(config.server, scratch=config.clickhouse_dir)
    return Embedded(config.clickhouse_dir)


def _prepare(engine: Engine, config: SinkConfig) -> None:
    engine.migrate()
    for statement in keep(engine.select, config.ttl_days):
        log.info("applied: %s", statement)
    try:
        described = describe(engine.select, DICTIONARY, cluster=config.server.cluster if config.server else "")
    except QueryFailed as error:  # a user with fewer rights, or a cluster in trouble: rows are worth more than words
        log.warning("comments on tables stay as they were: %s", error)
    else:
        if described:
            log.info("comments on tables and columns are up to date: %d statements", len(described))


def _prepared(engine: Engine, config: SinkConfig) -> Marks:
    _prepare(engine, config)
    return Marks(engine.select)


async def _renew(marks: Marks) -> None:
    """Makes a new mark every hour; one that could not be stored waits for the next."""
    while True:
        await asyncio.sleep(MARK_SECONDS)
        try:
            await asyncio.get_running_loop().run_in_executor(None, marks.renew)
        except EngineError as error:
            log.warning("no new mark for commits: %s", error)


@asynccontextmanager
async def _engine(config: SinkConfig, stopping: asyncio.Event) -> AsyncIterator[tuple[Engine, Marks] | None]:
    """The migrated engine and its marks; None where the sink was stopped before the migration succeeded."""
    loop = asyncio.get_running_loop()
    engine = await loop.run_in_executor(None, _opened, config)
    outage = Outage("ClickHouse", log, time.monotonic, random.Random())  # noqa: S311  # spreads retries
    try:
        while not stopping.is_set():
            try:
                marks = await loop.run_in_executor(None, _prepared, engine, config)
            except Unknown as error:
                with suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), outage.failed(str(error)))
            else:
                outage.over()
                yield engine, marks
                return
        yield None
    finally:
        engine.close()


async def _consume(
    consumers: list[TableConsumer], erasures: ErasureTopic, stopping: asyncio.Event, on_ready: Callable[[], None]
) -> int:
    """Runs the consumers until `stopping`, or until one of them ends by itself; returns the exit status."""
    tasks = {asyncio.create_task(consumer.run()): consumer.table.name for consumer in consumers}
    erasing = asyncio.create_task(erasures.run())
    tasks[erasing] = "erasures"
    gc.collect()
    gc.freeze()  # the objects of now live until the process ends
    gc.set_threshold(YOUNG_OBJECTS_MAX, *gc.get_threshold()[1:])
    waiting = asyncio.create_task(stopping.wait())
    admitted = asyncio.create_task(_all_admitted(consumers))
    ended = [waiting, *tasks]
    await asyncio.wait([admitted, *ended], return_when=asyncio.FIRST_COMPLETED)
    if not any(task.done() for task in ended):
        log.info("sink ready: %s", ", ".join(consumer.table.name for consumer in consumers))
        on_ready()
        await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
    admitted.cancel()
    waiting.cancel()
    failed = [task for task in tasks if task.done()]
    erasing.cancel()
    for consumer in consumers:
        consumer.stop()
    _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS_MAX)
    for task in late:
        task.cancel()
    await asyncio.gather(*tasks, waiting, admitted, return_exceptions=True)
    log.info("sink stopped")
    # The reasons last: a supervisor shows the last line.
    errors = {table: task.exception() for task, table in tasks.items() if not task.cancelled()}
    for table, error in errors.items():
        if error is not None:
            _say(table, error)
    if any(isinstance(error, NotOurs) for error in errors.values()):
        return EXIT_NOT_OURS
    return 1 if failed or any(errors.values()) else 0


async def _all_admitted(consumers: Sequence[TableConsumer]) -> None:
    for consumer in consumers:
        await consumer.admitted.wait()


def _say(table: str, error: BaseException) -> None:
    """Logs where an error was raised, without its text: that may hold a record."""
    if isinstance(error, UnjoinError):
        log.error("%s: %s", table, error)
    else:
        where = "".join(traceback.format_tb(error.__traceback__))
        log.error("%s: the consumer ended by %s\n%s", table, type(error).__name__, where)
