"""Pure: who may write what: keys, origins, categories, quotas. `sites.py` keeps them on disk.

Browser keys are public, so they are bound to their site's origins and can write only what a browser may send. Server
keys are secret, so they are stored as SHA-256, and whatever comes from a browser with one is refused: it has leaked.
"""

import hashlib
import math
from collections.abc import Iterable
from operator import itemgetter
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ingest.decode.batch import EventBatch
from ingest.errors import RejectedEvent, Rejection
from schemas.events import BROWSER_CATEGORIES, SERVER_CATEGORIES, AnyEvent, ReadEvent, Redacted, Verdict, WrittenSignal
from schemas.outcomes import RejectionReason, RequestError

Kind = Literal["browser", "server"]
Declinable = Literal["analytics", "signals"]
SITE_NAME_PATTERN = r"\A[A-Za-z0-9_.-]{1,64}\Z"
SiteName = Annotated[str, Meta(pattern=SITE_NAME_PATTERN)]

_SERVER_KEY_IN_BROWSER = (
    "This is a server key, and server keys are refused from browsers: send a browser key. A server key that was in a "
    "page has leaked; revoke it."
)
DEVELOPMENT_BROWSER_KEY = "dev-browser-key"
DEVELOPMENT_SERVER_KEY = "dev-server-key"
_event_of = itemgetter(1)  # of an entry of `EventBatch.events`

WIDGET_CATEGORIES = frozenset({"signals", "labeled"})
CATEGORIES_OF_KIND: dict[Kind, frozenset[str]] = {"browser": BROWSER_CATEGORIES, "server": SERVER_CATEGORIES}
DEFAULT_CATEGORIES: dict[Kind, frozenset[str]] = {"browser": WIDGET_CATEGORIES, "server": SERVER_CATEGORIES}


