"""Pure: what is wrong with one event, in words that name our schema's fields and bounds, never what a client sent.

A sentence of each field's bounds is made once, from the types that decode: what they check and what an answer says
cannot come apart.
"""

import re
from typing import Any

import msgspec
from msgspec import inspect

from schemas.events import SAMPLES_MAX, AnyEvent, Redacted
from schemas.outcomes import EXPLANATION, RejectionReason

TYPES: dict[str, type[msgspec.Struct]] = {kind.__struct_config__.tag: kind for kind in AnyEvent.__args__}
# By type, its fields in the order of the documentation; `type` among them.
FIELDS: dict[str, tuple[str, ...]] = {
    tag: ("id", "type", "ts", *(name for name in kind.__struct_fields__ if name not in ("id", "ts")))
    for tag, kind in TYPES.items()
}
# Members of a Segment call, by the field of ours that is made of them; most of ours have the member's own name.
CALL_MEMBERS = {
    "id": "messageId",
    "ts": "timestamp",
    "account": "userId",
    "email": "traits.email",
    "name": "traits.name",
    "role": "traits.role",
    "country": "traits.country",
    "url": "context.page.url",
    "referrer": "context.page.referrer",
}
_ONLY_IN_CALLS = (
    *("anonymousId", "category", "context", "context.page", "event"),
    *("traits", "traits.address", "traits.firstName", "traits.lastName"),
)
# Every name that a rejection's `field` can have.
FIELD_NAMES = tuple(sorted({*CALL_MEMBERS.values(), *_ONLY_IN_CALLS}.union(*FIELDS.values())))

_CHARACTERS = re.compile(r"\\A\[A-Za-z0-9_\.:-\]\{1,(\d+)\}\\Z")


class Flaw(Redacted, frozen=True):
    """Why one event is rejected.

    Attributes:
        field: one of `FIELD_NAMES`, or None where no documented field is meant.
        detail: one sentence that says the bound; never input.
    """

    reason: RejectionReason
    field: str | None
    detail: str


def flaw(reason: RejectionReason, field: str | None = None, detail: str | None = None) -> Flaw:
    """A flaw; without a detail, the reason's explanation."""
    return Flaw(reason, field, detail or EXPLANATION[reason])


def flaw_of_field(reason: RejectionReason, tag: str, field: str) -> Flaw:
    """A field of this type that is missing, of another type, or out of its bounds."""
    return Flaw(reason, field, f"`{field}` must be {_BOUNDS[tag, field]}.")


def flaw_of_names(reason: RejectionReason, tag: str) -> Flaw:
    """A field that this type does not have; its name is the client's, so what the type has is said instead."""
    return Flaw(reason, None, f"`{tag}` has these fields and no others: {', '.join(FIELDS[tag])}.")


def bound_of(kind: inspect.Type) -> str:  # noqa: PLR0911  one for each type
    """A field's bounds in words, from its type.

    Raises:
        NotImplementedError: a type that no event has yet.
    """
    match kind:
        case inspect.Metadata(type=inner, extra_json_schema=extra):
            return _characters((extra or {}).get("pattern")) or bound_of(inner)
        case inspect.StrType(pattern=str(pattern)):
            return _characters(pattern) or "an e-mail address, at most 64 characters before its @ and 255 behind"
        case inspect.StrType(min_length=least, max_length=most):
            return "text" if most is None else f"text of {least or 0} to {most:,} characters"
        case inspect.IntType(ge=least, le=most):
            return f"Unix milliseconds, an integer from {least} to {most}"
        case inspect.BoolType():
            return "true or false"
        case inspect.ListType(item_type=inspect.FloatType()):
            return f"an array of 1 to {SAMPLES_MAX:,} numbers"
        case inspect.ListType(item_type=item, max_length=most):
            return f"an array of at most {most:,} items, each {bound_of(item)}"
        case inspect.DictType():
            return "a JSON object"
    raise NotImplementedError(f"no words for {type(kind).__name__}; add them here before an event has it")


def _characters(pattern: Any) -> str | None:
    found = _CHARACTERS.fullmatch(pattern or "")
    return f"text of 1 to {found[1]} characters of A-Z, a-z, 0-9 and _.:-" if found else None


def _bounds() -> dict[tuple[str, str], str]:
    found = {(tag, "type"): f"one of: {', '.join(TYPES)}" for tag in TYPES}
    for tag, kind in TYPES.items():
        described = inspect.type_info(kind)
        assert isinstance(described, inspect.StructType)
        found |= {(tag, field.name): bound_of(field.type) for field in described.fields}
    return found


_BOUNDS = _bounds()
UNKNOWN_TYPE = Flaw(RejectionReason.UNKNOWN_TYPE, "type", f"`type` must be one of: {', '.join(TYPES)}.")
NO_TYPE = Flaw(RejectionReason.MISSING_FIELD, "type", UNKNOWN_TYPE.detail)
TYPE_NO_TEXT = Flaw(RejectionReason.WRONG_TYPE, "type", UNKNOWN_TYPE.detail)
NOT_AN_OBJECT = flaw(RejectionReason.NOT_AN_OBJECT)
