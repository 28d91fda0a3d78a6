"""A collector as a process: listens, serves, and on SIGTERM or SIGINT drains and ends with exit code 0.

UnjoinError
└── CollectorError    it cannot start; the text says what to change
"""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import uvicorn
import uvloop

from ingest.admission import Quotas
from ingest.answers import Send, error_answer, send_answer
from ingest.bodies import Receive
from ingest.client_address import Network, networks_of
from ingest.collector import PATH, Collector, Edge, Scope, log_without_values
from ingest.connections import bounded_protocol
from ingest.counters import Counters
from ingest.edge_keys import WatchedKeys
from ingest.playground import Playground
from ingest.producer import KafkaProducer, Producer, ProducerConfig, ProducerStats
from ingest.rejection import Rejection
from ingest.request import Limits
from ingest.sites import WatchedSites
from ingest.spool import Spool, SpoolConfig
from ingest.spooling import SpoolingProducer
from ingest.voter import EdgeKeys
from ingest.web import Web
from schemas.outcomes import RequestError, UnjoinError
from schemas.topics import TOPIC_OF_CATEGORY

KEEP_ALIVE_SECONDS = 75  # longer than the 60 s that load balancers keep an idle connection, so that they close first
CONNECTIONS_BACKLOG = 2_048
SITES_SECONDS = 1.0
READY_SECONDS = 0.05

log = logging.getLogger(__name__)


class CollectorError(UnjoinError):
    """The collector cannot start."""


class CollectorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How to run a collector.

    Attributes:
        port: 0 for any that is free.
        trusted_proxies: networks whose X-Forwarded-For counts, separated by commas; none by default.
        bootstrap: brokers as host:port, separated by commas.
        produce_seconds_max: until a batch that Kafka has not acknowledged is spooled, or 503 without a spool.
        in_flight_bytes_max: of records not acknowledged, beyond which batches are spooled, or 503, at once.
        spool: None for none.
        key_events_per_second_max: quota of a key that has none of its own; 0 for none.
        playground: whether `/` is a page for loopback, fed by `clickhouse_http_url`.
        door_metrics_url: of a processor, so that the page can show what the door holds; empty for nothing to show.
    """

    sites_file: Path
    bootstrap: str
    host: str = "127.0.0.1"
    port: int = 8080
    limits: Limits = Limits()
    trusted_proxies: str = ""
    produce_seconds_max: float = 5.0
    in_flight_bytes_max: int = 67_108_864
    spool: SpoolConfig | None = None
    key_events_per_second_max: int = 0
    playground: bool = False
    clickhouse_http_url: str = "http://127.0.0.1:8123"
    door_metrics_url: str = ""


def run(config: CollectorConfig, edge_keys: EdgeKeys, on_ready: Callable[[], object] = lambda: None) -> int:
    """Runs a collector in this process until it is told to stop; the exit code.

    Args:
        edge_keys: the voters' key of a day; None where it was destroyed on record.
        on_ready: called once, when requests are answered and events can be made durable.

    Raises:
        CollectorError: it cannot start.
    """
    producer_config = ProducerConfig(
        config.bootstrap,
        produce_seconds_max=config.produce_seconds_max,
        in_flight_bytes_max=config.in_flight_bytes_max,
        topics=tuple(TOPIC_OF_CATEGORY.values()),
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve_kafka(config, edge_keys, producer_config, on_ready))
    return 0


async def _serve_kafka(
    config: CollectorConfig, edge_keys: EdgeKeys, producer_config: ProducerConfig, on_ready: Callable[[], object]
) -> None:
    producer: Producer = KafkaProducer(producer_config)  # made here, since it belongs to this loop
    if config.spool is not None:
        producer = SpoolingProducer(producer, Spool(config.spool))
    await serve(config, edge_keys, producer, on_ready=on_ready)


async def serve(
    config: CollectorConfig,
    edge_keys: EdgeKeys,
    producer: Producer,
    *,
    stop: asyncio.Event | None = None,
    on_listening: Callable[[str, int], object] = lambda host, port: None,
    on_ready: Callable[[], object] = lambda: None,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> None:
    """Serves until SIGTERM, SIGINT or `stop`; then accepts no more, ends the requests in flight, stops the producer.

    Args:
        producer: started and stopped here.
        stop: for who runs it inside another program.
        on_listening: told host and port once requests are answered.
        on_ready: called once, when the producer is ready too.
        now_ms: Unix milliseconds.

    Raises:
        CollectorError: the address is taken, or a setting cannot be.
    """
    stop = stop or asyncio.Event()
    sites = WatchedSites(config.sites_file, config.key_events_per_second_max)
    sites.look()
    edge = Edge(
        sites,
        producer,
        WatchedKeys(edge_keys),
        Counters(),
        config.limits,
        _networks(config.trusted_proxies),
        now_ms,
        time.monotonic,
        Quotas(),
    )
    playground = Playground(config.clickhouse_http_url, config.door_metrics_url) if config.playground else None
    web = Web(edge, distribution_version(), playground.routes() if playground else ())
    _watch(edge)
    listener = _listen(config.host, config.port)
    address = listener.getsockname()[:2]
    server = _Server(_uvicorn_config(config, Application(Collector(edge), web)), lambda: on_listening(*address))
    with _signals_set(stop):
        await producer.start()
        tasks = [
            asyncio.create_task(_look_at(sites)),
            asyncio.create_task(_end_when(stop, server)),
            asyncio.create_task(_tell_when_ready(server, producer, on_ready)),
        ]
        try:
            await server.serve(sockets=[listener])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await producer.stop(config.produce_seconds_max)
            if playground is not None:
                await playground.close()


class Application:
    """The ASGI app: the hot path is one comparison away, everything else is Starlette's."""

    def __init__(self, collector: Collector, web: Web) -> None:
        self._collector = collector
        self._web = web

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError  # lifespan and websockets are off
        if scope["path"] == PATH:
            await self._collector(scope, receive, send)
            return
        try:
            await self._web(scope, receive, send)
        except Exception as error:
            log_without_values(error)
            with suppress(RuntimeError):  # the answer had begun: uvicorn closes the connection
                await send_answer(send, error_answer(Rejection(500, RequestError.INTERNAL)), [])


