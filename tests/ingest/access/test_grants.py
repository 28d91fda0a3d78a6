"""Keys and categories."""

import pytest

from ingest.access.grants import Admission, Site, SiteKey, authorized, check_origin, sha256_of, writable_types
from ingest.decode.batch import EventBatch
from ingest.errors import Rejection
from schemas.events import BROWSER_CATEGORIES, SERVER_CATEGORIES, Contact, ReadEvent, Verdict

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
    assert browser | server == set(ReadEvent.__args__)


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


def test_refusal_by_origin_says_what_is_meant() -> None:
    """ "Not listed" sends whoever put a server key into a page to list the origin, and the key stays in the page."""
    held = admission(browser_key(), server_key())
    with pytest.raises(Rejection, match="does not list this Origin"):
        check_origin(held.grant_of("ub_1"), "https://other.example")
    with pytest.raises(Rejection, match="server keys are refused from browsers: send a browser key"):
        check_origin(held.grant_of("us_1"), "https://shop.example")


def test_rejected_category_says_what_the_key_writes() -> None:
    """And that alone: no event's own words."""
    batch = EventBatch("s-1", [(0, contact())], [], 7)
    left = authorized(batch, admission(browser_key()).grant_of("ub_1"))
    (rejected,) = left.rejected
    assert (rejected.field, rejected.detail) == (
        "type",
        "This key writes accelerometer, gyroscope, key, pointer, scroll, touch.",
    )
    assert (left.events, left.sent_at) == ([], 7)


def contact() -> Contact:
    return Contact(id="e-1", ts=1, account="acme", role="", name="", email="a@b", country="")
