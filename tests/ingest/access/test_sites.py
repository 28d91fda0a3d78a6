"""Sites on disk."""

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from ingest.access.sites import SitesError, SitesFile, WatchedSites, origin_of, read_sites, write_development_sites
from ingest.errors import Rejection


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "sites.json"


def statuses(path: Path, *keys: str) -> list[int]:
    watched = WatchedSites(path, 0)
    watched.look()
    found = []
    for key in keys:
        try:
            watched.admission.grant_of(key)
            found.append(200)
        except Rejection as rejection:
            found.append(rejection.status)
    return found


def test_secret_key_is_nowhere_on_disk_and_the_file_is_its_owners(path: Path) -> None:
    """The key is shown once; a backup of the file opens nothing."""
    file = SitesFile(path)
    browser, server = file.add("shop", ["https://shop.example"]), file.add("shop", kind="server")
    text = path.read_text()
    assert browser in text
    assert server not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(os.listdir(path.parent)) == ["sites.json", "sites.json.lock"]
    (site,) = file.list()
    assert [(key.kind, sorted(key.categories)) for key in site.keys] == [
        ("browser", ["labeled", "signals"]),
        ("server", ["analytics", "labeled", "labelers", "personal"]),
    ]
    assert server.startswith(site.keys[1].key)
    assert statuses(path, browser, server, browser[:8], site.keys[1].sha256) == [200, 200, 401, 401]


def test_rotated_key_is_unknown_at_once_and_the_new_one_may_do_the_same(path: Path) -> None:
    """Rotation is for keys that leaked."""
    file = SitesFile(path)
    old = file.add("shop", kind="server", categories=["personal"], events_per_second=7)
    new = file.rotate("shop", old[:8])
    assert statuses(path, old, new) == [401, 200]
    first, second = file.list()[0].keys
    assert (first.revoked, second.revoked) == (True, False)
    assert (second.categories, second.events_per_second) == (frozenset({"personal"}), 7)
    file.revoke("shop", new)
    assert statuses(path, new) == [401]
    with pytest.raises(SitesError, match="no key in use"):
        file.revoke("shop", new)


def test_rotated_key_with_an_overlap_ends_by_itself_though_the_file_does_not_change(path: Path) -> None:
    """Nobody is there at night to revoke it; a cached page has to work until then, and not a second longer."""
    now_s = 1_790_000_000.0
    file = SitesFile(path, now_s=lambda: now_s)
    old = file.add("shop", ["https://shop.example"])
    watched = WatchedSites(path, 0, lambda: now_s)
    new = file.rotate("shop", old, overlap_s=3_600)
    assert watched.look()
    now_s += 3_599
    assert not watched.look()
    assert watched.admission.grant_of(old).site == watched.admission.grant_of(new).site
    path.write_bytes(b"{")  # nor does a broken file give it longer
    now_s += 1
    assert watched.look()
    assert not watched.look()
    with pytest.raises(Rejection):
        watched.admission.grant_of(old)
    assert watched.admission.grant_of(new)


def test_second_rotation_does_not_lengthen_the_overlap_of_the_first(path: Path) -> None:
    """Else a key that should die lives for as long as somebody goes on rotating it."""
    file = SitesFile(path, now_s=lambda: 1_790_000_000.0)
    old = file.add("shop", ["https://shop.example"])
    file.rotate("shop", old, overlap_s=60)
    file.rotate("shop", old, overlap_s=3_600)
    assert [key.ends_at for key in file.list()[0].keys] == [1_790_000_060, 0, 0]


def test_quota_is_changed_in_force_and_passed_on(path: Path) -> None:
    """One site that sends too much is held back without a restart, and not let go by a rotation."""
    file = SitesFile(path)
    watched = WatchedSites(path, 100)
    key = file.add("shop", ["https://shop.example"], events_per_second=7)
    watched.look()
    assert watched.admission.grant_of(key).events_per_second == 7
    file.set_quota("shop", key, 9)
    assert watched.look()
    new = file.rotate("shop", key, overlap_s=60)
    watched.look()
    assert [watched.admission.grant_of(one).events_per_second for one in (key, new)] == [9, 9]
    file.set_quota("shop", new, 0)
    watched.look()
    assert watched.admission.grant_of(new).events_per_second == 100


