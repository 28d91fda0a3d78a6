"""Several collectors on one port: each a process of its own, watched and started again when it dies.

    unjoin collect --workers 2 ──┬──▶ worker 1   own event loop, producer, spool; the kernel deals out connections
                                 └──▶ worker 2

Each listens on the port by itself (SO_REUSEPORT). What must be said for all of them, readiness at the start and
metrics, is gathered here; this process never touches an event.
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

from ingest.metrics.aggregate import WorkersMetrics
from ingest.metrics.worker_link import ANSWER_SECONDS_MAX, ASK_SECONDS, framed, read_framed
from ingest.process.shutdown_times import supervised_seconds_max
from schemas.outcomes import UnjoinError
from unjoin.host.notify import notify_ready
from unjoin.host.supervisor import Part, PartSpec
from unjoin.settings import Settings

# A worker says that it is ready once it can accept durably, which may take as long as Kafka is away.
READY_SECONDS_MAX = 30 * 24 * 3_600.0
UNANSWERED_MAX = 3


class WorkersError(UnjoinError):
    """The workers cannot be started; the text says what to do."""


async def run_workers(settings: Settings, count: int, options: Sequence[str], console: Console) -> int:
    """Runs so many collectors until SIGINT or SIGTERM, then drains them; gives the exit code.

    Args:
        options: of `unjoin collect`, for each of them.

    Raises:
        WorkersError: the port is taken, or so many workers are none.
        PartFailed: a worker could not start.
    """
    if count < 1:
        raise WorkersError("a collector has 1 worker or more")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with _reserved(settings.http_host, settings.http_port) as port, tempfile.TemporaryDirectory() as run_dir:
        link = Path(run_dir) / "metrics"
        async with MetricsHub(link):
            parts = [
                Part(_spec(settings, number, count, port, link, options), Path(run_dir), Path(run_dir), console.print)
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


def _spec(settings: Settings, number: int, count: int, port: int, link: Path, options: Sequence[str]) -> PartSpec:
    return PartSpec(
        f"collector {number}",
        [sys.executable, "-m", "unjoin", "collect", "--worker", f"{number}/{count}:{link}", *options],
        {**os.environ, "UNJOIN_HTTP_PORT": str(port)},
        stop_seconds_max=supervised_seconds_max(settings.body_seconds_max, settings.produce_seconds_max),
        own_log=False,
    )


@contextlib.contextmanager
def _reserved(host: str, port: int) -> Iterator[int]:
    """Holds the port while workers come and go, without listening on it; gives the one that was found for 0.

    Whoever shares a port says so, and the kernel lets any process of this user join in. So it is tried without
    sharing first: a second collector on the same port is told, instead of taking half of the connections.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
        holder = socket.socket(family, socket.SOCK_STREAM)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((host, port))
    except OSError as error:
        text = f"cannot listen on {host}:{port}: {error.strerror}; choose another port or stop who has it"
        raise WorkersError(text) from None
    with holder:
        yield holder.getsockname()[1]


class _Link:
    """To one living worker. Answers come in the order of the questions, so that a late one is known for what it is."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.asked = self.answered = 0
        self.answer = asyncio.Event()

    async def ask(self) -> None:
        """Returns once the worker answered this question, or after some time."""
        if self.asked - self.answered < UNANSWERED_MAX:
            self.asked += 1
            self.writer.write(b"metrics\n")
        mine = self.asked
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS_MAX / 2):
                while self.answered < mine:
                    await self.answer.wait()


class MetricsHub:
    """Asks the workers for their metrics, every second and whenever somebody wants the sum.

    Args:
        path: of the socket that it makes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._metrics = WorkersMetrics()
        self._links: dict[int, _Link] = {}

    async def __aenter__(self) -> "MetricsHub":
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        self._task = asyncio.create_task(self._ask_now_and_then())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        self._server.close()
        for link in self._links.values():
            link.writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            role, _, number = (await reader.readline()).decode("ascii", "replace").strip().partition(" ")
            if role == "worker" and number.isdigit():
                await self._listen_to(int(number), reader, _Link(writer))
            elif role == "sum":
                await self._ask_all()
                writer.write(framed(self._metrics.exposition()))
                await writer.drain()
        except OSError:
            pass  # whoever it was has gone
        finally:
            writer.close()

    async def _listen_to(self, number: int, reader: asyncio.StreamReader, link: _Link) -> None:
        self._metrics.lose(number)  # the one before, if its end has not been seen yet
        self._links[number] = link
        try:
            link.writer.write(b"metrics\n")
            link.asked += 1
            while True:
                text = (await read_framed(reader)).decode()
                if self._links.get(number) is not link:
                    break
                self._metrics.note(number, text)
                link.answered += 1
                link.answer.set()
                link.answer = asyncio.Event()
        except EOFError:
            pass
        finally:
            if self._links.get(number) is link:
                del self._links[number]
                self._metrics.lose(number)

    async def _ask_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(ASK_SECONDS)
            await self._ask_all()

    async def _ask_all(self) -> None:
        await asyncio.gather(*(link.ask() for link in list(self._links.values())))
