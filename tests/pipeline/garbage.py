"""Records for the topics of a running pipeline: good ones, and what must not become a row."""

import datetime
import uuid
from collections.abc import Sequence
from typing import Any

from confluent_kafka import Message, Producer

from schemas import codec
from schemas.registry import latest
from schemas.topics import LABELED
from testkit.seals import unsealed_value

NOW_MS = 1_790_000_000_123
BROKER_BYTES_MAX = 1_048_588  # of a batch: Kafka's default `message.max.bytes`
UNREGISTERED_ID = 4_000_000_000


def good(topic: str, mark: str, number: int) -> dict[str, Any]:
    """A datum as the collector or the door writes it, found again by its mark."""
    now = datetime.datetime.fromtimestamp(NOW_MS / 1000, datetime.UTC)
    event = {"event_id": f"{mark}-{number}", "site": "dev", "ts": NOW_MS, "received_at": now}
    signal = {"session": mark, "type": "pointer", "t": [0.0], "x": [1.0], "y": [1.0], "z": [], "force": [], "t_up": []}
    page = {"session": mark, "type": "usage", "ip": "", "user_agent": "", "url": "", "referrer": "", "properties": "{}"}
    person = {"name": "Ada", "email": "a@b.test", "country": "DE"}
    check = {"account": mark, "type": "contact", "role": "", "provider": "", "method": "", "outcome": ""}
    today = datetime.datetime.now(datetime.UTC).date()
    vote = {"kind": "image_label", "task": mark, "answer": "beagle"}
    return {
        "events.signals": {**event, **signal},
        "events.analytics": {**event, **page},
        "events.personal": {**event, **check, **person},
        "events.labelers": {**event, **person, "languages": ["sv"], "note": ""},
        "events.labeled": {"voter": uuid.uuid4().bytes * 2, "day": today, "act": vote},
        "labels.deidentified": {"row_id": str(uuid.uuid4()), "day": today, "version": number, **vote},
    }[topic]


def whole(topic: str, mark: str, number: int) -> bytes:
    """The record value of `good`; a label is one of before labels were sealed, since its mark can be found in it."""
    datum = good(topic, mark, number)
    return unsealed_value(datum) if topic == LABELED else codec.encode(f"{topic}-value", datum)


def garbage(topic: str, whole_value: bytes) -> list[tuple[str, bytes | None, bytes | None]]:
    """(reason, key, value) of what must not become a row; `whole_value` is a record that would.

    Whatever uses a schema of this topic is made of it, so that what a lenient reader makes of it would be seen.
    """
    other = "labels.deidentified" if topic == "events.signals" else "events.signals"
    header, datum = whole_value[: codec.HEADER_BYTES], whole_value[codec.HEADER_BYTES :]
    return [
        ("not_confluent", b"k", b""),
        ("not_confluent", b"k", None),
        ("not_confluent", None, None),
        ("not_confluent", None, b"\x00\x00\x00"),
        ("not_confluent", b"k", b"\x01" + whole_value[1:]),
        ("not_confluent", b"k", b'{"type": "pointer"}'),
        ("unknown_schema", b"k", codec.HEADER.pack(0, UNREGISTERED_ID) + datum),
        ("wrong_schema", b"k", codec.HEADER.pack(0, latest(f"{other}-value").id) + datum),
        ("trailing_bytes", b"k", whole_value + b"\x00"),
        ("trailing_bytes", None, whole_value + datum),
        ("malformed_datum", b"k", header),
        ("malformed_datum", b"k", whole_value[:-1]),
        ("malformed_datum", b"k", header + b"\xff" * 64),
    ]


def deliver(
    bootstrap: str,
    topic: str,
    records: Sequence[tuple[bytes | None, bytes | None]],
    headers: list[tuple[str, bytes]] | None = None,
) -> list[Message]:
    """What the broker acknowledged, in the order of the records; all on partition 0, one after the other."""
    delivered: dict[int, Message] = {}
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "message.max.bytes": BROKER_BYTES_MAX})

    for index, (key, value) in enumerate(records):

        def acknowledged(error: Any, message: Message, index: int = index) -> None:
            assert error is None, error
            delivered[index] = message

        producer.produce(topic, value, key, partition=0, on_delivery=acknowledged, headers=[*(headers or [])])
    assert producer.flush(30) == 0
    return [delivered[index] for index in range(len(records))]
