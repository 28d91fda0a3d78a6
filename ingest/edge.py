"""What a collector works with: its sites, keys, producer, limits, clocks, and what bounds its load."""

from collections.abc import Callable

import msgspec

from ingest.access.grants import Quotas
from ingest.access.sites import WatchedSites
from ingest.encode.edge_keys import WatchedKeys
from ingest.encode.seals import Seals
from ingest.http.body import BodyRoom
from ingest.http.client_address import Network
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
