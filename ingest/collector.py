"""POST /v1/events and what Segment's SDKs post to: a bare ASGI app, from events to an answer that comes after they are
durable.

Cheap refusals come first: key, origin, type and declared length are known before a byte of the body is read.
"""

import logging
from collections.abc import Callable, MutableMapping, Sequence
from functools import partial
from typing import Any

import msgspec

from ingest.access.grants import Grant, Quotas, Verdicts, allows_origin, check_origin, judge
from ingest.access.sites import WatchedSites
from ingest.decode.formats import WIRES, Wire
from ingest.encode.edge_keys import WatchedKeys
from ingest.encode.records import Records, Sender, records_of
from ingest.errors import Rejected, Rejection
from ingest.http.body import Body, BodyRoom, ClientGone, NoRoom, Receive
from ingest.http.client_address import Network, client_address
from ingest.http.fast_path import direct_of
from ingest.http.headers import check_type, forwarded_for, headers_of, is_gzip, user_agent_of
from ingest.http.responses import (
    VARY,
    Answer,
    HeaderList,
    Receipt,
    Send,
    error_answer,
    readable_by,
    send_answer,
    send_answer_and_close,
)
from ingest.kafka.producer import NotDurable, Producer
from ingest.limits import RequestLimits
from ingest.metrics.counters import Counters, count_by_category
from ingest.overload.scheduler import Gate
from ingest.overload.shedding import address_mark, key_of
from schemas.outcomes import RequestError, UnjoinError

Scope = MutableMapping[str, Any]

KEYS_RETRY_AFTER_S = 30

_ALLOW = (b"allow", b"POST, OPTIONS")
_PREFLIGHT: HeaderList = [
    (b"access-control-allow-methods", b"POST"),
    (b"access-control-allow-headers", b"authorization, content-encoding, content-type, x-retry-count"),
    (b"access-control-max-age", b"7200"),  # Chromium caps it there.
]

log = logging.getLogger(__name__)


class Edge(msgspec.Struct, frozen=True):
    """What the handler works with.

    Attributes:
        edge_keys: the voters' key of a day.
        now_ms: Unix milliseconds.
        monotonic: seconds, for quotas and durations.
    """

    sites: WatchedSites
    producer: Producer
    edge_keys: WatchedKeys
    counters: Counters
    limits: RequestLimits
    trusted_proxies: tuple[Network, ...]
    now_ms: Callable[[], int]
    monotonic: Callable[[], float]
    quotas: Quotas
    gate: Gate
    body_room: BodyRoom


