"""What a collector works with: its sites, keys, producer, limits, clocks, and what bounds its load."""

from collections.abc import Callable

import msgspec

from ingest.access.quotas import Quotas
from ingest.access.sites import WatchedSites
from ingest.encode.edge_keys import WatchedKeys
from ingest.encode.seals import Seals
from ingest.following import Follower
from ingest.http.body import BodyRoom
from ingest.http.client_address import Network
from ingest.kafka.erasures import FollowedErasures
from ingest.kafka.producer import Producer
from ingest.limits import RequestLimits
from ingest.metrics.counters import Counters
from ingest.overload.scheduler import RequestScheduler


class Edge(msgspec.Struct, frozen=True):
    """What a collector works with.

    Attributes:
        edge_keys: the voters' key of a day.
        seals: what seals labels to the door.
        now_ms: Unix milliseconds.
        monotonic: seconds, for quotas and durations.
        body_room: of bodies whose key is known from the head.
        keyless_room: of all others: nobody unknown takes what the known need.
        on_loopback: whether only this machine can connect.
        erasures: whose events are refused, because they asked to be gone.
    """

    sites: WatchedSites
    producer: Producer
    edge_keys: WatchedKeys
    seals: Seals
    counters: Counters
    limits: RequestLimits
    trusted_proxies: tuple[Network, ...]
    now_ms: Callable[[], int]
    monotonic: Callable[[], float]
    quotas: Quotas
    scheduler: RequestScheduler
    body_room: BodyRoom
    keyless_room: BodyRoom
    on_loopback: bool
    erasures: FollowedErasures
    follower: Follower
