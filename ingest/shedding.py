"""Refusals that cost next to nothing: answered from a request's headers, before there is a task for it.

While requests wait at the gate, the protocol asks here about each one that comes in. Who floods is told 503 and when
to come back; the body is read past, and the connection stays, since a new one would cost more than the request.
"""

from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import parse_qs

import msgspec

from ingest.answers import error_answer
from ingest.client_address import Network, client_address
from ingest.counters import Counters
from ingest.gate import Gate
from ingest.headers import basic_key, bearer_key, headers_of
from ingest.rejection import Rejection
from ingest.sites import WatchedSites
from ingest.wires import WIRES

RawHeaders = Iterable[tuple[bytes, bytes]]


class Shedding(msgspec.Struct, frozen=True):
    """What it takes to refuse."""

    gate: Gate
    sites: WatchedSites
    counters: Counters
    trusted_proxies: tuple[Network, ...]

    def answer(self, method: bytes, url: bytes, raw: RawHeaders, peer: str) -> bytes | None:
        """The head and body of a refusal; None where the request is to be handled.

        Args:
            url: as in the request line.
            peer: the connection's address.
        """
        if not self.gate.queue.count or method != b"POST":
            return None
        path, _, query = url.partition(b"?")
        if path.decode("latin-1") not in WIRES:
            return None
        headers = headers_of(raw)
        try:
            grant = self.sites.admission.grant_of(key_of(headers, query))
        except Rejection:
            return None  # a 401, which the handler says
        forwarded_for = [headers["x-forwarded-for"]] if "x-forwarded-for" in headers else []
        if self.gate.takes(grant.quota_name, address_mark(client_address(peer, forwarded_for, self.trusted_proxies))):
            return None
        rejection = self.gate.refusal(early=True)
        self.counters.count_refused(rejection.error)
        origin = headers.get("origin")
        readable = origin is not None and grant.kind == "browser" and origin in grant.origins
        return wire_answer(rejection, origin if readable else None)


def address_mark(address: str) -> int:
    """What tells addresses apart in the fair queue: a hash under a key of this process, so that none is kept."""
    return hash(address)


def key_of(headers: dict[str, str], query: bytes) -> str | None:
    """The key, of the Authorization header, or of the query for a beacon, which cannot set headers."""
    authorization = headers.get("authorization")
    key = bearer_key(authorization) or basic_key(authorization)
    if key is None and query:
        key = parse_qs(query.decode("latin-1")).get("key", [None])[0]
    return key


def wire_answer(rejection: Rejection, origin: str | None) -> bytes:
    """An error as it goes over the wire; the protocol adds what it says on every answer, and `connection`."""
    answer = error_answer(rejection)
    headers = [*answer.headers, (b"vary", b"Origin"), (b"content-length", b"%d" % len(answer.body))]
    if origin is not None:
        headers += [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", b"Retry-After"),
        ]
    head = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n".encode()
    return head + b"".join(b"%s: %s\r\n" % header for header in headers) + b"\r\n" + answer.body
