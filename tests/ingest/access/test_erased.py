"""Whose events a collector refuses."""

import msgspec

from ingest.access.erased import not_erased
from ingest.decode.batch import EventBatch
from schemas.events import AnyEvent
from schemas.outcomes import RejectionReason
from schemas.subjects.erasures import Erased, erasure_of
from schemas.subjects.selectors import AccountSelector, Selector, SessionSelector, email_selector

EVENTS: list[AnyEvent] = [
    msgspec.convert({"id": f"e-{number}", "ts": 1, **fields}, AnyEvent)
    for number, fields in enumerate(
        [
            {"type": "pointer", "t": [0], "x": [1], "y": [1]},
            {"type": "image_label", "task": "t", "answer": "beagle"},
            {"type": "page_view", "url": "https://a.test"},
            {"type": "contact", "account": "acme", "role": "", "name": "", "email": "Ann@acme.test", "country": ""},
            {"type": "identity_check", "account": "acme", "provider": "", "method": "", "outcome": ""},
            {"type": "labeler_application", "name": "", "email": "ann@ACME.test", "country": ""},
            {"type": "verdict", "session": "s-2", "human": True},
        ]
    )
]


def refused(*selectors: Selector, session: str = "s-1") -> list[int]:
    erased = Erased(
        erasure_of(one, id=f"{number:016x}", reference="", salt=bytes([number]) * 32, now_ms=1)
        for number, one in enumerate(selectors)
    )
    batch = not_erased(EventBatch(session, list(enumerate(EVENTS)), []), "dev", erased)
    assert all(one.reason is RejectionReason.ERASED and one.id == EVENTS[one.index].id for one in batch.rejected)
    assert sorted([*(index for index, _ in batch.events), *(one.index for one in batch.rejected)]) == list(range(7))
    return [one.index for one in batch.rejected]


def test_events_of_whoever_asked_are_refused_and_their_neighbours_taken() -> None:
    """A session's are its page's; a person's are what a server says of them, whichever session sent it."""
    assert refused(SessionSelector("dev", "s-1")) == [0, 1, 2]
    assert refused(SessionSelector("dev", "s-2")) == [6]
    assert refused(AccountSelector("acme")) == [3, 4]
    assert refused(email_selector("ANN@acme.TEST")) == [3, 5]
    assert refused(SessionSelector("dev", "s-1"), AccountSelector("acme")) == [0, 1, 2, 3, 4]
    assert refused(SessionSelector("shop", "s-1"), AccountSelector("s-1"), email_selector("bob@acme.test")) == []
    assert refused() == []
