"""What visitors declined is not stored; what their site cannot do without is, and labels are nobody's to decline."""

import itertools
import json
from typing import Any

import pytest

from ingest.access.consent import asks_for_privacy, consented
from ingest.access.grants import Grant
from ingest.decode.batch import EventBatch, parse_batch
from ingest.decode.consent import Consent, consent_of_context
from ingest.decode.segment import parse_segment_batch
from ingest.errors import Rejection
from schemas.events import ImageLabel, PageView, Pointer
from tests.ingest.configs import request_limits

VIEW = PageView(id="view", ts=1, url="/")
MOVE = Pointer(id="move", ts=1, t=[0], x=[1], y=[1])
ANSWER = ImageLabel(id="answer", ts=1, task="t", answer="a")
LIMITS = request_limits()
RULES: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "default": (frozenset(), frozenset()),
    "opt in": (frozenset(), frozenset({"analytics", "signals"})),
    "necessary": (frozenset({"analytics", "signals"}), frozenset()),
}
# The site's rule, what was said, whether the browser asks for privacy -> what becomes of a page view and of a pointer.
FATES = {
    ("default", None, False): ("stored", "stored"),
    ("default", None, True): ("gpc", "stored"),
    ("default", False, False): ("no_consent", "no_consent"),
    ("default", False, True): ("no_consent", "no_consent"),
    ("opt in", None, False): ("no_consent", "no_consent"),
    ("opt in", None, True): ("no_consent", "no_consent"),
    ("opt in", False, False): ("no_consent", "no_consent"),
    ("opt in", False, True): ("no_consent", "no_consent"),
}


def grant(rule: str = "default") -> Grant:
    necessary, opt_in = RULES[rule]
    return Grant("shop", "browser", frozenset(), frozenset(), "k", 0, necessary=necessary, opt_in=opt_in)


def fates(batch: EventBatch, rule: str = "default", gpc: bool = False) -> dict[str, str]:
    judged = consented(batch, grant(rule), gpc)
    assert [entry.index for entry in judged.rejected] == sorted(entry.index for entry in judged.rejected)
    rejected = {str(entry.id): str(entry.reason) for entry in judged.rejected}
    return rejected | {event.id: "stored" for _, event in judged.events}


@pytest.mark.parametrize(("rule", "said", "gpc"), list(itertools.product(RULES, (None, False, True), (False, True))))
def test_every_rule_meets_every_word(rule: str, said: bool | None, gpc: bool) -> None:
    """The whole table of docs/http.md; what is not in FATES is stored."""
    consent = None if said is None else Consent(analytics=said, signals=said)
    batch = EventBatch("s", list(enumerate([VIEW, MOVE, ANSWER])), [], consent=consent)
    view, move = FATES.get((rule, said, gpc), ("stored", "stored"))
    assert fates(batch, rule, gpc) == {"view": view, "move": move, "answer": "stored"}


def test_batch_that_nobody_declined_is_the_same_object() -> None:
    """The hot path copies nothing for the many who say nothing."""
    batch = EventBatch("s", [(0, VIEW)], [])
    assert consented(batch, grant(), gpc=False) is batch


@pytest.mark.parametrize(
    ("header", "asked"),
    [(None, False), ("1", True), (" 1 ", True), ("1, 1", True), ("0", False), ("", False), ("10", False)],
)
def test_privacy_is_asked_for_by_a_one(header: str | None, asked: bool) -> None:
    assert asks_for_privacy(header) is asked


@pytest.mark.parametrize(
    "consent", [None, True, 1, "yes", [], {"analytics": 1}, {"analytics": None}, {"marketing": True}, {"signals": "no"}]
)
@pytest.mark.parametrize("slowly", [False, True])
def test_consent_that_cannot_be_read_refuses_its_batch(consent: Any, slowly: bool) -> None:
    """A no that was misspelled must not be stored as a yes."""
    body = json.dumps({"session": "s", "events": [{"id": "\ud800"}] * slowly, "consent": consent}).encode()
    with pytest.raises(Rejection, match="`consent` must be") as refused:
        parse_batch(body, LIMITS)
    assert refused.value.status == 400


