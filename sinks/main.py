"""The sink's process: one engine, its HTTP dialect where it is the embedded one, and a consumer a table.

    open the engine ─▶ migrate ─▶ serve HTTP, metrics ─▶ consume until SIGTERM ─▶ finish blocks, commit

A consumer that ends by itself ends the process with 1: whoever watches it starts it again, from the commits.
"""

import asyncio
import gc
import logging
import random
import signal
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec
from prometheus_client import start_http_server

from schemas.dead_letters import SHARE_MAX
from schemas.outcomes import UnjoinError
from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.server import Server, address_of
from sinks.engine import Engine, Table, Unknown
from sinks.http.interface import HttpSettings, serve_http
from sinks.kafka.block_planner import BlockLimits
from sinks.kafka.consumer import ConsumerConfig, TableConsumer
from sinks.kafka.dead_letters import DeadLetters
from sinks.metrics import SinkMetrics
from sinks.outage import Outage, quieten
from sinks.rows.enrichment import IspOf, isps
from sinks.rows.tables import TABLES, check, reader_of

log = logging.getLogger(__name__)

HAND_OVER_SECONDS_MAX = 5.0
STOP_SECONDS_MAX = 9.0
# Net new tracked objects until a young collection. Rows wait in blocks of some ten thousand, and hang together in no
# cycles; with Python's 700, collections took a quarter of the reading thread's time.
YOUNG_OBJECTS_MAX = 50_000


class SinkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a sink is told; its text leaves out the URL, which holds a password.

    Attributes:
        clickhouse_url: empty for the embedded engine in `clickhouse_dir`.
        clickhouse_dir: with a URL, what transcodes for the server has its temporary files there.
        http_port: of the embedded engine's dialect; 0 for any free one.
        http_hosts: names in `Host` that are answered beside loopback's.
        dead_letter_share_max: of the last 100 rows of a partition; past it the sink ends instead of setting more aside.
        metrics_port: 0 for none.
        group_prefix: of the consumer groups; the table's name follows.
    """

    bootstrap: str
    clickhouse_url: str = ""
    clickhouse_dir: Path = Path(".unjoin/clickhouse")
    http_host: str = "127.0.0.1"
    http_port: int = 8123
    http_hosts: tuple[str, ...] = ()
    block_rows_max: int = 100_000
    block_bytes_max: int = 33_554_432
    block_ms_max: int = 1_000
    dead_letter_share_max: float = SHARE_MAX
    asn_database: str = ""
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0
    tables: tuple[Table, ...] = TABLES
    group_prefix: str = "unjoin-sink-"

    def __repr__(self) -> str:
        return f"SinkConfig({self.bootstrap}, {'a server' if self.clickhouse_url else self.clickhouse_dir})"

    def limits(self) -> BlockLimits:
        """Of a block."""
        return BlockLimits(
            rows_max=self.block_rows_max,
            bytes_max=self.block_bytes_max,
            ms_max=self.block_ms_max,
            refused_share_max=self.dead_letter_share_max,
        )


def run(config: SinkConfig, on_ready: Callable[[], None] = lambda: None) -> int:
    """Blocks until SIGTERM or SIGINT, or until something cannot be mended here.

    Args:
        on_ready: called once queries are answered and consumers run.

    Returns:
        The exit status: 0 after a signal, 1 otherwise.
    """
    quieten("aiokafka")
    # Its warnings are tracebacks of every connection that fails; `Outage` says so in a line.
    quieten("clickhouse_driver", logging.ERROR)
    try:
        isp_of = isps(config.asn_database)
        return asyncio.run(_serve(config, isp_of, on_ready))
    except UnjoinError as error:
        log.error("%s", error)
    except OSError as error:
        log.error("the sink cannot start: %s", error.strerror or type(error).__name__)
    return 1


async def _serve(config: SinkConfig, isp_of: IspOf, on_ready: Callable[[], None]) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(_engine(config, stopping))
        if engine is None:
            return 0
        if isinstance(engine, Embedded):
            settings = HttpSettings(host=config.http_host, port=config.http_port, hosts=config.http_hosts)
            http = await serve_http(engine, settings)
            stack.push_async_callback(http.close)
            log.info("ClickHouse answers on http://%s:%d", config.http_host, http.port)
        metrics = SinkMetrics()
        if config.metrics_port:
            server, thread = start_http_server(config.metrics_port, config.metrics_host, metrics.registry)
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
        letters = DeadLetters(config.bootstrap)
        stack.push_async_callback(letters.close)
        consumers = [
            TableConsumer(
                table,
                engine,
                ConsumerConfig(
                    bootstrap=config.bootstrap,
                    limits=config.limits(),
                    group=config.group_prefix + table.name,
                    hand_over_seconds_max=HAND_OVER_SECONDS_MAX,
                ),
                datum_of=reader_of(table, isp_of),
                check=partial(check, table),
                letters=letters,
                metrics=metrics,
            )
            for table in config.tables
        ]
        return await _consume(consumers, stopping, on_ready)
    raise AssertionError("unreachable")


@asynccontextmanager
async def _engine(config: SinkConfig, stopping: asyncio.Event) -> AsyncIterator[Engine | None]:
    """The engine, migrated; None where the sink was stopped before that was possible."""
    loop = asyncio.get_running_loop()
    engine: Engine
    if config.clickhouse_url:
        engine = Server(address_of(config.clickhouse_url), scratch=config.clickhouse_dir)
    else:
        engine = await loop.run_in_executor(None, Embedded, config.clickhouse_dir)
    outage = Outage("ClickHouse", log, time.monotonic, random.Random())  # noqa: S311  # spreads retries
    try:
        while not stopping.is_set():
            try:
                await loop.run_in_executor(None, engine.migrate)
            except Unknown as error:
                with suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), outage.failed(str(error)))
            else:
                outage.over()
                yield engine
                return
        yield None
    finally:
        engine.close()


async def _consume(consumers: list[TableConsumer], stopping: asyncio.Event, on_ready: Callable[[], None]) -> int:
    """Until stopping, or until one ends by itself."""
    tasks = {asyncio.create_task(consumer.run()): consumer.table.name for consumer in consumers}
    gc.collect()
    gc.freeze()  # what there is now stays until the process ends
    gc.set_threshold(YOUNG_OBJECTS_MAX, *gc.get_threshold()[1:])
    log.info("sink ready: %s", ", ".join(tasks.values()))
    on_ready()
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    failed = [task for task in tasks if task.done()]
    for consumer in consumers:
        consumer.stop()
    _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS_MAX)
    for task in late:
        task.cancel()
    await asyncio.gather(*tasks, waiting, return_exceptions=True)
    for task, table in tasks.items():
        if task not in late and (error := task.exception()) is not None:
            _say(table, error)
            failed.append(task)
    log.info("sink stopped")
    return 1 if failed else 0


def _say(table: str, error: BaseException) -> None:
    """Where a bug is, without what it was about: the text of an exception may hold a record."""
    if isinstance(error, UnjoinError):
        log.error("%s: %s", table, error)
    else:
        where = "".join(traceback.format_tb(error.__traceback__))
        log.error("%s: the consumer ended by %s\n%s", table, type(error).__name__, where)
