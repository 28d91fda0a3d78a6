"""Counters of a sink process, one series a table: none per partition, site, task or session."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics


class SinkMetrics:
    """The counters start at 0 with each process: they show its pace. Durable counts lie in Kafka and ClickHouse."""

    def __init__(self, registry: CollectorRegistry | None = None, tables: Iterable[str] = ()) -> None:
        # A counter's `_created` would publish, to the millisecond, when the first label was released.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry or CollectorRegistry()

        def counter(name: str, text: str) -> Counter:
            return Counter(f"unjoin_sink_{name}", text, ["table"], registry=self.registry)

        self.rows = counter("rows", "Rows that an engine acknowledged; of a repair, those that were missing.")
        self.blocks = counter("blocks", "Blocks that an engine acknowledged.")
        self.repairs = counter("repairs", "Blocks of unknown outcome of which only missing rows were inserted.")
        self.refusals = counter("refusals", "Inserts that an engine refused.")
        self.unknown = counter("unknown_outcomes", "Inserts without a definite answer.")
        self.dead_letters = counter("dead_letters", "Records set aside and acknowledged.")
        self.expired = counter("expired_offsets", "Offsets that retention or truncation took before they were read.")
        self.asn_errors = Counter(
            "unjoin_sink_asn_errors", "Events without `isp`, and reads, that failed by the ASN database.",
            registry=self.registry,
        )  # fmt: skip
        self.malformed_http = Counter(
            "unjoin_sink_malformed_http",
            "Requests to port 8123 that were not HTTP or too long.",
            registry=self.registry,
        )
        self.refused_web_pages = Counter(
            "unjoin_sink_refused_web_pages", "Requests to port 8123 that came from a web page.", registry=self.registry
        )
        self.erasures_open = Gauge(
            "unjoin_sink_erasures_open", "Requests to be gone that this sink works on.", registry=self.registry
        )
        self.lag = Gauge(
            "unjoin_sink_lag",
            "Offsets to be stored, whoever reads them.",
            ["table"],
            registry=self.registry,
        )
        # A rate over a series that appears with its first count misses that count.
        by_table = (self.rows, self.blocks, self.repairs, self.refusals, self.unknown, self.dead_letters, self.expired)
        for table in tables:
            for one in by_table:
                one.labels(table)
