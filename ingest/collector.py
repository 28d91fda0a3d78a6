"""POST /v1/events, and what Segment's SDKs post to: a bare ASGI app that answers once a request's events are durable.

    admit ──▶ read ──▶ turn: decode ──▶ judge ──▶ encode ──▶ produce ──▶ answer

Cheap refusals come first: key, origin, type and declared length are known before a byte of the body is read.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import lru_cache

import msgspec
from msgspec import UNSET

from ingest.access.consent import consented
from ingest.access.erased import not_erased
from ingest.access.grants import Grant, allows_origin, authorized, check_origin
from ingest.decode.batch import EventBatch, count_implausible_ts
from ingest.decode.formats import FORMATS, BodyFormat
from ingest.decode.signal_values import Arrival
from ingest.edge import Edge
from ingest.encode.records import Records, Run, Sender, records_of, runs_of_written
from ingest.errors import RejectedEvent, Rejection
from ingest.following import Followed
from ingest.http.body import ClientGone, NoRoom, Owner, Receive
from ingest.http.client_address import address_mark, client_address, is_local, network_mark
from ingest.http.codings import decompressor_of
from ingest.http.headers import Client, check_type, request_headers
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
from ingest.kafka.batches import NotDurableReason, Settled
from ingest.kafka.producer import NotDurable
from ingest.metrics.counters import count_by_category
from ingest.overload.fair_queue import KEYLESS
from ingest.request import Head, Request, Scope
from schemas.events import ReadEvent
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

# Told what to answer, with the headers beside the response's own.
Answer = Callable[[HttpResponse, HeaderList], object]

log = logging.getLogger(__name__)


class Encoded(msgspec.Struct, frozen=True):
    """What is left of a request while it waits for Kafka.

    Attributes:
        accepted: how many events, by category.
        rejected: ascending by index.
        implausible_ts: how many of the accepted have a `ts` that cannot be true.
        followed: None for nearly every request.
    """

    records: Records
    accepted: dict[str, int]
    rejected: list[RejectedEvent]
    implausible_ts: int
    followed: Followed | None = None

    def tell_follower(self, *, durable: bool) -> None:
        """Says what became of a request that is followed."""
        if self.followed is not None:
            self.followed.ended(len(self.records), len(self.rejected), durable=durable)


class Collector:
    """The ASGI app of the paths of `FORMATS`. Answers everything that happens; raises nothing but cancellation."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._waiting: set[asyncio.Task[None]] = set()

    @property
    def monotonic(self) -> Callable[[], float]:
        """Seconds."""
        return self._edge.monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request. Shape and source: ASGI 3."""
        request = Request(scope, receive)
        try:
            response = await self.collect(request) if request.head.method == "POST" else self._without_events(request)
        except ClientGone:
            if request.fast_path is None or not request.fast_path.refused:  # then it was answered and counted
                self._edge.counters.count_gone()
            return
        except Exception as error:
            response = self.failed(error)
        headers = self.cors(request.head.origin, request.grant)
        if request.body.complete and request.fast_path:
            await request.fast_path.send(response, headers)
        else:  # what is left of a body is not read as a request
            await send_response(send, response, headers if request.body.complete else [*headers, CLOSE])

    def knows(self, scope: Scope) -> Head | None:
        """What `take` needs of a head whose request was parsed; None where such requests are not for it."""
        if scope["method"] != "POST" or scope["path"] not in FORMATS:
            return None
        head = Head(scope, request_headers(scope["headers"]))
        if head.key is None or decompressor_of(head.coding) is not None:
            return None
        check_type(head.content_type, head.body_format.types)
        return head

    def take(self, head: Head, client: Client, body: bytes, answer: Answer) -> None:
        """As `__call__`, without a task: `answer` is told once what to answer.

        Args:
            head: as `knows` gave it.
        """
        taken = _Taken(self, head, client, body, answer)
        edge = self._edge
        try:
            taken.key = edge.sites.admission.grant_of(head.key)
            self._check(taken.key, head, client)
            if len(body) > edge.limits.body_bytes_max:
                raise Rejection(413, RequestError.BODY_TOO_LARGE)
            taken.address = client_address(client.peer, client.forwarded_for, edge.trusted_proxies)
            if edge.scheduler.free():
                with edge.scheduler:
                    taken.grant()
                return
            name, mark = taken.key.quota_name, address_mark(taken.address)
            if not edge.scheduler.takes(name, mark):
                raise edge.scheduler.refusal(early=True)
            edge.scheduler.wait(name, mark, len(body), taken)
        except Exception as error:
            taken.set_exception(error)

    def encoded(self, taken: "_Taken") -> Encoded:
        """The CPU work of a request whose turn it is.

        Raises:
            Rejection: the whole request is refused.
        """
        assert taken.key is not None
        body = taken.body.removeprefix(BYTE_ORDER_MARK)
        return self._work(taken.head, taken.key, taken.address, taken.client.user_agent, body)

    def begin(self, records: Records, settled: Settled) -> None:
        """Makes records durable; `settled` is told once what became of them.

        Raises:
            NotDurable: at once, and then `settled` is told nothing.
        """
        if not records:
            settled(None)
        elif not self._edge.producer.begin(records, settled):
            self._waiting.add(later := asyncio.create_task(self._produce(records, settled)))
            later.add_done_callback(self._waiting.discard)

    async def collect(self, request: Request) -> HttpResponse:
        """Makes a request's events durable; the 200.

        Raises:
            Rejection: the whole request is refused.
            ClientGone: the client did not wait for an answer.
        """
        edge, limits, head = self._edge, self._edge.limits, request.head
        body_format, key = head.body_format, head.key
        grant = None
        if key is not None or not body_format.key_in:
            grant = self._admit(request, key)
        check_type(head.content_type, body_format.types)
        decompressor = decompressor_of(head.coding)
        client = request.client
        address = client_address(client.peer, client.forwarded_for, edge.trusted_proxies)
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
            encoded = self._work(head, grant, address, client.user_agent, body)
            del body  # freed while it is in the CPU's cache, not when Kafka has answered
        began = edge.monotonic()
        try:
            await edge.producer.produce(encoded.records)  # returns once durable
        except NotDurable as error:
            encoded.tell_follower(durable=False)
            raise _not_durable(error) from None
        return self.receipt(body_format, encoded, began)

    async def _produce(self, records: Records, settled: Settled) -> None:
        try:
            await self._edge.producer.produce(records)
        except NotDurable as error:
            settled(error.reason)
        else:
            settled(None)

    def _work(self, head: Head, grant: Grant, address: str, user_agent: str, body: bytes) -> Encoded:
        """All the CPU work of a request: decode, judge, encode; nothing in it waits.

        Raises:
            Rejection: the whole request is refused.
        """
        edge = self._edge
        arrival = Arrival(grant.site, edge.now_ms())
        batches = head.body_format.parse(body, edge.limits, arrival)
        network = network_mark(address, edge.trusted_proxies) if edge.quotas.by_address else None
        edge.quotas.spend(grant, batches, edge.monotonic(), network)
        batches = [consented(authorized(one, grant), grant, head.gpc) for one in batches]
        if edge.erasures.erased:
            batches = [not_erased(one, grant.site, edge.erasures.erased) for one in batches]
        return self._encode(batches, arrival, address, user_agent)

    def receipt(self, body_format: BodyFormat, encoded: Encoded, began: float) -> HttpResponse:
        """Counts what is durable now; the 200."""
        edge = self._edge
        encoded.tell_follower(durable=True)
        edge.counters.count_batch(encoded.accepted, encoded.rejected, edge.monotonic() - began, encoded.implausible_ts)
        accepted = sum(encoded.accepted.values())
        if not encoded.rejected and not encoded.implausible_ts:
            return _all_accepted(body_format.response, accepted)
        warnings = Warnings(encoded.implausible_ts) if encoded.implausible_ts else UNSET
        return body_format.response(Receipt(accepted, encoded.rejected, warnings))

    def failed(self, error: Exception) -> HttpResponse:
        """Counts a request that is refused, or broke inside; its answer."""
        if isinstance(error, NotDurable):
            error = _not_durable(error)
        elif not isinstance(error, Rejection):
            log_without_values(error)
            error = Rejection(500, RequestError.INTERNAL)
        self._edge.counters.count_refused(error.error)
        return error_response(error, [_ALLOW] if error.status == 405 else None)

    def _admit(self, request: Request, key: str | None) -> Grant:
        """What the request's key allows; kept, since it decides who may read the answer, a refusal's too.

        Raises:
            Rejection: as `_check`; 401, an unknown key.
        """
        grant = request.grant = self._edge.sites.admission.grant_of(key)
        self._check(grant, request.head, request.client)
        return grant

    def _check(self, grant: Grant, head: Head, client: Client) -> None:
        """Passes where the key may be used as it was, from where it was.

        Raises:
            Rejection: 401, a server key in the URL, or a development key from elsewhere; 403, an origin that the key is
                not for.
        """
        if head.key_in_url and grant.kind == "server":
            raise Rejection(401, RequestError.UNKNOWN_KEY, _KEY_IN_URL)
        if grant.development and not (self._edge.on_loopback and is_local(client.peer, client.forwarded_for)):
            raise Rejection(401, RequestError.UNKNOWN_KEY, _DEVELOPMENT_KEY)
        check_origin(grant, head.origin)

    def _encode(self, batches: Sequence[EventBatch], arrival: Arrival, address: str, user_agent: str) -> Encoded:
        """The records of a request. An event that no record can be made of joins the rejected.

        Args:
            batches: at least one, no two of one session, so that no two share a key of records.

        Raises:
            Rejection: 503: a key that their labels need cannot be had.
        """
        events: Sequence[tuple[int, ReadEvent]]
        if len(batches) == 1:
            runs, batch = self._recorded(batches[0], arrival, address, user_agent)
            events, rejected = batch.events, batch.rejected
        else:
            made = [self._recorded(one, arrival, address, user_agent) for one in batches]
            runs = [run for some, _ in made for run in some]
            events = [event for _, batch in made for event in batch.events]
            rejected = sorted([entry for _, batch in made for entry in batch.rejected], key=lambda entry: entry.index)
        runs, followed = self._edge.follower.follow(runs)
        accepted, implausible_ts = count_by_category(events), count_implausible_ts(events, arrival.received_at_ms)
        return Encoded(Records(runs), accepted, rejected, implausible_ts, followed)

    def _recorded(
        self, batch: EventBatch, arrival: Arrival, address: str, user_agent: str
    ) -> tuple[list[Run], EventBatch]:
        """The records of a batch, and the batch without the events that no record can be made of."""
        sender = Sender(arrival.site, batch.session, arrival.received_at_ms, address, user_agent, batch.sent_at)
        if batch.written:
            return runs_of_written(batch.events, sender), batch
        try:
            records, closed = records_of(batch.events, sender, self._edge.edge_keys, self._edge.seals)
        except UnjoinError:  # a day's key cannot be had: nothing may be lost, so nothing is accepted
            raise Rejection(503, RequestError.NOT_DURABLE, retry_after_s=KEYS_RETRY_AFTER_S) from None
        return records.runs, batch.rejecting(closed)

    def _without_events(self, request: Request) -> HttpResponse:
        """What is answered to any other method than POST: a preflight's answer.

        Raises:
            Rejection: 403, a preflight from an origin that no site lists; 405, another method.
        """
        if request.head.method != "OPTIONS":
            raise Rejection(405, RequestError.METHOD_NOT_ALLOWED)
        origin = request.head.origin
        if origin is not None and not self._edge.sites.admission.lists_origin(origin):
            raise Rejection(403, RequestError.FORBIDDEN_ORIGIN, "No site lists this Origin for a browser key.")
        return HttpResponse(204, [*_PREFLIGHT, _ALLOW], b"")

    def cors(self, origin: str | None, grant: Grant | None) -> HeaderList:
        """On every answer, errors too: a page reads a 429's Retry-After only if it may read the answer at all."""
        if origin is None:
            return [VARY]
        listed = allows_origin(grant, origin) if grant else self._edge.sites.admission.lists_origin(origin)
        return [VARY, *readable_by(origin)] if listed else [VARY]


