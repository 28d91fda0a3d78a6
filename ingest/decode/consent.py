"""Pure: what a visitor has said about analytics and signals, as a batch or a call of Segment's SDKs carries it."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ingest.errors import Rejection
from schemas.events import Redacted
from schemas.outcomes import RequestError

CATEGORIES = ("analytics", "signals")
BAD_CONSENT = "`consent` must be an object of `analytics` and `signals`, each true or false, or left out."


class Consent(Redacted, frozen=True, forbid_unknown_fields=True):
    """What a visitor has said; what is absent has not been asked or not been answered."""

    analytics: Annotated[bool | UnsetType, Meta(description="Whether page views and uses may be stored.")] = UNSET
    signals: Annotated[bool | UnsetType, Meta(description="Whether pointer, key and motion may be stored.")] = UNSET

    def of(self, category: str) -> bool | None:
        """True or false as it was said; None where nothing was."""
        said = {"analytics": self.analytics, "signals": self.signals}.get(category, UNSET)
        return None if said is UNSET else said


def consent_of(value: Any) -> Consent:
    """A batch's `consent`, as JSON has it.

    Raises:
        Rejection: 400: what somebody said cannot be told, so nothing of theirs is stored.
    """
    try:
        return msgspec.convert(value, Consent)
    except msgspec.ValidationError:
        raise Rejection(400, RequestError.NOT_A_BATCH, BAD_CONSENT) from None


def consent_of_context(context: dict[str, Any]) -> Consent | None:
    """What the `context` of a call says of the category `analytics`, in any case; None where it says nothing.

    Segment has `consent.categoryPreferences: {"Analytics": false}`, RudderStack `consentManagement` with
    `allowedConsentIds` and `deniedConsentIds`, lists or objects of names. Their categories are named by each site, so
    another name says nothing here. What is there and cannot be read, or says both, is a no: a doubt about somebody's
    word is theirs.

    Source: Segment, "Consent in Segment Connections"; RudderStack, "Consent management in event payload".
    """
    try:
        said = _said_in(_object(context, "consent"), _object(context, "consentManagement"))
    except TypeError:
        return Consent(analytics=False)
    return Consent(analytics=said == {True}) if said else None


def _said_in(consent: dict[str, Any], managed: dict[str, Any]) -> set[bool]:
    preferences = _object(consent, "categoryPreferences")
    said = {value is True for name, value in preferences.items() if _is_analytics(name)}
    for member, meaning in (("allowedConsentIds", True), ("deniedConsentIds", False)):
        ids = managed.get(member) or []
        if not isinstance(ids, list | dict):
            raise TypeError
        if any(map(_is_analytics, [*ids, *(ids.values() if isinstance(ids, dict) else ())])):
            said.add(meaning)
    return said


def _object(of: dict[str, Any], name: str) -> dict[str, Any]:
    """A member that is an object, or absent.

    Raises:
        TypeError: it is something else.
    """
    value = of.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TypeError
    return value


def _is_analytics(name: Any) -> bool:
    return isinstance(name, str) and name.strip().casefold() == "analytics"
