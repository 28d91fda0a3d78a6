"""A sink's configs with the values of the settings; a test, bench or fault names only what it changes."""

from pathlib import Path
from typing import Any

import msgspec

from schemas.kafka_access import KafkaAccess
from sinks.erasure.progress import Patience
from sinks.http.interface import HttpInterfaceConfig
from sinks.http.read_only import QueryBounds
from sinks.kafka.block_planner import BlockLimits
from sinks.kafka.consumer import HAND_OVER_SECONDS_MAX, SESSION_TIMEOUT_MS, ConsumerConfig
from sinks.main import GROUP_PREFIX, SinkConfig
from sinks.rows.tables import TABLES
from unjoin.settings import Settings

SETTINGS = Settings()


def block_limits(**changes: Any) -> BlockLimits:
    """When a block is cut."""
    limits = BlockLimits(
        rows_max=SETTINGS.block_rows_max,
        bytes_max=SETTINGS.block_bytes_max,
        ms_max=SETTINGS.block_ms_max,
        refused_share_max=SETTINGS.dead_letter_percent_max / 100,
    )
    return msgspec.structs.replace(limits, **changes)


def consumer_config(bootstrap: str, limits: BlockLimits, group: str, **changes: Any) -> ConsumerConfig:
    """How one table's consumer reads."""
    config = ConsumerConfig(
        kafka=KafkaAccess(bootstrap),
        limits=limits,
        group=group,
        session_timeout_ms=SESSION_TIMEOUT_MS,
        hand_over_seconds_max=HAND_OVER_SECONDS_MAX,
    )
    return msgspec.structs.replace(config, **changes)


def query_bounds(**changes: Any) -> QueryBounds:
    """What one query of port 8123 may cost."""
    return msgspec.structs.replace(http_config().bounds, **changes)


def http_config(**changes: Any) -> HttpInterfaceConfig:
    """Where the HTTP interface listens: on any free port of loopback."""
    return msgspec.structs.replace(sink_config("", Path()).http(), **changes)


def sink_config(bootstrap: str, clickhouse_dir: Path, **changes: Any) -> SinkConfig:
    """A sink of every table into the embedded engine in a directory; it has no metrics port."""
    config = SinkConfig(
        kafka=KafkaAccess(bootstrap),
        server=None,
        clickhouse_dir=clickhouse_dir,
        http_host=SETTINGS.clickhouse_http_host,
        http_port=0,
        http_hosts=(),
        query_bytes_max=SETTINGS.query_bytes_max,
        queries_bytes_max=SETTINGS.queries_bytes_max,
        block_rows_max=SETTINGS.block_rows_max,
        block_bytes_max=SETTINGS.block_bytes_max,
        block_ms_max=SETTINGS.block_ms_max,
        dead_letter_share_max=SETTINGS.dead_letter_percent_max / 100,
        asn_database="",
        metrics_host=SETTINGS.metrics_host,
        metrics_port=0,
        tables=TABLES,
        group_prefix=GROUP_PREFIX,
        ttl_days={},
        erasing=Patience(),
    )
    return msgspec.structs.replace(config, **changes)
