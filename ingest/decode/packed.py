"""Pure: a batch in one pass, its signals' samples from JSON to the bytes of 64-bit floats, without an object for each.

`_packed.c` does it, where it was compiled: setuptools leaves it out where there is no compiler. Then, and for whatever
is out of the ordinary, `batch.py` decodes with msgspec and says what is wrong; both make the same records.
"""

import msgspec

from ingest.decode.consent import Consent
from schemas.events import SAMPLES_MAX, TS_MAX, AnyEvent

try:
    from ingest.decode._packed import SLOTS, read
except ImportError:
    SLOTS, read = (), None

_KINDS = tuple(
    (kind.__struct_config__.tag.encode(), kind, bytes(map(SLOTS.index, kind.samples)), ("id", "ts", *kind.samples))
    for kind in AnyEvent.__args__
    if kind.category == "signals" and read is not None
)
_event = msgspec.json.Decoder(AnyEvent)
_consent = msgspec.json.Decoder(Consent)


class PackedBatch(msgspec.Struct, frozen=True):
    """A batch, the samples of its signals as bytes.

    Attributes:
        others: those of the events that are no signals; only they are still to be checked.
    """

    session: str
    events: list[AnyEvent]
    others: list[AnyEvent]
    sent_at: int
    consent: Consent | None


def packed_batch(body: bytes, event_bytes_max: int) -> PackedBatch | None:
    """The batch in a body; None where this module is not for it."""
    found = read(body, _KINDS, TS_MAX, SAMPLES_MAX, event_bytes_max) if read is not None else None
    if found is None:
        return None
    session, events, sent_at, consent = found
    others = []
    try:
        for index, event in enumerate(events):
            if type(event) is bytes:
                events[index] = other = _event.decode(event)
                if other.category == "signals":  # one encoder is for samples of one form
                    return None
                others.append(other)
        return PackedBatch(session, events, others, sent_at, None if consent is None else _consent.decode(consent))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
