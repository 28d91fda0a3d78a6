"""Refusals that cost next to nothing: answered from a request's headers, before there is a task for it.

While requests wait at the gate, the protocol asks here about each one that comes in. Who floods is told 503 and when
to come back; the body is read past, and the connection stays, since a new one would cost more than the request.
"""

from collections.abc import Iterable
from urllib.parse import parse_qs

import msgspec

from ingest.access.grants import allows_origin
from ingest.access.sites import WatchedSites
from ingest.decode.formats import WIRES
from ingest.errors import Rejection
from ingest.http.client_address import Network, client_address
from ingest.http.headers import basic_key, bearer_key, forwarded_for, headers_of
from ingest.http.responses import VARY, Answer, error_answer, readable_by
from ingest.metrics.counters import Counters
from ingest.overload.scheduler import Gate

RawHeaders = Iterable[tuple[bytes, bytes]]


class Shedding(msgspec.Struct, frozen=True):
    """What it takes to refuse."""

    gate: Gate
    sites: WatchedSites
    counters: Counters
    trusted_proxies: tuple[Network, ...]

    def answer(self, method: bytes, url: bytes, raw: RawHeaders, peer: str) -> Answer | None:
        """The refusal; None where the request is to be handled.

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
        address = client_address(peer, forwarded_for(headers), self.trusted_proxies)
        if self.gate.takes(grant.quota_name, address_mark(address)):
            return None
        rejection = self.gate.refusal(early=True)
        self.counters.count_refused(rejection.error)
        origin = headers.get("origin")
        readable = readable_by(origin) if origin is not None and allows_origin(grant, origin) else []
        return error_answer(rejection, [VARY, *readable])


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
