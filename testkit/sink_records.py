"""Rows, datums and records for the tests of sinks."""

import datetime
import io
import uuid
from typing import Any

import fastavro
import msgspec

from schemas import codec
from schemas.registry import latest
from sinks.engine import Block, Table
from sinks.rows.tables import LABELS, SIGNALS

NOW_MS = 1_790_000_000_000


class FakeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a consumer record that a sink uses."""

    value: bytes | None
    topic: str
    partition: int = 0
    offset: int = 0
    timestamp: int = NOW_MS
    headers: Any = ()


def signal(number: int, **changes: Any) -> dict[str, Any]:
    """A pointer event, its id made of a number."""
    return {
        "event_id": f"e-{number:08}",
        "site": "dev",
        "session": f"s-{number % 50}",
        "type": "pointer",
        "ts": NOW_MS + number,
        "received_at": NOW_MS + number,
        "t": [0.0, 16.0],
        "x": [1.5, float(number)],
        "y": [2.0, 3.0],
        "z": [],
        "force": [],
        "t_up": [],
        **changes,
    }


def label(vote: int, task: str, answer: str, version: int = 1) -> dict[str, Any]:
    """A de-identified label, its row id made of a number; `version` as the signed 64 bits that Avro has."""
    return {
        "row_id": str(uuid.UUID(int=vote)),
        "day": datetime.date(2026, 9, 21),
        "task": task,
        "kind": "image_label",
        "answer": answer,
        "version": version,
    }


def encoded(schema: Any, row: dict[str, Any]) -> bytes:
    """A bare datum."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, row)
    return out.getvalue()


def block_of(table: Table, rows: list[dict[str, Any]], subject: str) -> Block:
    """A block of rows of a table that takes datums as they are."""
    schema = latest(subject).parsed
    datums = [encoded(schema, row) for row in rows]
    return Block(table, table.topics[0], 0, 0, len(datums), schema, datums)


def signals(rows: list[dict[str, Any]]) -> Block:
    return block_of(SIGNALS, rows, "events.signals-value")


def labels(rows: list[dict[str, Any]]) -> Block:
    return block_of(LABELS, rows, "labels.deidentified-value")


def record(topic: str, row: dict[str, Any], **changes: Any) -> FakeRecord:
    """A record as the collector or the door writes it."""
    fields = {"topic": topic, "value": codec.encode(f"{topic}-value", row), **changes}
    return FakeRecord(**fields)