class _Taken:
    """A request that has no task: it waits for its turn, then for Kafka, and is answered."""

    __slots__ = ("_answer", "_began", "_collector", "_encoded", "address", "body", "client", "head", "key")

    def __init__(self, collector: Collector, head: Head, client: Client, body: bytes, answer: Answer) -> None:
        self._collector, self._answer = collector, answer
        self.head, self.client, self.body = head, client, body
        self.key: Grant | None = None
        self.address = ""

    def grant(self) -> None:
        """Does the request's work, and hands its records over."""
        try:
            self._encoded = self._collector.encoded(self)
            self.body = b""
            self._began = self._collector.monotonic()
            self._collector.begin(self._encoded.records, self._settled)
        except Exception as error:
            self.set_exception(error)

    def done(self) -> bool:
        """Nobody can cancel it."""
        return False

    def set_exception(self, error: Exception) -> None:
        """Answers with the refusal."""
        self._answer(self._collector.failed(error), self._collector.cors(self.head.origin, self.key))

    def _settled(self, failure: "NotDurableReason | None") -> None:
        collector = self._collector
        if failure is not None:
            self._encoded.tell_follower(durable=False)
            self.set_exception(NotDurable(failure))
            return
        try:
            response = collector.receipt(self.head.body_format, self._encoded, self._began)
        except Exception as error:
            self.set_exception(error)
        else:
            self._answer(response, collector.cors(self.head.origin, self.key))


@lru_cache(maxsize=256)  # nearly every answer says only how many events there were
def _all_accepted(response_of: Callable[[Receipt], HttpResponse], accepted: int) -> HttpResponse:
    return response_of(Receipt(accepted, []))


def _not_durable(error: NotDurable) -> Rejection:
    return Rejection(503, RequestError.NOT_DURABLE, retry_after_s=error.retry_after_s)


def log_without_values(error: BaseException) -> None:
    """Logs what broke and where; the text of an exception may hold what a client sent."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else "?"
    log.error("a request failed inside: %s at %s", type(error).__name__, where)
