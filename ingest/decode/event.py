"""Pure: one raw event to a typed one, or to the reason why it is rejected.

One decoder over the tagged union validates while it decodes; `batch.py` decodes all events of a batch at once that way.
`all_sound` checks what no type expresses. What the decoder refuses is parsed again with the standard library, for two
reasons:

- msgspec takes the first of duplicate `type` members and stops at a duplicate of a wrong type; the contract lets the
  last duplicate count.
- msgspec explains a refusal in words; the contract has a closed list of reasons.
"""

import json
import math
from typing import Any, cast

import msgspec
from msgspec import UNSET, Raw, UnsetType

from ingest.errors import Rejection
from ingest.limits import KEY_STROKES_MAX, RequestLimits
from schemas.events import AnyEvent, EventId, Key, Label, Pointer, Scroll, ids_are_valid
from schemas.outcomes import RejectionReason, RequestError

_INT_DIGITS_MAX = 4_300  # Source: CVE-2020-10735; msgspec and CPython both stop here.


class _Named(msgspec.Struct):
    id: Raw | UnsetType = UNSET


_event = msgspec.json.Decoder(AnyEvent)
_named = msgspec.json.Decoder(_Named)
_event_id = msgspec.json.Decoder(EventId)

_LABELS = frozenset(Label.__args__)
_TYPES: dict[str, type[msgspec.Struct]] = {kind.__struct_config__.tag: kind for kind in AnyEvent.__args__}
_REQUIRED = {
    tag: {field.name for field in msgspec.structs.fields(kind) if field.required} for tag, kind in _TYPES.items()
}
_KNOWN = {tag: {*kind.__struct_fields__, "type"} for tag, kind in _TYPES.items()}


def parse_event(raw: Raw, limits: RequestLimits, stand_in: str | None) -> AnyEvent | RejectionReason:
    """One event of a batch.

    Args:
        stand_in: the JSON escape that replaced lone surrogates, if the batch had any.

    Raises:
        Rejection: 400, in spite of the envelope the event is not JSON.
    """
    text = memoryview(raw)
    if text.nbytes > limits.event_bytes_max:
        return RejectionReason.TOO_LARGE
    if stand_in is not None and stand_in.encode() in bytes(text):
        return _parse_slowly(bytes(text), limits, stand_in)
    try:
        event: AnyEvent = _event.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return _parse_slowly(bytes(text), limits, None)
    return _unsound(event, limits) or _bad_id(event) or event


def all_sound(events: list[AnyEvent], limits: RequestLimits) -> bool:
    """Whether decoded events keep what no type expresses: characters of ids, depth, lengths of arrays and answers."""
    for event in events:
        kind = type(event)
        if kind is Pointer or kind is Scroll:  # most of all events: no call for them
            if not len(event.t) == len(event.x) == len(event.y):  # type: ignore[union-attr]
                return False
        elif _unsound(event, limits):
            return False
    return ids_are_valid(events)


def id_of(raw: Raw) -> str | None:
    """The event's id if it has a valid one: an answer echoes nothing else."""
    try:
        named = _named.decode(raw)
        return None if named.id is UNSET else _event_id.decode(named.id)
    except (msgspec.DecodeError, RecursionError):
        return None


def _unsound(event: AnyEvent, limits: RequestLimits) -> RejectionReason | None:
    if type(event) in _LABELS:
        most = limits.answer_bytes_max
        # No character has more than four bytes, so that hardly an answer is encoded to be counted.
        answer = event.answer  # type: ignore[union-attr]
        long = 4 * len(answer) > most and len(answer.encode()) > most
        return RejectionReason.ANSWER_TOO_LONG if long else None
    properties = getattr(event, "properties", None)
    if properties and depth_of(properties) >= limits.event_depth_max:
        return RejectionReason.TOO_DEEP
    samples = event.samples
    if samples and len({len(getattr(event, field)) for field in samples}) > 1:
        return RejectionReason.UNEQUAL_ARRAYS
    if type(event) is Key and len(event.t_down) > KEY_STROKES_MAX:
        return RejectionReason.TOO_MANY_STROKES
    return None


def _bad_id(event: AnyEvent) -> RejectionReason | None:
    return None if ids_are_valid((event,)) else RejectionReason.INVALID_VALUE


class _OutOfRange:
    """Stands for a number that no 64-bit float holds, until it is known whether its member counts at all."""


