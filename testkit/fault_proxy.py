"""A TCP proxy between a client and a server that fails as networks do, request by request.

A request is a query of ClickHouse's native protocol and what belongs to it. For each one the proxy asks `choose` what
is to happen to it; hellos and pings pass.
"""

import select
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Literal, NamedTuple, Self

CHUNK_BYTES = 65_536
QUERY = 1  # a packet's first byte
LOOK_SECONDS = 0.02


class Fault(NamedTuple):
    """What happens to a request.

    reset   its first `bytes_sent` bytes arrive, then both sides are reset
    lose    it arrives whole; at the first byte of the answer both sides are reset
    swallow it arrives whole; the answer never does, and nobody hears of that
    hold    nothing of it arrives until `release`, then all, even when its client is gone
    """

    kind: Literal["reset", "lose", "swallow", "hold"]
    bytes_sent: int = 0


Choose = Callable[[], Fault | None]


class FaultyProxy:
    """Listens on a free port while in its context.

    Attributes:
        choose: called from a connection's thread at the start of each request.
        happened: faults so far, in order.
    """

    def __init__(self, server_port: int, choose: Choose = lambda: None) -> None:
        self._server = ("127.0.0.1", server_port)
        self.choose = choose
        self.happened: list[Fault] = []
        self._released = threading.Event()
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._closing.set()
        self._released.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._sockets:
            _reset(each)
        for thread in self._threads:
            thread.join(10)

    def release(self) -> None:
        """Lets what was held go on its way."""
        self._released.set()

    def once(self, fault: Fault) -> None:
        """For the next request alone."""
        faults = [fault]
        self.choose = lambda: faults.pop() if faults else None

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._server, 5)
            except OSError:
                _reset(client)
                continue
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server.settimeout(None)
            self._sockets += [client, server]
            _Conversation(self, client, server).start()


class _Conversation:
    """One connection; `fault` is that of its present request."""

    def __init__(self, proxy: FaultyProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._fault: Fault | None = None
        self._answered = True
        self._sent = 0

    def start(self) -> None:
        self._proxy._spawn(self._upwards)
        self._proxy._spawn(self._downwards)

    def _upwards(self) -> None:
        """What the client says."""
        try:
            while chunk := _received(self._client):
                if self._answered:
                    self._answered, self._sent = False, 0
                    self._fault = self._proxy.choose() if chunk[0] == QUERY else None
                    if self._fault:
                        self._proxy.happened.append(self._fault)
                fault = self._fault
                if fault and fault.kind == "reset" and self._sent + len(chunk) > fault.bytes_sent:
                    self._server.sendall(chunk[: max(0, fault.bytes_sent - self._sent)])
                    self._end(_reset)
                    return
                if fault and fault.kind == "hold":
                    self._proxy._released.wait()
                self._server.sendall(chunk)
                self._sent += len(chunk)
        except OSError:
            pass
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_WR)

    def _downwards(self) -> None:
        """What the server says."""
        try:
            while chunk := _received(self._server):
                fault = self._fault
                if fault and fault.kind == "lose":
                    self._end(_reset)
                    return
                if fault and fault.kind == "swallow":
                    continue
                self._answered = True
                self._client.sendall(chunk)
        except OSError:
            pass
        if self._fault is None or self._fault.kind != "swallow":
            self._end(_shut)

    def _end(self, how: Callable[[socket.socket], None]) -> None:
        how(self._client)
        how(self._server)


def _received(each: socket.socket) -> bytes:
    """Looks instead of blocking: a socket that another thread reads from would not be reset before that read ends."""
    while True:
        try:
            ready, _, _ = select.select([each], [], [], LOOK_SECONDS)
        except ValueError:  # closed by the other direction
            return b""
        if ready:
            return each.recv(CHUNK_BYTES)


def _reset(each: socket.socket) -> None:
    """RST, not FIN: what the other side did not read yet is lost."""
    with suppress(OSError):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    each.close()


def _shut(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
