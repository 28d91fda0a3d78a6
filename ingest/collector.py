"""POST /v1/events, and what Segment's SDKs post to: a bare ASGI app that answers once a request's events are durable.

    admit ──▶ read ──▶ turn: decode ──▶ judge ──▶ encode ──▶ produce ──▶ answer

Cheap refusals come first: key, origin, type and declared length are known before a byte of the body is read.
"""

import logging
from collections.abc import Sequence

import msgspec

from ingest.access.grants import Grant, allows_origin, authorized, check_origin
from ingest.decode.batch import EventBatch
from ingest.edge import Edge
from ingest.encode.records import Records, Run, Sender, records_of
from ingest.errors import RejectedEvent, Rejection
from ingest.http.body import ClientGone, NoRoom, Receive
from ingest.http.client_address import address_mark, client_address
from ingest.http.headers import check_type, forwarded_for, is_gzip, key_of, user_agent_of
from ingest.http.responses import (
    VARY,
    HeaderList,
    HttpResponse,
    Receipt,
    Send,
    error_response,
    readable_by,
    send_response,
    send_response_and_close,
)
from ingest.kafka.producer import NotDurable
from ingest.metrics.counters import count_by_category
from ingest.request import Request, Scope
from schemas.outcomes import RequestError, UnjoinError

KEYS_RETRY_AFTER_S = 30

_ALLOW = (b"allow", b"POST, OPTIONS")
_PREFLIGHT: HeaderList = [
    (b"access-control-allow-methods", b"POST"),
    (b"access-control-allow-headers", b"authorization, content-encoding, content-type, x-retry-count"),
    (b"access-control-max-age", b"7200"),  # Chromium caps it there.
]

log = logging.getLogger(__name__)


class Encoded(msgspec.Struct, frozen=True):
    """What is left of a request while it waits for Kafka.

    Attributes:
        accepted: how many events, by category.
        rejected: ascending by index.
    """

    records: Records
    accepted: dict[str, int]
    rejected: list[RejectedEvent]


