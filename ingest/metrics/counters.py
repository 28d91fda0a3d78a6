"""The collector's counters for Prometheus: one series for each outcome.

No series names a site, a key, a session or a label type: a small enough count would tell something about one person.
"""

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from ingest.errors import RejectedEvent
from schemas.events import ReadEvent
from schemas.outcomes import EventWarning, RejectionReason, RequestError
from schemas.topics import TOPIC_OF_CATEGORY

ANSWERED = "answered"
CLIENT_GONE = "client_gone"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def count_by_category(events: Sequence[tuple[int, ReadEvent]]) -> dict[str, int]:
    """Counts events by category.

    Args:
        events: (index in the batch, event).
    """
    if len(events) == 1:
        return {events[0][1].category: 1}
    counts: dict[str, int] = {}
    kinds: list[type[ReadEvent]] = [type(event) for _, event in events]
    for kind in set(kinds):
        counts[kind.category] = counts.get(kind.category, 0) + kinds.count(kind)
    return counts


class Counters:
    """One collector's counters, in a registry of their own. Belongs to one event loop; any thread may read it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # Every series exists from the start: a rate over a series that appears with its first count misses that count.
        self._requests = _LabeledCounter(
            "unjoin_requests",
            "What posts events, or is no HTTP, by outcome: answered, client_gone, or the error of the answer.",
            "outcome",
            (ANSWERED, CLIENT_GONE, *RequestError),
        )
        self._accepted = _LabeledCounter(
            "unjoin_events_accepted",
            "Events that were durable when they were answered, by category.",
            "category",
            TOPIC_OF_CATEGORY,
        )
        self._rejected = _LabeledCounter(
            "unjoin_events_rejected", "Events that were not accepted, by reason.", "reason", RejectionReason
        )
        self._warned = _LabeledCounter(
            "unjoin_events_warned", "Events that were accepted with a warning, by warning.", "warning", EventWarning
        )
        self._produce_seconds = _Histogram("unjoin_produce_seconds", "Seconds until a batch was durable.", _SECONDS)
        for own in (self._requests, self._accepted, self._rejected, self._warned, self._produce_seconds):
            self.registry.register(own)
        ProcessCollector(registry=self.registry)

    def count_batch(
        self,
        accepted: Mapping[str, int],
        rejected: Sequence[RejectedEvent],
        produce_seconds: float,
        implausible_ts: int = 0,
    ) -> None:
        """Counts a batch that was answered with 200.

        Args:
            accepted: number of accepted events by category.
            rejected: one entry for each rejected event.
            produce_seconds: until the accepted events were durable.
            implausible_ts: how many of the accepted have a `ts` that cannot be true.
        """
        self._requests.of[ANSWERED] += 1
        self._produce_seconds.observe(produce_seconds)
        self._warned.of[EventWarning.IMPLAUSIBLE_TS] += implausible_ts
        for category, events in accepted.items():
            self._accepted.of[category] += events
        if rejected:
            for reason, events in Tally([entry.reason for entry in rejected]).items():
                self._rejected.of[reason] += events

    def count_refused(self, error: RequestError) -> None:
        """Counts a request that was refused as a whole."""
        self._requests.of[error] += 1

    def count_gone(self) -> None:
        """Counts a request whose client did not wait for the answer."""
        self._requests.of[CLIENT_GONE] += 1

    def watch(self, name: str, explanation: str, value: Callable[[], float], *, gauge: bool = False) -> None:
        """Adds a metric whose value is read at each scrape, on the thread of the scrape.

        Args:
            gauge: False for a counter.
        """
        if gauge:
            Gauge(name, explanation, registry=self.registry).set_function(value)
        else:
            self.registry.register(_Watched(name, explanation, value))

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _LabeledCounter(Collector):
    """A counter with one label, which one thread alone may increase.

    prometheus_client's own counter, which any thread may increase, took a tenth of the time of a small request.

    Attributes:
        of: label to total.
    """

    def __init__(self, name: str, explanation: str, label: str, values: Iterable[str]) -> None:
        self.of = dict.fromkeys(values, 0)
        self._name, self._explanation, self._label = name, explanation, label

    def collect(self) -> Iterable[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._explanation, labels=[self._label])
        for value, total in self.of.items():
            family.add_metric([str(value)], total)
        yield family


class _Histogram(Collector):
    """A histogram that one thread alone may add to; see `_LabeledCounter`."""

    def __init__(self, name: str, explanation: str, bounds: Sequence[float]) -> None:
        self._name, self._explanation, self._bounds = name, explanation, bounds
        self._counts = [0] * (len(bounds) + 1)  # not cumulative
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterable[HistogramMetricFamily]:
        names = [*map(str, self._bounds), "+Inf"]
        buckets = list(zip(names, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._explanation, buckets=buckets, sum_value=self._sum)


class _Watched(Collector):
    """A counter whose value is read from elsewhere."""

    def __init__(self, name: str, explanation: str, value: Callable[[], float]) -> None:
        self._name, self._explanation, self._value = name, explanation, value

    def collect(self) -> Iterable[CounterMetricFamily]:
        yield CounterMetricFamily(self._name, self._explanation, value=self._value())
