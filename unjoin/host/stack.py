"""One machine: starts, watches and stops every part, in the order in which events flow and in its reverse."""

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Console

from ingest.access.sites import write_development_sites
from ingest.http.client_address import is_local
from ingest.process.shutdown_times import supervised_seconds_max
from ingest.web.sdk_files import current_sdk
from schemas.outcomes import UnjoinError
from unjoin.connections.kafka_login import kafka_access_of
from unjoin.host import kafka
from unjoin.host.status import show_status
from unjoin.host.supervisor import Part, PartSpec
from unjoin.roles import topics_of
from unjoin.settings import Settings

READY_SECONDS_MAX = 60.0
CROWD_TARGET = "UNJOIN_CROWD_TARGET"


class StackError(UnjoinError):
    """The stack cannot run here; the text says what to do."""


class MetricsPorts(msgspec.Struct, frozen=True):
    """Where each role answers `/metrics`, on loopback.

    Attributes:
        collector: of its first worker; the others have the next ones.
    """

    collector: int
    processor: int
    sink: int

    @classmethod
    def of(cls, first: int, settings: Settings) -> "MetricsPorts":
        """Ports in a row: each worker of the collector, the processor, the sink."""
        processor = first + settings.collect_workers
        return cls(first, processor, processor + 1)

    @staticmethod
    def url(port: int) -> str:
        """What to scrape."""
        return f"http://127.0.0.1:{port}/metrics"

    @property
    def door_url(self) -> str:
        """The processor's."""
        return self.url(self.processor)


async def run_stack(settings: Settings, console: Console) -> int:
    """Runs the whole pipeline until SIGINT or SIGTERM, then drains it; gives the exit code."""
    with _sole_owner(settings.data_dir), tempfile.TemporaryDirectory(prefix="unjoin-") as run_dir:
        _check_ports(settings)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        parts: list[Part] = []
        starting = asyncio.create_task(_start(settings, console, Path(run_dir), parts))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                metrics = starting.result()
                _announce(settings, metrics, console, [one.spec.name for one in parts if not one.ready.is_set()])
                await show_status(metrics.door_url, console, stop)
        finally:
            starting.cancel()
            stopped.cancel()
            with contextlib.suppress(asyncio.CancelledError, UnjoinError):
                await starting
            await _stop(parts, console)
    return 0


async def _start(settings: Settings, console: Console, run_dir: Path, parts: list[Part]) -> MetricsPorts:
    """Starts every part; gives the ports of their metrics."""

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    if is_local(settings.http_host):
        write_development_sites(
            settings.sites_file, [f"http://{host}:{settings.http_port}" for host in ("127.0.0.1", "localhost")]
        )
    else:
        say(f"no development keys: other machines can reach {settings.http_host}; `unjoin sites add` makes keys")

    async def part(spec: PartSpec) -> None:
        with console.status(f"starting {spec.name}"):
            started = Part(spec, settings.data_dir / "logs", run_dir, say)
            parts.append(started)
            await started.start(READY_SECONDS_MAX)

    if not settings.kafka_bootstrap:
        state_dir = settings.data_dir / "kafka"
        command = await asyncio.to_thread(kafka.prepare_node, settings.kafka_home, state_dir, settings.kafka_port)
        await part(PartSpec("kafka", command, kafka.child_environment(), notifies=False, stop_seconds_max=30))
    access = kafka_access_of(settings)
    with console.status("waiting for Kafka"):
        await kafka.wait_until_reachable(access, READY_SECONDS_MAX)
        await kafka.ensure_topics(access, topics_of(settings), settings.replication_factor)
    metrics = MetricsPorts.of(settings.metrics_port or kafka.free_port(settings.collect_workers + 2), settings)
    await asyncio.gather(
        # In front of a database that is not its own it halts; events are taken in, and wait for it on Kafka.
        part(msgspec.structs.replace(_role("sink", settings, ["sink"], metrics.sink), may_halt=True)),
        part(_role("processor", settings, ["process"], metrics.processor)),
        part(_collector(settings, metrics)),
    )
    return metrics


