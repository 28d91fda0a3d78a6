"""Connections to a server of clickhouse-driver, or to one of several replicas.

All connections go to one replica at a time: a server runs one statement of an id at a time, and only a server that is
asked again can say that the first one still runs. A replica is left when it does not greet, or when it says itself that
it cannot write; then the next one of the URL is asked, round and round. Nobody goes back to one that has returned.

A certificate is read anew for each connection, so that one that was replaced counts from then on.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from clickhouse_driver import Client, defines, errors
from clickhouse_driver.block import BlockInfo
from clickhouse_driver.protocol import ClientPacketTypes
from clickhouse_driver.varint import write_varint
from clickhouse_driver.writer import write_binary_str

from sinks.clickhouse.address import Address
from sinks.clickhouse.driver_errors import CONNECT_ERRORS, Unreachable, server_exception, why_unreachable

CONNECT_SECONDS_MAX = 5
# With these a replica says that it is cut off, from Keeper or from what the others have.
CUT_OFF = {
    225: "NO_ZOOKEEPER",
    236: "ABORTED",
    242: "TABLE_IS_READ_ONLY",
    289: "REPLICA_IS_NOT_IN_QUORUM",
    999: "KEEPER_EXCEPTION",
}
# From the next revision on, each column of a block names its serialization, which the format Native does not.
REVISION_MAX = defines.DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION - 1


class Connections:
    """The connections of a process. Any thread may take one; each is one thread's at a time.

    Args:
        settings: what every insert asks for; a server refuses those that it does not know, so it gets only those that
            it lists.
        database: that plain table names mean; "" for the user's own, since this one may not be there yet.
    """

    def __init__(
        self, address: Address, settings: dict[str, Any], answer_seconds_max: float, database: str = ""
    ) -> None:
        self._address, self._settings, self._database = address, settings, database
        self._answer_seconds_max = answer_seconds_max
        self._hosts = list(address.hosts)
        self._lock = threading.Lock()
        self._idle: list[tuple[Any, dict[str, Any]]] = []
        self._busy: list[Any] = []
        self.closed = threading.Event()

    @contextmanager
    def client(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        """A connected client and the settings that its server knows; after an exception it is not used again.

        Raises:
            Unreachable: no replica greets.
        """
        with self._lock:
            if self.closed.is_set():
                raise EOFError
            client, settings = self._idle.pop() if self._idle else (self._new(), None)
            self._busy.append(client)
        try:
            if settings is None:
                self._connect(client)
                known = {name for (name,) in client.execute("SELECT name FROM system.settings")}
                settings = {name: value for name, value in self._settings.items() if name in known}
            yield client, settings
        except BaseException as error:
            with self._lock:
                self._busy.remove(client)
            if isinstance(error, errors.ServerException) and error.code in CUT_OFF:
                self.leave(client.host)
            client.disconnect()
            raise
        with self._lock:
            self._busy.remove(client)
            kept = not self.closed.is_set() and client.host == self._hosts[0]
            if kept:
                self._idle.append((client, settings))
        if not kept:
            client.disconnect()

    def close(self) -> None:
        """Closes every connection; whoever uses one gets an error."""
        with self._lock:
            self.closed.set()
            clients = [client for client, _ in self._idle]
            for client in self._busy:
                with suppress(AttributeError, OSError):  # not connected yet, or no more
                    client.connection.socket.shutdown(socket.SHUT_RDWR)
            self._idle = []
        for client in clients:
            client.disconnect()

    def leave(self, host: tuple[str, int]) -> None:
        """Asks the next replica from now on, unless another call has left this one already."""
        with self._lock:
            if self._hosts[0] != host:
                return
            self._hosts.append(self._hosts.pop(0))
            clients, self._idle = [client for client, _ in self._idle], []
        for client in clients:
            client.disconnect()

    def _connect(self, client: Any) -> None:
        """Connects to the first replica that greets."""
        reasons = []
        for _ in self._address.hosts:
            if self.closed.is_set():
                raise EOFError
            host = self._hosts[0]
            client.connection.hosts.clear()
            client.connection.hosts.append(host)
            client.host, client.reached = host, False
            try:
                # The driver waits for the greeting as long as for an answer.
                client.connection.send_receive_timeout = CONNECT_SECONDS_MAX
                client.connection.connect()
                client.connection.send_receive_timeout = self._answer_seconds_max
                client.connection.socket.settimeout(self._answer_seconds_max)
                return
            except errors.ServerException:
                raise  # it greets, and says what is wrong
            except CONNECT_ERRORS as error:
                client.disconnect()
                why = why_unreachable(error, secure=self._address.secure, connected=client.reached)
                reasons.append(f"{host[0]}:{host[1]} {why}")
                self.leave(host)
        raise Unreachable("; ".join(reasons))

    def _new(self) -> Any:
        address = self._address
        client = _Client(
            address.host,
            port=address.port,
            user=address.user,
            password=address.password,
            database=self._database,
            secure=address.secure,
            ca_certs=address.ca or None,
            certfile=address.certificate or None,
            keyfile=address.key or None,
            client_name="unjoin",
            connect_timeout=CONNECT_SECONDS_MAX,
            sync_request_timeout=CONNECT_SECONDS_MAX,
            client_revision=REVISION_MAX,
        )
        client.closed = self.closed
        if not address.ca:
            client.connection.ssl_options.pop("ca_certs", None)  # certifi's, which the driver prefers to the system's
        client.connection.send_external_tables = partial(_send_block, client.connection)
        client.connection.receive_exception = lambda: server_exception(client.connection.fin)
        return client


class _Client(Client):  # type: ignore[misc]  # clickhouse-driver has no types
    """Knows whether its query and the block that belongs to it were sent.

    Attributes:
        sent: whether both were; before, the server runs nothing, for it waits for the end of the block.
        host: the replica and port that it connects to.
        closed: set once it may connect no more.
        reached: whether its last connection was taken, and TLS agreed on.
    """

    sent = False
    host = ("", 0)
    reached = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.closed = threading.Event()
        self._create_socket = self.connection._create_socket
        self.connection._create_socket = self._noted

    def _noted(self, host: str, port: int) -> Any:
        if self.closed.is_set():  # the driver connects anew by itself where a connection has ended
            raise EOFError
        made = self._create_socket(host, port)
        self.reached = True
        return made

    def receive_result(self, *args: Any, **kwargs: Any) -> Any:
        """Notes that all is sent: `execute` calls this next."""
        self.sent = True
        return super().receive_result(*args, **kwargs)


def _send_block(connection: Any, native: bytes | None, types_check: bool = False) -> None:
    """Replaces the driver's method: sends bytes that are Native already, as the external table `block`."""
    del types_check
    if native:
        write_varint(ClientPacketTypes.DATA, connection.fout)
        write_binary_str("block", connection.fout)
        BlockInfo().write(connection.fout)
        connection.fout.write(native)
    type(connection).send_external_tables(connection, ())  # an empty block ends the data
