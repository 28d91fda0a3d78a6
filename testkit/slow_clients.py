"""Clients that cost a connection and give nothing for it: a thread that holds a thousand of them and drips."""

import contextlib
import selectors
import socket
import threading
import time
from typing import Literal

Kind = Literal["head", "body", "idle", "deaf"]
KINDS: tuple[Kind, ...] = ("head", "body", "idle", "deaf")
DRIP_SECONDS = 0.2
_POST = b"POST /v1/events?key=dev-browser-key HTTP/1.1\r\nHost: a\r\n"
_GET = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
FIRST: dict[Kind, bytes] = {
    "head": _POST,
    "body": _POST + b"Content-Length: 100000\r\n\r\n{",
    "idle": b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "deaf": _GET * 16,
}
DRIP: dict[Kind, bytes] = {"head": b"X: y\r\n", "body": b" ", "idle": b"", "deaf": _GET}


class SlowClients:
    """Holds `count` connections, as many of each kind.

    `head` and `body` send a little every 200 ms and never end; `idle` has its answer and says nothing more; `deaf` asks
    for 30 kB over and over and reads none of it. One that is closed comes back, if `again` is set.

    Attributes:
        closed: how many the other side has closed, by kind.
    """

    def __init__(self, port: int, count: int, *, again: bool = False) -> None:
        self.closed: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        self._port, self._count, self._again = port, count, again
        self._connections: dict[socket.socket, Kind] = {}
        self._selector = selectors.DefaultSelector()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "SlowClients":
        for number in range(self._count):
            self._open(KINDS[number % len(KINDS)])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        for connection in self._connections:
            connection.close()
        self._selector.close()

    @property
    def open(self) -> int:
        """Number of clients that are connected now."""
        return len(self._connections)

    def _open(self, kind: Kind) -> None:
        connection = socket.socket()
        if kind == "deaf":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", self._port))
        connection.sendall(FIRST[kind])
        connection.setblocking(False)
        self._connections[connection] = kind
        if kind != "deaf":
            self._selector.register(connection, selectors.EVENT_READ)

    def _close(self, connection: socket.socket) -> None:
        kind = self._connections.pop(connection)
        with contextlib.suppress(KeyError):
            self._selector.unregister(connection)
        connection.close()
        self.closed[kind] += 1
        if self._again and not self._done.is_set():
            with contextlib.suppress(OSError):
                self._open(kind)

    def _run(self) -> None:
        drip_at = time.monotonic()
        while not self._done.is_set():
            for key, _ in self._selector.select(DRIP_SECONDS):
                connection: socket.socket = key.fileobj  # type: ignore[assignment]
                try:
                    if not connection.recv(65_536):
                        self._close(connection)
                except BlockingIOError:
                    continue
                except OSError:
                    self._close(connection)
            if time.monotonic() >= drip_at:
                drip_at = time.monotonic() + DRIP_SECONDS
                self._drip()

    def _drip(self) -> None:
        for connection, kind in list(self._connections.items()):
            if DRIP[kind]:
                try:
                    connection.send(DRIP[kind])
                except BlockingIOError:
                    continue
                except OSError:
                    self._close(connection)
