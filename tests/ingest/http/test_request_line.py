"""One path has one spelling by the time anything is decided by it."""

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.http.request_line import are_hosts, origin_form, own_path

CHARACTERS = b"/%?#*:@aZ09-._~2fFeE"


@pytest.mark.parametrize(
    ("target", "path"),
    [(b"/v1/%65vents", b"/v1/events"), (b"/v1/%65vents?a=%65", b"/v1/events?a=%65"), (b"/v1%2fevents", b"/v1%2fevents"),
     (b"/v1/%2565vents", b"/v1/%2565vents"), (b"http://a/v1/events?x", b"/v1/events?x"), (b"HTTPS://a", b"/"),
     (b"http://a?x", b"/?x"), (b"//a/b", b"//a/b"), (b"/a#b", None), (b"*", None), (b"a:80", None), (b"", None),
     (b"ftp://a/", None), (b"http:///a", None), (b"http://a b/", None), (b"healthz", None)],
)  # fmt: skip
def test_spellings_of_a_path_are_one_and_what_is_no_path_is_none(target: bytes, path: bytes | None) -> None:
    """Load is shed, and routes are found, by the same bytes; an encoded slash or percent sign stays what it is."""
    assert origin_form(b"GET", target) == path


@pytest.mark.parametrize(
    ("target", "path"),
    [(b"/m/e", b"/v1/events"), (b"/m/e?key=a", b"/v1/events?key=a"), (b"/m/e.js", b"/sdk.js"),
     (b"/m/e.js?a", b"/sdk.js?a"), (b"/m/e/00.js", b"/sdk/00.js"), (b"/m/events", b"/m/events"),
     (b"/m/e.json", b"/m/e.json"), (b"/m", b"/m"), (b"/v1/events", b"/v1/events"), (b"/x?/m/e", b"/x?/m/e"),
     (b"*", b"*")],
)  # fmt: skip
def test_an_alias_is_events_and_sdk_and_nothing_else(target: bytes, path: bytes) -> None:
    """Blockers list `/v1/events` and `/sdk.js`; no other path of the collector gets a second name."""
    assert own_path(target, b"/m/e") == path
    assert own_path(target, b"") == target


def test_asterisk_is_of_options_alone() -> None:
    """It means the server as a whole."""
    assert origin_form(b"OPTIONS", b"*") == b"*"


@given(st.lists(st.sampled_from([bytes([one]) for one in CHARACTERS]), max_size=12).map(b"".join))
def test_any_target_gives_a_path_that_stays_as_it_is_or_none(target: bytes) -> None:
    """Decoding twice would make two paths of one; nothing decodes to another path than it meant."""
    path = origin_form(b"GET", target)
    if path is not None:
        assert path[:1] == b"/"
        assert b"%2f" in path.lower() or unquote_to_bytes(path.partition(b"?")[0]).count(b"/") == path.partition(b"?")[
            0
        ].count(b"/")
        if b"%25" not in target:
            assert origin_form(b"GET", path) == path


@pytest.mark.parametrize(
    ("fields", "valid"),
    [([b"a"], True), ([b""], True), ([b"[::1]:80"], True), ([], False), ([b"a", b"a"], False), ([b"a b"], False),
     ([b"a/b"], False), ([b"a\xff"], False)],
)  # fmt: skip
def test_host_comes_once_and_names_a_host(fields: list[bytes], valid: bool) -> None:
    """Two hosts are two readers' requests. Source: RFC 9112, section 3.2."""
    assert are_hosts(fields) == valid
