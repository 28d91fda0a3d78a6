"""Pure: one call of a Segment SDK to one of our events, or to the reason why it cannot be one.

    track ──▶ usage        page, screen ──▶ page_view        identify ──▶ contact        group, alias ──▶ unknown_type

Members that an SDK adds by itself (most of `context`, `integrations`, `sentAt`, …) are left out: its caller does not
choose them. Members that the caller wrote are stored, or the call is rejected: none is dropped silently. Nothing is
derived from what differs between two sends of one call, so that they make one row. docs/segment.md has the rules as
tables.

Source of the shapes: Segment's specification of its HTTP API, and what its SDKs really post (tests/segment/calls.mjs).
"""

import datetime
import hashlib
import re
from typing import Any

import msgspec
from msgspec import Raw

from ingest.decode.consent import Consent, consent_of_context
from ingest.decode.event import document_of, event_of, nests_deeper, too_deep, too_large
from ingest.decode.flaws import CALL_MEMBERS, NOT_AN_OBJECT, Flaw, flaw
from ingest.limits import RequestLimits
from schemas.events import ID_CHARACTERS, TS_MAX, AnyEvent, EventId, Redacted
from schemas.outcomes import RejectionReason, UnjoinError

SESSION_CHARACTERS_MAX = 64
ID_CHARACTERS_MAX = 100
NO_SESSION = ""  # a contact has none

_COMMON = frozenset({"type", "messageId", "timestamp", "originalTimestamp", "anonymousId", "userId"})
_ADDED_BY_SDKS = frozenset(
    {"_metadata", "channel", "context", "integrations", "receivedAt", "sentAt", "version", "writeKey"}
)
_OF_PAGES = frozenset({"name", "category", "properties"})
_WRITTEN = {
    "track": frozenset({"event", "properties"}),
    "page": _OF_PAGES,
    "screen": _OF_PAGES,
    "identify": frozenset({"traits"}),
}
_KNOWN = {kind: _COMMON | _ADDED_BY_SDKS | written for kind, written in _WRITTEN.items()}
_TRAITS = frozenset({"name", "firstName", "lastName", "email", "role", "country", "address"})
_KINDS = f"`type` must be one of: {', '.join(_WRITTEN)}."
_UNCOMMON = re.compile(
    r"(?P<day>\d{4}-?\d\d-?\d\d)[T ](?:(?P<midnight>24:?00(?::?00(?:[.,]0+)?)?)|(?P<minute>\d\d:\d\d):60(?:[.,]\d+)?)"
    r"(?P<zone>Z|[+-][\d:]+)?"
)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MILLISECOND = datetime.timedelta(milliseconds=1)


class Mapped(Redacted, frozen=True):
    """A call as one of our events.

    Attributes:
        session: `NO_SESSION` where the event has none.
        consent: what the call says of it; None where it does not say.
    """

    session: str
    event: AnyEvent
    consent: Consent | None = None


class _Named(msgspec.Struct, rename={"id": "messageId"}):
    id: EventId


class _Unmapped(UnjoinError):
    """The call cannot become one of our events."""

    def __init__(self, reason: RejectionReason, field: str | None = None, detail: str | None = None) -> None:
        super().__init__(reason)
        self.flaw = flaw(reason, field, detail)


_named = msgspec.json.Decoder(_Named)
_document = msgspec.json.Decoder()


def map_call(raw: Raw, kind: str | None, limits: RequestLimits, stand_in: str | None) -> Mapped | Flaw:
    """One call.

    Args:
        kind: as the path says it; None where the call itself has to.
        stand_in: the JSON escape that replaced lone surrogates, if the body had any.

    Raises:
        Rejection: 400, the call is not JSON.
    """
    if memoryview(raw).nbytes > limits.event_bytes_max:
        return too_large(limits)
    document = _read(bytes(raw), limits, stand_in)
    if isinstance(document, Flaw):
        return document
    call = _present(document)
    try:
        session, plain = _mapped(call, _kind_of(call, kind))
    except _Unmapped as unmapped:
        return unmapped.flaw
    event = event_of(plain, limits)
    if isinstance(event, Flaw):
        return _of_call(event)
    context = call.get("context")
    return Mapped(session, event, consent_of_context(context) if isinstance(context, dict) else None)


def id_of_call(raw: Raw) -> str | None:
    """The call's messageId if it is a valid id: an answer echoes nothing else."""
    try:
        return _named.decode(raw).id
    except (msgspec.DecodeError, RecursionError):
        return None


def fitted(text: str, characters_max: int) -> str:
    """An id that keeps our rules: the text itself where it does, else its hash, the same on every resend.

    The hash has no key, so that whoever knows an id can find its rows; it hides nothing.
    """
    if len(text) <= characters_max and not text.encode().translate(None, ID_CHARACTERS):
        return text
    return f"h-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _of_call(found: Flaw) -> Flaw:
    """What is wrong with an event, named as its call has it."""
    member = CALL_MEMBERS.get(found.field or "")
    if member is None:
        return found
    return Flaw(found.reason, member, found.detail.replace(f"`{found.field}`", f"`{member}`"))


def _read(text: bytes, limits: RequestLimits, stand_in: str | None) -> dict[str, Any] | Flaw:
    if stand_in is not None and stand_in.encode() in text:
        return document_of(text, limits, stand_in)
    try:
        document = _document.decode(text)
    except (msgspec.DecodeError, RecursionError):  # a number beyond 64 bits, perhaps
        return document_of(text, limits, None)
    if not isinstance(document, dict):
        return NOT_AN_OBJECT
    few = text.count(b"[") + text.count(b"{") <= limits.event_depth_max
    return document if few or not nests_deeper(document, limits.event_depth_max) else too_deep(limits)


