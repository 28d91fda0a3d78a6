"""Pure: a body to the events of a batch, or the reason why not; never an exception but `Rejection`.

Source of every rule: the HTTP contract in docs/http.md.
"""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from ingest.decode.consent import Consent
from ingest.decode.envelope import check_containers, envelope_of
from ingest.decode.event import all_sound, id_of, parse_event
from ingest.decode.flaws import Flaw
from ingest.decode.signal_values import Arrival, written_batch
from ingest.errors import RejectedEvent, Rejection
from ingest.limits import RequestLimits
from schemas.events import TS_AGE_MS_MAX, TS_AHEAD_MS_MAX, AnyEvent, ReadEvent, Redacted, Session, UnixMs
from schemas.outcomes import RequestError


class EventBatch(Redacted, frozen=True):
    """The events of one session in a request, each of them either good so far or rejected.

    Attributes:
        events: (index in the request, event), ascending.
        rejected: ascending by index.
        sent_at: Unix milliseconds by the client's clock; 0 where it does not say.
        consent: what its visitor said of all of it; None where it does not say.
        consent_of: by index, what the event itself says, which counts for more.
        written: whether each of its events is a `WrittenSignal`.
    """

    session: str
    events: Sequence[tuple[int, ReadEvent]]
    rejected: list[RejectedEvent]
    sent_at: int = 0
    consent: Consent | None = None
    consent_of: Mapping[int, Consent] = {}
    written: bool = False

    def rejecting(self, refused: Sequence[RejectedEvent]) -> "EventBatch":
        """The batch with some of its events moved to the rejected."""
        if not refused:
            return self
        indexes = {entry.index for entry in refused}
        events = [entry for entry in self.events if entry[0] not in indexes]
        rejected = sorted([*self.rejected, *refused], key=lambda entry: entry.index)
        return msgspec.structs.replace(self, events=events, rejected=rejected)


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    """One batch: the events of one session."""

    session: Session
    events: list[AnyEvent]
    sent_at: UnixMs | UnsetType = UNSET
    consent: Consent | UnsetType = UNSET


_batch = msgspec.json.Decoder(Batch)


def parse_batch(body: bytes, limits: RequestLimits, arrival: Arrival | None = None) -> list[EventBatch]:
    """The one batch in a decompressed body.

    Nearly every batch is faultless, and decoded in one pass. Where that fails, for whatever reason, each event is
    parsed by itself.

    Args:
        arrival: where it is given, sound signals are written at once if what does so was compiled.

    Raises:
        Rejection: 400, the body is not a batch; 413, it holds too many events, or arrays and objects.
    """
    check_containers(body)
    found = None if arrival is None else written_batch(body, arrival, limits.event_bytes_max)
    if found is not None and len(found.events) <= limits.batch_events_max:
        written = not found.others
        if written or all_sound(found.others, limits):
            return [EventBatch(found.session, found.events, [], found.sent_at, found.consent, written=written)]
    try:
        batch = _batch.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [_parse_each(body, limits)]
    events = batch.events
    if (
        len(events) > limits.batch_events_max
        or not all_sound(events, limits)
        or (len(body) > limits.event_bytes_max and _holds_large_event(body, limits.event_bytes_max))
    ):
        return [_parse_each(body, limits)]
    return [EventBatch(batch.session, list(enumerate(events)), [], batch.sent_at or 0, batch.consent or None)]


def count_implausible_ts(events: Sequence[tuple[int, ReadEvent]], received_at_ms: int) -> int:
    """How many events have a `ts` that cannot be true, as seconds in place of milliseconds are not."""
    oldest, newest = received_at_ms - TS_AGE_MS_MAX, received_at_ms + TS_AHEAD_MS_MAX
    if len(events) == 1:
        return int(not oldest <= events[0][1].ts <= newest)
    return sum([not oldest <= event.ts <= newest for _, event in events])


def _holds_large_event(body: bytes, event_bytes_max: int) -> bool:
    return any(memoryview(event).nbytes > event_bytes_max for event in envelope_of(body)[0].events)


def _parse_each(body: bytes, limits: RequestLimits) -> EventBatch:
    envelope, stand_in = envelope_of(body)
    if len(envelope.events) > limits.batch_events_max:
        raise Rejection(413, RequestError.TOO_MANY_EVENTS)
    events: list[tuple[int, ReadEvent]] = []
    rejected: list[RejectedEvent] = []
    for index, raw in enumerate(envelope.events):
        parsed = parse_event(raw, limits, stand_in)
        if isinstance(parsed, Flaw):
            rejected.append(RejectedEvent(index, id_of(raw), parsed.reason, parsed.field, parsed.detail))
        else:
            events.append((index, parsed))
    return EventBatch(envelope.session, events, rejected, envelope.sent_at or 0, envelope.consent or None)
