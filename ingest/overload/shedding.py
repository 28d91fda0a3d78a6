"""Load shedding: cheap refusals, made from a request's head before there is a task for it.

While requests wait for their turn, the protocol asks here about each one that comes in. A client that floods is
answered 503 with Retry-After; its body is read past, and the connection stays: a new one would cost more than the
request.
"""

from collections.abc import Iterable

import msgspec

from ingest.access.grants import allows_origin
from ingest.access.sites import WatchedSites
from ingest.decode.formats import FORMATS
from ingest.errors import Rejection
from ingest.http.client_address import Network, address_mark, client_address
from ingest.http.headers import forwarded_for, key_of, request_headers
from ingest.http.responses import VARY, HttpResponse, error_response, readable_by
from ingest.metrics.counters import Counters
from ingest.overload.fair_queue import KEYLESS
from ingest.overload.scheduler import RequestScheduler

RawHeaders = Iterable[tuple[bytes, bytes]]


class Shedding(msgspec.Struct, frozen=True):
    """Refuses requests by their heads while others wait."""

    scheduler: RequestScheduler
    sites: WatchedSites
    counters: Counters
    trusted_proxies: tuple[Network, ...]

    def refusal_of(self, method: bytes, url: bytes, raw: RawHeaders, peer: str) -> HttpResponse | None:
        """The refusal; None where the request is to be handled.

        Args:
            url: path and query, as `origin_form` gives them.
            peer: the connection's address.
        """
        if not self.scheduler.queue.count or method != b"POST":
            return None
        path, _, query = url.partition(b"?")
        body_format = FORMATS.get(path.decode("latin-1"))
        if body_format is None:
            return None
        headers = request_headers(raw)
        key = key_of(headers, query)
        grant = None
        if key is not None or body_format.key_in is None:
            try:
                grant = self.sites.admission.grant_of(key)
            except Rejection:
                return None  # a 401, which the handler says
        address = client_address(peer, forwarded_for(headers), self.trusted_proxies)
        if self.scheduler.takes(grant.quota_name if grant else KEYLESS, address_mark(address)):
            return None
        rejection = self.scheduler.refusal(early=True)
        self.counters.count_refused(rejection.error)
        origin = headers.get("origin")
        readable = readable_by(origin) if origin is not None and grant and allows_origin(grant, origin) else []
        return error_response(rejection, [VARY, *readable])