class _Server(uvicorn.Server):
    """uvicorn without its signal handling, which raises the signal again after a graceful end: never exit code 0."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], object]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _uvicorn_config(config: CollectorConfig, application: Application) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=bounded_protocol(config.limits),
        ws="none",
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        # Whatever a request in flight may still wait for, its body and its acknowledgement.
        timeout_graceful_shutdown=int(config.limits.body_seconds_max + config.produce_seconds_max) + 1,
    )


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return networks_of(text)
    except ValueError:
        raise CollectorError("trusted proxies are networks like 10.0.0.0/8, separated by commas") from None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(CONNECTIONS_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        text = f"cannot listen on {host}:{port}: {error.strerror}; choose another port or stop who has it"
        raise CollectorError(text) from None
    return listener


def _watch(edge: Edge) -> None:
    """Metrics of numbers that others keep."""
    counters, sites = edge.counters, edge.sites
    counters.watch("unjoin_sites_errors", "Times the file of sites was found broken.", lambda: sites.errors)
    ready = edge.producer.ready
    counters.watch("unjoin_ready", "1 while events can be made durable.", lambda: float(ready()), gauge=True)
    counters.watch(
        "unjoin_edge_keys_missing",
        "Days whose labels are refused because their key cannot be had.",
        lambda: len(edge.edge_keys.missing),
        gauge=True,
    )
    stats = getattr(edge.producer, "stats", None)
    if isinstance(stats, ProducerStats):
        for field in msgspec.structs.fields(stats):
            name = f"unjoin_producer_{field.name}"
            gauge = field.name == "bytes_in_flight"
            counters.watch(name, f"The producer's {field.name}.", partial(getattr, stats, field.name), gauge=gauge)
    if isinstance(edge.producer, SpoolingProducer):
        for name, explanation, gauge, value in edge.producer.spool.numbers():
            counters.watch(f"unjoin_spool_{name}", explanation, value, gauge=gauge)


def distribution_version() -> str:
    """The version that is installed."""
    try:
        return version("unjoin")
    except PackageNotFoundError:
        return "0"


@contextmanager
def _signals_set(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`; off the main thread, where Python takes no signals, nothing happens."""
    loop = asyncio.get_running_loop()
    handled = []
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(ValueError, RuntimeError):
            loop.add_signal_handler(number, stop.set)
            handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


async def _look_at(sites: WatchedSites) -> None:
    while True:
        await asyncio.sleep(SITES_SECONDS)
        if sites.look():
            log.info("sites were read anew")


async def _end_when(stop: asyncio.Event, server: uvicorn.Server) -> None:
    await stop.wait()
    server.should_exit = True


async def _tell_when_ready(server: uvicorn.Server, producer: Producer, tell: Callable[[], object]) -> None:
    while not (server.started and producer.ready()):  # noqa: ASYNC110
        await asyncio.sleep(READY_SECONDS)  # neither has an event for it, and it happens once a start
    tell()
