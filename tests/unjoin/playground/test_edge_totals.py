"""Totals of a collector as its metrics say them."""

import pytest

from ingest.metrics.counters import Counters
from schemas.outcomes import RejectionReason, RequestError
from unjoin.playground.edge_totals import EdgeTotals, edge_totals_of


def test_only_what_occurred_is_counted_and_every_series_of_it() -> None:
    """A page shows what happened; the other 40 series are there for rates."""
    counters = Counters()
    assert edge_totals_of(counters.exposition().decode()) == EdgeTotals({}, {}, {}, 0)
    counters.count_refused(RequestError.UNKNOWN_KEY)
    counters.count_refused(RequestError.UNKNOWN_KEY)
    counters.count_gone()
    counters.watch("unjoin_spool_records", "Waiting.", lambda: 7.0, gauge=True)
    counters.watch("unjoin_spool_records_ever", "Another series with that beginning.", lambda: 9.0, gauge=True)
    totals = edge_totals_of(counters.exposition().decode())
    assert totals == EdgeTotals({}, {}, {"unknown_key": 2, "client_gone": 1}, 7)


def test_categories_and_reasons_are_told_apart() -> None:
    """By the one label that each series has."""
    text = (
        'unjoin_events_accepted_total{category="signals"} 3.0\n'
        'unjoin_events_accepted_total{category="labeled"} 0.0\n'
        f'unjoin_events_rejected_total{{reason="{RejectionReason.UNKNOWN_TYPE}"}} 2.0\n'
    )
    assert edge_totals_of(text) == EdgeTotals({"signals": 3}, {"unknown_type": 2}, {}, 0)


def test_several_workers_add_up() -> None:
    """Each answers for itself, and a page that shows the half of them would be of no use."""
    text = 'unjoin_requests_total{outcome="answered"} 3.0\nunjoin_spool_records 2.0\n'
    assert edge_totals_of(text + text) == EdgeTotals({}, {}, {"answered": 6}, 4)


@pytest.mark.parametrize("text", ["", "unjoin_door_released_total 3.0\n", "unjoin_events_accepted_total{ 3\n"])
def test_what_is_no_collectors_exposition_is_an_error(text: str) -> None:
    """Zeros would look as if nothing had happened."""
    with pytest.raises(ValueError):  # noqa: PT011
        edge_totals_of(text)
