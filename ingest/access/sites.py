"""Sites on disk: one JSON file that `unjoin sites` writes and collectors read.

    UnjoinError
    └── SitesError    the file cannot be used, or the change cannot be made; the text says what to do

Written to a temporary file, synced, renamed, mode 600; a lock beside it lets one writer at a time in.
"""

import fcntl
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from ingest.access.grants import (
    CATEGORIES_OF_KIND,
    DEFAULT_CATEGORIES,
    DEVELOPMENT_BROWSER_KEY,
    DEVELOPMENT_SERVER_KEY,
    SITE_NAME_PATTERN,
    Admission,
    Kind,
    Site,
    SiteKey,
    sha256_of,
)
from ingest.decode.consent import CATEGORIES
from schemas.outcomes import UnjoinError

DEVELOPMENT_SITE = "dev"
HINT_CHARACTERS = 8

_ORIGIN_FORMS = (
    "write scheme://host or scheme://host:port, http or https, in ASCII, without a path: https://shop.example"
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SITE_NAME = re.compile(SITE_NAME_PATTERN)

log = logging.getLogger(__name__)


class SitesError(UnjoinError):
    """The file of sites cannot be used, or the change cannot be made."""


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int = 1
    sites: tuple[Site, ...] = ()


class SitesFile:
    """The file as `unjoin sites` sees it; every change is on disk when the call returns.

    Args:
        token: makes the random part of a key from a number of bytes.
        now_s: Unix time.
    """

    def __init__(
        self,
        path: Path,
        token: Callable[[int], str] = secrets.token_urlsafe,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._token = token
        self._now_s = now_s

    def list(self) -> tuple[Site, ...]:
        """Every site, by name; empty where there is no file yet.

        Raises:
            SitesError: the file is broken.
        """
        return read_sites(self._path)

    def add(
        self,
        name: str,
        origins: Iterable[str] = (),
        categories: Iterable[str] | None = None,
        kind: Kind = "browser",
        events_per_second: int = 0,
    ) -> str:
        """Adds a site with a key, or to a site a key and origins.

        Args:
            categories: what the key may write; default signals and labeled, of a server key all that servers may.

        Returns:
            The key. A server key is shown here and never again.

        Raises:
            SitesError: a name, an origin or a category that cannot be, or a browser key without any origin.
        """
        key = self._new_key(kind)
        wanted = DEFAULT_CATEGORIES[kind] if categories is None else frozenset(categories)
        self._add_key(name, origins, site_key(kind, key, wanted, events_per_second))
        return key

    def add_known(self, name: str, origins: Iterable[str], kind: Kind, key: str, categories: Iterable[str]) -> None:
        """As `add`, with a key that the caller chose; nothing changes where the site has it already."""
        self._add_key(name, origins, site_key(kind, key, frozenset(categories), 0))

    def rotate(self, name: str, key: str, overlap_s: int = 0) -> str:
        """Replaces a key by a new one that may do the same.

        Args:
            key: the key, or enough of its first characters.
            overlap_s: seconds for which the old one can still be used; with 0 it is revoked at once.

        Raises:
            SitesError: no such site, or not exactly one such key.
        """
        with self._changing() as sites:
            old = self._one_key(sites, name, key)
            fresh = self._new_key(old.kind)
            renewed = site_key(old.kind, fresh, old.categories, old.events_per_second)
            ends_at = int(self._now_s()) + overlap_s
            ending = {"ends_at": min(ends_at, old.ends_at or ends_at)} if overlap_s else {"revoked": True}
            self._replace_key(sites, name, old, msgspec.structs.replace(old, **ending), renewed)
        return fresh

    def set_quota(self, name: str, key: str, events_per_second: int) -> None:
        """Gives a key a quota of its own.

        Args:
            events_per_second: 0 for the collectors' default, which may be none.

        Raises:
            SitesError: no such site, or not exactly one such key.
        """
        with self._changing() as sites:
            old = self._one_key(sites, name, key)
            self._replace_key(sites, name, old, msgspec.structs.replace(old, events_per_second=events_per_second))

    def revoke(self, name: str, key: str) -> None:
        """Revokes a key; it stays listed as revoked.

        Raises:
            SitesError: no such site, or not exactly one such key.
        """
        with self._changing() as sites:
            old = self._one_key(sites, name, key)
            self._replace_key(sites, name, old, msgspec.structs.replace(old, revoked=True))

    def set_consent(self, name: str, necessary: Iterable[str], opt_in: Iterable[str]) -> None:
        """Says which categories a site needs whatever a visitor says, and which it stores after a yes alone.

        Raises:
            SitesError: no such site, a category that no visitor can decline, or one that is in both.
        """
        needed, asked = frozenset(necessary), frozenset(opt_in)
        if not needed | asked <= set(CATEGORIES):
            raise SitesError(f"a visitor can decline {' and '.join(CATEGORIES)}; there is no rule for anything else")
        if needed & asked:
            raise SitesError("what is necessary is not asked for: name a category in one of the two")
        with self._changing() as sites:
            if name not in sites:
                raise SitesError(f"there is no site {name}; `unjoin sites list` shows them")
            rules = {"necessary": needed, "opt_in": asked}
            sites[name] = msgspec.structs.replace(sites[name], **rules)

    def _new_key(self, kind: Kind) -> str:
        return f"us_{self._token(32)}" if kind == "server" else f"ub_{self._token(18)}"

    def _add_key(self, name: str, origins: Iterable[str], key: SiteKey) -> None:
        if not _SITE_NAME.match(name):
            raise SitesError("a site's name is 1 to 64 characters of A-Z, a-z, 0-9 and `_.-`")
        spelled = [origin_of(origin) for origin in origins]
        with self._changing() as sites:
            site = sites.get(name, Site(name=name))
            if all((known.key, known.sha256) != (key.key, key.sha256) for known in site.keys):
                site = msgspec.structs.replace(site, keys=(*site.keys, key))
            site = msgspec.structs.replace(site, origins=tuple(dict.fromkeys((*site.origins, *spelled))))
            if key.kind == "browser" and not site.origins:
                raise SitesError(f"site {name} has no origin; name the one that its pages have: --origin https://…")
            sites[name] = site

    def _one_key(self, sites: dict[str, Site], name: str, key: str) -> SiteKey:
        if name not in sites:
            raise SitesError(f"there is no site {name}; `unjoin sites list` shows them")
        now_s = self._now_s()
        live = [known for known in sites[name].keys if known.in_use(now_s)]
        exact = [known for known in live if key and (known.sha256 or sha256_of(known.key)) == sha256_of(key)]
        found = exact or [known for known in live if key and known.key.startswith(key)]
        if len(found) != 1:
            many = "more than one key that begins" if found else "no key in use that begins"
            raise SitesError(f"site {name} has {many} like that; `unjoin sites list` shows them")
        return found[0]

    def _replace_key(self, sites: dict[str, Site], name: str, old: SiteKey, *new: SiteKey) -> None:
        keys = [one for known in sites[name].keys for one in (new if known == old else (known,))]
        sites[name] = msgspec.structs.replace(sites[name], keys=tuple(keys))

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Site]]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._path.with_name(self._path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = {site.name: site for site in self.list()}
            sites = dict(before)
            yield sites
            if sites != before:
                write_sites(self._path, [sites[name] for name in sorted(sites)])
        finally:
            os.close(lock)


def site_key(kind: Kind, key: str, categories: frozenset[str], events_per_second: int) -> SiteKey:
    """A key as it is stored: a browser key in clear, a server key as its hash and its first characters.

    Raises:
        SitesError: a category that this kind of key may never write, or none at all.
    """
    allowed = CATEGORIES_OF_KIND[kind]
    if not categories or not categories <= allowed:
        raise SitesError(f"a {kind} key writes one or more of: {', '.join(sorted(allowed))}")
    if kind == "browser":
        return SiteKey(kind=kind, key=key, categories=categories, events_per_second=events_per_second)
    shown, hidden = key[:HINT_CHARACTERS], sha256_of(key)
    return SiteKey(kind=kind, key=shown, sha256=hidden, categories=categories, events_per_second=events_per_second)


def origin_of(text: str) -> str:
    """The origin as a browser spells it in its Origin header. Source: the HTML standard, serialisation of an origin.

    Raises:
        SitesError: the text is no origin; a path, `null` or a wildcard is none.
    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise SitesError(f"{text!r} is no origin; {_ORIGIN_FORMS}") from None
    host = parts.hostname or ""
    bare = not parts.path.strip("/") and not parts.query and not parts.fragment and "@" not in parts.netloc
    if "*" in text:
        raise SitesError(f"{text!r} has a wildcard, and an origin is one site's alone: name each one; {_ORIGIN_FORMS}")
    if parts.scheme not in _DEFAULT_PORTS or not host.isascii() or not host or not bare:
        raise SitesError(f"{text!r} is no origin; {_ORIGIN_FORMS}")
    host = f"[{host}]" if ":" in host else host
    suffix = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{suffix}"


def read_sites(path: Path) -> tuple[Site, ...]:
    """The sites in a file; none where there is no file.

    Raises:
        SitesError: the file is broken or cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Document).sites
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.DecodeError) as error:
        # The text of msgspec's error names a place in the document, never its content.
        raise SitesError(f"{path} cannot be used: {error}; restore it, or remove it and add the sites anew") from None


