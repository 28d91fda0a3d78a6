"""What the door did, as totals: no series per site, key, task, session or hour.

Nothing is shown at the moment at which it happens, since a scrape every second would then say who is active when. What
was noted appears at whole minutes; in between, only that a crowd has left, which the released topic says as well.
"""

import time
from collections import Counter as Counted
from collections.abc import Callable, Collection, Mapping

import msgspec
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
    make_wsgi_app,
    start_http_server,
)

from processors.door.crowd import Crowd, CrowdRule
from processors.faust_app.commits import Partition
from schemas.outcomes import Suppression
from schemas.web_pages import LOOPBACK_HOSTS, refusing_web_pages

MIB = 1 << 20
MINUTE_S = 60


class _Held(msgspec.Struct, frozen=True):
    """What waits in one partition, as it is shown."""

    labels: int = 0
    voters: int = 0
    bytes_held: int = 0
    oldest_ms: int | None = None


class DoorMetrics:
    """Counts since the process started.

    Attributes:
        released: labels whose record the broker acknowledged; one that is sent again counts again.
        dead_lettered: records set aside.
        suppressed: labels that will never leave, by reason.
        verdicts: judgements seen.
        held_labels, held_voters: what waits for its crowd.
        held_bytes: of memory, in whole mebibytes, so that they tell no answer's length.
        oldest_wait_s: in whole minutes, for the same reason.
        lag: records that the door has not seen.
    """

    def __init__(self, rule: CrowdRule, now_s: Callable[[], float] = time.time) -> None:
        # A time finer than a day.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._now_s = now_s
        self.registry = CollectorRegistry(auto_describe=True)
        self.released = self._counter("released", "Labels released.")
        self.dead_lettered = self._counter("dead_lettered", "Records set aside.")
        self.suppressed = self._counter("suppressed", "Labels that will never leave.", "reason")
        self.verdicts = self._counter("verdicts", "Verdicts seen.")
        self.held_labels = self._gauge("held_labels", "Labels that wait for their crowd.")
        self.held_voters = self._gauge("held_voters", "Sessions whose labels wait for their crowd, of all partitions.")
        self.held_bytes = self._gauge("held_bytes", "Memory of the labels that wait, in whole MiB.")
        self.oldest_wait_s = self._gauge("oldest_wait_seconds", "How long the oldest label has waited, in minutes.")
        self.lag = self._gauge("lag_records", "Records that the door has not seen.")
        self._gauge("crowd_min", "Sessions that a crowd has at least.").set(rule.voters_min)
        self._gauge("crowd_target", "Sessions with which a crowd leaves before its wait is over.").set(
            rule.voters_target
        )
        self._gauge("crowd_wait_seconds", "How long labels wait for that many.").set(rule.wait_ms / 1_000)
        self._gauge("hold_seconds_max", "How long a label may wait before it is suppressed as expired.").set(
            rule.hold_ms_max / 1_000
        )
        for reason in Suppression:
            self.suppressed.labels(str(reason))
        self._shown: dict[Partition, _Held] = {}
        self._crowds: Mapping[Partition, Crowd] = {}
        self._pending: Counted[Suppression | str] = Counted()

    def note(
        self,
        *,
        released: int,
        dead_lettered: int,
        verdicts: int,
        suppressed: Mapping[Suppression, int],
        left: Collection[Partition],
        crowds: Mapping[Partition, Crowd],
    ) -> None:
        """Notes what became of a batch; shows that crowds left, and the rest of it at the next whole minute.

        Args:
            left: partitions of which a crowd left.
            crowds: what waits, of every partition.
        """
        self._pending.update({"dead_lettered": dead_lettered, "verdicts": verdicts})
        self._pending.update(suppressed)
        self._crowds = crowds
        self.released.inc(released)
        for partition in left:
            self._shown[partition] = _Held()
        if left:
            self._show_held()

    def note_suppressed(self, suppressed: Mapping[Suppression, int]) -> None:
        """Notes labels that will never leave."""
        self._pending.update(suppressed)

    def show(self, lag: int) -> None:
        """Shows all that was noted; to be called at whole minutes."""
        self.dead_lettered.inc(self._pending.pop("dead_lettered", 0))
        self.verdicts.inc(self._pending.pop("verdicts", 0))
        for reason, labels in self._pending.items():
            self.suppressed.labels(str(reason)).inc(labels)
        self._pending.clear()
        self._shown = {
            partition: _Held(crowd.labels, crowd.voters, crowd.bytes_held, crowd.oldest_ms)
            for partition, crowd in self._crowds.items()
        }
        self._show_held()
        self.lag.set(lag)

    def serve(self, port: int, host: str, is_ready: Callable[[], bool]) -> None:
        """Answers Prometheus, and `/readyz` beside it, from a thread of its own; nothing where `port` is 0.

        Raises:
            OSError: the port cannot be had.
        """
        if not port:
            return
        self._gauge("makes_progress", "1 while nothing waits for the door without progress.").set_function(
            lambda: float(is_ready())
        )
        server, _ = start_http_server(port, addr=host, registry=self.registry)
        metrics = make_wsgi_app(self.registry)

        def answer(environ, start_response):  # type: ignore[no-untyped-def]
            if environ.get("PATH_INFO") != "/readyz":
                return metrics(environ, start_response)
            ready = is_ready()
            status = "200 OK" if ready else "503 Service Unavailable"
            start_response(status, [("Content-Type", "text/plain")])
            return [b"the door makes progress\n" if ready else b"the door makes no progress\n"]

        hosts = LOOPBACK_HOSTS if host in LOOPBACK_HOSTS else None
        server.set_app(refusing_web_pages(answer, hosts))

    def _show_held(self) -> None:
        held = self._shown.values()
        self.held_labels.set(sum(one.labels for one in held))
        self.held_voters.set(sum(one.voters for one in held))
        self.held_bytes.set(sum(one.bytes_held for one in held) // MIB * MIB)
        oldest_ms = min((one.oldest_ms for one in held if one.oldest_ms is not None), default=None)
        waited_s = 0.0 if oldest_ms is None else max(0.0, self._now_s() - oldest_ms / 1_000)
        self.oldest_wait_s.set(waited_s // MINUTE_S * MINUTE_S)

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(f"unjoin_door_{name}", documentation, labels, registry=self.registry)

    def _gauge(self, name: str, documentation: str) -> Gauge:
        return Gauge(f"unjoin_door_{name}", documentation, registry=self.registry)
