"""Pure: one raw event to a typed one, or to the reason why it is rejected.

One decoder over the tagged union validates while it decodes; `batch.py` decodes all events of a batch at once that way.
`all_sound` checks what no type expresses. What the decoder refuses is parsed again with the standard library, for two
reasons:

- msgspec takes the first of duplicate `type` members and stops at a duplicate of a wrong type; the contract lets the
  last duplicate count.
- msgspec explains a refusal in words; the contract has a closed list of reasons.
"""

import json
import re
from itertools import accumulate
from typing import Any, cast

import msgspec
from msgspec import UNSET, Raw, UnsetType

from ingest.decode.envelope import whole
from ingest.decode.flaws import (
    FIELDS,
    NO_TYPE,
    NOT_AN_OBJECT,
    TYPE_NO_TEXT,
    TYPES,
    UNKNOWN_TYPE,
    Flaw,
    flaw,
    flaw_of_field,
    flaw_of_names,
)
from ingest.errors import Rejection
from ingest.limits import RequestLimits
from schemas.events import AnyEvent, EventId, Key, Label, Pointer, Scroll, ids_are_valid
from schemas.outcomes import RejectionReason, RequestError

_INT_DIGITS_MAX = 4_300  # Source: CVE-2020-10735; msgspec and CPython both stop here.
_LONG_INT = re.compile(rb"[0-9]{%d}" % (_INT_DIGITS_MAX + 1))
_BEYOND = float("inf")  # stands for a number that no 64-bit float holds


class _Named(msgspec.Struct):
    id: Raw | UnsetType = UNSET


_event = msgspec.json.Decoder(AnyEvent)
_named = msgspec.json.Decoder(_Named)
_event_id = msgspec.json.Decoder(EventId)
_json = msgspec.json.Encoder()
# Refuses what stands for a number beyond a float. Depth is checked beside it, so no circles need to be looked for.
_strict = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")).encode
_lax = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode

_LABELS = frozenset(Label.__args__)
_REQUIRED = {
    tag: [field.name for field in msgspec.structs.fields(kind) if field.required] for tag, kind in TYPES.items()
}
_TAGS = {kind: tag for tag, kind in TYPES.items()}
_KNOWN = {tag: frozenset(names) for tag, names in FIELDS.items()}
_PLACE = re.compile(r"at `\$\.([a-z_]+)")


def parse_event(raw: Raw, limits: RequestLimits, stand_in: str | None) -> AnyEvent | Flaw:
    """One event of a batch.

    Args:
        stand_in: the JSON escape that replaced lone surrogates, if the batch had any.

    Raises:
        Rejection: 400, in spite of the envelope the event is not JSON.
    """
    text = memoryview(raw)
    if text.nbytes > limits.event_bytes_max:
        return too_large(limits)
    if stand_in is not None and stand_in.encode() in bytes(text):
        return _parse_slowly(bytes(text), limits, stand_in)
    try:
        event: AnyEvent = _event.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return _parse_slowly(bytes(text), limits, None)
    return _flaw_of(event, limits) or event


def all_sound(events: list[AnyEvent], limits: RequestLimits) -> bool:
    """Whether decoded events keep what no type expresses: characters of ids, depth, lengths of arrays and answers."""
    if not ids_are_valid(events):
        return False
    for event in events:
        kind = type(event)
        if kind is Pointer or kind is Scroll:  # most of all events: no call for them
            if not len(event.t) == len(event.x) == len(event.y):  # type: ignore[union-attr]
                return False
        elif _unsound(event, limits):
            return False
    return True


def id_of(raw: Raw) -> str | None:
    """The event's id if it has a valid one: an answer echoes nothing else."""
    try:
        named = _named.decode(raw)
        return None if named.id is UNSET else _event_id.decode(named.id)
    except (msgspec.DecodeError, RecursionError):
        return None


def too_large(limits: RequestLimits) -> Flaw:
    """More bytes than an event may have."""
    return flaw(RejectionReason.TOO_LARGE, detail=f"An event has at most {limits.event_bytes_max:,} bytes.")


def too_deep(limits: RequestLimits, field: str | None = None) -> Flaw:
    """More levels than an event may have."""
    levels = f"An event nests at most {limits.event_depth_max} levels of arrays and objects, itself the first."
    return flaw(RejectionReason.TOO_DEEP, field, levels)


def _flaw_of(event: AnyEvent, limits: RequestLimits) -> Flaw | None:
    if not ids_are_valid((event,)):
        return flaw_of_field(RejectionReason.INVALID_VALUE, _TAGS[type(event)], "id")
    return _unsound(event, limits)


def _unsound(event: AnyEvent, limits: RequestLimits) -> Flaw | None:
    if type(event) in _LABELS:
        most = limits.answer_bytes_max
        # No character has more than four bytes, so that hardly an answer is encoded to be counted.
        answer = event.answer  # type: ignore[union-attr]
        long = 4 * len(answer) > most and len(answer.encode()) > most
        return (
            flaw(RejectionReason.ANSWER_TOO_LONG, "answer", f"An answer has at most {most:,} bytes of UTF-8.")
            if long
            else None
        )
    properties = getattr(event, "properties", None)
    if properties and nests_deeper(properties, limits.event_depth_max - 1):
        return too_deep(limits, "properties")
    samples = event.samples
    if samples and len({len(getattr(event, field)) for field in samples}) > 1:
        first = len(getattr(event, samples[0]))
        odd = next(field for field in samples if len(getattr(event, field)) != first)
        return flaw(RejectionReason.UNEQUAL_ARRAYS, odd, f"{', '.join(samples)} must have equal lengths.")
    return None


