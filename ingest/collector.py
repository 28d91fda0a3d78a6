"""POST /v1/events, and what Segment's SDKs post to: a bare ASGI app that answers once a request's events are durable.

    admit ──▶ read ──▶ turn: decode ──▶ judge ──▶ encode ──▶ produce ──▶ answer

Cheap refusals come first: key, origin, type and declared length are known before a byte of the body is read.
"""

import logging
from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from ingest.access.consent import asks_for_privacy, consented
from ingest.access.erased import not_erased
from ingest.access.grants import Grant, allows_origin, authorized, check_origin
from ingest.decode.batch import EventBatch, count_implausible_ts
from ingest.edge import Edge
from ingest.encode.records import Records, Run, Sender, records_of
from ingest.errors import RejectedEvent, Rejection
from ingest.http.body import ClientGone, NoRoom, Owner, Receive
from ingest.http.client_address import address_mark, client_address, is_local, network_mark
from ingest.http.codings import decompressor_of
from ingest.http.headers import check_type, forwarded_for, header_key, key_of, query_key, user_agent_of
from ingest.http.responses import (
    CLOSE,
    VARY,
    HeaderList,
    HttpResponse,
    Receipt,
    Send,
    Warnings,
    error_response,
    readable_by,
    send_response,
)
from ingest.kafka.producer import NotDurable
from ingest.metrics.counters import count_by_category
from ingest.overload.fair_queue import KEYLESS
from ingest.request import Request, Scope
from schemas.outcomes import RequestError, UnjoinError

KEYS_RETRY_AFTER_S = 30
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some clients put it before JSON, which RFC 8259 lets a reader skip (8.1)
_KEY_IN_URL = "URLs end up in logs: send a server key as `Authorization: Bearer KEY`, and rotate the one that was sent."
_DEVELOPMENT_KEY = "Development keys are for this machine alone; `unjoin sites add` makes others."

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
        implausible_ts: how many of the accepted have a `ts` that cannot be true.
    """

    records: Records
    accepted: dict[str, int]
    rejected: list[RejectedEvent]
    implausible_ts: int


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
            if request.fast_path is None or not request.fast_path.refused:  # then it was answered and counted
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
        else:  # what is left of a body is not read as a request
            await send_response(send, response, headers if request.body.complete else [*headers, CLOSE])

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
        decompressor = decompressor_of(request.headers.get("content-encoding"))
        address = client_address(request.peer, forwarded_for(request.headers), edge.trusted_proxies)
        owner = Owner(grant.quota_name if grant else KEYLESS, address_mark(address))
        room = edge.body_room if grant else edge.keyless_room
        try:
            body = await request.body.read(decompressor, limits.body_bytes_max, limits.body_seconds_max, room, owner)
        except NoRoom:
            raise edge.scheduler.refusal(early=True) from None
        body = body.removeprefix(BYTE_ORDER_MARK)
        if grant is None:
            assert body_format.key_in is not None
            with await edge.scheduler.turn(KEYLESS, owner.address, len(body)):
                key = body_format.key_in(body)
            grant = self._admit(request, key)
        with await edge.scheduler.turn(grant.quota_name, owner.address, len(body)):
            batches = body_format.parse(body, limits)
            network = network_mark(address, edge.trusted_proxies) if edge.quotas.by_address else None
            edge.quotas.spend(grant, batches, edge.monotonic(), network)
            gpc = asks_for_privacy(request.headers.get("sec-gpc"))
            batches = [consented(authorized(one, grant), grant, gpc) for one in batches]
            if edge.erasures.erased:
                batches = [not_erased(one, grant.site, edge.erasures.erased) for one in batches]
            encoded = self._encode(batches, grant, address, user_agent_of(request.headers))
            del body, batches  # freed while they are in the CPU's cache, not when Kafka has answered
        began = edge.monotonic()
        encoded.records.runs, followed = edge.follower.follow(encoded.records.runs)
        try:
            await edge.producer.produce(encoded.records)  # returns once durable
        except NotDurable as error:
            if followed:
                followed.ended(len(encoded.records), len(encoded.rejected), durable=False)
            raise Rejection(503, RequestError.NOT_DURABLE, retry_after_s=error.retry_after_s) from None
        edge.counters.count_batch(encoded.accepted, encoded.rejected, edge.monotonic() - began, encoded.implausible_ts)
        if followed:
            followed.ended(len(encoded.records), len(encoded.rejected), durable=True)
        warnings = Warnings(encoded.implausible_ts) if encoded.implausible_ts else UNSET
        return body_format.response(Receipt(sum(encoded.accepted.values()), encoded.rejected, warnings))

    def _admit(self, request: Request, key: str | None) -> Grant:
        """What the request's key allows where the request comes from; kept, since it decides who may read the answer.

        Raises:
            Rejection: 401, an unknown key, a server key in the URL, or a development key from elsewhere; 403, an origin
                that the key is not for.
        """
        grant = request.grant = self._edge.sites.admission.grant_of(key)
        if grant.kind == "server" and header_key(request.headers) is None and query_key(request.query) is not None:
            raise Rejection(401, RequestError.UNKNOWN_KEY, _KEY_IN_URL)
        if grant.development and not (
            self._edge.on_loopback and is_local(request.peer, forwarded_for(request.headers))
        ):
            raise Rejection(401, RequestError.UNKNOWN_KEY, _DEVELOPMENT_KEY)
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
        implausible_ts = 0
        for batch in batches:
            sender = Sender(grant.site, batch.session, now_ms, address, user_agent, batch.sent_at)
            try:
                records, closed = records_of(batch.events, sender, self._edge.edge_keys, self._edge.seals)
            except UnjoinError:  # a day's key cannot be had: nothing may be lost, so nothing is accepted
                raise Rejection(503, RequestError.NOT_DURABLE, retry_after_s=KEYS_RETRY_AFTER_S) from None
            left_out = {entry.index for entry in closed}
            events = [entry for entry in batch.events if entry[0] not in left_out] if closed else batch.events
            for category, count in count_by_category(events).items():
                accepted[category] = accepted.get(category, 0) + count
            implausible_ts += count_implausible_ts(events, now_ms)
            runs += records.runs
            rejected += batch.rejected
            rejected += closed
        if len(rejected) > 1:
            rejected.sort(key=lambda entry: entry.index)
        return Encoded(Records(runs), accepted, rejected, implausible_ts)

    def _without_events(self, request: Request) -> HttpResponse:
        """What is answered to any other method than POST: a preflight's answer.

        Raises:
            Rejection: 403, a preflight from an origin that no site lists; 405, another method.
        """
        if request.method != "OPTIONS":
            raise Rejection(405, RequestError.METHOD_NOT_ALLOWED)
        if request.origin is not None and not self._edge.sites.admission.lists_origin(request.origin):
            raise Rejection(403, RequestError.FORBIDDEN_ORIGIN, "No site lists this Origin for a browser key.")
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