def write_sites(path: Path, sites: Sequence[Site]) -> None:
    """Replaces the file, mode 600; readers see the old one or the new one, whole."""
    document = msgspec.json.format(msgspec.json.encode(_Document(sites=tuple(sites)), order="deterministic"), indent=2)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(document + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_development_sites(path: Path, origins: Iterable[str]) -> None:
    """Adds site `dev` with its two well-known keys; the rest of the file stays as it is. Can be repeated.

    Args:
        origins: of the pages on this machine that may use the browser key.
    """
    file = SitesFile(path)
    file.add_known(DEVELOPMENT_SITE, origins, "browser", DEVELOPMENT_BROWSER_KEY, CATEGORIES_OF_KIND["browser"])
    file.add_known(DEVELOPMENT_SITE, (), "server", DEVELOPMENT_SERVER_KEY, CATEGORIES_OF_KIND["server"])


class WatchedSites:
    """The file as a collector sees it: read again when it changed; while it is broken, its last good content counts.

    Args:
        events_per_second: the quota of a key that has none of its own; 0 for none.
        now_s: Unix time.

    Attributes:
        admission: what the last good file allows.
        errors: how often the file was found broken, for metrics.
    """

    def __init__(self, path: Path, events_per_second: int, now_s: Callable[[], float] = time.time) -> None:
        self._path = path
        self._events_per_second = events_per_second
        self._now_s = now_s
        self._sites: tuple[Site, ...] = ()
        self._seen: tuple[int, int, int] | None = None
        self.errors = 0
        self.admission = Admission((), events_per_second)

    def look(self) -> bool:
        """Reads the file if it changed since the last call, and ends keys; whether the admission changed. Never raises.

        A file that is gone counts as broken: removing it by mistake must not refuse every client.
        """
        try:
            status = self._path.stat()
            mark = (status.st_mtime_ns, status.st_ino, status.st_size)
            if mark == self._seen:
                return self._end_keys()
            self._seen = mark
            self._sites = read_sites(self._path)
            self._admit()
        except FileNotFoundError:
            if self._seen is not None:
                self._broken("it is gone")
            self._seen = None
            return self._end_keys()
        except (OSError, SitesError) as error:
            self._broken(type(error).__name__)
            return self._end_keys()
        return True

    def _end_keys(self) -> bool:
        """Ends keys whose time is over, also while the file is broken; whether there were any."""
        if self._now_s() < self.admission.ends_at:
            return False
        self._admit()
        return True

    def _admit(self) -> None:
        self.admission = Admission(self._sites, self._events_per_second, self._now_s())

    def _broken(self, why: str) -> None:
        self.errors += 1
        log.error("the file of sites cannot be used (%s); the sites before it stay in force", why)
