"""What the collector counts: totals for Prometheus, one series an outcome.

No series names a site, a key, a session or a label type: a count that is small enough tells of one person.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from ingest.rejection import Rejected
from schemas.events import AnyEvent
from schemas.outcomes import RejectionReason, RequestError
from schemas.topics import TOPIC_OF_CATEGORY

ANSWERED = "answered"
CLIENT_GONE = "client_gone"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def count_by_category(events: Iterable[tuple[int, AnyEvent]]) -> dict[str, int]:
    """How many events there are of each category.

    Args:
        events: (index in the batch, event).
    """
    counts: dict[str, int] = {}
    kinds: list[type[AnyEvent]] = [type(event) for _, event in events]
    for kind in set(kinds):
        counts[kind.category] = counts.get(kind.category, 0) + kinds.count(kind)
    return counts


class Counters:
    """One collector's counters, in a registry of their own."""

    def __init__(self) -> None:
        # When a process began to count is nobody's question.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        requests = Counter(
            "unjoin_requests",
            "Requests that post events, by outcome: answered, client_gone, or the error of the answer.",
            ["outcome"],
            registry=self.registry,
        )
        accepted = Counter(
            "unjoin_events_accepted",
            "Events that were durable when they were answered, by category.",
            ["category"],
            registry=self.registry,
        )
        rejected = Counter(
            "unjoin_events_rejected", "Events that were not accepted, by reason.", ["reason"], registry=self.registry
        )
        # Every series from the start: a rate over one that appears with its first count misses that count.
        self._requests = {outcome: requests.labels(outcome) for outcome in (ANSWERED, CLIENT_GONE, *RequestError)}
        self._accepted = {category: accepted.labels(category) for category in TOPIC_OF_CATEGORY}
        self._rejected = {reason: rejected.labels(reason) for reason in RejectionReason}
        self._produce_seconds = Histogram(
            "unjoin_produce_seconds",
            "Seconds until a batch was durable.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)

    def count_batch(self, accepted: Mapping[str, int], rejected: Sequence[Rejected], produce_seconds: float) -> None:
        """A batch that was answered with 200.

        Args:
            accepted: how many events, by category.
        """
        self._requests[ANSWERED].inc()
        self._produce_seconds.observe(produce_seconds)
        for category, events in accepted.items():
            self._accepted[category].inc(events)
        if rejected:
            for reason, events in Tally([entry.reason for entry in rejected]).items():
                self._rejected[reason].inc(events)

    def count_refused(self, error: RequestError) -> None:
        """A request that was refused as a whole."""
        self._requests[error].inc()

    def count_gone(self) -> None:
        """A request whose client did not wait for the answer."""
        self._requests[CLIENT_GONE].inc()

    def watch(self, name: str, explanation: str, value: Callable[[], float], *, gauge: bool = False) -> None:
        """Adds a number that somebody else keeps, read when metrics are."""
        if gauge:
            Gauge(name, explanation, registry=self.registry).set_function(value)
        else:
            self.registry.register(_Kept(name, explanation, value))

    def exposition(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self.registry)


class _Kept(Collector):
    """A counter whose number lives elsewhere."""

    def __init__(self, name: str, explanation: str, value: Callable[[], float]) -> None:
        self._name, self._explanation, self._value = name, explanation, value

    def collect(self) -> Iterable[CounterMetricFamily]:
        yield CounterMetricFamily(self._name, self._explanation, value=self._value())
