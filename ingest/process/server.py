"""A collector as a process: listens, serves, and on SIGTERM or SIGINT drains and ends with exit code 0.

UnjoinError
└── CollectorError    it cannot start; the text says what to change
"""

import asyncio
import faulthandler
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import uvicorn
import uvloop
from prometheus_client.registry import Collector as Metrics

from ingest.access.quotas import Quotas
from ingest.access.sites import WatchedSites
from ingest.collector import Collector
from ingest.edge import Edge
from ingest.encode.edge_keys import WatchedKeys
from ingest.encode.pseudonym import EdgeKeys, day_of_event
from ingest.encode.seals import DoorKeys, Seals
from ingest.following import Follower
from ingest.http.body import BodyRoom
from ingest.http.client_address import Network, is_local, networks_of
from ingest.http.known_protocol import collector_protocol
from ingest.http.protocol import raise_file_limit
from ingest.http.refusal_log import RefusalLog
from ingest.kafka.erasures import FollowedErasures
from ingest.kafka.partitioner import positive_hash
from ingest.kafka.producer import KafkaProducer, Producer, ProducerConfig
from ingest.limits import RequestLimits
from ingest.metrics.counters import Counters
from ingest.metrics.exporter import metrics_exported
from ingest.overload.fair_queue import QueueBounds
from ingest.overload.scheduler import RequestScheduler
from ingest.overload.shedding import Shedding
from ingest.process.application import Application
from ingest.process.edge_metrics import watch_edge
from ingest.process.gc_tuning import tune_garbage_collection
from ingest.process.shutdown_times import grace_seconds, stop_seconds_max
from ingest.spool.producer import SpoolingProducer
from ingest.spool.writer import Spool, SpoolConfig
from ingest.web.app import Web
from ingest.web.page import CollectorView, PageOf
from schemas.following import EmitSpan, emit_nowhere
from schemas.kafka_access import KafkaAccess
from schemas.outcomes import UnjoinError
from schemas.topics import LABELED, TOPIC_OF_CATEGORY

KEEP_ALIVE_SECONDS = 75  # longer than the 60 s that load balancers keep an idle connection, so that they close first
CONNECTIONS_BACKLOG = 2_048
SEND_BUFFER_BYTES = 65_536
KEYLESS_PART = 4  # of what may wait, bodies without a known key get one in so many
SITES_SECONDS = 1.0
READY_SECONDS = 0.05
# How long a start waits for the keys that labels need: doors start at the same time, and all other events need none.
KEYS_SECONDS_MAX = 20.0

log = logging.getLogger(__name__)


class CollectorError(UnjoinError):
    """The collector cannot start."""


class CollectorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How to run a collector.

    Attributes:
        port: 0 for any that is free.
        path_alias: a second path of `/v1/events` and of the SDK; "" for none.
        trusted_proxies: networks whose X-Forwarded-For counts, separated by commas; "" for none.
        kafka: the brokers, and as whom they are asked.
        insync_min: the least `min.insync.replicas` of the topics; with 1 it is not looked at.
        produce_seconds_max: until a batch that Kafka has not acknowledged is spooled, or 503 without a spool.
        in_flight_bytes_max: of records not acknowledged, beyond which batches are spooled, or 503, at once.
        spool: None for none.
        spools_left: folders of spools that no collector writes to any more, to be drained as well.
        port_shared: whether other collectors of this machine listen on `port`, too.
        metrics_port: where `/metrics` is answered; 0 for none.
        waiting: how long and how much may wait before requests are refused.
        connections_max: beyond it the one that has been idle for longest is closed for a new one.
        key_events_per_second_max: quota of a key that has none of its own; 0 for none.
        address_events_per_second_max: quota of a client's address, of IPv6 a /64; 0 for none.
        session_labels_per_hour_max: quota of a session; 0 for none.
        lame_duck_seconds: between being told to stop, when it is not ready any more, and accepting no more.
        labeled_partitions: of `events.labeled`, until Kafka has said how many it has.
    """

    sites_file: Path
    kafka: KafkaAccess
    insync_min: int
    host: str
    port: int
    limits: RequestLimits
    path_alias: str
    trusted_proxies: str
    produce_seconds_max: float
    in_flight_bytes_max: int
    spool: SpoolConfig | None
    spools_left: tuple[Path, ...]
    port_shared: bool
    metrics_host: str
    metrics_port: int
    waiting: QueueBounds
    connections_max: int
    key_events_per_second_max: int
    address_events_per_second_max: int
    session_labels_per_hour_max: int
    lame_duck_seconds: float
    labeled_partitions: int
    follow_every: int


def run(
    config: CollectorConfig,
    edge_keys: EdgeKeys,
    door_keys: DoorKeys,
    on_ready: Callable[[], object] = lambda: None,
    page_of: PageOf | None = None,
    role_metrics: Sequence[Metrics] = (),
    emit: EmitSpan = emit_nowhere,
) -> int:
    """Runs a collector in this process until it is told to stop; the exit code.

    Args:
        edge_keys: the voters' key of a day; None where it was destroyed on record.
        door_keys: the door's public key of a day.
        on_ready: called once, when requests are answered and events can be made durable.
        page_of: makes the page at `/`; None for no page.
        role_metrics: what Prometheus is told besides.
        emit: where the pieces of work of requests that are followed go.

    Raises:
        CollectorError: it cannot start.
    """

    def settled() -> None:
        tune_garbage_collection()
        on_ready()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve_kafka(config, edge_keys, door_keys, page_of, settled, role_metrics, emit))
    return 0


async def _serve_kafka(
    config: CollectorConfig,
    edge_keys: EdgeKeys,
    door_keys: DoorKeys,
    page_of: PageOf | None,
    on_ready: Callable[[], object],
    role_metrics: Sequence[Metrics],
    emit: EmitSpan,
) -> None:
    kafka = KafkaProducer(  # made here, since it belongs to this loop
        ProducerConfig(
            config.kafka,
            produce_seconds_max=config.produce_seconds_max,
            in_flight_bytes_max=config.in_flight_bytes_max,
            topics=tuple(TOPIC_OF_CATEGORY.values()),
            insync_min=config.insync_min,
        )
    )
    producer: Producer = kafka
    if config.spool is not None:
        left = [Spool(msgspec.structs.replace(config.spool, folder=folder)) for folder in config.spools_left]
        producer = SpoolingProducer(kafka, Spool(config.spool), config.produce_seconds_max, left)
        producer.too_few_copies = kafka.copies.too_few
    counters = Counters()
    for one in role_metrics:
        counters.registry.register(one)
    erasures = FollowedErasures()
    following = asyncio.create_task(erasures.follow(config.kafka))
    try:
        await serve(
            config,
            edge_keys,
            door_keys,
            producer,
            counters=counters,
            emit=emit,
            page_of=page_of,
            on_ready=on_ready,
            on_stopping=lambda: _end_whatever_happens(config),
            erasures=erasures,
        )
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def serve(
    config: CollectorConfig,
    edge_keys: EdgeKeys,
    door_keys: DoorKeys,
    producer: Producer,
    *,
    counters: Counters | None = None,
    emit: EmitSpan = emit_nowhere,
    page_of: PageOf | None = None,
    stop: asyncio.Event | None = None,
    on_listening: Callable[[str, int], object] = lambda host, port: None,
    on_ready: Callable[[], object] = lambda: None,
    on_stopping: Callable[[], object] = lambda: None,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    erasures: FollowedErasures | None = None,
) -> None:
    """Serves until SIGTERM, SIGINT or `stop`, and for the lame-duck time after it.

    Then accepts no more, ends the requests in flight, stops the producer.

    Args:
        producer: started and stopped here.
        counters: for who wants to read them; None for new ones.
        emit: where the pieces of work of requests that are followed go.
        page_of: makes the page at `/`; None for no page.
        stop: for a caller that runs it inside another program.
        on_listening: told host and port once requests are answered.
        on_ready: called once, when the producer is ready too, and the keys of the day are there or do not come.
        on_stopping: called when it is told to stop.
        now_ms: Unix milliseconds.
        erasures: whom to refuse, kept up to date by the caller; None for nobody.

    Raises:
        CollectorError: the address is taken, or a setting cannot be.
        MetricsPortError: the metrics' address is taken.
    """
    stop = stop or asyncio.Event()
    sites = WatchedSites(config.sites_file, config.key_events_per_second_max)
    sites.look()

    def partition_of(voter: bytes) -> int:
        return positive_hash(voter) % (producer.partitions_of(LABELED) or config.labeled_partitions)

    edge = Edge(
        sites,
        producer,
        WatchedKeys(edge_keys, door_keys),
        Seals(door_keys, partition_of, time.monotonic),
        counters or Counters(),
        config.limits,
        _networks(config.trusted_proxies),
        now_ms,
        time.monotonic,
        Quotas(config.address_events_per_second_max, config.session_labels_per_hour_max),
        RequestScheduler(config.waiting, time.monotonic, producer.congested),
        BodyRoom(config.waiting.bytes_max),
        BodyRoom(max(config.waiting.bytes_max // KEYLESS_PART, config.limits.body_bytes_max)),
        is_local(config.host),
        erasures or FollowedErasures(),
        Follower(config.follow_every, emit),
    )
    if sites.admission.has_development_keys and not edge.on_loopback:
        log.warning("development keys are refused: other machines can reach %s", config.host)
    if isinstance(producer, SpoolingProducer):
        producer.others_wait = edge.scheduler.busy
    page = page_of(_view(producer)) if page_of else None
    web = Web(edge, distribution_version(), page.routes() if page else (), leaving=stop.is_set)
    watch_edge(edge)
    listener = _listen(config.host, config.port, shared=config.port_shared)
    address = listener.getsockname()[:2]
    shedding = Shedding(edge.scheduler, sites, edge.counters, edge.trusted_proxies)
    server = _Server(
        _uvicorn_config(config, Collector(edge), web, shedding, RefusalLog(edge.counters, edge.monotonic)),
        lambda: on_listening(*address),
        grace_seconds(config.limits.body_seconds_max, config.produce_seconds_max),
    )

    def ended() -> None:
        on_stopping()
        if page is not None:
            page.end()

    with (
        closing(listener),
        metrics_exported(edge.counters.registry, config.metrics_host, config.metrics_port),
        _signals_set(stop),
    ):
        await producer.start()
        tasks = [
            asyncio.create_task(_look_at(sites)),
            asyncio.create_task(_end_when(stop, config.lame_duck_seconds, server, ended)),
            asyncio.create_task(_tell_when_ready(server, edge, on_ready)),
        ]
        try:
            await server.serve(sockets=[listener])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await producer.stop(config.produce_seconds_max)
            if page is not None:
                await page.close()


class _Server(uvicorn.Server):
    """uvicorn without its signal handling, which raises the signal again after a graceful end: never exit code 0."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], object], grace_seconds: float) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._grace_seconds = grace_seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, but connections that do not end in time are aborted, so that no task need be cancelled."""
        timer = asyncio.get_running_loop().call_later(self._grace_seconds, self._abort_connections)
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()
            self._abort_connections()

    def _abort_connections(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _view(producer: Producer) -> CollectorView:
    return CollectorView(producer.reaches_kafka if isinstance(producer, SpoolingProducer) else producer.ready)


def _uvicorn_config(
    config: CollectorConfig, collector: Collector, web: Web, shedding: Shedding, refusals: RefusalLog
) -> uvicorn.Config:
    grace = grace_seconds(config.limits.body_seconds_max, config.produce_seconds_max)
    connections_max = raise_file_limit(config.connections_max)
    return uvicorn.Config(
        Application(collector, web),
        http=collector_protocol(
            config.limits, shedding.refusal_of, refusals.note, connections_max, collector, config.path_alias
        ),
        ws="none",
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(grace) + 2,  # after the connections were aborted
    )


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return networks_of(text)
    except ValueError:
        raise CollectorError("trusted proxies are networks like 10.0.0.0/8, separated by commas") from None


def _listen(host: str, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it. By default the kernel buffers some MB of answers for a client that reads none.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(CONNECTIONS_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        text = f"cannot listen on {host}:{port}: {error.strerror}; choose another port or stop who has it"
        raise CollectorError(text) from None
    return listener


def distribution_version() -> str:
    """The installed version of the distribution."""
    try:
        return version("unjoin")
    except PackageNotFoundError:
        return "0"


@contextmanager
def _signals_set(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`, in the main thread alone: Python takes signals in no other."""
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


async def _end_when(
    stop: asyncio.Event, lame_duck_seconds: float, server: uvicorn.Server, on_stopping: Callable[[], object]
) -> None:
    await stop.wait()
    if lame_duck_seconds:
        log.info("not ready any more; serving for %g s until balancers know", lame_duck_seconds)
        await asyncio.sleep(lame_duck_seconds)
    on_stopping()
    server.should_exit = True


def _end_whatever_happens(config: CollectorConfig) -> None:
    """Ends the process with exit code 1 if the stop hangs, and prints the stack of every thread, without values.

    faulthandler does it in a thread of its own, which needs neither the loop nor the interpreter's lock. Acknowledged
    events are in Kafka or in the spool, so that nothing is lost.
    """
    seconds = stop_seconds_max(config.limits.body_seconds_max, config.produce_seconds_max)
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or 2)
    asyncio.get_running_loop().call_later(0.8 * seconds, _log_tasks)


def _log_tasks() -> None:
    """Logs where every task waits: a thread's stack only shows an idle loop."""
    for task in asyncio.all_tasks():
        places = [f"{frame.f_code.co_filename}:{frame.f_lineno}" for frame in task.get_stack()]
        log.error("the stop takes long; a task waits at %s", ", ".join(places))


async def _tell_when_ready(server: uvicorn.Server, edge: Edge, tell: Callable[[], object]) -> None:
    keys_until = edge.monotonic() + KEYS_SECONDS_MAX
    while not (server.started and edge.producer.ready() and (_has_keys(edge) or edge.monotonic() >= keys_until)):  # noqa: ASYNC110
        await asyncio.sleep(READY_SECONDS)  # none of them offers an event, and this runs once a start
    tell()


def _has_keys(edge: Edge) -> bool:
    now_ms = edge.now_ms()
    return edge.edge_keys.are_there(day_of_event(now_ms, now_ms))
