"""What a collector of the tests is set to: as the product's settings say, but for what a test changes."""

from pathlib import Path
from typing import Any

import msgspec

from ingest.kafka.producer import ProducerConfig
from ingest.limits import RequestLimits
from ingest.overload.fair_queue import QueueBounds
from ingest.process.server import CollectorConfig
from ingest.spool.writer import SpoolConfig
from schemas.kafka_access import KafkaAccess
from unjoin.roles import collector_config as config_of
from unjoin.settings import Settings

_DEFAULT = config_of(Settings())


def request_limits(**changes: Any) -> RequestLimits:
    return msgspec.structs.replace(_DEFAULT.limits, **changes)


def queue_bounds(**changes: Any) -> QueueBounds:
    return msgspec.structs.replace(_DEFAULT.waiting, **changes)


def collector_config(folder: Path, **changes: Any) -> CollectorConfig:
    """A collector on a free port, with its sites in `folder`, without brokers and without a spool."""
    alone = {"sites_file": folder / "sites.json", "kafka": KafkaAccess(""), "port": 0, "spool": None, "spools_left": ()}
    return msgspec.structs.replace(_DEFAULT, **{**alone, **changes})


def producer_config(bootstrap: str, **changes: Any) -> ProducerConfig:
    defaults = ProducerConfig(KafkaAccess(bootstrap), _DEFAULT.produce_seconds_max, _DEFAULT.in_flight_bytes_max)
    return msgspec.structs.replace(defaults, **changes)


def spool_config(folder: Path, **changes: Any) -> SpoolConfig:
    """A spool whose records of any topic may lie as long as it takes."""
    assert _DEFAULT.spool is not None
    return msgspec.structs.replace(_DEFAULT.spool, **{"folder": folder, "lives_ms": {}, **changes})
