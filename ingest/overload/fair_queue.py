"""Pure: whose request is next when there is more work than time, and which requests are refused.

Start-time fair queueing in two levels, by the bytes of the bodies: each key gets the same share of the work, and
within a key each address does. A key that sends little never waits behind one that floods, and neither does a visitor
behind another who floods with the public key of their site.

A flow whose oldest request has waited for longer than the target takes no more until it has caught up. So every
request that is let in is served after a short wait, and all others are refused before their body is read.

Source: Goyal, Vin and Cheng, Start-time Fair Queueing (SIGCOMM 1996); RFC 8290 (FQ-CoDel) for queues by flow with a
target on the time spent in them.
"""

from collections import deque
from heapq import heappop, heappush
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")

# A waiting request costs this much beside its body.
REQUEST_OVERHEAD_BYTES = 2_048
# This many requests of an address, or of a key, may always wait: they are no flood.
ADDRESS_COUNT_MIN, KEY_COUNT_MIN = 32, 128
DEBTS_SLACK = 64
# Names the flow of all requests whose key is in a body that nobody has looked into.
KEYLESS = ""


class QueueBounds(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how much may wait.

    Attributes:
        wait_seconds_max: of the oldest request of an address with a key, beyond which that address takes no more than
            `ADDRESS_COUNT_MIN`. A key as a whole takes no more than `KEY_COUNT_MIN` at twice that.
        late_seconds: a request that waited for longer is refused. Longer than an outage of Kafka takes to be noticed.
        bytes_max: of all that waits, `REQUEST_OVERHEAD_BYTES` a request included. Beyond it a key takes no more once
            it holds its share, so that all together hold at most twice that.
    """

    wait_seconds_max: float
    late_seconds: float
    bytes_max: int


class NextInLine(msgspec.Struct, Generic[T], frozen=True):
    """What `pop` takes out.

    Attributes:
        late: it waited for more than `late_seconds`.
    """

    item: T
    late: bool


class FairQueue(Generic[T]):
    """The requests that wait, by key and address.

    Attributes:
        count, bytes: of all that waits.
    """

    def __init__(self, bounds: QueueBounds) -> None:
        self.count = 0
        self.bytes = 0
        self._bounds = bounds
        self._keys: _Flows[_Key[T]] = _Flows()
        self._sequence = 0

    def takes(self, key: str, address: int, now: float) -> bool:
        """Whether a request of this key and address would be served soon; asked before its body is read.

        Args:
            now: seconds on a monotonic clock.
        """
        flow = self._keys.flows.get(key)
        if flow is None:
            return True
        wait = self._bounds.wait_seconds_max
        if now - flow.oldest > 2 * wait and len(flow.since) >= KEY_COUNT_MIN:
            return False
        if self.bytes > self._bounds.bytes_max and flow.bytes > self._bounds.bytes_max // len(self._keys.flows):
            return False
        waiting = flow.addresses.flows.get(address)
        return waiting is None or len(waiting.entries) < ADDRESS_COUNT_MIN or now - waiting.entries[0][1] <= wait

    def push(self, key: str, address: int, size: int, now: float, item: T) -> bool:
        """Adds a request; False where there is no room for it.

        Args:
            address: a keyed hash that tells addresses apart, so that no address is kept.
            size: bytes of the body.
        """
        cost = size + REQUEST_OVERHEAD_BYTES
        flow = self._keys.flows.get(key)
        held = flow.bytes if flow is not None else 0
        keys = len(self._keys.flows) + (flow is None)
        if self.bytes + cost > self._bounds.bytes_max and held + cost > self._bounds.bytes_max // keys:
            return False
        if flow is None:
            flow = _Key()
            self._keys.add(key, flow)
        waiting = flow.addresses.flows.get(address)
        if waiting is None:
            waiting = _Address()
            flow.addresses.add(address, waiting)
        self._sequence += 1
        waiting.entries.append((self._sequence, now, cost, item))
        flow.since[self._sequence] = now
        flow.bytes += cost
        self.bytes += cost
        self.count += 1
        return True

    def pop(self, now: float) -> NextInLine[T] | None:
        """Takes out the request whose turn it is; None where nothing waits."""
        if not self.count:
            return None
        key, flow = self._keys.first()
        address, waiting = flow.addresses.first()
        sequence, since, cost, item = waiting.entries.popleft()
        flow.addresses.served(address, cost, empty=not waiting.entries)
        del flow.since[sequence]
        flow.bytes -= cost
        self._keys.served(key, cost, empty=not flow.since)
        self.bytes -= cost
        self.count -= 1
        return NextInLine(item, now - since > self._bounds.late_seconds)


F = TypeVar("F")


class _Flows(Generic[F]):
    """Flows with requests, in the order of their virtual start times.

    A flow that was served and has no more requests keeps its debt until the others have caught up. So a client that
    comes and goes gains nothing.
    """

    __slots__ = ("_added", "_debts", "_debts_max", "_order", "_virtual", "flows")

    def __init__(self) -> None:
        self.flows: dict[object, F] = {}
        self._added = 0
        self._order: list[tuple[float, int, object]] = []
        self._debts: dict[object, float] = {}
        self._debts_max = DEBTS_SLACK
        self._virtual = 0.0

    def add(self, name: object, flow: F) -> None:
        self.flows[name] = flow
        start = max(self._virtual, self._debts.pop(name, 0.0))
        self._added += 1  # breaks ties between flows with equal start times: first come, first served
        heappush(self._order, (start, self._added, name))

    def first(self) -> tuple[object, F]:
        name = self._order[0][2]
        return name, self.flows[name]

    def served(self, name: object, cost: int, *, empty: bool) -> None:
        start, rank, first = heappop(self._order)
        assert first == name
        self._virtual = start
        if not empty:
            heappush(self._order, (start + cost, rank, name))
            return
        del self.flows[name]
        self._debts[name] = start + cost
        if len(self._debts) > self._debts_max:  # twice what was kept the last time, so that each is looked at twice
            self._debts = {who: debt for who, debt in self._debts.items() if debt > self._virtual}
            self._debts_max = 2 * len(self._debts) + DEBTS_SLACK
        if not self.flows:
            self._debts.clear()
            self._debts_max = DEBTS_SLACK


class _Address(Generic[T]):
    """The waiting requests of one address, at least one: sequence number, seconds since when, cost in bytes, item."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: deque[tuple[int, float, int, T]] = deque()


class _Key(Generic[T]):
    """The waiting requests of one key.

    Attributes:
        since: seconds, by sequence number: the oldest request comes first.
    """

    __slots__ = ("addresses", "bytes", "since")

    def __init__(self) -> None:
        self.addresses: _Flows[_Address[T]] = _Flows()
        self.since: dict[int, float] = {}
        self.bytes = 0

    @property
    def oldest(self) -> float:
        return next(iter(self.since.values()))
