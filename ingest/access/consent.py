"""Pure: which events of a batch a visitor has not agreed to, by what they said and by what their site needs.

    the site's rule     nothing said      Sec-GPC: 1          said no        said yes
    (none), analytics   stored            gpc                 no_consent     stored
    (none), signals     stored            stored              no_consent     stored
    opt in              no_consent        no_consent          no_consent     stored
    necessary           stored            stored              stored         stored

Global Privacy Control asks not to have one's data sold or shared. Signals are neither: they tell humans from bots. A
yes to this very site counts for more than the browser's general no. Every other category is no visitor's to decline:
labels are tied to nobody, and servers send the rest.

Source: Global Privacy Control (W3C), "Interaction with other preferences".
"""

from ingest.access.grants import Grant
from ingest.decode.batch import EventBatch
from ingest.decode.consent import CATEGORIES, Consent
from ingest.errors import RejectedEvent
from schemas.outcomes import EXPLANATION, RejectionReason

_NOBODY_ASKED = Consent()


def asks_for_privacy(sec_gpc: str | None) -> bool:
    """Whether the header Sec-GPC says so: its one value is 1, and a proxy may have repeated it."""
    return sec_gpc is not None and "1" in map(str.strip, sec_gpc.split(","))


def consented(batch: EventBatch, grant: Grant, gpc: bool) -> EventBatch:
    """The batch; events that its visitor has not agreed to are moved to the rejected."""
    if batch.consent is None and not gpc and not grant.opt_in and not batch.consent_of:
        return batch
    declined = []
    for index, event in batch.events:
        consent = batch.consent_of.get(index, batch.consent) or _NOBODY_ASKED
        reason = _why_not(event.category, consent, gpc, grant) if event.category in CATEGORIES else None
        if reason is not None:
            declined.append(RejectedEvent(index, event.id, reason, None, EXPLANATION[reason]))
    return batch.rejecting(declined)


def _why_not(category: str, consent: Consent, gpc: bool, grant: Grant) -> RejectionReason | None:
    said = consent.of(category)
    if said or category in grant.necessary:
        return None
    if said is False or category in grant.opt_in:
        return RejectionReason.NO_CONSENT
    return RejectionReason.GPC if gpc and category == "analytics" else None
