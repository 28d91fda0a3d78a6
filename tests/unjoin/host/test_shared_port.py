"""The port that the workers of a collector share."""

import socket

from unjoin.host.workers import _reserved


def test_port_of_a_collector_that_has_just_ended_can_be_shared_at_once() -> None:
    """Its closed connections stay in TIME_WAIT for a minute; a start with workers must not wait for them."""
    with socket.socket() as single:
        single.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        single.bind(("127.0.0.1", 0))
        single.listen()
        port = single.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            connection, _ = single.accept()
            connection.close()
            assert client.recv(1) == b""
    with _reserved("127.0.0.1", port) as reserved:
        assert reserved == port
