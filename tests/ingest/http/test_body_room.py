"""Bodies that are still arriving: what unknown and greedy senders hold is theirs alone."""

import http.client
import json
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ingest.http.body import BodyRoom, Owner
from ingest.http.client_address import address_mark, is_local
from tests.ingest.configs import queue_bounds, request_limits
from tests.ingest.running_collector import RunningCollector, read_reply, running
from tests.ingest.test_collector import until

BYTES_MAX = 1_600_000
KEYLESS_BYTES_MAX = BYTES_MAX // 4
PART = 18_000
CALL = {"type": "page", "anonymousId": "a", "messageId": "m", "name": "n", "context": {"page": {"url": "https://a"}}}
# A body of 58 kB, which does not fit into one packet.
SEGMENT = json.dumps({"writeKey": "dev-browser-key", "batch": [CALL]}).encode() + b" " * 58_000
EVENTS = json.dumps({"session": "s", "events": []}).encode() + b" " * 58_000


@contextmanager
def slow_bodies(collector: RunningCollector, head: bytes, count: int) -> Iterator[None]:
    """Bodies of `PART` bytes each that never end; some of them are refused."""
    with ExitStack() as held:
        for _ in range(count):
            connection = held.enter_context(collector.connect())
            connection.sendall(head + b"Host: a\r\nContent-Length: 390000\r\n\r\n" + b" " * PART)
        until(lambda: collector.metric("unjoin_waiting_receiving_bytes") > KEYLESS_BYTES_MAX - PART)
        yield


def sent_in_two(collector: RunningCollector, path: str, body: bytes, source: str, **headers: str) -> int:
    """The status of a request from an address of this machine whose body does not come with its head."""
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=20, source_address=(source, 0))
    try:
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.putrequest("POST", path)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            connection.putheader(name, value)
        before = collector.metric("unjoin_waiting_receiving_bytes")
        connection.endheaders()
        connection.send(body[:50_000])
        answered = [connection.sock]
        until(
            lambda: (
                collector.metric("unjoin_waiting_receiving_bytes") != before or select.select(answered, [], [], 0)[0]
            )
        )
        connection.send(body[50_000:])
        return read_reply(connection).status
    finally:
        connection.close()


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[RunningCollector]:
    limits = request_limits(body_bytes_max=KEYLESS_BYTES_MAX, body_seconds_max=30.0)
    with running(tmp_path, waiting=queue_bounds(bytes_max=BYTES_MAX), limits=limits) as collector:
        yield collector


def test_slow_keyless_bodies_take_nothing_from_others(collector: RunningCollector) -> None:
    """A path where the key is in the body takes bytes from anyone; who has a key, or another address, needs those."""
    with slow_bodies(collector, b"POST /v1/batch HTTP/1.1\r\n", 150):
        bearer = {"Authorization": "Bearer dev-browser-key"}
        assert sent_in_two(collector, "/v1/events", EVENTS, "127.0.0.1", **bearer) == 200
        assert sent_in_two(collector, "/v1/batch", SEGMENT, "127.0.0.1", **bearer) == 200
        assert sent_in_two(collector, "/v1/batch", SEGMENT, "127.0.0.2") == 200


def test_slow_bodies_of_a_public_key_take_nothing_from_its_other_visitors(collector: RunningCollector) -> None:
    """A browser key is on every page of its site."""
    with slow_bodies(collector, b"POST /v1/events?key=dev-browser-key HTTP/1.1\r\n", 150):
        assert sent_in_two(collector, "/v1/events?key=dev-browser-key", EVENTS, "127.0.0.2") == 200


def test_all_that_is_held_together_is_at_most_twice_the_bound() -> None:
    """Whatever mixture of keys and addresses: each share is of the bound, and there are as many as share it."""
    room = BodyRoom(1_000)
    owners = [Owner(f"k{key}", address) for key in range(3) for address in range(key + 1)]
    for owner in owners:
        room.enter(owner)
    held = dict.fromkeys(owners, 0)
    while grown := [owner for owner in owners if room.grow(owner, 7)]:
        for owner in grown:
            held[owner] += 7
    assert room.bytes == sum(held.values()) <= 2_000
    for owner in owners:
        room.leave(owner, held[owner])
    assert room.bytes == 0


def test_addresses_of_one_ipv6_network_are_one_client() -> None:
    """A household has 2^64 of them, and would have as many shares."""
    assert address_mark("2001:db8:0:1::1") == address_mark("2001:db8:0:1:ffff::2") != address_mark("2001:db8:0:2::1")
    assert address_mark("::ffff:192.0.2.1") == address_mark("192.0.2.1") != address_mark("::ffff:192.0.2.2")


@pytest.mark.parametrize(
    ("host", "hops", "local"),
    [("127.0.0.1", [], True), ("127.8.9.1", [], True), ("localhost", [], True), ("::1", [], True),
     ("::ffff:127.0.0.1", [], True), ("0.0.0.0", [], False), ("::", [], False), ("192.0.2.1", [], False),
     ("", [], False), ("localhost.example", [], False), ("127.0.0.1", ["127.0.0.1, ::1"], True),
     ("127.0.0.1", ["127.0.0.1", "192.0.2.1"], False), ("127.0.0.1", [""], False)],
)  # fmt: skip
def test_this_machine_alone_is_local(host: str, hops: list[str], local: bool) -> None:
    """Development keys hang on it."""
    assert is_local(host, hops) == local
