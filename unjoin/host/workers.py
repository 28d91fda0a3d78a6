"""Several collectors on one port: each a process of its own, watched and started again when it dies.

    unjoin collect --workers 2 ──┬──▶ worker 1   own event loop, producer, spool, metrics; shares of the connections
                                 └──▶ worker 2

Each listens on the port by itself (SO_REUSEPORT), and answers `/metrics` on a port of its own. This process waits until
all of them are ready, starts again those that die, and never touches an event.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ingest.process.shutdown_times import supervised_seconds_max
from schemas.outcomes import UnjoinError
from unjoin.host.notify import notify_ready
from unjoin.host.supervisor import Part, PartSpec
from unjoin.settings import Settings

# A worker is ready once it can accept durably, which may take as long as Kafka is away.
READY_SECONDS_MAX = 30 * 24 * 3_600.0
PORT_MAX = 65_535


class WorkersError(UnjoinError):
    """The workers cannot be started; the text says what to do."""


async def run_workers(settings: Settings, count: int, options: Sequence[str], console: Console) -> int:
    """Runs `count` collectors until SIGINT or SIGTERM, then drains them; returns the exit code.

    Args:
        options: of `unjoin collect`, passed on to each worker.

    Raises:
        WorkersError: the port is taken, or there cannot be so many workers.
        PartFailed: a worker could not start.
    """
    if count < 1:
        raise WorkersError("a collector has 1 worker or more")
    if settings.metrics_port_of(count) > PORT_MAX:
        raise WorkersError(f"{count} workers need as many ports from UNJOIN_METRICS_PORT on; choose a lower one")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with _reserved(settings.http_host, settings.http_port) as port, tempfile.TemporaryDirectory() as run_dir:
        parts = [
            Part(_spec(settings, number, count, port, options), Path(run_dir), Path(run_dir), console.print)
            for number in range(1, count + 1)
        ]
        starting = asyncio.gather(*(part.start(READY_SECONDS_MAX) for part in parts))
        stopped = asyncio.create_task(stop.wait())
        try:
            either: set[asyncio.Future[Any]] = {starting, stopped}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                notify_ready()
                await stopped
        finally:
            stopped.cancel()
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError, UnjoinError):
                await starting
            await asyncio.gather(*(part.stop() for part in parts))
    return 0


def _spec(settings: Settings, number: int, count: int, port: int, options: Sequence[str]) -> PartSpec:
    return PartSpec(
        f"collector {number}",
        [sys.executable, "-m", "unjoin", "collect", "--worker", f"{number}/{count}", *options],
        {**os.environ, "UNJOIN_HTTP_PORT": str(port)},
        stop_seconds_max=settings.lame_duck_seconds
        + supervised_seconds_max(settings.body_seconds_max, settings.produce_seconds_max),
        own_log=False,
    )


@contextlib.contextmanager
def _reserved(host: str, port: int) -> Iterator[int]:
    """Binds the port while workers come and go, without listening on it; yields its number, also where 0 was asked for.

    The kernel lets every process of the same user bind a port that is shared. So the port is first bound without
    sharing: a second collector on the same port is an error, instead of getting half of the connections.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
        holder = socket.socket(family, socket.SOCK_STREAM)
        # As above, for what is left of a single collector, whose connections were not shared.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((host, port))
    except OSError as error:
        text = f"cannot listen on {host}:{port}: {error.strerror}; choose another port or stop who has it"
        raise WorkersError(text) from None
    with holder:
        yield holder.getsockname()[1]
