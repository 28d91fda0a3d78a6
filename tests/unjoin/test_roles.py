"""What the roles are given is what the settings say."""

import pytest

from unjoin.roles import collector_config
from unjoin.settings import Settings


@pytest.mark.parametrize("seconds", [1, 2, 5, 60])
def test_request_may_wait_for_its_turn_until_an_outage_of_kafka_was_noticed(seconds: int) -> None:
    """Refused earlier, it would be told `overloaded` just before the spool could have taken it."""
    assert collector_config(Settings(produce_seconds_max=seconds)).waiting.late_seconds > seconds


def test_operator_who_wants_no_spool_gets_none() -> None:
    """Then 503 is the answer while Kafka is away, and nothing is written to disk."""
    assert collector_config(Settings(spool_bytes_max=0)).spool is None
