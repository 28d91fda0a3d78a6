"""Token buckets of keys, clients' addresses and sessions' labels; they count the traffic of this process alone."""

import math
from collections import OrderedDict
from collections.abc import Hashable, Sequence

import msgspec

from ingest.access.grants import Grant
from ingest.decode.batch import EventBatch
from ingest.errors import Rejection
from schemas.events import Verdict
from schemas.outcomes import RequestError

# Addresses, and sessions, that are remembered at once: about 10 MB of each.
BUCKETS_MAX = 65_536
HOUR_SECONDS = 3_600

_OF_ADDRESS = "The quota of the client's address is used up; wait as Retry-After says."
_OF_SESSION = "The session's quota of labels is used up; wait as Retry-After says."


class Buckets:
    """Token buckets by name, a fixed number of them at most.

    At the bound the bucket that was used longest ago is forgotten, which makes it full again: whoever has that many
    names to spend from is not held back by them, and nobody else is refused for it.
    """

    def __init__(self, entries_max: int = BUCKETS_MAX) -> None:
        self._entries_max = entries_max
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def tokens(self, name: Hashable, rate: float, depth: float, now: float) -> float:
        """What a bucket holds; less than none where it is in debt.

        Args:
            rate: tokens a second.
            depth: tokens of a full bucket.
            now: seconds on a monotonic clock.
        """
        tokens, since = self._buckets.get(name, (depth, now))
        return min(depth, tokens + (now - since) * rate)

    def put(self, name: Hashable, tokens: float, now: float) -> None:
        """Says what a bucket holds now."""
        self._buckets[name] = (tokens, now)
        self._buckets.move_to_end(name)
        if len(self._buckets) > self._entries_max:
            self._buckets.popitem(last=False)


class _Charge(msgspec.Struct, frozen=True):
    buckets: Buckets
    name: Hashable
    rate: float
    depth: float
    count: int
    detail: str | None = None


class Quotas:
    """What keys, addresses and sessions may still send.

    Args:
        address_events_per_second: of one address, of one /64 of IPv6; 0 for no quota.
        session_labels_per_hour: 0 for no quota.

    Attributes:
        by_address: whether addresses have a quota.
    """

    def __init__(
        self, address_events_per_second: int = 0, session_labels_per_hour: int = 0, buckets_max: int = BUCKETS_MAX
    ) -> None:
        self.by_address = address_events_per_second > 0
        self._address_rate = float(address_events_per_second)
        self._labels_per_hour = float(session_labels_per_hour)
        self._keys, self._addresses, self._sessions = Buckets(buckets_max), Buckets(buckets_max), Buckets(buckets_max)

    def spend(self, grant: Grant, batches: Sequence[EventBatch], now: float, network: int | None = None) -> None:
        """Takes the tokens of a request's events: of its key and address, rejected ones included, for they cost alike.

        Labels cost their session's besides. Each bucket of a key or an address is one second's worth deep, a session's
        one hour's. What costs more than a bucket's depth passes when the bucket is full, and leaves it in debt. So
        everything passes at some time, and the rate holds over time. A request that is refused costs nothing.

        Args:
            now: seconds on a monotonic clock.
            network: as `network_mark` gives it; None where the client's address is not known or does not matter.

        Raises:
            Rejection: 429, with the seconds until there will be enough.
        """
        if not (grant.events_per_second or self.by_address or self._labels_per_hour):
            return
        charges = self._charges(grant, batches, network)
        left = []
        for charge in charges:
            tokens = charge.buckets.tokens(charge.name, charge.rate, charge.depth, now)
            missing = min(charge.count, charge.depth) - tokens
            if missing > 1e-9:
                seconds = max(1, math.ceil(missing / charge.rate - 1e-6))
                raise Rejection(429, RequestError.QUOTA_EXCEEDED, charge.detail, seconds)
            left.append(tokens - charge.count)
        for charge, tokens in zip(charges, left, strict=True):
            charge.buckets.put(charge.name, tokens, now)

    def _charges(self, grant: Grant, batches: Sequence[EventBatch], network: int | None) -> list[_Charge]:
        charges = []
        events = sum([len(one.events) + len(one.rejected) for one in batches])
        if grant.events_per_second:
            rate = float(grant.events_per_second)
            charges.append(_Charge(self._keys, grant.quota_name, rate, rate, events))
        if self.by_address and network is not None:
            rate = self._address_rate
            charges.append(_Charge(self._addresses, network, rate, rate, events, _OF_ADDRESS))
        if self._labels_per_hour:
            rate, depth = self._labels_per_hour / HOUR_SECONDS, self._labels_per_hour
            for batch in batches:
                if labels := _labels_of(batch):
                    # A hash under a key of this process: no session's name is kept.
                    name = hash((grant.site, batch.session))
                    charges.append(_Charge(self._sessions, name, rate, depth, labels, _OF_SESSION))
        return charges


def _labels_of(batch: EventBatch) -> int:
    return sum(event.category == "labeled" and type(event) is not Verdict for _, event in batch.events)
