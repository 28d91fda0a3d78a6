"""What a test reads of a broker."""

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from testkit.kafka_node import QUIET, create_topic, stored_records

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize("deleted", [0, 2, 3])
def test_deleted_records_are_not_waited_for(bootstrap: str, deleted: int) -> None:
    """A consumer that is told of an end, and that all before it is gone, would get nothing for minutes."""
    topic = create_topic(bootstrap, 2)
    producer = Producer({"bootstrap.servers": bootstrap, **QUIET})
    for number in range(3):
        producer.produce(topic, b"%d" % number, partition=0)
    assert producer.flush(30) == 0
    admin = AdminClient({"bootstrap.servers": bootstrap, **QUIET})
    place = TopicPartition(topic, 0, deleted)
    admin.delete_records([place])[place].result(30)
    assert [record.value() for record in stored_records(bootstrap, topic)] == [b"0", b"1", b"2"][deleted:]
