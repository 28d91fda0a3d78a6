"""The outcomes of an event: a closed list with an explanation of each.

Only this module names the reasons that a client, a dead letter or a counter can show.

    UnjoinError                      base of every error that leaves its package
    ├── DecodeError                  a record on a topic cannot be read: dead letter, never retried
    └── (packages add their own: sinks.engine.Refused, …)
"""

from enum import StrEnum


class RejectionReason(StrEnum):
    """Why the collector did not accept one event of a batch; the rest of the batch is unharmed."""

    NOT_AN_OBJECT = "not_an_object"
    UNKNOWN_TYPE = "unknown_type"
    MISSING_FIELD = "missing_field"
    UNKNOWN_FIELD = "unknown_field"
    FORBIDDEN_FIELD = "forbidden_field"
    WRONG_TYPE = "wrong_type"
    INVALID_VALUE = "invalid_value"
    UNEQUAL_ARRAYS = "unequal_arrays"
    INVALID_TEXT = "invalid_text"
    TOO_DEEP = "too_deep"
    TOO_LARGE = "too_large"
    ANSWER_TOO_LONG = "answer_too_long"
    CATEGORY_NOT_ALLOWED = "category_not_allowed"
    DAY_CLOSED = "day_closed"
    ERASED = "erased"
    NO_CONSENT = "no_consent"
    GPC = "gpc"


class RequestError(StrEnum):
    """Why the collector refused a whole request."""

    NOT_A_BATCH = "not_a_batch"
    MALFORMED_HTTP = "malformed_http"
    HEADERS_TOO_LARGE = "headers_too_large"
    TOO_MANY_EVENTS = "too_many_events"
    UNKNOWN_KEY = "unknown_key"
    FORBIDDEN_ORIGIN = "forbidden_origin"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BODY_STALLED = "body_stalled"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_TYPE = "unsupported_type"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    QUOTA_EXCEEDED = "quota_exceeded"
    OVERLOADED = "overloaded"
    NOT_DURABLE = "not_durable"
    INTERNAL = "internal"


class EventWarning(StrEnum):
    """What was accepted and yet is hardly what its sender meant."""

    IMPLAUSIBLE_TS = "implausible_ts"


class DeadLetterReason(StrEnum):
    """Why a record on a topic was set aside as a dead letter."""

    NOT_CONFLUENT = "not_confluent"
    UNKNOWN_SCHEMA = "unknown_schema"
    WRONG_SCHEMA = "wrong_schema"
    MALFORMED_DATUM = "malformed_datum"
    TRAILING_BYTES = "trailing_bytes"
    REFUSED = "refused"
    SEAL_BROKEN = "seal_broken"


class Suppression(StrEnum):
    """Why the door (de-identification) dropped a well-formed label instead of releasing it."""

    NOT_HUMAN = "not_human"
    KEY_DESTROYED = "key_destroyed"
    CROWD_BOUND = "crowd_bound"
    OVER_SHARE = "over_share"
    EXPIRED = "expired"


