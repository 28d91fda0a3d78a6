"""The browser SDK as collectors serve it: a URL that follows the version, and one that never changes."""

import gzip
import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterator

import pytest

from ingest.web import sdk_files
from ingest.web.openapi import openapi
from ingest.web.sdk_files import SdkFiles, current_sdk, sdk_file
from tests.ingest.configs import request_limits
from tests.ingest.running_collector import ORIGIN, WIDGET_KEY, RunningCollector, running
from unjoin.settings import OWN_PATHS


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    with running(tmp_path_factory.mktemp("sdk")) as collector:
        yield collector


def test_hashed_url_is_immutable_and_matches_its_integrity(collector: RunningCollector) -> None:
    """A page that pins a build gets that build, or an error of its browser; caches may keep it for ever."""
    sdk = current_sdk()
    reply = collector.request("GET", sdk.path)
    assert reply.status == 200
    assert "immutable" in reply.headers["cache-control"]
    assert sdk.path == f"/sdk/{hashlib.sha256(reply.body).hexdigest()[:16]}.js"
    assert sdk.integrity == "sha384-" + b64encode(hashlib.sha384(reply.body).digest()).decode()
    assert reply.body == collector.request("GET", "/sdk.js").body


def test_newest_is_cached_for_minutes_and_asked_for_by_its_tag(collector: RunningCollector) -> None:
    """An upgrade reaches pages soon, and costs nothing where nothing changed."""
    reply = collector.request("GET", "/sdk.js")
    assert reply.headers["cache-control"] == "public, max-age=300"
    again = collector.request("GET", "/sdk.js", headers={"If-None-Match": reply.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert collector.request("GET", "/sdk.js", headers={"If-None-Match": '"other"'}).status == 200


@pytest.mark.parametrize("path", ["/sdk.js", current_sdk().path])
def test_both_are_scripts_that_any_origin_may_check(collector: RunningCollector, path: str) -> None:
    """`integrity` on a page of another origin needs CORS; a proxy must not hand gzip to who cannot read it."""
    plain = collector.request("GET", path)
    assert plain.headers["access-control-allow-origin"] == "*"
    assert plain.headers["content-type"].startswith("text/javascript")
    assert "content-encoding" not in plain.headers
    packed = collector.request("GET", path, headers={"Accept-Encoding": "br, gzip;q=0.8"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) <= 6_144


def test_an_alias_takes_events_and_serves_the_sdk(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What blockers of visitors list are `/v1/events` and `/sdk.js`; the tag names both by the operator's path."""
    batch = {"session": "s-1", "events": [{"id": "a-1", "type": "image_label", "ts": 1, "task": "t", "answer": "a"}]}
    body = json.dumps(batch).encode()
    headers = {"Content-Type": "text/plain", "Origin": ORIGIN}
    tag = current_sdk().tag("https://c.example", WIDGET_KEY, "/m/e")
    with running(tmp_path_factory.mktemp("alias"), path_alias="/m/e") as collector:
        for path in ("/m/e", "/v1/events"):
            reply = collector.request("POST", f"{path}?key={WIDGET_KEY}", body, headers)
            assert (reply.status, reply.json()["accepted"]) == (200, 1)
        preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
        assert collector.request("OPTIONS", "/m/e", headers=preflight).status == 204
        assert collector.request("POST", "/m/e?key=nobodys", body, headers).status == 401
        assert collector.request("GET", "/m/e.js").body == current_sdk().body
        (pinned,) = re.findall(r'src="https://c\.example(\S+)"', tag)
        assert pinned.startswith("/m/e/")
        assert 'data-path="/m/e"' in tag
        assert collector.request("GET", pinned).body == current_sdk().body
    with running(tmp_path_factory.mktemp("none")) as collector:
        assert collector.request("POST", f"/m/e?key={WIDGET_KEY}", body, headers).status == 404


def test_routes_of_a_collector_are_below_paths_that_no_alias_may_hide() -> None:
    """`settings.OWN_PATHS` is a list by hand; a route that it lacks could be hidden by a setting."""
    documented = openapi(request_limits(), "0")["paths"]
    assert {path.split("/")[1] for path in documented} | {"playground"} == OWN_PATHS


@pytest.mark.parametrize("path", ["/sdk/0000000000000000.js", "/sdk/", "/sdk/../sites.json", "/sdk/sdk.js"])
def test_build_that_never_was_is_a_404(collector: RunningCollector, path: str) -> None:
    """Only builds that are in the distribution; the path is never one of a file."""
    assert collector.request("GET", path).status == 404


def test_earlier_release_is_still_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An upgrade of the collector must not break the pages that pinned a build before it."""
    releases = tmp_path_factory.mktemp("releases")
    (releases / "0.0.9.js").write_bytes(b"/* an earlier one */")
    monkeypatch.setattr(sdk_files, "RELEASES", releases)
    with running(tmp_path_factory.mktemp("upgraded")) as collector:
        earlier = sdk_file(b"/* an earlier one */")
        assert collector.request("GET", earlier.path).body == b"/* an earlier one */"
        assert collector.request("GET", "/sdk.js").body == current_sdk().body


def test_tag_escapes_what_it_is_given() -> None:
    """It is pasted into pages."""
    tag = current_sdk().tag('https://c.example/"><b', 'k"&')
    assert '"><b' not in tag
    assert 'data-key="k&quot;&amp;"' in tag
    assert isinstance(SdkFiles(current_sdk(), ()).current.etag, str)