def test_what_cannot_be_is_refused_and_changes_nothing(path: Path) -> None:
    """Each with a text that says what can."""
    file = SitesFile(path)
    file.add("shop", ["https://shop.example"])
    file.add("shop", ["https://shop.example"])
    before = path.read_bytes()
    with pytest.raises(SitesError, match="browser key writes"):
        file.add("shop", categories=["signals", "personal"])
    with pytest.raises(SitesError, match="server key writes"):
        file.add("shop", kind="server", categories=["signals"])
    with pytest.raises(SitesError, match="no origin"):
        file.add("other")
    with pytest.raises(SitesError, match="site's name"):
        file.add("a b", ["https://shop.example"])
    with pytest.raises(SitesError, match="there is no site"):
        file.rotate("other", "x")
    with pytest.raises(SitesError, match="more than one"):
        file.revoke("shop", "ub_")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://Shop.Example", "https://shop.example"),
        ("https://shop.example/", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"),
        ("http://shop.example:443", "http://shop.example:443"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_origin_is_spelled_as_browsers_do(text: str, origin: str) -> None:
    """Compared as text, so that nothing is parsed on the way of a request."""
    assert origin_of(text) == origin


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "null",
        "",
        "shop.example",
        "https://*.shop.example",
        "https://shop.example/page",
        "ftp://a",
        "https://ü.example",
        "https://u@a",
        "https://a:x",
    ],
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    """A wildcard would make a public key anybody's."""
    with pytest.raises(SitesError, match=r"scheme://host:port, http or https|name each one"):
        origin_of(text)


def test_wildcard_is_refused_as_what_it_is() -> None:
    """Whoever writes one knows what an origin is, and asks for something else."""
    with pytest.raises(SitesError, match=r"has a wildcard, .* name each one"):
        origin_of("https://*.shop.example")


def test_development_sites_leave_everything_else_as_it_is(path: Path) -> None:
    """Written at every start of `unjoin up`."""
    SitesFile(path).add("shop", ["https://shop.example"])
    write_development_sites(path, ["http://localhost:8080"])
    once = path.read_bytes()
    write_development_sites(path, ["http://localhost:8080"])
    assert path.read_bytes() == once
    write_development_sites(path, ["http://localhost:9090"])
    dev, shop = read_sites(path)
    assert (dev.name, dev.origins, len(dev.keys)) == ("dev", ("http://localhost:8080", "http://localhost:9090"), 2)
    assert (shop.name, len(shop.keys)) == ("shop", 1)
    assert statuses(path, "dev-browser-key", "dev-server-key") == [200, 200]


def test_broken_file_keeps_the_sites_before_it(path: Path) -> None:
    """A typing error must not turn every client away; it is counted, once a change."""
    write_development_sites(path, ["http://localhost"])
    watched = WatchedSites(path, 0)
    assert watched.look()
    assert not watched.look()
    good = path.read_bytes()
    for bad in (b"{", b'{"version":1,"sites":[{"name":"a b"}]}', b'{"sites":[{"name":"a","extra":1}]', b"\xff"):
        path.write_bytes(bad)
        errors = watched.errors
        assert not watched.look()
        assert not watched.look()
        assert watched.errors == errors + 1
        assert watched.admission.grant_of("dev-browser-key")
    path.unlink()
    assert not watched.look()
    assert watched.admission.grant_of("dev-browser-key")
    path.write_bytes(good)
    assert watched.look()


def test_consent_rule_that_cannot_be_is_refused_and_the_rest_stays(path: Path) -> None:
    """A site that thinks it asks, and does not, stores what nobody agreed to."""
    file = SitesFile(path)
    key = file.add("shop", ["https://shop.example"])
    file.set_consent("shop", ["signals"], ["analytics"])
    for name, necessary, opt_in in (
        ("nobody", ["signals"], []),
        ("shop", ["labeled"], []),
        ("shop", [], ["marketing"]),
        ("shop", ["signals"], ["signals"]),
    ):
        with pytest.raises(SitesError):
            file.set_consent(name, necessary, opt_in)
    (site,) = file.list()
    assert (site.necessary, site.opt_in) == ({"signals"}, {"analytics"})
    assert statuses(path, key) == [200]


def test_file_that_never_was_is_no_site_and_no_error(path: Path) -> None:
    """A collector may start before its first site."""
    watched = WatchedSites(path, 0)
    assert not watched.look()
    assert watched.errors == 0
    SitesFile(path).add("shop", ["https://shop.example"])
    assert watched.look()


def test_broken_file_is_never_overwritten_by_a_change(path: Path) -> None:
    """Its keys may still be rescued by hand."""
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(SitesError, match="cannot be used"):
        SitesFile(path).add("shop", ["https://shop.example"])
    assert path.read_text() == "{"


def test_writers_at_once_lose_no_key(path: Path) -> None:
    """Two operators, or a script in parallel."""
    threads = [
        threading.Thread(target=SitesFile(path).add, args=(f"site-{number}", ["https://a.example"]))
        for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads(path.read_text())["sites"]) == 12