EXPLANATION: dict[StrEnum, str] = {
    RejectionReason.NOT_AN_OBJECT: "An event must be a JSON object.",
    RejectionReason.UNKNOWN_TYPE: "The event's `type` is not one of the documented types.",
    RejectionReason.MISSING_FIELD: "A field that this type requires is missing.",
    RejectionReason.UNKNOWN_FIELD: "This type has no such field; an unclassified field counts as an identifier.",
    RejectionReason.FORBIDDEN_FIELD: "A key event may carry timings only, never what could name a key.",
    RejectionReason.WRONG_TYPE: "A field has another JSON type than documented.",
    RejectionReason.INVALID_VALUE: "A field's value is outside its documented bounds or characters.",
    RejectionReason.UNEQUAL_ARRAYS: "The sample arrays of one event must have equal lengths.",
    RejectionReason.INVALID_TEXT: "A string holds a lone surrogate, which no UTF-8 text can.",
    RejectionReason.TOO_DEEP: "The event nests deeper than the limit.",
    RejectionReason.TOO_LARGE: "The event is larger than the limit.",
    RejectionReason.ANSWER_TOO_LONG: "The answer has more bytes of UTF-8 than the limit.",
    RejectionReason.CATEGORY_NOT_ALLOWED: "The key may not write this event's category.",
    RejectionReason.DAY_CLOSED: "The label's day is over and its key destroyed; it can no longer be counted.",
    RejectionReason.ERASED: "The event is of somebody whose data was erased on request; it is not taken again.",
    RejectionReason.NO_CONSENT: "The visitor declined this category, or has not agreed where the site asks first.",
    RejectionReason.GPC: "The browser sent `Sec-GPC: 1`, and the visitor has not agreed to analytics.",
    EventWarning.IMPLAUSIBLE_TS: "A `ts` lies ten years or more in the past, or a day or more ahead: is it in ms?",
    RequestError.MALFORMED_HTTP: "The request is not well-formed HTTP/1.1.",
    RequestError.HEADERS_TOO_LARGE: "The request's line and headers are larger than the limit.",
    RequestError.NOT_A_BATCH: "The body is not a JSON batch: {sent_at, session, events}.",
    RequestError.TOO_MANY_EVENTS: "The batch holds more events than the limit; split it.",
    RequestError.UNKNOWN_KEY: "No such key, or it was revoked; send `Authorization: Bearer KEY` or `?key=KEY`.",
    RequestError.FORBIDDEN_ORIGIN: "The key's site does not list this Origin.",
    RequestError.NOT_FOUND: "There is nothing at this path.",
    RequestError.METHOD_NOT_ALLOWED: "This path does not answer this method.",
    RequestError.BODY_STALLED: "The body did not arrive in time.",
    RequestError.BODY_TOO_LARGE: "The body is larger than the limit, before or after decompression.",
    RequestError.UNSUPPORTED_TYPE: "Content-Type must be application/json or text/plain.",
    RequestError.UNSUPPORTED_ENCODING: "Content-Encoding must be one of gzip, deflate, br and zstd, or absent.",
    RequestError.QUOTA_EXCEEDED: "The key's quota is used up; wait as Retry-After says.",
    RequestError.OVERLOADED: "More is being sent than can be taken; wait as Retry-After says, then send it again.",
    RequestError.NOT_DURABLE: "The batch could not be made durable in time; send it again with the same ids.",
    RequestError.INTERNAL: "The collector failed; send the batch again with the same ids.",
    DeadLetterReason.NOT_CONFLUENT: "The record does not start with the Confluent header.",
    DeadLetterReason.UNKNOWN_SCHEMA: "The record names a schema id that is not registered.",
    DeadLetterReason.WRONG_SCHEMA: "The record's schema belongs to another topic.",
    DeadLetterReason.MALFORMED_DATUM: "The datum does not decode with the schema it names.",
    DeadLetterReason.TRAILING_BYTES: "Bytes follow the datum.",
    DeadLetterReason.REFUSED: "ClickHouse refused the row.",
    DeadLetterReason.SEAL_BROKEN: "The record does not open with the door's key of its day where it lies.",
    Suppression.NOT_HUMAN: "A verdict said that the voter is not human.",
    Suppression.KEY_DESTROYED: "The day's key was destroyed on record.",
    Suppression.CROWD_BOUND: "The crowd's memory bound was reached, and nobody held more than this voter.",
    Suppression.OVER_SHARE: "The voter gave more than half of a crowd whose wait was over; this was its surplus.",
    Suppression.EXPIRED: "The label neared its retention before its crowd was complete.",
}


class UnjoinError(Exception):
    """Base of every error that leaves its package; its text never holds input."""


class DecodeError(UnjoinError):
    """A record on a topic cannot be read.

    Args:
        reason: what the dead letter will say.
    """

    def __init__(self, reason: DeadLetterReason) -> None:
        super().__init__(EXPLANATION[reason])
        self.reason = reason