def _parse_slowly(text: bytes, limits: RequestLimits, stand_in: str | None) -> AnyEvent | Flaw:
    document = document_of(text, limits, stand_in)
    return document if isinstance(document, Flaw) else event_of(document, limits)


def document_of(text: bytes, limits: RequestLimits, stand_in: str | None) -> dict[str, Any] | Flaw:
    """The JSON object in an event's text; the last of duplicate members counts.

    Infinity stands for a number that no 64-bit float holds; `event_of` refuses it where it counts.

    Raises:
        Rejection: 400, it is not JSON.
    """
    try:
        event = _loads(text)
        if not isinstance(event, dict):
            return NOT_AN_OBJECT
        if nests_deeper(event, limits.event_depth_max):
            return too_deep(limits)
    except RecursionError:
        return too_deep(limits)
    except ValueError:
        raise Rejection(400, RequestError.NOT_A_BATCH) from None
    if stand_in is not None:
        surrogate = chr(int(stand_in[2:], 16))
        if surrogate in _lax(event):
            field = next((name for name, value in event.items() if surrogate in _lax(value)), None)
            return flaw(RejectionReason.INVALID_TEXT, _documented(event, field))
    return event


def event_of(event: dict[str, Any], limits: RequestLimits) -> AnyEvent | Flaw:
    """The event that an object, with a `type`, describes."""
    return _wrong_shape(event) or _converted(event, limits)


def _converted(event: dict[str, Any], limits: RequestLimits) -> AnyEvent | Flaw:
    tag = event["type"]
    if not _is_finite(event):
        beyond = next(name for name, value in event.items() if not _is_finite(value))
        return flaw(RejectionReason.INVALID_VALUE, beyond, "A number must fit in a 64-bit float.")
    event["ts"] = whole(event["ts"])
    try:
        converted = msgspec.convert(event, cast("type[AnyEvent]", AnyEvent))
    except msgspec.ValidationError as error:
        # "Expected `int`, got `str` - at `$.ts`" against "Expected `int` >= 0" and "Expected `str` matching regex …".
        got_another_type = "`, got `" in str(error)
        place = _PLACE.search(str(error))
        reason = RejectionReason.WRONG_TYPE if got_another_type else RejectionReason.INVALID_VALUE
        field = _documented(event, place[1] if place else None)
        return flaw(reason) if field is None else flaw_of_field(reason, tag, field)
    return _flaw_of(converted, limits) or converted


def _documented(event: dict[str, Any], field: str | None) -> str | None:
    """The field if its event's type has it: any other name is the client's own."""
    tag = event.get("type")
    return field if isinstance(tag, str) and field in _KNOWN.get(tag, ()) else None


def _loads(text: bytes) -> Any:
    if _LONG_INT.search(text) is None:
        return json.loads(text.decode())
    return json.loads(
        text.decode(), parse_int=lambda digits: int(digits) if len(digits.lstrip("-")) <= _INT_DIGITS_MAX else _BEYOND
    )


def _is_finite(value: Any) -> bool:
    """Whether no number inside stands for one beyond a float."""
    try:
        _strict(value)
    except ValueError:
        return False
    return True


def _wrong_shape(event: dict[str, Any]) -> Flaw | None:
    """What is wrong with the event's type and the names of its fields.

    A `key` event may hold no field but the documented ones: `which` and `foo` may both name a key, and no check can
    tell.
    """
    if "type" not in event:
        return NO_TYPE
    tag = event["type"]
    if not isinstance(tag, str):
        return TYPE_NO_TEXT
    if tag not in TYPES:
        return UNKNOWN_TYPE
    if not event.keys() <= _KNOWN[tag]:
        forbidden = TYPES[tag] is Key
        return flaw_of_names(RejectionReason.FORBIDDEN_FIELD if forbidden else RejectionReason.UNKNOWN_FIELD, tag)
    missing = next((name for name in _REQUIRED[tag] if name not in event), None)
    return None if missing is None else flaw_of_field(RejectionReason.MISSING_FIELD, tag, missing)


_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # as signed bytes one up, one down
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[{]}")


def nests_deeper(value: Any, levels: int) -> bool:
    """Whether a decoded document has more levels of arrays and objects.

    The input chooses the depth and the number of values, so neither recursion nor Python's steps may follow them: the
    brackets of its text are counted, in C.

    Raises:
        RecursionError: far more levels.
    """
    try:
        text = _json.encode(value)
    except OverflowError:  # an integer beyond 64 bits
        text = _lax(value).encode()
    if text.count(b"[") + text.count(b"{") <= levels:
        return False
    steps = _STRING.sub(b"", text).translate(_STEPS, _NO_BRACKETS)
    return max(accumulate(memoryview(steps).cast("b")), default=0) > levels
