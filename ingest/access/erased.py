"""Pure: which events of a batch are of somebody who asked to be gone."""

import msgspec

from ingest.decode.batch import EventBatch
from ingest.errors import RejectedEvent
from schemas.events import Contact, IdentityCheck, LabelerApplication, ReadEvent, Verdict
from schemas.outcomes import EXPLANATION, RejectionReason
from schemas.subjects.erasures import Erased
from schemas.subjects.selectors import Selector, SessionSelector, selectors_of

_OTHERS = {Contact, IdentityCheck, LabelerApplication, Verdict}  # about others than their batch's session


def not_erased(batch: EventBatch, site: str, erased: Erased) -> EventBatch:
    """The batch; events of people who asked are moved to the rejected.

    A session's answers are refused with the rest of it. Its look-up costs once a batch; persons of accounts and
    labelers are looked up event by event, and only servers send them.
    """
    kinds = {type(event) for _, event in batch.events}
    if kinds.isdisjoint(_OTHERS) and not erased.covers((SessionSelector(site, batch.session),)):
        return batch
    seen: dict[Selector, bool] = {}
    refused = []
    for index, event in batch.events:
        of = selectors_of_event(event, site, batch.session)
        for selector in of:
            if selector not in seen:
                seen[selector] = erased.covers((selector,))
        if any(seen[selector] for selector in of):
            reason = RejectionReason.ERASED
            refused.append(RejectedEvent(index, event.id, reason, None, EXPLANATION[reason]))
    return batch.rejecting(refused)


def selectors_of_event(event: ReadEvent, site: str, session: str) -> tuple[Selector, ...]:
    """Whom an event is about."""
    if type(event) is Verdict:
        return (SessionSelector(site, event.session),)
    if event.category == "labeled":
        return (SessionSelector(site, session),)
    return selectors_of(event.category, site, session, msgspec.structs.asdict(event))
