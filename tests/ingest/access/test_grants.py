"""Keys, categories and quotas."""

import pytest

from ingest.access.grants import Admission, Grant, Quotas, Site, SiteKey, check_origin, sha256_of, writable_types
from ingest.errors import Rejection
from schemas.events import BROWSER_CATEGORIES, SERVER_CATEGORIES, AnyEvent, Contact, Verdict

EVERYTHING = BROWSER_CATEGORIES | SERVER_CATEGORIES


def admission(*keys: SiteKey, quota: int = 0) -> Admission:
    return Admission([Site(name="shop", origins=("https://shop.example",), keys=keys)], quota)


def browser_key(key: str = "ub_1", **more: object) -> SiteKey:
    return SiteKey(kind="browser", key=key, categories=frozenset({"signals"}), **more)  # type: ignore[arg-type]


def server_key(key: str = "us_1") -> SiteKey:
    return SiteKey(kind="server", key=key[:2], sha256=sha256_of(key), categories=frozenset({"personal"}))


def test_no_browser_key_writes_what_is_a_servers_whatever_its_file_says() -> None:
    """A public key that could write verdicts would let anybody drop anybody's labels."""
    browser, server = writable_types("browser", EVERYTHING), writable_types("server", EVERYTHING)
    assert not {Verdict, Contact} & browser
    assert {event.category for event in browser} == {"signals", "labeled", "analytics"}
    assert {event.category for event in server} == {"analytics", "personal", "labelers", "labeled"}
    assert {event for event in server if event.category == "labeled"} == {Verdict}
    assert browser | server == set(AnyEvent.__args__)


def test_revoked_key_is_unknown_and_a_hash_is_no_key() -> None:
    """Who reads the file of sites must not be able to post with what stands there."""
    held = admission(browser_key(), browser_key("ub_2", revoked=True), server_key())
    assert held.grant_of("ub_1").site == "shop"
    assert held.grant_of("us_1").kind == "server"
    for key in (None, "", "ub_2", "us", sha256_of("us_1"), "UB_1", "ub_1 ", "\ud800"):
        with pytest.raises(Rejection) as caught:
            held.grant_of(key)
        assert caught.value.status == 401


def test_origin_decides_only_where_there_is_one() -> None:
    """Apps and servers send none; browsers cannot leave it out."""
    held = admission(browser_key(), server_key())
    check_origin(held.grant_of("ub_1"), None)
    check_origin(held.grant_of("ub_1"), "https://shop.example")
    check_origin(held.grant_of("us_1"), None)
    for key, origin in (("ub_1", "null"), ("ub_1", ""), ("us_1", "https://shop.example")):
        with pytest.raises(Rejection) as caught:
            check_origin(held.grant_of(key), origin)
        assert caught.value.status == 403


def test_preflight_knows_origins_of_browser_keys_in_use() -> None:
    """It has no key to ask with; a site without a browser key has no pages."""
    assert admission(browser_key()).lists_origin("https://shop.example")
    assert not admission(browser_key(revoked=True), server_key()).lists_origin("https://shop.example")


def spend(quotas: Quotas, grant: Grant, events: int, now: float) -> int | None:
    """Seconds to wait, or None where the batch passed."""
    try:
        quotas.spend(grant, events, now)
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
