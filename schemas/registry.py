"""Every schema and its permanent id: `subjects.json` and the `.avsc` files beside it.

A changed schema gets a new file, a new version and a new id. An id never changes its meaning, because records that name
it stay on topics for days. Source: Confluent's schema registry, its wire format and API.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
import msgspec

HERE = Path(__file__).parent


class Registered(msgspec.Struct, frozen=True):
    """One version of one subject.

    Attributes:
        id: 1 to 2**31 - 1, on the wire of every record.
        parsed: the schema as fastavro wants it, privacy classes included.
    """

    id: int
    subject: str
    version: int
    text: str
    parsed: Any


@cache
def registered() -> tuple[Registered, ...]:
    """Every version of every subject, by id."""
    entries = json.loads((HERE / "subjects.json").read_text())
    found = []
    for entry in sorted(entries, key=lambda entry: entry["id"]):
        schema = json.loads((HERE / entry["file"]).read_text())
        text = json.dumps(schema, separators=(",", ":"))
        found.append(Registered(entry["id"], entry["subject"], entry["version"], text, fastavro.parse_schema(schema)))
    return tuple(found)


@cache
def by_id() -> dict[int, Registered]:
    """Schema id to its registration."""
    return {entry.id: entry for entry in registered()}


@cache
def latest(subject: str) -> Registered:
    """The newest version of a subject; KeyError where there is none."""
    versions = [entry for entry in registered() if entry.subject == subject]
    if not versions:
        raise KeyError(subject)
    return max(versions, key=lambda entry: entry.version)
