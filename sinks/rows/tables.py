"""The tables, and how a record of Kafka becomes a datum of each.

signals, personal, labelers, labels   the record's value as it is, header included
analytics                             the record's value, and behind it what address and User-Agent say
dead_letters                          headers and timestamp, encoded; the value is not read
"""

import io
import json
from collections.abc import Callable
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

import fastavro

from schemas import codec, lengths, topics
from schemas.dead_letters import Origin, origin_of
from schemas.outcomes import DeadLetterReason, DecodeError
from schemas.registry import by_id
from sinks.engine import Table
from sinks.rows.enrichment import ADDED, IspOf, enrichment, no_isp

ROWS = Path(__file__).parent
INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1

# Of addresses and User-Agents, what was made of them; those who come at a time come again, with the next page.
REMEMBERED_MAX = 16_384
REMEMBERED_BYTES_MAX = 512

Datum = tuple[Any, bytes]


class Record(Protocol):
    """What is used of a record; aiokafka's `ConsumerRecord` is one."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Any: ...


def _plain(*columns: tuple[str, str]) -> tuple[tuple[str, str, str], ...]:
    return tuple((name, kind, f"`{name}`") for name, kind in columns)


_TIMES = (("received_at", "DateTime64(3, 'UTC')"), ("sent_at", "Int64"))
_EVENT = (("event_id", "String"), ("site", "String"), ("session", "String"), ("type", "String"), ("ts", "Int64"))

SIGNALS = Table(
    name="signals",
    topics=(topics.SIGNALS,),
    columns=_plain(
        *_EVENT, *_TIMES, *((samples, "Array(Float64)") for samples in ("t", "x", "y", "z", "force", "t_up"))
    ),
    key=("site", "session", "event_id", "received_at"),
)

ANALYTICS = Table(
    name="analytics",
    topics=(topics.ANALYTICS,),
    columns=_plain(
        *_EVENT,
        *_TIMES,
        *((name, "String") for name in ("ip", "user_agent", "browser", "os", "device", "isp")),
        *((name, "String") for name in ("url", "referrer", "properties")),
    ),
    key=("site", "session", "event_id", "received_at"),
)

PERSONAL = Table(
    name="personal",
    topics=(topics.PERSONAL,),
    columns=_plain(
        *((name, "String") for name in ("event_id", "site", "account", "type")),
        ("ts", "Int64"),
        *_TIMES,
        *((name, "String") for name in ("role", "name", "email", "country", "provider", "method", "outcome")),
    ),
    key=("site", "account", "event_id", "received_at"),
)

LABELERS = Table(
    name="labelers",
    topics=(topics.LABELERS,),
    columns=_plain(
        ("event_id", "String"),
        ("site", "String"),
        ("ts", "Int64"),
        *_TIMES,
        ("name", "String"),
        ("email", "String"),
        ("country", "String"),
        ("languages", "Array(String)"),
        ("note", "String"),
    ),
    key=("site", "event_id", "received_at"),
)

LABELS = Table(
    name="labels",
    topics=(topics.DEIDENTIFIED,),
    columns=(
        *_plain(("row_id", "UUID"), ("day", "Date"), ("task", "String"), ("kind", "String"), ("answer", "String")),
        # Avro has no unsigned long: the same 64 bits are read as one.
        ("version", "Int64", "reinterpretAsUInt64(`version`)"),
    ),
    key=("task", "row_id", "version"),
)

DEAD_LETTERS = Table(
    name="dead_letters",
    topics=(topics.DEAD_LETTERS, topics.LABELED_DEAD_LETTERS),
    columns=_plain(
        ("reason", "String"),
        ("topic", "String"),
        ("partition", "Int32"),
        ("offset", "Int64"),
        ("failed_at", "DateTime64(3, 'UTC')"),
    ),
    key=("topic", "partition", "offset", "failed_at"),
)

TABLES = (SIGNALS, ANALYTICS, PERSONAL, LABELERS, LABELS, DEAD_LETTERS)

_SUBJECT = {
    "signals": "events.signals-value",
    "analytics": "events.analytics-value",
    "personal": "events.personal-value",
    "labelers": "events.labelers-value",
    "labels": "labels.deidentified-value",
}


@cache
def row_schema(name: str) -> Any:
    """The schema of the rows that a sink makes itself, as fastavro parses it; one object a name."""
    return fastavro.parse_schema(json.loads((ROWS / f"{name}.avsc").read_text()))


def reader_of(table: Table, isp_of: IspOf = no_isp) -> Callable[[Record], Datum]:
    """What makes a datum of each record of a table.

    Returns:
        A record's schema (one object a schema: compare with `is`) and its datum. Whether it is exactly one is the
        engine's to see, and `check`'s to explain: here a record costs a look-up. Raises DecodeError where no schema
        of the table's subject fits; of a dead letter never.
    """
    if table.name == DEAD_LETTERS.name:
        return _dead_letter
    subject = _SUBJECT[table.name]
    writers = codec.writers(subject).items()
    if table.name == ANALYTICS.name:
        added = lru_cache(REMEMBERED_MAX)(partial(_added, isp_of))
        ways = {
            header: (value_schema(w.id, ADDED), lengths.walker(w.id, ("ip", "user_agent"))) for header, w in writers
        }
        return partial(_enriched, ways, added)
    return partial(_undecoded, {header: value_schema(writer.id) for header, writer in writers})


def check(table: Table, value: bytes | None) -> None:
    """Passes where the value of a record is a header and exactly one datum; a dead letter's may be anything.

    Raises:
        DecodeError: what is wrong with it.
    """
    if table.name != DEAD_LETTERS.name:
        writer, datum = codec.split(value, _SUBJECT[table.name])
        lengths.check_datum(writer.id, datum)


def _undecoded(schemas: dict[bytes, Any], record: Record) -> Datum:
    value = record.value
    schema = None if value is None else schemas.get(value[: codec.HEADER_BYTES])
    if value is None or schema is None:
        raise DecodeError(codec.unreadable(value))
    return schema, value


def _enriched(ways: dict[bytes, tuple[Any, lengths.Walker]], added: Any, record: Record) -> Datum:
    value = record.value
    way = None if value is None else ways.get(value[: codec.HEADER_BYTES])
    if value is None or way is None:
        raise DecodeError(codec.unreadable(value))
    schema, walk = way
    _, (ip, user_agent) = walk(value, codec.HEADER_BYTES)
    short = len(user_agent) + len(ip) <= REMEMBERED_BYTES_MAX
    return schema, value + (added if short else added.__wrapped__)(ip, user_agent)


@cache
def value_schema(writer_id: int, added: tuple[str, ...] = ()) -> Any:
    """The schema of a record's whole value: Confluent's header, the writer's fields, strings of these names behind.

    As fastavro parses it; one object an id.
    """
    header = {"name": "header", "type": {"type": "fixed", "name": "unjoin.Header", "size": codec.HEADER_BYTES}}
    fields = [header, *by_id()[writer_id].parsed["fields"], *({"name": name, "type": "string"} for name in added)]
    return fastavro.parse_schema({"type": "record", "name": "unjoin.Value", "fields": fields})


def _added(isp_of: IspOf, ip: bytes, user_agent: bytes) -> bytes:
    """The fields of `ADDED`, as they follow a datum."""
    out = io.BytesIO()
    for text in enrichment(lengths.text_of(user_agent), lengths.text_of(ip), isp_of):
        fastavro.schemaless_writer(out, "string", text)
    return out.getvalue()


def _dead_letter(record: Record) -> Datum:
    origin = origin_of(record.headers)
    if origin is None or not (0 <= origin.partition <= INT32_MAX and 0 <= origin.offset <= INT64_MAX):
        # Somebody else's record on the topic: counted where it lies, for a dead letter of a dead letter helps nobody.
        origin = Origin(DeadLetterReason.NOT_CONFLUENT, record.topic, record.partition, record.offset)
    return _encoded(
        "dead_letters",
        {
            "reason": str(origin.reason),
            "topic": origin.topic,
            "partition": origin.partition,
            "offset": origin.offset,
            "failed_at": record.timestamp,
        },
    )


def _encoded(name: str, row: dict[str, Any]) -> Datum:
    schema = row_schema(name)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, row)
    return schema, out.getvalue()
