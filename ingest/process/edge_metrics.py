"""Metrics of the numbers that a collector's parts keep themselves."""

from functools import partial

import msgspec

from ingest.edge import Edge
from ingest.kafka.producer import ProducerStats
from ingest.spool.producer import SpoolingProducer


def watch_edge(edge: Edge) -> None:
    """Adds them to the edge's counters."""
    counters, sites = edge.counters, edge.sites
    counters.watch("unjoin_sites_errors", "Times the file of sites was found broken.", lambda: sites.errors)
    ready = edge.producer.ready
    counters.watch("unjoin_ready", "1 while events can be made durable.", lambda: float(ready()), gauge=True)
    counters.watch(
        "unjoin_edge_keys_missing",
        "Days whose labels are refused because their key cannot be had.",
        lambda: len(edge.edge_keys.missing),
        gauge=True,
    )
    scheduler = edge.scheduler
    for name, explanation, value in (
        ("requests", "Requests that wait for their turn.", lambda: scheduler.queue.count),
        ("bytes", "Bytes of what waits for its turn.", lambda: scheduler.queue.bytes),
        (
            "receiving_bytes",
            "Bytes of bodies that are not whole yet.",
            lambda: edge.body_room.bytes + edge.keyless_room.bytes,
        ),
        (
            "turn_seconds",
            "Between two turns of the loop, the last time somebody waited.",
            lambda: scheduler.stats.round_seconds,
        ),
    ):
        counters.watch(f"unjoin_waiting_{name}", explanation, value, gauge=True)
    for name, explanation, value in (
        ("waited", "Requests that had to wait for their turn.", lambda: scheduler.stats.waited),
        ("shed_early", "Requests refused as overload before their body was read.", lambda: scheduler.stats.shed_early),
        ("shed_late", "Requests refused as overload after that.", lambda: scheduler.stats.shed_late),
    ):
        counters.watch(f"unjoin_overload_{name}", explanation, value)
    stats = getattr(edge.producer, "stats", None)
    if isinstance(stats, ProducerStats):
        for field in msgspec.structs.fields(stats):
            name = f"unjoin_producer_{field.name}"
            gauge = field.name == "bytes_in_flight"
            counters.watch(name, f"The producer's {field.name}.", partial(getattr, stats, field.name), gauge=gauge)
    if isinstance(edge.producer, SpoolingProducer):
        left = edge.producer.left
        counters.watch(
            "unjoin_spool_left_records",
            "Records in spools of workers that there no longer are, on their way to Kafka.",
            lambda: sum(spool.counts.waiting for spool in left),
            gauge=True,
        )
        for name, explanation, gauge, value in edge.producer.spool.numbers():
            counters.watch(f"unjoin_spool_{name}", explanation, value, gauge=gauge)
