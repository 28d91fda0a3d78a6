"""Several workers' metrics as one collector's: no counter falls, and nothing counts twice."""

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from ingest.metrics.aggregate import WorkersMetrics
from ingest.metrics.counters import Counters
from schemas.outcomes import RequestError


def text_of(refused: int = 0, ready: float = 1.0, spooled: int = 0, waiting: int = 0) -> str:
    """What a worker with those counts exposes."""
    counters = Counters()
    for _ in range(refused):
        counters.count_refused(RequestError.UNKNOWN_KEY)
    counters.watch("unjoin_ready", "Ready.", lambda: ready, gauge=True)
    counters.watch("unjoin_spool_spooled", "Spooled.", lambda: spooled)
    counters.watch("unjoin_spool_records", "Waiting.", lambda: waiting, gauge=True)
    return counters.exposition().decode()


def values_of(metrics: WorkersMetrics) -> dict[str, float]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        sample.name + str(sample.labels.get("outcome", "")): sample.value
        for family in families
        for sample in family.samples
    }


def test_counters_and_what_waits_add_up_and_the_worst_worker_says_whether_all_are_ready() -> None:
    """A page that shows half of the events, or a readiness of 2, would be of no use."""
    metrics = WorkersMetrics()
    metrics.note(1, text_of(refused=2, spooled=5, waiting=3))
    metrics.note(2, text_of(refused=1, ready=0.0, spooled=1, waiting=1))
    values = values_of(metrics)
    assert values["unjoin_requests_totalunknown_key"] == 3
    assert (values["unjoin_spool_spooled_total"], values["unjoin_spool_records"]) == (6, 4)
    assert (values["unjoin_ready"], values["unjoin_workers"]) == (0, 2)


def test_worker_that_dies_takes_no_count_with_it_and_its_successor_counts_on_top() -> None:
    """Prometheus takes a counter that falls for a restart, and would count all the others' events again."""
    metrics = WorkersMetrics()
    metrics.note(1, text_of(refused=2, spooled=5, waiting=3))
    metrics.note(2, text_of(refused=1))
    metrics.lose(1)
    values = values_of(metrics)
    assert values["unjoin_requests_totalunknown_key"] == 3
    assert (values["unjoin_spool_spooled_total"], values["unjoin_spool_records"], values["unjoin_workers"]) == (5, 0, 1)
    metrics.note(1, text_of(refused=4, spooled=7, waiting=5))
    values = values_of(metrics)
    assert values["unjoin_requests_totalunknown_key"] == 7
    assert (values["unjoin_spool_spooled_total"], values["unjoin_spool_records"]) == (7, 5)


steps = st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["count", "count", "die"])), max_size=8)


@settings(max_examples=30, deadline=None)
@given(steps)
def test_no_counter_ever_falls_and_the_sum_is_what_was_counted(taken: list[tuple[int, str]]) -> None:
    """Whatever the order of deaths: a worker's count starts at 0, the whole's does not."""
    metrics, counted, own, before = WorkersMetrics(), 0, dict.fromkeys((1, 2, 3), 0), 0.0
    for worker, what in taken:
        if what == "die":
            metrics.lose(worker)
            own[worker] = 0
        else:
            own[worker] += 1
            counted += 1
            metrics.note(worker, text_of(refused=own[worker]))
        now = values_of(metrics).get("unjoin_requests_totalunknown_key", 0.0)
        assert before <= now == counted
        before = now
