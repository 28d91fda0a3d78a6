"""Pure: a body to a batch of events, or the reason why not; never an exception but `Rejection`.

Source of every rule: the HTTP contract in docs/http.md.
"""

import msgspec
from msgspec import UNSET, UnsetType

from ingest.decode.envelope import envelope_of
from ingest.decode.event import all_sound, id_of, judge
from ingest.errors import Rejected, Rejection
from ingest.limits import RequestLimits
from schemas.events import AnyEvent, Redacted, Session, UnixMs
from schemas.outcomes import RejectionReason, RequestError


class Batch(Redacted, frozen=True):
    """A request's events, each of them either well-formed or rejected.

    Attributes:
        events: (index, event), ascending.
        rejected: ascending by index.
    """

    session: str
    events: list[tuple[int, AnyEvent]]
    rejected: list[Rejected]


class _Typed(msgspec.Struct, forbid_unknown_fields=True):
    """A batch as it was sent, its events decoded on the way."""

    session: Session
    events: list[AnyEvent]
    sent_at: UnixMs | UnsetType = UNSET


_typed = msgspec.json.Decoder(_Typed)


def parse_batch(body: bytes, limits: RequestLimits) -> Batch:
    """The batch in a decompressed body.

    Nearly every batch is faultless, and decoded in one pass. Where that fails, for whatever reason, each event is
    judged by itself.

    Raises:
        Rejection: 400, the body is not a batch; 413, it holds too many events.
    """
    return _faultless(body, limits) or _judged(body, limits)


def _faultless(body: bytes, limits: RequestLimits) -> Batch | None:
    """The batch, if there is nothing to reject in it."""
    try:
        batch = _typed.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    events = batch.events
    if len(events) > limits.batch_events_max or not all_sound(events, limits):
        return None
    if len(body) > limits.event_bytes_max:  # else no event can be too large
        raw = envelope_of(body)[0].events
        if any(memoryview(event).nbytes > limits.event_bytes_max for event in raw):
            return None
    return Batch(batch.session, list(enumerate(events)), [])


def _judged(body: bytes, limits: RequestLimits) -> Batch:
    envelope, stand_in = envelope_of(body)
    if len(envelope.events) > limits.batch_events_max:
        raise Rejection(413, RequestError.TOO_MANY_EVENTS)
    events: list[tuple[int, AnyEvent]] = []
    rejected: list[Rejected] = []
    for index, raw in enumerate(envelope.events):
        judged = judge(raw, limits, stand_in)
        if isinstance(judged, RejectionReason):
            rejected.append(Rejected(index, id_of(raw), judged))
        else:
            events.append((index, judged))
    return Batch(envelope.session, events, rejected)
