"""A TCP proxy between clients and a server that fails as networks do, request by request or at a call.

It runs an event loop in a thread of its own, so that tests that block and programs with a loop use it alike. Nothing
that passes is kept.
"""

import asyncio
import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

CHUNK_BYTES = 65_536
QUERY = 1  # first byte of a query's packet in ClickHouse's native protocol; of Kafka's requests it is 0
CONNECT_SECONDS_MAX = 5.0
CLOSE_SECONDS_MAX = 10.0
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: closing sends RST. Source: socket(7)


class Fault(NamedTuple):
    """What happens to a request.

    reset   its first `bytes_sent` bytes arrive, then both sides are reset; a shorter request passes
    lose    it arrives whole; at the first byte of the answer both sides are reset
    swallow it arrives whole; the answer never does, and nobody hears of that
    hold    nothing of it arrives until `release`, then all, even when its client is gone
    """

    kind: Literal["reset", "lose", "swallow", "hold"]
    bytes_sent: int = 0


Choose = Callable[[bytes], Fault | None]
"""Called in the proxy's thread at the start of each query, with the first bytes of it that came."""


def never(_request: bytes) -> None:
    """Chooses no fault."""


class FaultProxy:
    """Listens on a free port of 127.0.0.1 from its making on, and passes everything on until `close`.

    Hellos and pings of ClickHouse's protocol pass `choose` by, and so does all of Kafka's.

    Args:
        owners: look up the process behind each connection, which takes milliseconds.

    Attributes:
        choose: which fault a query gets.
        happened: faults so far, in order; a reset counts once it is made, the others when they are chosen.
        connections: those that are open.
        refused: processes whose new connections are reset at once.
    """

    def __init__(self, server_port: int, choose: Choose = never, *, owners: bool = False) -> None:
        self.choose = choose
        self.happened: list[Fault] = []
        self.connections: set[Connection] = set()
        self.refused: set[int] = set()
        self._server = ("127.0.0.1", server_port)
        self._owners = owners
        self._once: threading.Event | None = None
        self._released = asyncio.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._accepting = self._loop.create_task(self._accept())
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Resets every connection and refuses new ones."""
        self._call(self._accepting.cancel)
        self._thread.join(CLOSE_SECONDS_MAX)

    def release(self) -> None:
        """Lets everything pass that is held."""
        self._call(self._released.set)

    def once(self, choose: Choose) -> threading.Event:
        """Chooses until the first fault has happened, and nothing after it; the event is set when it has."""
        self._once = threading.Event()
        self.choose = choose
        return self._once

    def of(self, pid: int) -> "list[Connection]":
        """Connections that a process opened."""
        return [connection for connection in list(self.connections) if connection.pid == pid]

    def _call(self, callback: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and every connection with it
            self._loop.call_soon_threadsafe(callback)

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError), contextlib.closing(self._loop):
            self._loop.run_until_complete(self._accept_and_shut_down())

    async def _accept_and_shut_down(self) -> None:
        try:
            await self._accepting
        finally:
            self._listener.close()
            await self._loop.shutdown_default_executor()

    async def _accept(self) -> None:
        async with asyncio.TaskGroup() as conversations:
            while True:
                client, _ = await self._loop.sock_accept(self._listener)
                conversations.create_task(self._converse(client))

    async def _converse(self, client: socket.socket) -> None:
        server = socket.socket()
        try:
            for each in (client, server):
                each.setblocking(False)
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pid = await asyncio.to_thread(owner_of, client.getpeername()[1]) if self._owners else 0
            if pid in self.refused:
                return
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                await self._loop.sock_connect(server, self._server)
            connection = Connection(self, pid, client, server)
            self.connections.add(connection)
            try:
                await connection.pass_on()
            finally:
                self.connections.discard(connection)
        except OSError:
            pass  # the client has gone again, or nobody listens there: nor here
        finally:
            _reset(client)
            _reset(server)

    def _chosen(self, request: bytes) -> Fault | None:
        fault = self.choose(request) if request[0] == QUERY else None
        if fault is not None and fault.kind != "reset":
            self._happen(fault)
        return fault

    def _happen(self, fault: Fault) -> None:
        self.happened.append(fault)
        if self._once is not None:
            self.choose = never
            self._once.set()
            self._once = None


class Connection:
    """One connection through a proxy.

    Attributes:
        pid: of the process that opened it; 0 where the proxy does not look it up, or found none.
        swallows: what the server answers is thrown away.
    """

    def __init__(self, proxy: FaultProxy, pid: int, client: socket.socket, server: socket.socket) -> None:
        self.pid = pid
        self.swallows = False
        self._proxy, self._client, self._server = proxy, client, server
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[bool] = self._loop.create_future()
        self._fault: Fault | None = None
        self._answered = True
        self._sent = 0

    def reset(self) -> None:
        """Both ends see the connection break; from any thread."""
        self._proxy._call(lambda: self._end(by_reset=True))

    async def pass_on(self) -> None:
        """Passes everything on until the server has ended, or a fault ends both; it is a reset if it is cancelled."""
        ways = [asyncio.create_task(self._requests()), asyncio.create_task(self._answers())]
        for way in ways:
            way.add_done_callback(self._see)
        try:
            by_reset = await self._ended
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        if not by_reset:
            for each in (self._client, self._server):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()

    async def _requests(self) -> None:
        with contextlib.suppress(OSError):
            while chunk := await self._loop.sock_recv(self._client, CHUNK_BYTES):
                if self._answered and not self.swallows:
                    self._answered, self._sent = False, 0
                    self._fault = self._proxy._chosen(chunk)
                    self.swallows = self._fault is not None and self._fault.kind == "swallow"
                fault = self._fault
                if fault and fault.kind == "reset" and self._sent + len(chunk) > fault.bytes_sent:
                    await self._loop.sock_sendall(self._server, chunk[: max(0, fault.bytes_sent - self._sent)])
                    self._proxy._happen(fault)
                    self._end(by_reset=True)
                    return
                if fault and fault.kind == "hold":
                    await self._proxy._released.wait()
                await self._loop.sock_sendall(self._server, chunk)
                self._sent += len(chunk)
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_WR)

    async def _answers(self) -> None:
        with contextlib.suppress(OSError):
            while chunk := await self._loop.sock_recv(self._server, CHUNK_BYTES):
                if self._fault and self._fault.kind == "lose":
                    self._end(by_reset=True)
                    return
                if not self.swallows:
                    self._answered = True
                    await self._loop.sock_sendall(self._client, chunk)
        if not self.swallows:
            self._end(by_reset=False)

    def _end(self, *, by_reset: bool) -> None:
        if not self._ended.done():
            self._ended.set_result(by_reset)

    def _see(self, way: "asyncio.Task[None]") -> None:
        """Lets a bug, such as one of `choose`, end the proxy instead of hanging one connection."""
        if not way.cancelled() and (error := way.exception()) is not None and not self._ended.done():
            self._ended.set_exception(error)


def _reset(each: socket.socket) -> None:
    """RST, not FIN: what the other side did not read yet is lost. Does nothing to a closed socket."""
    with contextlib.suppress(OSError):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    each.close()


def owner_of(local_port: int) -> int:
    """The process with the loopback connection that begins at this port; 0 where none is found."""
    wanted = f"0100007F:{local_port:04X}"
    inodes = {
        fields[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if (fields := line.split()) and fields[1] == wanted
    }
    targets = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            for descriptor in os.listdir(process / "fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(process / "fd" / descriptor) in targets:
                        return int(process.name)
    return 0
