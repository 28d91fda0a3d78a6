"""Topics on a cluster that is somebody else's, too, and how brokers are waited for."""

import asyncio
import time
import uuid
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from schemas.kafka_access import KafkaAccess
from schemas.topics import DAY_MS, Topic
from testkit.kafka_node import QUIET, create_topic
from unjoin.host.kafka import KafkaUnavailable, ensure_topics, free_port, wait_until_reachable


def configs_of(bootstrap: str, topic: str) -> dict[str, Any]:
    """Every setting of a topic, as a stock client reads it."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = AdminClient({"bootstrap.servers": bootstrap, **QUIET})
    answer = admin.describe_configs([resource])[resource].result(30)
    return {name: entry.value for name, entry in answer.items()}


@pytest.mark.kafka
def test_settings_of_an_operator_stay_and_ours_are_set(bootstrap: str) -> None:
    """`unjoin topics` runs at every start: what an operator set by hand must outlive it."""
    name = create_topic(bootstrap, max_message_bytes="2000000", retention_ms="5")
    changes = asyncio.run(ensure_topics(KafkaAccess(bootstrap), [Topic(name, 2, DAY_MS, DAY_MS)], 1))
    deadline = time.monotonic() + 60
    while (found := configs_of(bootstrap, name))["retention.ms"] == "5":  # a busy broker tells what was before
        assert time.monotonic() < deadline
    assert (found["max.message.bytes"], found["retention.ms"], found["segment.ms"]) == ("2000000",) + (str(DAY_MS),) * 2
    assert (found["min.insync.replicas"], found["unclean.leader.election.enable"]) == ("1", "false")
    assert (changes.created, changes.notes) == ([], [])
    assert [line.split(":")[0] for line in changes.changed] == [name, name]
    again = asyncio.run(ensure_topics(KafkaAccess(bootstrap), [Topic(name, 2, DAY_MS, DAY_MS)], 1))
    assert (again.created, again.changed, again.notes) == ([], [], [])


@pytest.mark.kafka
def test_larger_number_of_copies_that_an_operator_wants_in_step_stays(bootstrap: str) -> None:
    """Lowering it would acknowledge what fewer brokers have."""
    name = create_topic(bootstrap, min_insync_replicas="2")
    asyncio.run(ensure_topics(KafkaAccess(bootstrap), [Topic(name, 1, DAY_MS, DAY_MS)], 1))
    assert configs_of(bootstrap, name)["min.insync.replicas"] == "2"


@pytest.mark.kafka
def test_topic_with_other_copies_than_the_setting_is_reported(bootstrap: str) -> None:
    """Nothing here moves copies, so nothing may look as if it had; and one copy is never asked to be two."""
    name = create_topic(bootstrap)
    changes = asyncio.run(ensure_topics(KafkaAccess(bootstrap), [Topic(name, 1, DAY_MS, DAY_MS)], 3))
    (note,) = changes.notes
    assert note.startswith(f"{name} has 1 copies, and UNJOIN_REPLICATION_FACTOR is 3")
    assert configs_of(bootstrap, name)["min.insync.replicas"] == "1"


@pytest.mark.kafka
def test_setting_that_the_broker_refuses_is_an_error(bootstrap: str) -> None:
    """Its answer says so for each topic, in a response that succeeded as a whole."""
    name = create_topic(bootstrap)
    with pytest.raises(KafkaUnavailable, match=f"refused to change the settings of {name}: "):
        asyncio.run(ensure_topics(KafkaAccess(bootstrap), [Topic(name, 1, -2, DAY_MS)], 1))


@pytest.mark.kafka
def test_brokers_that_are_away_cost_nothing_where_another_answers(bootstrap: str) -> None:
    """The first address of a list is not the cluster."""
    asyncio.run(wait_until_reachable(KafkaAccess(f"127.0.0.1:{free_port()},{bootstrap}"), seconds_max=30))


def test_no_broker_at_all_is_an_error_that_names_the_setting() -> None:
    """After the deadline, not before."""
    with pytest.raises(KafkaUnavailable, match="UNJOIN_KAFKA_BOOTSTRAP"):
        asyncio.run(wait_until_reachable(KafkaAccess(f"127.0.0.1:{free_port()}"), seconds_max=0.2))


@pytest.mark.kafka
def test_missing_topic_is_made_with_what_outlives_a_broker(bootstrap: str) -> None:
    """With the cluster's defaults a broker that was behind may become leader and take records back."""
    name = f"made-{uuid.uuid4().hex[:8]}"
    assert asyncio.run(ensure_topics(KafkaAccess(bootstrap), [Topic(name, 1, DAY_MS, DAY_MS)], 1)).created == [name]
    assert configs_of(bootstrap, name)["unclean.leader.election.enable"] == "false"
