"""A processor's config as its settings make it, with what a test or bench wants otherwise."""

from pathlib import Path
from typing import Any

import msgspec

from processors.door.crowd import CrowdRule
from processors.main import ProcessorConfig
from schemas.kafka_access import KafkaAccess
from unjoin.roles import processor_config_of
from unjoin.settings import Settings

RULE_OF = {
    "crowd_min": "voters_min",
    "crowd_target": "voters_target",
    "crowd_wait_ms": "wait_ms",
    "crowd_labels_max": "labels_max",
    "crowd_bytes_max": "bytes_max",
    "crowd_hold_ms_max": "hold_ms_max",
}


def crowd_rule(crowd_min: int, **other: int) -> CrowdRule:
    """The rule of the settings, for crowds of `crowd_min` that leave as soon as they hold so many."""
    given = {"crowd_min": crowd_min, "crowd_target": crowd_min, **other}
    rule = processor_config_of(Settings()).crowd
    return msgspec.structs.replace(rule, **{RULE_OF[name]: value for name, value in given.items()})


def door_config(*, crowd_min: int, data_dir: str | Path, bootstrap: str = "", **given: Any) -> ProcessorConfig:
    """The config of the settings.

    Args:
        bootstrap: the brokers, who ask for no user.
        given: fields of it, and `crowd_…` for those of its rule (`RULE_OF`).
    """
    rule = {name: given.pop(name) for name in RULE_OF if name in given}
    config = processor_config_of(Settings())
    own = {"kafka": KafkaAccess(bootstrap), "data_dir": Path(data_dir), "crowd": crowd_rule(crowd_min, **rule)}
    return msgspec.structs.replace(config, **{"counts_every_s": 0.1, **given, **own})
