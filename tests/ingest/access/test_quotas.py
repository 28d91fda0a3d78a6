"""Quotas of keys, addresses and sessions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.access.grants import Grant
from ingest.access.quotas import Buckets, Quotas
from ingest.decode.batch import EventBatch
from ingest.errors import RejectedEvent, Rejection
from ingest.http.client_address import network_mark, networks_of
from schemas.events import AnyEvent, ImageLabel, Verdict
from schemas.outcomes import RejectionReason
from tests.ingest.access.test_grants import admission, browser_key


def batch_of(events: int) -> EventBatch:
    """Rejected events: they cost as much."""
    rejected = RejectedEvent(0, None, RejectionReason.UNKNOWN_TYPE, "type", "")
    return EventBatch("s-1", [], [rejected] * events)


def labels(session: str, count: int) -> EventBatch:
    label: AnyEvent = ImageLabel(id="e", ts=0, task="t", answer="a")
    return EventBatch(session, [(index, label) for index in range(count)], [])


def spend(quotas: Quotas, grant: Grant, events: int, now: float, network: int | None = None) -> int | None:
    """Seconds to wait, or None where the batch passed."""
    try:
        quotas.spend(grant, [batch_of(events)], now, network)
    except Rejection as rejection:
        return rejection.retry_after_s if rejection.status == 429 else -1
    return None


def test_quota_lets_its_rate_through_and_says_when_to_come_back() -> None:
    """The wait it names is enough, and the rate holds over time."""
    grant = admission(browser_key(), quota=100).grant_of("ub_1")
    quotas = Quotas()
    assert spend(quotas, grant, 60, 0.0) is None
    assert spend(quotas, grant, 60, 0.0) == 1
    assert spend(quotas, grant, 60, 0.25) is None
    assert spend(quotas, grant, 500, 1.25) is None
    assert spend(quotas, grant, 1, 1.3) == 4
    assert spend(quotas, grant, 1, 5.31) is None


def test_quota_is_a_keys_own_and_none_is_none() -> None:
    """One site's burst must not cost another's."""
    held = admission(browser_key(events_per_second=10), browser_key("ub_2"))
    quotas = Quotas()
    assert spend(quotas, held.grant_of("ub_1"), 10, 0.0) is None
    assert spend(quotas, held.grant_of("ub_1"), 10, 0.0) == 1
    assert all(spend(quotas, held.grant_of("ub_2"), 500, 0.0) is None for _ in range(100))


def test_quota_admits_no_more_than_its_rate_over_time() -> None:
    """Batches larger than the bucket go into debt and pay it back."""
    grant = admission(browser_key(), quota=100).grant_of("ub_1")
    quotas = Quotas()
    passed = sum(300 for step in range(1_000) if spend(quotas, grant, 300, step / 10) is None)
    assert 9_700 <= passed <= 10_300


def test_quota_of_an_address_holds_whatever_keys_it_uses() -> None:
    """A stranger has as many public keys as there are sites to read them from."""
    held = admission(browser_key(), browser_key("ub_2"))
    quotas = Quotas(address_events_per_second=100)
    assert spend(quotas, held.grant_of("ub_1"), 100, 0.0, network=1) is None
    assert spend(quotas, held.grant_of("ub_2"), 1, 0.0, network=1) == 1
    assert spend(quotas, held.grant_of("ub_2"), 100, 0.0, network=2) is None
    assert spend(quotas, held.grant_of("ub_1"), 100, 1.0, network=1) is None


def test_client_whose_address_is_hidden_has_no_quota_of_its_own() -> None:
    """Behind a proxy that says nothing, all clients would share one."""
    trusted = networks_of("10.0.0.0/8")
    assert network_mark("10.1.2.3", trusted) is None
    assert network_mark("", ()) is None
    quotas = Quotas(address_events_per_second=1)
    assert all(spend(quotas, admission(browser_key()).grant_of("ub_1"), 500, 0.0) is None for _ in range(100))


def test_addresses_of_one_ipv6_household_are_one() -> None:
    """It has 2**64 of them."""
    assert network_mark("2001:db8::1", ()) == network_mark("2001:db8::ffff:1", ())
    assert network_mark("2001:db8::1", ()) != network_mark("2001:db8:0:1::1", ())
    assert network_mark("192.0.2.1", ()) != network_mark("192.0.2.2", ())
    assert network_mark("::ffff:192.0.2.1", ()) == network_mark("192.0.2.1", ())


def test_session_posts_no_more_labels_than_its_quota_and_verdicts_are_none() -> None:
    """One session that answers without end would be the crowd's largest."""
    grant = admission(browser_key()).grant_of("ub_1")
    quotas = Quotas(session_labels_per_hour=60)
    verdict: AnyEvent = Verdict(id="e", ts=0, session="s-1", human=True)
    quotas.spend(grant, [labels("s-1", 60)], 0.0)
    quotas.spend(grant, [labels("s-2", 60), EventBatch("s-1", [(0, verdict)] * 500, [])], 0.0)
    with pytest.raises(Rejection) as refused:
        quotas.spend(grant, [labels("s-1", 2)], 0.0)
    assert (refused.value.status, refused.value.retry_after_s) == (429, 120)
    quotas.spend(grant, [labels("s-1", 2)], 120.0)


def test_request_that_one_quota_refuses_costs_no_other() -> None:
    """It will be sent again, and would pay twice."""
    grant = admission(browser_key(), quota=10).grant_of("ub_1")
    quotas = Quotas(address_events_per_second=5)
    assert spend(quotas, grant, 5, 0.0, network=1) is None
    assert spend(quotas, grant, 5, 0.0, network=1) == 1
    assert spend(quotas, grant, 5, 0.0, network=2) is None
    assert spend(quotas, grant, 5, 0.0, network=3) == 1


@given(st.lists(st.integers(0, 50), max_size=200))
def test_buckets_hold_a_fixed_number_of_names_and_forget_the_one_unused_for_longest(names: list[int]) -> None:
    """Strangers choose the names."""
    buckets = Buckets(entries_max=8)
    for name in names:
        buckets.put(name, 0.0, 0.0)
        assert len(buckets) <= 8
    recent = list(dict.fromkeys(reversed(names)))[:8]
    assert all(buckets.tokens(name, 1.0, 5.0, 0.0) == 0.0 for name in recent)
    assert all(buckets.tokens(name, 1.0, 5.0, 0.0) == 5.0 for name in set(names) - set(recent))