def _present(members: dict[str, Any]) -> dict[str, Any]:
    """The members that are not null: SDKs send `"userId": null` for a visitor who has none."""
    return {name: value for name, value in members.items() if value is not None}


def _kind_of(call: dict[str, Any], of_path: str | None) -> str:
    if "type" not in call:
        if of_path is None:
            raise _Unmapped(RejectionReason.MISSING_FIELD, "type", _KINDS)
        kind = of_path
    else:
        kind = _text(call, "type")
        if kind != (of_path or kind):
            raise _Unmapped(RejectionReason.INVALID_VALUE, "type", "The path says another type.")
    if kind not in _WRITTEN:
        raise _Unmapped(RejectionReason.UNKNOWN_TYPE, "type", _KINDS)
    return kind


def _mapped(call: dict[str, Any], kind: str) -> tuple[str, dict[str, Any]]:
    """The session, and the event as our own clients would send it."""
    if not call.keys() <= _KNOWN[kind]:
        detail = f"A {kind} has these members and no others: {', '.join(sorted(_COMMON | _WRITTEN[kind]))}."
        raise _Unmapped(RejectionReason.UNKNOWN_FIELD, None, detail)
    message_id = _text(call, "messageId")
    event: dict[str, Any] = {"id": fitted(message_id, ID_CHARACTERS_MAX), "ts": _ts(call)}
    if kind == "identify":
        return NO_SESSION, event | {"type": "contact", "account": _id_text(call, "userId")} | _contact(call)
    user = "anonymousId" if call.get("anonymousId", "") != "" else "userId"
    session = fitted(_id_text(call, user), SESSION_CHARACTERS_MAX)
    properties = dict(_object(call, "properties"))
    page = _present(_object(_present(_object(call, "context")), "page"))
    for name in ("url", "referrer"):
        written = properties.get(name) if kind == "page" else None
        event[name] = page.get(name, written if isinstance(written, str) else "")
    if kind == "track":
        _name(properties, "event", _text(call, "event"))
    for name in ("name", "category"):
        if kind != "track" and name in call:
            _name(properties, name, call[name])
    return session, event | {"type": "usage" if kind == "track" else "page_view", "properties": properties}


def _contact(call: dict[str, Any]) -> dict[str, Any]:
    traits = _present(_object(call, "traits"))
    address = _present(_object(traits, "address"))
    if not (traits.keys() <= _TRAITS and address.keys() <= {"country"}):
        detail = f"Traits are {', '.join(sorted(_TRAITS))}, an address is its country, and no others."
        raise _Unmapped(RejectionReason.UNKNOWN_FIELD, "traits", detail)
    if "email" not in traits:
        raise _Unmapped(RejectionReason.MISSING_FIELD, "traits.email")
    names = [_text(traits, name, f"traits.{name}") for name in ("firstName", "lastName") if traits.get(name, "") != ""]
    return {
        "name": traits.get("name", " ".join(names)),
        "email": traits["email"],
        "role": traits.get("role", ""),
        "country": traits.get("country", address.get("country", "")),
    }


def _name(properties: dict[str, Any], member: str, name: Any) -> None:
    """Puts a member that our events have no field for among the properties; never over one of the caller's."""
    if not isinstance(name, str):
        raise _Unmapped(RejectionReason.WRONG_TYPE, member, f"`{member}` must be text.")
    if properties.setdefault(member, name) != name:
        detail = f"`{member}` and `properties.{member}` are stored as one, and differ."
        raise _Unmapped(RejectionReason.INVALID_VALUE, member, detail)


def _ts(call: dict[str, Any]) -> int:
    """Unix milliseconds, never from `sentAt`: it differs on every resend."""
    ts = ms_of(_text(call, "timestamp" if "timestamp" in call else "originalTimestamp", "timestamp"))
    if ts is None:
        detail = "A time is ISO 8601, of the years 1970 to 9999: 2026-09-21T14:13:20.123Z."
        raise _Unmapped(RejectionReason.INVALID_VALUE, "timestamp", detail)
    return ts


def ms_of(text: str) -> int | None:
    """Unix milliseconds of an ISO 8601 time, UTC where it says no offset; None where it is none of 1970 to 9999.

    A leap second counts as the second after it, and 24:00:00 as the next day's midnight. Source: RFC 3339, 5.6 and 5.7;
    ISO 8601:2004, 4.2.3.
    """
    text, more = text.upper(), datetime.timedelta()
    if found := _UNCOMMON.fullmatch(text):
        more = datetime.timedelta(days=1) if found["midnight"] else datetime.timedelta(seconds=1)
        text = f"{found['day']}T{'00:00:00' if found['midnight'] else found['minute'] + ':59'}{found['zone'] or ''}"
    try:
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        ts = (moment + more - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError):
        return None
    return ts if 0 <= ts <= TS_MAX else None


def _text(members: dict[str, Any], name: str, place: str | None = None) -> str:
    """A member that has to be a text and not empty.

    Args:
        place: what a rejection calls it; its name where absent.
    """
    value, place = members.get(name, ""), place or name
    if not isinstance(value, str):
        raise _Unmapped(RejectionReason.WRONG_TYPE, place, f"`{place}` must be text.")
    if not value:
        raise _Unmapped(RejectionReason.MISSING_FIELD, place, f"`{place}` must be text, and not empty.")
    return value


def _id_text(call: dict[str, Any], name: str) -> str:
    """A user's id; older SDKs allow a number."""
    value = call.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _text(call, name)


def _object(members: dict[str, Any], name: str) -> dict[str, Any]:
    value = members.get(name, {})
    if not isinstance(value, dict):
        place = "context.page" if name == "page" else "traits.address" if name == "address" else name
        raise _Unmapped(RejectionReason.WRONG_TYPE, place, f"`{place}` must be a JSON object.")
    return value