class Request:
    """One request.

    Attributes:
        wire: what it speaks.
        grant: what its key allows, once that is known.
        direct: to answer it in one write, where the server offers that.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.wire = WIRES[scope["path"]]
        self.method: str = scope["method"]
        self.headers = headers_of(scope["headers"])
        self.origin = self.headers.get("origin")
        self.grant: Grant | None = None
        length = self.headers.get("content-length")
        self.direct = direct_of(scope)
        self.body = Body(
            receive,
            int(length) if length and length.isdigit() else None,
            "transfer-encoding" in self.headers,
            self.direct.body if self.direct else lambda: None,
        )
        self._query: bytes = scope["query_string"]
        client = scope.get("client")
        self._peer: str = client[0] if client else ""

    def key(self) -> str | None:
        """The key, of the Authorization header, or of the query for a beacon, which cannot set headers."""
        return key_of(self.headers, self._query)

    def address(self, trusted: tuple[Network, ...]) -> str:
        """Where it comes from."""
        return client_address(self._peer, forwarded_for(self.headers), trusted)


class Prepared(msgspec.Struct, frozen=True):
    """What a request waits for Kafka with. Its events are gone by then: freed while they are in the CPU's cache.

    Attributes:
        accepted: how many, by category.
    """

    accepted: dict[str, int]
    rejected: list[Rejected]
    records: Records


class Collector:
    """The ASGI app of the paths of `WIRES`. Answers everything that happens; raises nothing but cancellation."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        counters = self._edge.counters
        try:
            answer = await self._answer(request)
        except ClientGone:
            counters.count_gone()
            return
        except Rejection as rejection:
            counters.count_refused(rejection.error)
            answer = error_answer(rejection, [_ALLOW] if rejection.status == 405 else None)
        except Exception as error:
            counters.count_refused(RequestError.INTERNAL)
            log_without_values(error)
            answer = error_answer(Rejection(500, RequestError.INTERNAL))
        headers = self._cors(request)
        if request.body.complete and request.direct:
            await request.direct.send(answer, headers)
        elif request.body.complete:
            await send_answer(send, answer, headers)
        else:
            linger = answer.status != 408 and "expect" not in request.headers
            await send_answer_and_close(send, answer, headers, request.body, linger)

    async def _answer(self, request: Request) -> Answer:
        if request.method == "OPTIONS":
            if request.origin is not None and not self._edge.sites.admission.lists_origin(request.origin):
                raise Rejection(403, RequestError.FORBIDDEN_ORIGIN)
            return Answer(204, [*_PREFLIGHT, _ALLOW], b"")
        if request.method != "POST":
            raise Rejection(405, RequestError.METHOD_NOT_ALLOWED)
        return request.wire.answer(await self._collect(request))

    async def _collect(self, request: Request) -> Receipt:
        edge = self._edge
        prepared = await self._prepared(request)
        began = edge.monotonic()
        await self._produce(prepared.records)  # returns once durable
        edge.counters.count_batch(prepared.accepted, prepared.rejected, edge.monotonic() - began)
        return Receipt(sum(prepared.accepted.values()), prepared.rejected)

    async def _prepared(self, request: Request) -> Prepared:
        """What to write, when it is the request's turn; nothing else of the body is left then."""
        edge, limits, wire = self._edge, self._edge.limits, request.wire
        key = request.key()
        grant = None if key is None and wire.key_in else self._admit(request, key)
        check_type(request.headers.get("content-type"), wire.types)
        gzip = is_gzip(request.headers.get("content-encoding"))
        try:
            body = await request.body.read(gzip, limits.body_bytes_max, limits.body_seconds_max, edge.body_room)
        except NoRoom:
            raise edge.gate.refusal(early=True) from None
        if grant is None:
            assert wire.key_in is not None
            grant = self._admit(request, wire.key_in(body))
        address = request.address(edge.trusted_proxies)
        work = partial(self._prepare, body, wire, grant, address, user_agent_of(request.headers))
        return await edge.gate.run(grant.quota_name, address_mark(address), len(body), work)

    def _admit(self, request: Request, key: str | None) -> Grant:
        """What its key allows, once that is known."""
        grant = request.grant = self._edge.sites.admission.grant_of(key)
        check_origin(grant, request.origin)
        return grant

    def _prepare(self, body: bytes, wire: Wire, grant: Grant, address: str, user_agent: str) -> Prepared:
        """What to write of a body: all the CPU that a request costs, and nothing that waits."""
        edge = self._edge
        batches = wire.parse(body, edge.limits)
        edge.quotas.spend(grant, sum(len(batch.events) + len(batch.rejected) for batch in batches), edge.monotonic())
        now_ms = edge.now_ms()
        parts = [
            self._encode(judge(batch, grant), Sender(grant.site, batch.session, now_ms, address, user_agent))
            for batch in batches
        ]
        verdicts, records = parts[0] if len(parts) == 1 else together(parts)
        return Prepared(count_by_category(verdicts.events), verdicts.rejected, records)

    def _encode(self, verdicts: Verdicts, sender: Sender) -> tuple[Verdicts, Records]:
        """The records of what was accepted; an event that no record can be made of joins the rejected."""
        try:
            records, closed = records_of(verdicts.events, sender, self._edge.edge_keys)
        except UnjoinError:  # a day's key cannot be had: nothing may be lost, so nothing is accepted
            raise Rejection(503, RequestError.NOT_DURABLE, retry_after_s=KEYS_RETRY_AFTER_S) from None
        if closed:
            gone = {entry.index for entry in closed}
            events = [entry for entry in verdicts.events if entry[0] not in gone]
            rejected = sorted([*verdicts.rejected, *closed], key=lambda entry: entry.index)
            verdicts = Verdicts(events, rejected)
        return verdicts, records

    async def _produce(self, records: Records) -> None:
        try:
            await self._edge.producer.produce(records)
        except NotDurable as error:
            raise Rejection(503, RequestError.NOT_DURABLE, retry_after_s=error.retry_after_s) from None

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


def together(parts: Sequence[tuple[Verdicts, Records]]) -> tuple[Verdicts, Records]:
    """The verdicts and records of one request, of what each of its sessions gave; no two share a key of records."""
    events = [entry for verdicts, _ in parts for entry in verdicts.events]
    rejected = sorted((entry for verdicts, _ in parts for entry in verdicts.rejected), key=lambda entry: entry.index)
    return Verdicts(events, rejected), Records([run for _, records in parts for run in records.runs])


def log_without_values(error: BaseException) -> None:
    """Logs what broke and where; the text of an exception may hold what a client sent."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else "?"
    log.error("a request failed inside: %s at %s", type(error).__name__, where)
