"""Pure: where ClickHouse listens, and how it is logged in to."""

import re
from urllib.parse import unquote, urlsplit

import msgspec

from schemas.outcomes import UnjoinError

PORT, TLS_PORT = 9000, 9440
PORT_MAX = 65_535
# Not urlsplit for the whole: since Python 3.11.12 it refuses an address in brackets among several hosts.
_URL = re.compile(r"(?P<scheme>clickhouses?)://(?P<hosts>[^/?#]*)(?P<end>.*)", re.DOTALL | re.IGNORECASE)
_LOOKS = "must look like clickhouse://user:password@host:9000/unjoin"


class AddressError(UnjoinError):
    """The server's URL cannot be used; its text never shows the URL."""


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server listens, and the user to log in as; `repr` leaves out the password.

    Attributes:
        others: host and port of further replicas of the same tables, in the order in which they are tried.
        cluster: what the replicas call their cluster; "" for one server, whose tables are not replicated.
        secure: whether it speaks TLS.
        ca, certificate, key: PEM files; without a CA those of the system, without a certificate none is shown.
    """

    host: str
    port: int
    others: tuple[tuple[str, int], ...] = ()
    cluster: str = ""
    user: str = "default"
    password: str = ""
    secure: bool = False
    ca: str = ""
    certificate: str = ""
    key: str = ""

    @property
    def hosts(self) -> tuple[tuple[str, int], ...]:
        """Host and port of every replica."""
        return ((self.host, self.port), *self.others)

    def __repr__(self) -> str:
        return f"Address({','.join(f'{host}:{port}' for host, port in self.hosts)})"


def address_of(url: str, *, cluster: str = "", ca: str = "", certificate: str = "", key: str = "") -> Address:
    """Reads `clickhouse://user:password@host:9000,host2:9000/unjoin`; `clickhouses` for TLS, whose port is 9440.

    Raises:
        AddressError: it is none.
    """
    parts = _URL.fullmatch(url.lstrip())
    if parts is None:
        raise AddressError(f"UNJOIN_CLICKHOUSE_URL {_LOOKS}")
    if parts["end"] not in ("", "/", "/unjoin"):
        raise AddressError("UNJOIN_CLICKHOUSE_URL must end with the database, which is /unjoin, and nothing after it")
    secure = parts["scheme"].lower() == "clickhouses"
    if not secure and (ca or certificate or key):
        raise AddressError(
            "UNJOIN_CLICKHOUSE_TLS_… has no effect unless UNJOIN_CLICKHOUSE_URL begins with clickhouses://"
        )
    if bool(certificate) != bool(key):
        raise AddressError("UNJOIN_CLICKHOUSE_TLS_CERT and UNJOIN_CLICKHOUSE_TLS_KEY need each other")
    login, _, listed = parts["hosts"].rpartition("@")
    (host, port), *others = [_host(one, TLS_PORT if secure else PORT) for one in listed.split(",")]
    if others and not cluster:
        raise AddressError(
            "UNJOIN_CLICKHOUSE_URL names several hosts: name their cluster in UNJOIN_CLICKHOUSE_CLUSTER, for only "
            "replicas of one table hold the same rows"
        )
    user, _, password = login.partition(":")
    return Address(
        host=host,
        port=port,
        others=tuple(others),
        cluster=cluster,
        user=unquote(user or "default"),
        password=unquote(password),
        secure=secure,
        ca=ca,
        certificate=certificate,
        key=key,
    )


def _host(text: str, default: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
    except ValueError:
        raise AddressError("UNJOIN_CLICKHOUSE_URL holds an address in brackets that is none") from None
    try:
        port = parts.port
    except ValueError:
        raise AddressError(f"a port of UNJOIN_CLICKHOUSE_URL is not a number up to {PORT_MAX}") from None
    if not parts.hostname:
        raise AddressError(f"UNJOIN_CLICKHOUSE_URL {_LOOKS}")
    return parts.hostname, port or default
