"""A TCP proxy that a fault can reach into: connections reset in the middle, replies that never arrive.

What passes is never kept, only looked at for the marks that say where a request begins.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

CHUNK_BYTES = 65_536
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: closing sends RST. Source: socket(7)
DEAF_SECONDS = 0.5


class Connection:
    """One connection through the wire.

    Attributes:
        pid: of the process that opened it; 0 where that is not known.
        deaf: what the upstream replies is thrown away.
    """

    def __init__(self, pid: int, client: asyncio.StreamWriter, upstream: asyncio.StreamWriter) -> None:
        self.pid = pid
        self.deaf = False
        self.ended = asyncio.Event()
        self._client, self._upstream = client, upstream

    def reset(self) -> None:
        """Both ends see the connection break."""
        for writer in (self._client, self._upstream):
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


class Wire:
    """Listens on a port of its own and passes everything on.

    Attributes:
        cut: processes whose connections are refused for now.
    """

    def __init__(self, upstream_port: int) -> None:
        self.port = 0
        self.connections: set[Connection] = set()
        self.cut: set[int] = set()
        self._upstream_port = upstream_port
        self._server: asyncio.Server | None = None
        self._aims: list[_Aim] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self.connections):
            connection.reset()
        await asyncio.gather(*(connection.ended.wait() for connection in list(self.connections)))

    def of(self, pid: int) -> list[Connection]:
        """A process's connections."""
        return [connection for connection in self.connections if connection.pid == pid]

    async def aim(self, mark: bytes, skip_bytes: int, hit: Callable[[Connection], None], seconds_max: float) -> bool:
        """Calls `hit` once a client has sent `mark` and that many bytes after it have passed; whether it came to it."""
        aim = _Aim(mark, skip_bytes, hit)
        self._aims.append(aim)
        try:
            async with asyncio.timeout(seconds_max):
                await aim.done.wait()
        except TimeoutError:
            return False
        finally:
            self._aims.remove(aim)
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pid = owner_of(writer.get_extra_info("peername")[1])
        if pid in self.cut:
            writer.transport.abort()
            return
        try:
            upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        except OSError:
            writer.transport.abort()  # nobody listens there: nor here
            return
        connection = Connection(pid, writer, upstream)
        self.connections.add(connection)
        try:
            requests = asyncio.create_task(self._requests(connection, reader, upstream))
            replies = asyncio.create_task(_replies(connection, upstream_reader, writer))
            await asyncio.wait({requests, replies}, return_when=asyncio.FIRST_COMPLETED)
            for task in (requests, replies):
                task.cancel()
            await asyncio.gather(requests, replies, return_exceptions=True)
        finally:
            self.connections.discard(connection)
            connection.ended.set()
            for end in (writer, upstream):
                end.close()

    async def _requests(
        self, connection: Connection, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(CHUNK_BYTES):
            for aim in self._aims:
                data = await aim.passes(connection, data, upstream)
            upstream.write(data)
            await upstream.drain()


async def _replies(connection: Connection, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK_BYTES):
        if not connection.deaf:
            client.write(data)
            await client.drain()


class _Aim:
    """Waits on every connection for a mark, and then for so many bytes more."""

    def __init__(self, mark: bytes, skip_bytes: int, hit: Callable[[Connection], None]) -> None:
        self.done = asyncio.Event()
        self._mark, self._skip_bytes, self._hit = mark, skip_bytes, hit
        self._seen: dict[Connection, int] = {}

    async def passes(self, connection: Connection, data: bytes, upstream: asyncio.StreamWriter) -> bytes:
        """Lets data through up to where it hits; returns what is left of it."""
        if self.done.is_set():
            return data
        if connection not in self._seen:
            place = data.find(self._mark)
            if place < 0:
                return data
            self._seen[connection] = -place
        passed = self._seen[connection]
        self._seen[connection] = passed + len(data)
        if passed + len(data) < self._skip_bytes:
            return data
        keep = self._skip_bytes - passed
        upstream.write(data[:keep])
        with contextlib.suppress(ConnectionError):
            await upstream.drain()
        self.done.set()
        self._hit(connection)
        return data[keep:]


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
        with contextlib.suppress(OSError):
            for descriptor in os.scandir(process / "fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(descriptor.path) in targets:
                        return int(process.name)
    return 0
