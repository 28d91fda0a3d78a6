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

    Segment has `consent.categoryPreferences: {"Analytics": false}`, RudderStack `consentManagement` with lists of
    `allowedConsentIds` and `deniedConsentIds`. Their categories are named by each site, so another name says nothing
    here. What cannot be read, or says both, is a no: a doubt about somebody's word is theirs.

    Source: Segment, "Consent in Segment Connections"; RudderStack, "Consent management in event payload".
    """
    said: set[bool] = set()
    preferences = _member(_member(context, "consent"), "categoryPreferences")
    if isinstance(preferences, dict):
        said |= {value is True for name, value in preferences.items() if name.casefold() == "analytics"}
    managed = _member(context, "consentManagement")
    for name, meaning in (("allowedConsentIds", True), ("deniedConsentIds", False)):
        ids = _member(managed, name)
        if isinstance(ids, list) and any(isinstance(one, str) and one.casefold() == "analytics" for one in ids):
            said.add(meaning)
    return Consent(analytics=said == {True}) if said else None


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