class SiteKey(Redacted, frozen=True, kw_only=True):
    """One key of a site.

    Attributes:
        key: a browser key in clear; of a server key only its first characters, to tell it by.
        sha256: of a server key, in hexadecimal; empty for a browser key.
        events_per_second: a quota of its own; 0 for the collector's default, which may be none.
        ends_at: Unix time in seconds from which on it counts as revoked; 0 for never.
    """

    kind: Kind
    key: str
    categories: frozenset[str]
    sha256: str = ""
    revoked: bool = False
    events_per_second: Annotated[int, Meta(ge=0)] = 0
    ends_at: Annotated[int, Meta(ge=0)] = 0

    def in_use(self, now_s: float) -> bool:
        """Whether it may be used at a Unix time."""
        return not self.revoked and (not self.ends_at or now_s < self.ends_at)


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A site: whose pages carry the widget, or whose servers post.

    Attributes:
        origins: as browsers spell them, scheme://host[:port], lower case, no default port.
        necessary: categories that the site cannot do without, whatever a visitor says; `consent.py` has the rules.
        opt_in: categories that it stores for visitors who said yes alone.
    """

    name: SiteName
    origins: tuple[str, ...] = ()
    keys: tuple[SiteKey, ...] = ()
    necessary: frozenset[Declinable] = frozenset()
    opt_in: frozenset[Declinable] = frozenset()


class Grant(Redacted, frozen=True):
    """What a request's key allows.

    Attributes:
        types: of the events that it may write.
        quota_name: names the key's bucket.
        events_per_second: 0 for no quota.
        development: its key is in every copy of the source.
        necessary, opt_in: the site's.
    """

    site: str
    kind: Kind
    origins: frozenset[str]
    types: frozenset[type[ReadEvent]]
    quota_name: str
    events_per_second: int
    development: bool = False
    necessary: frozenset[str] = frozenset()
    opt_in: frozenset[str] = frozenset()


class Admission:
    """Every site's keys and origins, ready to be asked; replaced as a whole when sites change.

    Args:
        events_per_second: the quota of a key that has none of its own; 0 for none.
        now_s: Unix time.

    Attributes:
        ends_at: Unix time at which the next key ends; infinity where none does.
        has_development_keys: whether one of the keys that `unjoin up` writes is in use.
    """

    def __init__(self, sites: Iterable[Site], events_per_second: int, now_s: float = 0.0) -> None:
        self._browser: dict[str, Grant] = {}
        self._server: dict[str, Grant] = {}
        self._origins: set[str] = set()
        self.has_development_keys = False
        self.ends_at = math.inf
        for site in sites:
            origins = frozenset(site.origins)
            for key in site.keys:
                if not key.in_use(now_s):
                    continue
                self.ends_at = min(self.ends_at, key.ends_at or math.inf)
                name = key.sha256 or key.key
                quota = key.events_per_second or events_per_second
                types, development = writable_types(key.kind, key.categories), name in _DEVELOPMENT_NAMES
                self.has_development_keys |= development
                declines = (site.necessary, site.opt_in)
                grant = Grant(site.name, key.kind, origins, types, name, quota, development, *declines)
                (self._server if key.kind == "server" else self._browser)[name] = grant
                if key.kind == "browser":
                    self._origins |= origins

    def grant_of(self, key: str | None) -> Grant:
        """What a key allows.

        Raises:
            Rejection: 401, there is no such key, or it was revoked.
        """
        grant = None
        if key:
            grant = self._browser.get(key) or self._server.get(sha256_of(key))
        if grant is None:
            raise Rejection(401, RequestError.UNKNOWN_KEY)
        return grant

    def lists_origin(self, origin: str) -> bool:
        """Whether some site with a browser key lists the origin: all that a preflight, which has no key, can ask."""
        return origin in self._origins


def writable_types(kind: Kind, categories: frozenset[str]) -> frozenset[type[ReadEvent]]:
    """The event types that a key may write; a verdict is a server's alone, an answer a browser's alone."""
    allowed = categories & CATEGORIES_OF_KIND[kind]
    return frozenset(
        event_type
        for event_type in (*AnyEvent.__args__, WrittenSignal)
        if event_type.category in allowed
        and (event_type.category != "labeled" or (event_type is Verdict) == (kind == "server"))
    )


def allows_origin(grant: Grant, origin: str) -> bool:
    """Whether a page of that origin may use the key, and read what it is answered."""
    return grant.kind == "browser" and origin in grant.origins


def check_origin(grant: Grant, origin: str | None) -> None:
    """Passes where the key may be used from there; without an Origin, the key alone decides.

    Raises:
        Rejection: 403.
    """
    if origin is not None and not allows_origin(grant, origin):
        detail = _SERVER_KEY_IN_BROWSER if grant.kind == "server" else None
        raise Rejection(403, RequestError.FORBIDDEN_ORIGIN, detail)


def authorized(batch: EventBatch, grant: Grant) -> EventBatch:
    """The batch; events whose category the key may not write are moved to the rejected."""
    types = grant.types
    if batch.written and WrittenSignal in types:
        return batch
    if types.issuperset(map(type, map(_event_of, batch.events))):
        return batch
    reason, detail = RejectionReason.CATEGORY_NOT_ALLOWED, _writes(types)
    forbidden = [
        RejectedEvent(index, event.id, reason, "type", detail)
        for index, event in batch.events
        if type(event) not in types
    ]
    return batch.rejecting(forbidden)


def _writes(types: frozenset[type[ReadEvent]]) -> str:
    tags = sorted(str(kind.__struct_config__.tag) for kind in types if kind is not WrittenSignal)
    return f"This key writes {', '.join(tags) or 'nothing'}."


def sha256_of(key: str) -> str:
    """What stands for a server key on disk; it has 256 random bits, so that it needs no slow hash."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


_DEVELOPMENT_NAMES = {DEVELOPMENT_BROWSER_KEY, sha256_of(DEVELOPMENT_SERVER_KEY)}
