"""Pure: the metrics of several workers as those of one collector.

A counter of the whole must never fall, or whoever scrapes takes that for a restart and counts everything again. So
what a worker that died had counted, as far as it was seen, stays in the sum, and its successor's counts come on top.
"""

from collections.abc import Callable, Iterable

from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

Series = tuple[str, tuple[tuple[str, str], ...]]

# How a gauge of the whole comes from the workers'; by adding up, where it is not named.
_OF_ALL: dict[str, Callable[[Iterable[float]], float]] = {
    "unjoin_ready": min,
    "unjoin_spool_works": min,
    "unjoin_edge_keys_missing": max,
    "unjoin_waiting_turn_seconds": max,
    "process_start_time_seconds": min,
    "process_max_fds": min,
}
# Counters that a worker's spool keeps over restarts: its successor goes on with them, and they may not count twice.
_DURABLE = frozenset(f"unjoin_spool_{name}" for name in ("spooled", "drained", "expired", "set_aside"))


class WorkersMetrics:
    """What was last seen of each worker's metrics."""

    def __init__(self) -> None:
        self._seen: dict[int, str] = {}
        self._gone: dict[int, str] = {}  # of the worker before, as long as its successor has said nothing
        self._past: dict[Series, float] = {}

    def note(self, worker: int, text: str) -> None:
        """What a worker counts now, as it exposes it."""
        self._gone.pop(worker, None)
        self._seen[worker] = text

    def lose(self, worker: int) -> None:
        """A worker died."""
        text = self._seen.pop(worker, None)
        if text is None:
            return
        self._gone[worker] = text
        for family in text_string_to_metric_families(text):
            if family.type != "gauge" and family.name not in _DURABLE:
                for sample in family.samples:
                    series = (sample.name, tuple(sorted(sample.labels.items())))
                    self._past[series] = self._past.get(series, 0.0) + sample.value

    def exposition(self) -> bytes:
        """The whole, in Prometheus' text format."""
        found: dict[str, Metric] = {}
        values: dict[str, dict[Series, list[float]]] = {}
        living = [(text, True) for text in self._seen.values()]
        for text, alive in [*living, *[(text, False) for text in self._gone.values()]]:
            for family in text_string_to_metric_families(text):
                found.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                of_family = values.setdefault(family.name, {})
                for sample in family.samples:
                    of_series = of_family.setdefault((sample.name, tuple(sorted(sample.labels.items()))), [])
                    if alive or family.name in _DURABLE:
                        of_series.append(sample.value)
        for name, family in found.items():
            together = _OF_ALL.get(name, sum) if family.type == "gauge" else sum
            for (sample_name, labels), some in values[name].items():
                past = self._past.get((sample_name, labels), 0.0) if family.type != "gauge" else 0.0
                family.add_sample(sample_name, dict(labels), (together(some) if some else 0.0) + past)
        workers = Metric("unjoin_workers", "Workers that serve.", "gauge")
        workers.add_sample("unjoin_workers", {}, float(len(self._seen)))
        return generate_latest(_Families([*found.values(), workers]))


class _Families(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