def _parse_slowly(text: bytes, limits: RequestLimits, stand_in: str | None) -> AnyEvent | RejectionReason:
    out_of_range: list[Any] = []
    document = document_of(text, limits.event_depth_max, stand_in, out_of_range)
    if isinstance(document, RejectionReason):
        return document
    return event_of(document, limits, out_of_range)


def document_of(
    text: bytes, event_depth_max: int, stand_in: str | None, out_of_range: list[Any]
) -> dict[str, Any] | RejectionReason:
    """The JSON object in an event's text; the last of duplicate members counts.

    Args:
        out_of_range: takes what stands for numbers that no 64-bit float holds; `event_of` wants it.

    Raises:
        Rejection: 400, it is not JSON.
    """
    try:
        event = _loads(text, out_of_range)
    except RecursionError:
        return RejectionReason.TOO_DEEP
    except ValueError:
        raise Rejection(400, RequestError.NOT_A_BATCH) from None
    if not isinstance(event, dict):
        return RejectionReason.NOT_AN_OBJECT
    if text.count(b"[") + text.count(b"{") > event_depth_max and depth_of(event) > event_depth_max:
        return RejectionReason.TOO_DEEP
    if stand_in is not None and _holds_text(event, chr(int(stand_in[2:], 16))):
        return RejectionReason.INVALID_TEXT
    return event


def event_of(event: dict[str, Any], limits: RequestLimits, out_of_range: list[Any]) -> AnyEvent | RejectionReason:
    """The event that an object, with a `type`, describes."""
    return _wrong_shape(event) or _converted(event, limits, out_of_range)


def _converted(event: dict[str, Any], limits: RequestLimits, out_of_range: list[Any]) -> AnyEvent | RejectionReason:
    if out_of_range and any(isinstance(leaf, _OutOfRange) for leaf in _leaves(event)):
        return RejectionReason.INVALID_VALUE
    try:
        converted = msgspec.convert(event, cast("type[AnyEvent]", AnyEvent))
    except msgspec.ValidationError as error:
        # "Expected `int`, got `str`" against "Expected `int` >= 0" and "Expected `str` matching regex …".
        got_another_type = "`, got `" in str(error)
        return RejectionReason.WRONG_TYPE if got_another_type else RejectionReason.INVALID_VALUE
    return _unsound(converted, limits) or _bad_id(converted) or converted


def _loads(text: bytes, out_of_range: list[Any]) -> Any:
    """The JSON document; a number that no 64-bit float holds becomes an `_OutOfRange`, listed in `out_of_range`."""

    def beyond() -> Any:
        out_of_range.append(_OutOfRange())
        return out_of_range[-1]

    def parse_int(digits: str) -> Any:
        return int(digits) if len(digits.lstrip("-")) <= _INT_DIGITS_MAX else beyond()

    def parse_float(digits: str) -> Any:
        number = float(digits)
        return number if math.isfinite(number) else beyond()

    return json.loads(text.decode(), parse_int=parse_int, parse_float=parse_float)


def _wrong_shape(event: dict[str, Any]) -> RejectionReason | None:
    """What is wrong with the event's type and the names of its fields.

    A `key` event may hold no field but the documented ones: `which` and `foo` may both name a key, and no check can
    tell.
    """
    if "type" not in event:
        return RejectionReason.MISSING_FIELD
    tag = event["type"]
    if not isinstance(tag, str):
        return RejectionReason.WRONG_TYPE
    kind = _TYPES.get(tag)
    if kind is None:
        return RejectionReason.UNKNOWN_TYPE
    if not event.keys() <= _KNOWN[tag]:
        return RejectionReason.FORBIDDEN_FIELD if kind is Key else RejectionReason.UNKNOWN_FIELD
    if not event.keys() >= _REQUIRED[tag]:
        return RejectionReason.MISSING_FIELD
    return None


def depth_of(value: Any) -> int:
    """Levels of arrays and objects, 0 for a scalar. Without recursion: the input chooses the depth."""
    depth = 0
    level = [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [item for holder in level for item in (holder.values() if isinstance(holder, dict) else holder)]
    return depth


def _leaves(value: Any) -> list[Any]:
    """Every scalar and every member name inside, in no order."""
    leaves: list[Any] = []
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            leaves.extend(item)
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
        else:
            leaves.append(item)
    return leaves


def _holds_text(value: Any, text: str) -> bool:
    return any(isinstance(leaf, str) and text in leaf for leaf in _leaves(value))
