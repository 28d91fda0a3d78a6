"""The tables, and how a record of Kafka becomes a datum for each of them.

table                                 its datum is
signals, personal, labelers, labels   the record's value as it is, header included
analytics                             the record's value, and behind it the fields that `enrichment.py` makes
dead_letters                          the record's headers and timestamp, encoded; its value is not read
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

# Enrichments are cached by address and User-Agent: a visitor's next page has the same pair.
CACHED_PAIRS_MAX = 16_384
CACHED_PAIR_BYTES_MAX = 512

Datum = tuple[Any, bytes]


class KafkaRecord(Protocol):
    """The part of aiokafka's `ConsumerRecord` that this module reads."""

    @property
    def topic(self) -> str:
        """The topic that it lies on."""

    @property
    def partition(self) -> int:
        """The partition that it lies in."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""

    @property
    def timestamp(self) -> int:
        """Unix milliseconds."""

    @property
    def value(self) -> bytes | None:
        """Confluent's header and a datum, if it is what it should be."""

    @property
    def headers(self) -> Any:
        """Pairs of name and bytes."""


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
        # Avro has no unsigned long: the table reads the same 64 bits as one.
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

SUBJECT = {
    "signals": "events.signals-value",
    "analytics": "events.analytics-value",
    "personal": "events.personal-value",
    "labelers": "events.labelers-value",
    "labels": "labels.deidentified-value",
}


@cache
def row_schema(name: str) -> Any:
    """The schema of rows that the sink encodes itself, as fastavro parses it; one object a name."""
    return fastavro.parse_schema(json.loads((ROWS / f"{name}.avsc").read_text()))


def reader_of(table: Table, isp_of: IspOf = no_isp) -> Callable[[KafkaRecord], Datum]:
    """A function that makes a datum of each record of a table.

    Returns:
        A function from a record to its schema (one object a schema: compare with `is`) and its datum. It does not
        check that the datum is exactly one, for that costs more than a look-up: the engine sees it, and `check` says
        what is wrong. It raises DecodeError where no schema of the table's subject fits; for a dead letter never.
    """
    if table.name == DEAD_LETTERS.name:
        return _dead_letter
    if schemas := schemas_of(table):
        return partial(_undecoded, schemas)
    writers = codec.writers(SUBJECT[table.name]).items()
    added = lru_cache(CACHED_PAIRS_MAX)(partial(_added, isp_of))
    readers = {header: (value_schema(w.id, ADDED), lengths.walker(w.id, ("ip", "user_agent"))) for header, w in writers}
    return partial(_enriched, readers, added)


def schemas_of(table: Table) -> dict[bytes, Any] | None:
    """The schemas of a table's values, by their first bytes; None where a value is not its datum."""
    if table.name in (ANALYTICS.name, DEAD_LETTERS.name):
        return None
    return {header: value_schema(writer.id) for header, writer in codec.writers(SUBJECT[table.name]).items()}


def check(table: Table, value: bytes | None) -> None:
    """Raises where the value of a record is not a header and exactly one datum; any dead letter's value passes.

    Raises:
        DecodeError: its reason says what is wrong with the value.
    """
    if table.name != DEAD_LETTERS.name:
        writer, datum = codec.split(value, SUBJECT[table.name])
        lengths.check_datum(writer.id, datum)


def _undecoded(schemas: dict[bytes, Any], record: KafkaRecord) -> Datum:
    value: Any = record.value
    try:
        return schemas[value[: codec.HEADER_BYTES]], value
    except (KeyError, TypeError):  # a schema of others; no value
        raise DecodeError(codec.unreadable(value)) from None


def _enriched(readers: dict[bytes, tuple[Any, lengths.Walker]], added: Any, record: KafkaRecord) -> Datum:
    value = record.value
    reader = None if value is None else readers.get(value[: codec.HEADER_BYTES])
    if value is None or reader is None:
        raise DecodeError(codec.unreadable(value))
    schema, walk = reader
    _, (ip, user_agent) = walk(value, codec.HEADER_BYTES)
    short = len(user_agent) + len(ip) <= CACHED_PAIR_BYTES_MAX
    return schema, value + (added if short else added.__wrapped__)(ip, user_agent)


@cache
def value_schema(writer_id: int, added: tuple[str, ...] = ()) -> Any:
    """The schema of a record's whole value, as fastavro parses it; one object an id.

    Its fields are Confluent's header, the writer's fields, and then a string for each name in `added`.
    """
    header = {"name": "header", "type": {"type": "fixed", "name": "unjoin.Header", "size": codec.HEADER_BYTES}}
    fields = [header, *by_id()[writer_id].parsed["fields"], *({"name": name, "type": "string"} for name in added)]
    return fastavro.parse_schema({"type": "record", "name": "unjoin.Value", "fields": fields})


def _added(isp_of: IspOf, ip: bytes, user_agent: bytes) -> bytes:
    """The fields of `ADDED`, encoded as they follow a datum."""
    out = io.BytesIO()
    for text in enrichment(lengths.text_of(user_agent), lengths.text_of(ip), isp_of):
        fastavro.schemaless_writer(out, "string", text)
    return out.getvalue()


def _dead_letter(record: KafkaRecord) -> Datum:
    origin = origin_of(record.headers)
    if origin is None or not (0 <= origin.partition <= INT32_MAX and 0 <= origin.offset <= INT64_MAX):
        # The record is no dead letter of ours. Its row names the place where it lies now; it gets no dead letter of
        # its own, for that would come back here.
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
