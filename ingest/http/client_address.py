"""Pure: the client's address of a request. Source: RFC 7239's predecessor `X-Forwarded-For`, as proxies write it."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

_WITH_PORT = re.compile(r"\A(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<v4>[0-9.]+))(?::[0-9]{1,5})?\Z")


def networks_of(text: str) -> tuple[Network, ...]:
    """Networks as a setting lists them, separated by commas; a bare address is a network of one.

    Raises:
        ValueError: one of them is none.
    """
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def client_address(peer: str, forwarded_for: Sequence[str], trusted: tuple[Network, ...]) -> str:
    """The address of the client: the last hop that is no trusted proxy.

    A client can write what it likes into X-Forwarded-For; each proxy appends the peer that it saw. So the header counts
    only when the peer is a trusted proxy, and is read from the right, up to the first hop that is not trusted.

    Not uvicorn's ProxyHeadersMiddleware (tried with 0.54): it takes `unknown` or `; drop` for an address, and does not
    know a trusted proxy by its IPv4-mapped address.

    Args:
        peer: of the connection; "" where there is none.
        forwarded_for: the values of every such header, in order; a malformed one makes all of them void.
        trusted: networks of proxies.
    """
    if not trusted or not forwarded_for:
        return peer
    hop = _address(peer)
    if hop is None or not _within(hop, trusted):
        return peer
    for text in reversed([part for value in forwarded_for for part in value.split(",")]):
        hop = _address(text)
        if hop is None:
            return peer
        if not _within(hop, trusted):
            break
    return str(hop)


def address_mark(address: str) -> int:
    """A number that tells addresses apart: a hash under a key of this process, so that no address is kept.

    An IPv6 address counts as its network of 64 bits, which is the least that one client is given. Source: RFC 6177.
    """
    if ":" in address:
        parsed = _address(address)
        if isinstance(parsed, IPv6Address):
            return hash(parsed.packed[:8])
        address = str(parsed or address)
    return hash(address)


def network_mark(address: str, trusted: tuple[Network, ...]) -> int | None:
    """As `address_mark`, of an IPv6 address its /64: a household has as many addresses as it likes.

    None where the client's address is not known: a trusted proxy did not say it, or there is none.
    """
    found = _address(address)
    if found is None or _within(found, trusted):
        return None
    return hash((found.version, int(found) >> 64 if found.version == 6 else int(found)))


def is_local(host: str, forwarded_for: Sequence[str] = ()) -> bool:
    """Whether a host is this machine alone; what a proxy on it passes on is local where every hop was.

    Args:
        host: an address, or `localhost`.
        forwarded_for: the values of every X-Forwarded-For, trusted or not.
    """
    if host == "127.0.0.1" and not forwarded_for:
        return True
    hops = [host.replace("localhost", "127.0.0.1"), *(part for value in forwarded_for for part in value.split(","))]
    return all((address := _address(hop)) is not None and address.is_loopback for hop in hops)


def _within(address: IPv4Address | IPv6Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, with or without port; an IPv4-mapped IPv6 address becomes the IPv4 address."""
    text = text.strip()
    match = _WITH_PORT.match(text)
    if match:
        text = match["v6"] or match["v4"]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
