"""Pure: a body as Segment's SDKs post it to event batches, one for each session: a server posts many people's calls.

Source: Segment's specification of its HTTP API; `segment_event.py` maps each call.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from ingest.decode.batch import EventBatch
from ingest.decode.consent import Consent, consent_of_context
from ingest.decode.envelope import check_containers, without_lone_surrogates
from ingest.decode.segment_event import NO_SESSION, Mapped, id_of_call, map_call, ms_of
from ingest.errors import RejectedEvent, Rejection
from ingest.limits import RequestLimits
from schemas.events import AnyEvent
from schemas.outcomes import RequestError

T = TypeVar("T")


class _Calls(msgspec.Struct):
    """A body's calls. SDKs add its other members by themselves; they are left out."""

    batch: list[Raw]
    context: Raw | UnsetType = UNSET
    sentAt: Raw | UnsetType = UNSET  # noqa: N815


class _Sent(msgspec.Struct):
    sentAt: Raw | UnsetType = UNSET  # noqa: N815


class _Keyed(msgspec.Struct):
    writeKey: str | UnsetType | None = UNSET  # noqa: N815


_batch = msgspec.json.Decoder(_Calls)
_any = msgspec.json.Decoder(Raw)
_anything = msgspec.json.Decoder()
_sent = msgspec.json.Decoder(_Sent)
_text = msgspec.json.Decoder(str)
_keyed = msgspec.json.Decoder(_Keyed)

_NOT_JSON = "The body is not one JSON document in UTF-8."
_NO_BATCH = 'The body must be a JSON object with a batch: {"batch": […]}.'


def write_key_of(body: bytes) -> str | None:
    """The key in a body, where SDKs put it besides, or instead of, the Authorization header."""
    try:
        return _keyed.decode(body).writeKey or None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def parse_segment_batch(body: bytes, limits: RequestLimits) -> list[EventBatch]:
    """The calls of `{"batch": […]}`; each says its type.

    Raises:
        Rejection: 400, the body holds no batch; 413, it holds too many calls, or arrays and objects.
    """
    try:
        parsed, stand_in = _decoded(body, _batch)
    except msgspec.ValidationError:
        raise Rejection(400, RequestError.NOT_A_BATCH, _NO_BATCH) from None
    if len(parsed.batch) > limits.batch_calls_max:
        raise Rejection(413, RequestError.TOO_MANY_EVENTS)
    return _mapped(parsed.batch, None, limits, stand_in, _ms_of(parsed.sentAt), _consent_in(parsed.context))


def parse_segment_call(kind: str, body: bytes, limits: RequestLimits) -> list[EventBatch]:
    """The one call in a body, of the type that its path says.

    Raises:
        Rejection: 400, the body is not JSON.
    """
    call, stand_in = _decoded(body, _any)
    try:
        sent_at = _ms_of(_sent.decode(call).sentAt)
    except msgspec.DecodeError:  # no object: its own rejection says so
        sent_at = 0
    return _mapped([call], kind, limits, stand_in, sent_at)


def _consent_in(context: Raw | UnsetType) -> Consent | None:
    """What a body's own context says, which is that of every call with none of its own (Segment, "Batch")."""
    if context is UNSET:
        return None
    try:
        said = _anything.decode(context)
    except (msgspec.DecodeError, RecursionError):
        return Consent(analytics=False)
    return consent_of_context(said) if isinstance(said, dict) else None


def _ms_of(sent_at: Raw | UnsetType) -> int:
    """When a body was sent; 0 where it does not say, or not so that it can be read: SDKs add it by themselves."""
    try:
        return 0 if sent_at is UNSET else ms_of(_text.decode(sent_at)) or 0
    except msgspec.DecodeError:
        return 0


def _decoded(body: bytes, decoder: msgspec.json.Decoder[T]) -> tuple[T, str | None]:
    """The body, and the escape that replaced lone surrogates, if there were any."""
    check_containers(body)
    try:
        body.decode()  # msgspec does not look into strings that it leaves raw
        try:
            return decoder.decode(body), None
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            body, stand_in = without_lone_surrogates(body)
            return decoder.decode(body), stand_in
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Rejection(400, RequestError.NOT_A_BATCH, _NOT_JSON) from None


def _mapped(
    calls: list[Raw],
    kind: str | None,
    limits: RequestLimits,
    stand_in: str | None,
    sent_at: int,
    consent: Consent | None = None,
) -> list[EventBatch]:
    """At least one batch; the first holds all rejected calls, and the events that have no session."""
    sessions: dict[str, list[tuple[int, AnyEvent]]] = {NO_SESSION: []}
    consents: dict[int, Consent] = {}
    rejected: list[RejectedEvent] = []
    for index, raw in enumerate(calls):
        mapped = map_call(raw, kind, limits, stand_in)
        if isinstance(mapped, Mapped):
            sessions.setdefault(mapped.session, []).append((index, mapped.event))
            if mapped.consent is not None:
                consents[index] = mapped.consent
        else:
            rejected.append(RejectedEvent(index, id_of_call(raw), mapped.reason, mapped.field, mapped.detail))
    first = EventBatch(NO_SESSION, sessions.pop(NO_SESSION), rejected, sent_at, consent, consents)
    others = [EventBatch(session, events, [], sent_at, consent, consents) for session, events in sessions.items()]
    return [first, *others] if first.events or first.rejected or not others else others


# The paths of each kind of call: the first as Segment's documentation has it, the others as SDKs use them.
PATHS = {
    "batch": ("/v1/batch", "/v1/b", "/v1/import"),
    "track": ("/v1/track", "/v1/t"),
    "page": ("/v1/page", "/v1/p"),
    "screen": ("/v1/screen", "/v1/s"),
    "identify": ("/v1/identify", "/v1/i"),
    "group": ("/v1/group", "/v1/g"),
    "alias": ("/v1/alias", "/v1/a"),
}
PARSERS: dict[str, Callable[[bytes, RequestLimits], list[EventBatch]]] = {
    path: parse_segment_batch if kind == "batch" else partial(parse_segment_call, kind)
    for kind, paths in PATHS.items()
    for path in paths
}
