"""What the collector has said to events and requests, as its metrics say: totals, for the page. Pure."""

import msgspec
from prometheus_client.parser import text_string_to_metric_families

_LABEL_OF = {
    "unjoin_events_accepted_total": "category",
    "unjoin_events_rejected_total": "reason",
    "unjoin_requests_total": "outcome",
}
_SPOOLED = "unjoin_spool_records"


class EdgeTotals(msgspec.Struct, frozen=True):
    """Counts of a collector's workers, each since it started, of all clients together; only what occurred.

    Attributes:
        accepted: events, by category.
        rejected: events, by reason.
        requests: count, by outcome.
        spooled: records that wait in the spool for Kafka now; 0 without a spool.
    """

    accepted: dict[str, int]
    rejected: dict[str, int]
    requests: dict[str, int]
    spooled: int


def edge_totals_of(exposition: str) -> EdgeTotals:
    """The totals in a text of Prometheus's exposition format, or of several that follow each other, added up.

    Raises:
        ValueError: it is not one, or not a collector's.
    """
    # The parser is slow, and most of the text is histograms and the process's own metrics.
    wanted = [line for line in exposition.splitlines() if line.startswith((*_LABEL_OF, _SPOOLED))]
    counts: dict[str, dict[str, int]] = {name: {} for name in _LABEL_OF}
    spooled, found = 0, False
    for family in text_string_to_metric_families("\n".join(wanted) + "\n"):
        for sample in family.samples:
            if sample.name == _SPOOLED:
                spooled += int(sample.value)
            elif sample.name in _LABEL_OF:
                found = True
                if sample.value:
                    of_name, label = counts[sample.name], sample.labels[_LABEL_OF[sample.name]]
                    of_name[label] = of_name.get(label, 0) + int(sample.value)
    if not found:
        raise ValueError("no sample of a collector's events")
    accepted, rejected, requests = counts.values()
    return EdgeTotals(accepted, rejected, requests, spooled)
