"""The proxy that fails on purpose, on sockets of this process."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from testkit.fault_proxy import QUERY, Fault, FaultProxy

REQUEST = bytes([QUERY]) + b" INSERT INTO table"
SECONDS_MAX = 10.0


@contextmanager
def echo_server() -> Iterator[int]:
    """Gives the port of a server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(client: socket.socket) -> None:
            with client:
                try:
                    while chunk := client.recv(65_536):
                        client.sendall(chunk)
                except OSError:
                    pass  # reset

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(client,), daemon=True).start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()


@pytest.fixture
def server_port() -> Iterator[int]:
    with echo_server() as port:
        yield port


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), SECONDS_MAX)


def answer(client: socket.socket, request: bytes) -> bytes:
    client.sendall(request)
    found = b""
    while len(found) < len(request):
        chunk = client.recv(65_536)
        assert chunk
        found += chunk
    return found


def test_everything_passes_without_a_fault(server_port: int) -> None:
    """A megabyte, so that chunks are cut anywhere."""
    body = os.urandom(1_000_000)
    with FaultProxy(server_port) as proxy, connect(proxy) as client:
        sending = threading.Thread(target=client.sendall, args=(body,))
        sending.start()
        found = b""
        while len(found) < len(body):
            found += client.recv(65_536)
        sending.join()
    assert found == body


def test_reset_and_lost_answers_break_the_connection(server_port: int) -> None:
    """Once: the next connection works again."""
    with FaultProxy(server_port) as proxy:
        for fault in (Fault("reset", 5), Fault("lose")):
            happened = proxy.once(lambda _request, fault=fault: fault)
            with connect(proxy) as client, pytest.raises(ConnectionResetError):
                answer(client, REQUEST)
            assert happened.wait(SECONDS_MAX)
            with connect(proxy) as client:
                assert answer(client, REQUEST) == REQUEST
        assert proxy.happened == [Fault("reset", 5), Fault("lose")]


def test_request_that_is_shorter_than_its_reset_passes_and_the_fault_waits(server_port: int) -> None:
    """Whoever asked for one fault gets it at a later request."""
    with FaultProxy(server_port) as proxy, connect(proxy) as client:
        happened = proxy.once(lambda _request: Fault("reset", len(REQUEST)))
        assert answer(client, REQUEST) == REQUEST
        assert not happened.is_set()
        with pytest.raises(ConnectionResetError):
            answer(client, REQUEST + REQUEST)
        assert happened.wait(SECONDS_MAX)


def test_held_request_arrives_after_its_release(server_port: int) -> None:
    """Nothing of it before."""
    with FaultProxy(server_port) as proxy, connect(proxy) as client:
        happened = proxy.once(lambda _request: Fault("hold"))
        client.sendall(REQUEST)
        assert happened.wait(SECONDS_MAX)
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(SECONDS_MAX)
        proxy.release()
        assert client.recv(len(REQUEST)) == REQUEST


def test_connections_of_a_process_are_found_swallowed_reset_and_refused(server_port: int) -> None:
    """A test of what faults do to one part of a stack alone."""
    with FaultProxy(server_port, owners=True) as proxy, connect(proxy) as client:
        assert answer(client, b"\0 first") == b"\0 first"
        (connection,) = proxy.of(os.getpid())
        assert not proxy.of(1)
        connection.swallows = True
        client.sendall(b"\0 second")
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(SECONDS_MAX)
        connection.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        proxy.refused.add(os.getpid())
        with connect(proxy) as refused, pytest.raises(ConnectionResetError):
            refused.recv(1)
        proxy.refused.clear()
        with connect(proxy) as again:
            assert answer(again, b"\0 third") == b"\0 third"


def test_server_that_is_not_there_refuses_through_the_proxy() -> None:
    """A client must not take the proxy for the server."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with FaultProxy(port) as proxy, pytest.raises(ConnectionResetError), connect(proxy) as client:
        client.recv(1)
