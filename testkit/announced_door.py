"""A door that has announced its keys and does nothing else, so that a collector alone takes labels."""

import datetime
import socket
from contextlib import suppress
from pathlib import Path

import msgspec
from confluent_kafka import KafkaException, Producer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.topics import KEY_ANNOUNCEMENTS
from testkit.kafka_node import QUIET, create_topic
from unjoin.keys.announcement import Announcement, door_announcement, edge_announcement
from unjoin.keys.keyring import KeyDestroyed, Keyring

DAYS = range(-2, 2)
ANSWER_S_MAX = 30.0
IDENTITY = Ed25519PrivateKey.from_private_bytes(bytes(32))


def epoch_key(day: datetime.date) -> bytes:
    """Its key of a day."""
    return day.isoformat().encode().ljust(32, b"e")


def announcements(edge_keys: Path) -> list[Announcement]:
    """Its own, and those of the collectors that share a folder of keys."""
    today = datetime.datetime.now(datetime.UTC).date()
    # The same on every folder, for one broker may see the collectors of many.
    keyring = Keyring(edge_keys, random_bytes=lambda size: b"k" * size)
    found = []
    for day in [today + datetime.timedelta(days=number) for number in DAYS]:
        found.append(door_announcement(day, epoch_key(day), IDENTITY))
        with suppress(KeyDestroyed):
            found.append(edge_announcement(day, keyring.key_of(day)))
    return found


def announce(bootstrap: str, data_dir: Path, workers: int = 1) -> None:
    """Tells the collectors of a data directory: by Kafka where it is there, and as if they had read it before."""
    found = announcements(data_dir / "keys" / "edge")
    spool = data_dir / "spool"
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(1, workers + 1):
        cache = spool / f"announcements-{number}.json"
        cache.touch(mode=0o600)
        cache.write_bytes(msgspec.json.encode(found))
    host, _, port = bootstrap.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return
    with suppress(KafkaException):  # somebody has made it
        create_topic(bootstrap, name=KEY_ANNOUNCEMENTS)
    producer = Producer({"bootstrap.servers": bootstrap, **QUIET})
    for one in found:
        producer.produce(KEY_ANNOUNCEMENTS, one.encoded(), partition=0)
    assert producer.flush(ANSWER_S_MAX) == 0
