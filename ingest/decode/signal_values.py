"""Pure: a batch in one pass, its signals from JSON to the values of their records, without an object for a sample.

`_signal_values.c` does it, where it was compiled: setuptools leaves it out where there is no compiler. Then, and for
whatever is out of the ordinary, `batch.py` decodes with msgspec and says what is wrong, and `encode/records.py` makes
the same values of what it decoded.
"""

import msgspec

from ingest.decode.consent import Consent
from ingest.limits import KEY_STROKES_MAX
from schemas.codec import header
from schemas.events import SAMPLES_MAX, TS_MAX, AnyEvent, Key, ReadEvent, Redacted, WrittenSignal
from schemas.registry import latest

try:
    from ingest.decode._signal_values import SLOTS, read
except ImportError:
    SLOTS, read = (), None

_SUBJECT = "events.signals-value"
# The fields that `_signal_values.c` writes, in their order; with others it is not for this schema.
FIELDS = ["event_id", "site", "session", "type", "ts", "received_at", "sent_at", "t", "x", "y", "z", "force", "t_up"]
if [field["name"] for field in latest(_SUBJECT).parsed["fields"]] != FIELDS:
    read = None

_HEADER = header(_SUBJECT)
_KINDS = tuple(
    (
        kind.__struct_config__.tag.encode(),
        sum(1 << SLOTS.index(name) for name in kind.samples),
        KEY_STROKES_MAX if kind is Key else SAMPLES_MAX,
    )
    for kind in AnyEvent.__args__
    if kind.category == "signals" and read is not None
)
_event = msgspec.json.Decoder(AnyEvent)
_consent = msgspec.json.Decoder(Consent)


class Arrival(Redacted, frozen=True):
    """What the collector knows of a request's events: where they came from, and when.

    Attributes:
        site: its name.
        received_at_ms: Unix milliseconds by the collector's clock.
    """

    site: str
    received_at_ms: int


class WrittenBatch(msgspec.Struct, frozen=True):
    """A batch whose signals are written.

    Attributes:
        events: (index, event), ascending.
        others: those of the events that are no signals; only they are still to be checked.
    """

    session: str
    events: list[tuple[int, ReadEvent]]
    others: list[AnyEvent]
    sent_at: int
    consent: Consent | None


def written_batch(body: bytes, arrival: Arrival, event_bytes_max: int) -> WrittenBatch | None:
    """The batch in a body; None where this module is not for it."""
    if read is None:
        return None
    site, at = arrival.site.encode(), arrival.received_at_ms
    found = read(body, _KINDS, WrittenSignal, _HEADER, site, at, TS_MAX, SAMPLES_MAX, event_bytes_max)
    if found is None:
        return None
    session, events, texts, sent_at, consent = found
    others = []
    try:
        for index in texts:
            other = _event.decode(events[index][1])
            if other.category == "signals":  # something in it is out of the ordinary
                return None
            events[index] = index, other
            others.append(other)
        return WrittenBatch(session, events, others, sent_at, None if consent is None else _consent.decode(consent))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
