"""A server behind TLS: who is believed, and what is said where somebody is not."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from sinks.clickhouse.address import Address, address_of
from sinks.clickhouse.server import Server
from sinks.engine import Unknown
from testkit.authority import Authority, TlsListener
from testkit.clickhouse_server import AnyServer
from testkit.contract_table import DDL, ServerTable, block
from unjoin.host.kafka import free_port

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "others")


@pytest.fixture(scope="module")
def tls(server: AnyServer, authority: Authority) -> Iterator[TlsListener]:
    """In front of the server, wants certificates of clients."""
    with TlsListener(server.port, authority.issue("server"), clients=authority.ca) as listener:
        yield listener


def address(server: AnyServer, *ports: int, scheme: str = "clickhouses", **files: Path) -> Address:
    """The server's user and password, at other ports."""
    first, *others = ports
    url = server.url.replace("clickhouse:", f"{scheme}:")
    made = address_of(url, **{name: str(path) for name, path in files.items()})
    return msgspec.structs.replace(made, port=first, others=tuple(("127.0.0.1", port) for port in others))


def ask(where: Address) -> bytes:
    with closing(Server(where)) as server:
        return server.select("SELECT 1", "TabSeparated")


def test_rows_are_stored_over_tls_with_own_authority_and_client_certificate(
    server: AnyServer, tls: TlsListener, authority: Authority
) -> None:
    """The same statements, inside."""
    table = ServerTable(server)
    table.create(DDL)
    certificate, key = authority.issue("sink")
    engine = Server(address(server, tls.port, ca=authority.ca, certificate=certificate, key=key))
    with closing(engine), closing(table):
        engine.insert(block(0, 10))
        assert engine.insert_missing(block(0, 20)) == 10
        assert table.stored().total() == 20


def test_server_that_an_unknown_authority_signed_is_not_believed(
    server: AnyServer, tls: TlsListener, other: Authority
) -> None:
    """Whoever stands on the line would read the password."""
    with pytest.raises(Unknown, match=r"no authority of UNJOIN_CLICKHOUSE_TLS_CA signed"):
        ask(address(server, tls.port, ca=other.ca))


def test_server_whose_certificate_is_of_another_host_is_not_believed(server: AnyServer, authority: Authority) -> None:
    """Any server of the same authority could stand on the line."""
    with (
        TlsListener(server.port, authority.issue("elsewhere", "127.0.0.2")) as elsewhere,
        pytest.raises(Unknown, match="shows a certificate of another name"),
    ):
        ask(address(server, elsewhere.port, ca=authority.ca))


def test_client_that_cannot_show_its_certificate_hears_what_to_set(
    server: AnyServer, tls: TlsListener, authority: Authority, other: Authority
) -> None:
    """Without one, and with one of an authority that the server does not know."""
    with pytest.raises(Unknown, match="before it greets, as where it wants another UNJOIN_CLICKHOUSE_TLS_CERT"):
        ask(address(server, tls.port, ca=authority.ca))
    certificate, key = other.issue("sink")
    with pytest.raises(Unknown, match=r"does not know the authority that|wants another UNJOIN_CLICKHOUSE_TLS_CERT"):
        ask(address(server, tls.port, ca=authority.ca, certificate=certificate, key=key))


def test_port_of_the_other_kind_is_named(server: AnyServer, tls: TlsListener, authority: Authority) -> None:
    """TLS spoken to a port without, and the other way round."""
    with pytest.raises(Unknown, match=f"127.0.0.1:{server.port} does not speak TLS there"):
        ask(address(server, server.port, ca=authority.ca))
    with pytest.raises(Unknown, match=f"127.0.0.1:{tls.port} ends the connection before it greets; if that is its"):
        ask(address(server, tls.port, scheme="clickhouse"))


def test_certificate_that_was_replaced_counts_at_the_next_connection(
    server: AnyServer, authority: Authority, other: Authority, tmp_path: Path
) -> None:
    """Certificates live for days, sinks for months."""
    with TlsListener(server.port, authority.issue("replaced")) as listener:
        ca = tmp_path / "ca.pem"
        ca.write_bytes(other.ca.read_bytes())
        with closing(Server(address(server, listener.port, ca=ca))) as engine:
            with pytest.raises(Unknown):
                engine.select("SELECT 1")
            ca.write_bytes(authority.ca.read_bytes())
            assert engine.select("SELECT 1", "TabSeparated") == b"1\n"


def test_first_of_several_replicas_that_greets_is_asked(server: AnyServer) -> None:
    """One is down: the other answers, and all that follows goes there."""
    down = free_port()
    with closing(Server(address(server, down, server.port, scheme="clickhouse"))) as engine:
        assert engine.select("SELECT 1", "TabSeparated") == b"1\n"
        assert engine._connections._hosts == [("127.0.0.1", server.port), ("127.0.0.1", down)]


def test_where_no_replica_greets_each_is_named(server: AnyServer, authority: Authority, tls: TlsListener) -> None:
    """Which of them is wrong, and how, is what the operator has to know."""
    down = free_port()
    with pytest.raises(Unknown) as raised:
        ask(address(server, down, server.port, ca=authority.ca))
    assert f"127.0.0.1:{down} refuses the connection; 127.0.0.1:{server.port} does not speak TLS" in str(raised.value)
    assert "p@ss" not in str(raised.value)
