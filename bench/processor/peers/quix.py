"""quixstreams doing the door's work: `python -m bench.processor.peers.quix CONFIG_JSON`, at least once, no crowds."""

import json
import logging
import sys
from pathlib import Path

from quixstreams import Application, message_context

from bench.processor.peers.work import released
from schemas.seal import place_of


def main(config: dict[str, str]) -> None:
    app = Application(
        broker_address=config["bootstrap"], consumer_group=config["group_id"], auto_offset_reset="earliest",
        processing_guarantee="at-least-once", auto_create_topics=False, loglevel="WARNING",
        state_dir=Path(config["data_dir"]), producer_extra_config={"enable.idempotence": True, "linger.ms": 5},
    )  # fmt: skip
    labeled = app.topic(config["labeled_topic"], value_deserializer="bytes", key_deserializer="bytes")
    out = app.topic(config["released_topic"], value_serializer="bytes", key_serializer="bytes")
    stream = app.dataframe(labeled)
    stream = stream.apply(_row, metadata=True).filter(lambda value: value is not None)
    # The key that a released record may not have is replaced: quixstreams gives each record one.
    stream.to_topic(out, key=lambda _: b"")
    print("READY", flush=True)
    app.run()


def _row(value: bytes, _key: bytes, timestamp_ms: int, _headers: object) -> bytes | None:
    context = message_context()
    label = released(value, timestamp_ms, place_of(context.topic, context.partition), 1)
    return None if label is None else label[1]


if __name__ == "__main__":
    logging.getLogger("quixstreams").setLevel(logging.WARNING)
    main(json.loads(sys.argv[1]))