@pytest.mark.parametrize("bad", ["", '{"id":"\\ud800"},'])
def test_consent_is_read_whether_or_not_an_event_beside_it_is_bad(bad: str) -> None:
    """And of two members the last one counts, as everywhere."""
    view = '{"id":"view","type":"page_view","ts":1,"url":"/"}'
    text = f'{{"consent":{{"analytics":7,"analytics":false}},"session":"s","events":[{bad}{view}]}}'
    (batch,) = parse_batch(text.encode(), LIMITS)
    assert fates(batch)["view"] == "no_consent"


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ({}, None),
        ({"consent": {"categoryPreferences": {"Advertising": False}}}, None),
        ({"consent": {"categoryPreferences": {"Advertising": True, "Analytics": False}}}, False),
        ({"consent": {"categoryPreferences": {"analytics": True}}}, True),
        ({"consent": {"categoryPreferences": {"analytics": "yes"}}}, False),
        ({"consent": {"categoryPreferences": {"analytics": True, "ANALYTICS": False}}}, False),
        ({"consent": {"categoryPreferences": "all"}}, False),
        ({"consent": False}, False),
        ({"consentManagement": 5}, False),
        ({"consentManagement": {"deniedConsentIds": "analytics"}}, False),
        ({"consentManagement": {"deniedConsentIds": {"analytics": "p-1"}}}, False),
        ({"consentManagement": {"allowedConsentIds": {"purpose": "Analytics"}, "deniedConsentIds": None}}, True),
        ({"consent": {"categoryPreferences": {" Analytics ": False}}}, False),
        ({"consent": None, "consentManagement": {}}, None),
        ({"consentManagement": {"allowedConsentIds": ["Analytics"], "deniedConsentIds": [3]}}, True),
        ({"consentManagement": {"allowedConsentIds": "analytics", "deniedConsentIds": ["analytics"]}}, False),
    ],
)
def test_calls_of_segments_sdks_say_it_in_their_context(context: dict[str, Any], said: bool | None) -> None:
    found = consent_of_context(context)
    assert (None if found is None else found.of("analytics")) is said


def test_each_call_of_a_batch_keeps_its_own_word() -> None:
    """A server posts many visitors' calls at once, and a visitor's mind may change within a batch."""
    base = {"timestamp": "2026-09-21T14:13:20Z", "type": "track", "event": "Opened"}
    no = {"context": {"consent": {"categoryPreferences": {"Analytics": False}}}}
    calls = [
        {**base, "messageId": "m-0", "anonymousId": "a"},
        {**base, "messageId": "m-1", "anonymousId": "a", **no},
        {**base, "messageId": "m-2", "anonymousId": "b", **no},
    ]
    batches = parse_segment_batch(json.dumps({"batch": calls}).encode(), LIMITS)
    found: dict[str, str] = {}
    for batch in batches:
        found |= fates(batch)
    assert found == {"m-0": "stored", "m-1": "no_consent", "m-2": "no_consent"}


@pytest.mark.parametrize("context", [{"consent": {"categoryPreferences": {"Analytics": False}}}, {"consent": 0}])
def test_a_batch_s_own_context_counts_for_calls_that_say_nothing(context: dict[str, Any]) -> None:
    """Segment's API merges it into each call's context; left out, a no would be stored as if nobody had been asked."""
    base = {"timestamp": "2026-09-21T14:13:20Z", "type": "track", "event": "Opened", "anonymousId": "a"}
    yes = {"context": {"consent": {"categoryPreferences": {"Analytics": True}}}}
    calls = [
        {**base, "messageId": "m-0"},
        {**base, "messageId": "m-1", **yes},
        {**base, "messageId": "m-2", "context": {}},
    ]
    found: dict[str, str] = {}
    for batch in parse_segment_batch(json.dumps({"context": context, "batch": calls}).encode(), LIMITS):
        found |= fates(batch)
    assert found == {"m-0": "no_consent", "m-1": "stored", "m-2": "no_consent"}