async def _stop(parts: list[Part], console: Console) -> None:
    """Stops the parts so that each can still hand on what it holds: edge first, broker last."""
    by_name = {part.spec.name: part for part in parts}
    with console.status("draining"):
        for name in ("collector", "processor", "sink", "kafka"):
            if name in by_name:
                await by_name[name].stop()
    console.print("stopped", highlight=False)


def _role(name: str, settings: Settings, command: list[str], metrics_port: int) -> PartSpec:
    environment = {
        # A development machine has few sessions: it waits for no more than a crowd needs.
        CROWD_TARGET: str(settings.crowd_min),
        **os.environ,
        "UNJOIN_KAFKA_BOOTSTRAP": settings.bootstrap,
        "UNJOIN_METRICS_HOST": "127.0.0.1",
        "UNJOIN_METRICS_PORT": str(metrics_port),
        "UNJOIN_LAME_DUCK_SECONDS": "0",  # there is no balancer in front of it
        "PYTHONUNBUFFERED": "1",
    }
    return PartSpec(name, [sys.executable, "-m", "unjoin", *command], environment)


def _collector(settings: Settings, metrics: MetricsPorts) -> PartSpec:
    levels = 1 + (settings.collect_workers > 1)  # several workers have a supervisor of their own
    return msgspec.structs.replace(
        _role(
            "collector", settings, ["collect", "--playground", "--door-metrics", metrics.door_url], metrics.collector
        ),
        stop_seconds_max=supervised_seconds_max(settings.body_seconds_max, settings.produce_seconds_max, levels),
    )


def _announce(settings: Settings, metrics: MetricsPorts, console: Console, halted: list[str]) -> None:
    http = f"http://{settings.http_host}:{settings.http_port}"
    clickhouse = f"http://{settings.clickhouse_http_host}:{settings.clickhouse_http_port}/"
    sdk = current_sdk()
    keys = "dev-browser-key, dev-server-key" if is_local(settings.http_host) else "unjoin sites list"
    lines = [
        f"page        {http}/",
        f"SDK         {http}{sdk.path}   integrity: {sdk.integrity}",
        f"collector   {http}/v1/events   keys: {keys}   docs: {http}/docs",
        f"ClickHouse  {(settings.clickhouse_url and 'as UNJOIN_CLICKHOUSE_URL says') or clickhouse}",
        f"Kafka       {settings.bootstrap}",
        f"metrics     collector {metrics.url(metrics.collector)}, processor {metrics.url(metrics.processor)}, "
        f"sink {metrics.url(metrics.sink)}",
        f"crowds      {_crowds(settings)}",
        f"unjoin is ready{f', but for the {halted[0]}, which halted' if halted else ''}; Ctrl-C stops it",
    ]
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def _crowds(settings: Settings) -> str:
    if settings.crowd_min == 1:
        return "none: each label leaves at once"
    if CROWD_TARGET in os.environ:
        return f"leave with {max(settings.crowd_min, settings.crowd_target)} sessions, as {CROWD_TARGET} says"
    return f"leave with {settings.crowd_min} sessions; `unjoin process` would wait for {settings.crowd_target}"


@contextlib.contextmanager
def _sole_owner(data_dir: Path) -> Iterator[None]:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"another `unjoin up` owns {data_dir}; stop it, or set UNJOIN_DATA_DIR to another folder"
            ) from None
        yield


def _check_ports(settings: Settings) -> None:
    wanted = [("UNJOIN_HTTP_PORT", settings.http_port)]
    if not settings.clickhouse_url:
        wanted.append(("UNJOIN_CLICKHOUSE_HTTP_PORT", settings.clickhouse_http_port))
    if not settings.kafka_bootstrap:
        wanted.append(("UNJOIN_KAFKA_PORT", settings.kafka_port))
    if settings.metrics_port:
        ports = range(settings.metrics_port, settings.metrics_port + settings.collect_workers + 2)
        wanted += [("UNJOIN_METRICS_PORT", port) for port in ports]
    for name, port in wanted:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except (OSError, OverflowError):
                raise StackError(f"port {port} is taken by another program; stop it, or set {name}") from None