class Collector:
    """The ASGI app of the paths of `FORMATS`. Answers everything that happens; raises nothing but cancellation."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request. Shape and source: ASGI 3."""
        request = Request(scope, receive)
        counters = self._edge.counters
        try:
            response = await self.collect(request) if request.method == "POST" else self._without_events(request)
        except ClientGone:
            counters.count_gone()
            return
        except Rejection as rejection:
            counters.count_refused(rejection.error)
            response = error_response(rejection, [_ALLOW] if rejection.status == 405 else None)
        except Exception as error:
            counters.count_refused(RequestError.INTERNAL)
            log_without_values(error)
            response = error_response(Rejection(500, RequestError.INTERNAL))
        headers = self._cors(request)
        if request.body.complete and request.fast_path:
            await request.fast_path.send(response, headers)
        elif request.body.complete:
            await send_response(send, response, headers)
        else:
            linger = response.status != 408 and "expect" not in request.headers
            await send_response_and_close(send, response, headers, request.body, linger)

    async def collect(self, request: Request) -> HttpResponse:
        """Makes a request's events durable; the 200.

        Raises:
            Rejection: the whole request is refused.
            ClientGone: the client did not wait for an answer.
        """
        edge, limits, body_format = self._edge, self._edge.limits, request.body_format
        key = key_of(request.headers, request.query)
        grant = None if key is None and body_format.key_in else self._admit(request, key)
        check_type(request.headers.get("content-type"), body_format.types)
        gzip = is_gzip(request.headers.get("content-encoding"))
        try:
            body = await request.body.read(gzip, limits.body_bytes_max, limits.body_seconds_max, edge.body_room)
        except NoRoom:
            raise edge.scheduler.refusal(early=True) from None
        if grant is None:
            assert body_format.key_in is not None
            grant = self._admit(request, body_format.key_in(body))
        address = client_address(request.peer, forwarded_for(request.headers), edge.trusted_proxies)
        with await edge.scheduler.turn(grant.quota_name, address_mark(address), len(body)):
            batches = body_format.parse(body, limits)
            edge.quotas.spend(grant, sum([len(one.events) + len(one.rejected) for one in batches]), edge.monotonic())
            batches = [authorized(one, grant) for one in batches]
            encoded = self._encode(batches, grant, address, user_agent_of(request.headers))
            del body, batches  # freed while they are in the CPU's cache, not when Kafka has answered
        began = edge.monotonic()
        try:
            await edge.producer.produce(encoded.records)  # returns once durable
        except NotDurable as error:
            raise Rejection(503, RequestError.NOT_DURABLE, retry_after_s=error.retry_after_s) from None
        edge.counters.count_batch(encoded.accepted, encoded.rejected, edge.monotonic() - began)
        return body_format.response(Receipt(sum(encoded.accepted.values()), encoded.rejected))

    def _admit(self, request: Request, key: str | None) -> Grant:
        """What the request's key allows where the request comes from; kept, since it decides who may read the answer.

        Raises:
            Rejection: 401, an unknown key; 403, an origin that the key is not for.
        """
        grant = request.grant = self._edge.sites.admission.grant_of(key)
        check_origin(grant, request.origin)
        return grant

    def _encode(self, batches: Sequence[EventBatch], grant: Grant, address: str, user_agent: str) -> Encoded:
        """The records of a request. An event that no record can be made of joins the rejected.

        Args:
            batches: at least one, no two of one session, so that no two share a key of records.

        Raises:
            Rejection: 503: a key that their labels need cannot be had.
        """
        now_ms = self._edge.now_ms()
        runs: list[Run] = []
        accepted: dict[str, int] = {}
        rejected: list[RejectedEvent] = []
        for batch in batches:
            sender = Sender(grant.site, batch.session, now_ms, address, user_agent)
            try:
                records, closed = records_of(batch.events, sender, self._edge.edge_keys, self._edge.seals)
            except UnjoinError:  # a day's key cannot be had: nothing may be lost, so nothing is accepted
                raise Rejection(503, RequestError.NOT_DURABLE, retry_after_s=KEYS_RETRY_AFTER_S) from None
            left_out = {entry.index for entry in closed}
            events = [entry for entry in batch.events if entry[0] not in left_out] if closed else batch.events
            for category, count in count_by_category(events).items():
                accepted[category] = accepted.get(category, 0) + count
            runs += records.runs
            rejected += batch.rejected
            rejected += closed
        if len(rejected) > 1:
            rejected.sort(key=lambda entry: entry.index)
        return Encoded(Records(runs), accepted, rejected)

    def _without_events(self, request: Request) -> HttpResponse:
        """What is answered to any other method than POST: a preflight's answer.

        Raises:
            Rejection: 403, a preflight from an origin that no site lists; 405, another method.
        """
        if request.method != "OPTIONS":
            raise Rejection(405, RequestError.METHOD_NOT_ALLOWED)
        if request.origin is not None and not self._edge.sites.admission.lists_origin(request.origin):
            raise Rejection(403, RequestError.FORBIDDEN_ORIGIN)
        return HttpResponse(204, [*_PREFLIGHT, _ALLOW], b"")

    def _cors(self, request: Request) -> HeaderList:
        """On every answer, errors too: a page reads a 429's Retry-After only if it may read the answer at all."""
        if request.origin is None:
            return [VARY]
        grant = request.grant
        if grant is None:
            listed = self._edge.sites.admission.lists_origin(request.origin)
        else:
            listed = allows_origin(grant, request.origin)
        return [VARY, *readable_by(request.origin)] if listed else [VARY]


def log_without_values(error: BaseException) -> None:
    """Logs what broke and where; the text of an exception may hold what a client sent."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else "?"
    log.error("a request failed inside: %s at %s", type(error).__name__, where)
