"""What the door did, as totals: no series per site, key, task, session or hour."""

from collections.abc import Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
    make_wsgi_app,
    start_http_server,
)

from processors.door.release import Door
from schemas.outcomes import Suppression
from schemas.web_pages import LOOPBACK_HOSTS, refusing_web_pages

LOOPBACK = "127.0.0.1"


class Totals:
    """Counts since the process started.

    Attributes:
        released: labels whose record the broker acknowledged; one that is sent again counts again.
        dead_lettered: records set aside.
        suppressed: labels that will never leave, by reason.
        verdicts: judgements seen.
        held_labels, held_voters: what waits for its crowd now.
        crowd_min: how many voters a crowd has at least.
    """

    def __init__(self, crowd_min: int = 1) -> None:
        # A time finer than a day.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry(auto_describe=True)
        self.released = self._counter("released", "Labels released.")
        self.dead_lettered = self._counter("dead_lettered", "Records set aside.")
        self.suppressed = self._counter("suppressed", "Labels that will never leave.", "reason")
        self.verdicts = self._counter("verdicts", "Verdicts seen.")
        self.held_labels = self._gauge("held_labels", "Labels that wait for their crowd.")
        self.held_voters = self._gauge("held_voters", "Sessions whose labels wait for their crowd, of all partitions.")
        self._gauge("crowd_min", "Sessions that a crowd has at least.").set(crowd_min)
        for reason in Suppression:
            self.suppressed.labels(str(reason))

    def count(self, *, released: int, dead_lettered: int, verdicts: int) -> None:
        """Adds what became of a batch."""
        self.released.inc(released)
        self.dead_lettered.inc(dead_lettered)
        self.verdicts.inc(verdicts)

    def count_suppressed(self, suppressed: Mapping[Suppression, int]) -> None:
        """Adds labels that will never leave."""
        for reason, labels in suppressed.items():
            self.suppressed.labels(str(reason)).inc(labels)

    def hold(self, doors: Iterable[Door]) -> None:
        """Shows what the doors hold now."""
        held = [(door.labels_held, door.voters_held) for door in doors]
        self.held_labels.set(sum(labels for labels, _ in held))
        self.held_voters.set(sum(voters for _, voters in held))

    def serve(self, port: int, host: str = LOOPBACK) -> None:
        """Answers Prometheus from a thread of its own; nothing where `port` is 0."""
        if port:
            server, _ = start_http_server(port, addr=host, registry=self.registry)
            hosts = LOOPBACK_HOSTS if host in LOOPBACK_HOSTS else None
            server.set_app(refusing_web_pages(make_wsgi_app(self.registry), hosts))

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(f"unjoin_door_{name}", documentation, labels, registry=self.registry)

    def _gauge(self, name: str, documentation: str) -> Gauge:
        return Gauge(f"unjoin_door_{name}", documentation, registry=self.registry)
