"""Pure: a body to its session and its events, each still raw.

msgspec does it in one pass. A body that it refuses is read again, for two rules of the contract: the last of duplicate
members counts, and a lone surrogate costs only the event that holds it.
"""

import re
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from ingest.decode.consent import BAD_CONSENT, Consent, consent_of
from ingest.errors import Rejection
from schemas.events import TS_MAX, Session, UnixMs
from schemas.outcomes import RequestError


class Envelope(msgspec.Struct, forbid_unknown_fields=True):
    """A batch as it was sent, its events undecoded."""

    session: Session
    events: list[Raw]
    sent_at: UnixMs | UnsetType = UNSET
    consent: Consent | UnsetType = UNSET


_envelope = msgspec.json.Decoder(Envelope)
_members = msgspec.json.Decoder(dict[str, Raw])
_events = msgspec.json.Decoder(list[Raw])
_session = msgspec.json.Decoder(Session)
_sent_at = msgspec.json.Decoder(UnixMs | float)
_any = msgspec.json.Decoder()

_NOT_JSON = "The body is not one JSON document in UTF-8."
_NOT_AN_OBJECT = "The body must be a JSON object: {sent_at, session, events}."
_NOT_DOCUMENTED = (
    "The batch has a member besides `sent_at`, `session`, `events` and `consent`, or lacks `session` or `events`."
)
_BAD_SESSION = "`session` must be 1 to 64 characters of A-Z, a-z, 0-9 and `_.:-`."
_BAD_EVENTS = "`events` must be an array."
_BAD_SENT_AT = "`sent_at` must be Unix milliseconds, an integer."
CONTAINERS_MAX = 65_536
_TOO_MANY_CONTAINERS = f"A body holds at most {CONTAINERS_MAX:,} arrays and objects."
_TOO_DEEP = "The body nests too deeply to be read."


def check_containers(body: bytes) -> None:
    """Passes where a body has few enough arrays and objects, those that only look like it in strings included.

    Each becomes an object of Python, at a hundred times the cost of its two bytes.

    Raises:
        Rejection: 413.
    """
    if len(body) > 2 * CONTAINERS_MAX and body.count(b"[") + body.count(b"{") > CONTAINERS_MAX:
        raise Rejection(413, RequestError.BODY_TOO_LARGE, _TOO_MANY_CONTAINERS)


def _not_a_batch(detail: str) -> Rejection:
    return Rejection(400, RequestError.NOT_A_BATCH, detail)


def envelope_of(body: bytes) -> tuple[Envelope, str | None]:
    """The envelope, and the escape that replaced lone surrogates, if there were any.

    Raises:
        Rejection: 400, the body is not a batch.
    """
    if not body.isascii():
        try:
            body.decode()  # msgspec does not look into strings that it leaves raw
        except UnicodeDecodeError:
            raise _not_a_batch(_NOT_JSON) from None
    try:
        return _envelope.decode(body), None
    except RecursionError:
        raise _not_a_batch(_TOO_DEEP) from None
    except msgspec.DecodeError:
        pass
    try:
        return _envelope_slowly(body)
    except RecursionError:
        raise _not_a_batch(_TOO_DEEP) from None


def _envelope_slowly(body: bytes) -> tuple[Envelope, str | None]:
    stand_in = None
    try:
        members = _members.decode(body)
    except msgspec.ValidationError:
        raise _not_a_batch(_NOT_AN_OBJECT) from None
    except msgspec.DecodeError:
        body, stand_in = without_lone_surrogates(body)
        try:
            members = _members.decode(body)
        except msgspec.ValidationError:
            raise _not_a_batch(_NOT_AN_OBJECT) from None
        except msgspec.DecodeError:
            raise _not_a_batch(_NOT_JSON) from None
    if not {"session", "events"} <= members.keys() <= {"session", "events", "sent_at", "consent"}:
        raise _not_a_batch(_NOT_DOCUMENTED)
    session = _member(_session, members["session"], _BAD_SESSION)
    events = _member(_events, members["events"], _BAD_EVENTS)
    sent_at: int | UnsetType = UNSET
    if "sent_at" in members:
        sent_at = whole(_member(_sent_at, members["sent_at"], _BAD_SENT_AT))
        if not isinstance(sent_at, int) or not 0 <= sent_at <= TS_MAX:
            raise _not_a_batch(_BAD_SENT_AT)
    consent: Consent | UnsetType = UNSET
    if "consent" in members:
        consent = consent_of(_member(_any, members["consent"], BAD_CONSENT))
    return Envelope(session, events, sent_at, consent), stand_in


def whole(number: Any) -> Any:
    """A number without a fraction as an integer, which 5.0 is in JSON's own terms; anything else as it is."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _member(decoder: msgspec.json.Decoder[Any], raw: Raw, otherwise: str) -> Any:
    try:
        return decoder.decode(raw)
    except msgspec.DecodeError:
        raise _not_a_batch(otherwise) from None


# The backslash of a high surrogate that a low one follows; that of the low one behind it; a surrogate that is left.
_HIGH = rb"u[dD][89abAB][0-9a-fA-F]{2}"
_LOW = rb"u[dD][c-fC-F][0-9a-fA-F]{2}"
_BEFORE_PAIR = re.compile(rb"\\(?=" + _HIGH + rb"\\" + _LOW + rb")")
_WITHIN_PAIR = re.compile(rb"(?<=\x00" + _HIGH + rb")\\")
_LONE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_BACKSLASHES = bytes.maketrans(b"\x00\x01", b"\\\\")
_NONCHARACTERS = [f"\\ufd{low:02x}" for low in range(0xD0, 0xF0)]


def without_lone_surrogates(body: bytes) -> tuple[bytes, str | None]:
    r"""The body with each escape of a lone surrogate replaced by another of the same length, and that other escape.

    JavaScript's JSON.stringify sends `"\ud800"` for a lone surrogate, and msgspec refuses the whole document for it.
    The replacement is a noncharacter (U+FDD0 to U+FDEF) that the body does not use; a body that uses all 32 of them
    is refused as it is.
    """
    spelled = body.lower()
    for escape in _NONCHARACTERS:
        escaped, encoded = escape.encode(), chr(int(escape[2:], 16)).encode()
        if escaped not in spelled and encoded not in body:
            changed = _replaced(body, escaped)
            return (body, None) if changed == body else (changed, escape)
    return body, None


def _replaced(body: bytes, stand_in: bytes) -> bytes:
    """Each step is one of C's over the whole body, for the sender chooses how many escapes there are.

    Control characters stand for the backslashes of what is no lone surrogate: of escaped backslashes, and of pairs. No
    JSON holds them.
    """
    if b"\x00" in body or b"\x01" in body:
        return body
    marked = body.replace(b"\\\\", b"\x01\x01")
    marked = _WITHIN_PAIR.sub(b"\x00", _BEFORE_PAIR.sub(b"\x00", marked))
    return _LONE.sub(b"\\" + stand_in, marked).translate(_BACKSLASHES)
