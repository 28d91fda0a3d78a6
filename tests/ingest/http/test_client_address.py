"""Whose address a request has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.http.client_address import client_address, networks_of

PROXIES = networks_of("10.0.0.0/8, 192.0.2.1, fd00::/8")


@pytest.mark.parametrize(
    ("peer", "header", "address"),
    [
        ("203.0.113.5", ["198.51.100.7"], "203.0.113.5"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.7, 10.2.2.2, 192.0.2.1"], "198.51.100.7"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.7", "10.2.2.2"], "198.51.100.7"),
        ("10.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7, ; drop"], "10.0.0.1"),
        ("10.0.0.1", ["junk, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("fd00::1", ["2001:DB8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        ("", ["198.51.100.7"], ""),
    ],
)
def test_rightmost_hop_that_is_no_trusted_proxy_is_the_client(peer: str, header: list[str], address: str) -> None:
    """Each proxy appends whom it saw; what stands further left the client can have written itself."""
    assert client_address(peer, header, PROXIES) == address
    assert client_address(peer, header, ()) == peer


@given(st.lists(st.text(max_size=30), max_size=3))
def test_any_header_gives_an_address(header: list[str]) -> None:
    """A stranger's header is never an error, and never text that is no address."""
    found = client_address("10.0.0.1", header, PROXIES)
    assert networks_of(found)


def test_a_network_that_is_none_is_said_at_the_start() -> None:
    """A typing error must not silently trust nobody, or everybody."""
    with pytest.raises(ValueError, match="does not appear"):
        networks_of("10.0.0.0/8, proxies")
