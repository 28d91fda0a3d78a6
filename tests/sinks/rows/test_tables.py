"""From a record to a datum, and from a datum's fields to a table's columns."""

import io
import json

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec, topics
from schemas.dead_letters import dead_letter_headers
from schemas.events import TS_AGE_MS_MAX, TS_MAX
from schemas.outcomes import DeadLetterReason, DecodeError
from schemas.registry import by_id, latest
from sinks.clickhouse.embedded import Embedded
from sinks.engine import Block, Table
from sinks.rows.enrichment import ADDED
from sinks.rows.tables import (
    ANALYTICS,
    DEAD_LETTERS,
    LABELS,
    SIGNALS,
    TABLES,
    check,
    reader_of,
    row_schema,
    value_schema,
)
from testkit.sink_records import NOW_MS, FakeRecord, encoded, label, record, signal

PAGE_VIEW = {
    "event_id": "p-1",
    "site": "dev",
    "session": "s-1",
    "type": "page_view",
    "ts": NOW_MS,
    "received_at": NOW_MS + 5,
    "ip": "192.0.2.1",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "url": "https://example.test/",
    "referrer": "",
    "properties": '{"plan":"free"}',
}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_has_a_column_for_every_field_and_the_key_it_promises(table: Table, engine: Embedded) -> None:
    """The table definitions, the schemas and the migrations are written apart; here they are held together."""
    described = json.loads(engine.select(f"DESCRIBE TABLE unjoin.{table.name}", "JSON"))["data"]
    stored = {column["name"]: column["type"] for column in described if column["name"] not in ("time", "at")}
    assert list(stored) == [column for column, _, _ in table.columns]

    subject = f"{table.topics[0]}-value"
    if table is DEAD_LETTERS:
        schema = row_schema(table.name)
    elif table is ANALYTICS:
        schema = value_schema(latest(subject).id, ADDED)
    else:
        schema = value_schema(latest(subject).id)
    assert {field["name"] for field in schema["fields"]} - {"header"} == set(stored)

    sorting = engine.select(
        f"SELECT sorting_key, engine_full FROM system.tables WHERE database = 'unjoin' AND name = '{table.name}'"
    )
    found = json.loads(sorting)
    *key, version = table.key
    assert found["sorting_key"].split(", ") == key
    assert found["engine_full"].startswith(f"ReplacingMergeTree({version})")
    assert "PARTITION BY" not in found["engine_full"]


def test_a_raw_table_takes_the_very_bytes_of_the_record() -> None:
    """Nothing is decoded on the way, which is what makes the sink fast."""
    sent = record(topics.SIGNALS, signal(1))
    schema, datum = reader_of(SIGNALS)(sent)
    assert schema is value_schema(latest("events.signals-value").id)
    assert datum is sent.value
    assert encoded(schema, {"header": datum[:5], **signal(1)}) == datum


@pytest.mark.parametrize(
    ("table", "sent", "reason"),
    [
        (SIGNALS, FakeRecord(topic=topics.SIGNALS, value=None), DeadLetterReason.NOT_CONFLUENT),
        (SIGNALS, FakeRecord(topic=topics.SIGNALS, value=b"\x01\0\0\0\x01"), DeadLetterReason.NOT_CONFLUENT),
        (SIGNALS, FakeRecord(topic=topics.SIGNALS, value=b"\0\0\0\x03\xe7x"), DeadLetterReason.UNKNOWN_SCHEMA),
        (SIGNALS, FakeRecord(topic=topics.SIGNALS, value=b"\0\0\0\0\x06x"), DeadLetterReason.WRONG_SCHEMA),
        (SIGNALS, FakeRecord(topic=topics.SIGNALS, value=b"\0\0\0\0\x01x"), DeadLetterReason.MALFORMED_DATUM),
        (ANALYTICS, FakeRecord(topic=topics.ANALYTICS, value=b"\0\0\0\0\x03x"), DeadLetterReason.MALFORMED_DATUM),
    ],
)
def test_an_unreadable_record_says_why(table: Table, sent: FakeRecord, reason: DeadLetterReason) -> None:
    with pytest.raises(DecodeError) as raised:
        check(table, sent.value)
    assert raised.value.reason is reason


@pytest.mark.parametrize("table", [SIGNALS, ANALYTICS, LABELS], ids=lambda table: table.name)
@pytest.mark.parametrize("value", [None, b"", b"\x01\0\0\0\x01", b"\0\0\0\x03\xe7x", b"\0\0\0\0\x02x"])
def test_a_record_of_another_schema_is_no_row(table: Table, value: bytes | None) -> None:
    """It is seen at once, and says the same as the whole check."""
    with pytest.raises(DecodeError) as raised:
        check(table, value)
    with pytest.raises(DecodeError) as at_once:
        reader_of(table)(FakeRecord(topic=table.topics[0], value=value))
    assert at_once.value.reason is raised.value.reason


@pytest.mark.parametrize(("table", "row"), [(SIGNALS, signal(1)), (LABELS, label(1, "t", "a")), (ANALYTICS, PAGE_VIEW)])
def test_bytes_behind_a_datum_are_no_second_row(table: Table, row: dict[str, object]) -> None:
    """A record that carries one and a half is none."""
    sent = record(table.topics[0], row)
    assert sent.value is not None
    forged = FakeRecord(topic=sent.topic, value=sent.value + sent.value[5:])
    with pytest.raises(DecodeError) as raised:
        check(table, forged.value)
    assert raised.value.reason is DeadLetterReason.TRAILING_BYTES


def test_an_analytics_event_is_enriched_once_it_is_a_row(engine: Embedded) -> None:
    read = reader_of(ANALYTICS, lambda address: f"net of {address}")
    schema, datum = read(record(topics.ANALYTICS, PAGE_VIEW))
    engine.insert(Block(ANALYTICS, topics.ANALYTICS, 0, 0, 1, schema, [datum]))
    row = json.loads(engine.select("SELECT * FROM unjoin.analytics"))
    assert (row["browser"], row["os"], row["isp"]) == ("Firefox", "Linux", "net of 192.0.2.1")
    assert row["properties"] == PAGE_VIEW["properties"]
    assert row["received_at"] == "2026-09-21 14:13:20.005"


@pytest.mark.parametrize(
    ("ts", "sent_at", "received_at", "at"),
    [
        (NOW_MS, 0, NOW_MS + 5, NOW_MS),
        (NOW_MS, NOW_MS + 5, NOW_MS + 5, NOW_MS),
        (NOW_MS, NOW_MS + 1_000, NOW_MS + 3_601_000, NOW_MS + 3_600_000),
        (NOW_MS + 7_200_000, NOW_MS + 7_201_000, NOW_MS + 1_000, NOW_MS),
        (NOW_MS + 7_200_000, 0, NOW_MS, NOW_MS),
        (NOW_MS + 2_000, NOW_MS + 1_000, NOW_MS + 9_000, NOW_MS + 9_000),
        (NOW_MS // 1_000, 0, NOW_MS, NOW_MS),
        (NOW_MS // 1_000, NOW_MS, NOW_MS, NOW_MS),
        (NOW_MS // 1_000, NOW_MS // 1_000 + 60, NOW_MS, NOW_MS - 60),
        (NOW_MS, NOW_MS // 1_000, NOW_MS + 5, NOW_MS + 5),
        (NOW_MS - TS_AGE_MS_MAX, 0, NOW_MS, NOW_MS - TS_AGE_MS_MAX),
        (NOW_MS - TS_AGE_MS_MAX - 1, 0, NOW_MS, NOW_MS),
        (TS_MAX, TS_MAX, NOW_MS, NOW_MS),
        (0, TS_MAX, NOW_MS, NOW_MS),
    ],
    ids=[
        "unknown when sent", "a right clock", "an hour in a queue or behind", "a clock two hours ahead",
        "ahead, unknown when sent", "later than its batch", "seconds, unknown when sent", "seconds in ts alone",
        "seconds in both", "seconds in sent_at alone", "ten years old", "older", "the year 9999", "all of time",
    ],
)  # fmt: skip
def test_at_is_when_it_happened_by_the_collectors_clock(
    engine: Embedded, ts: int, sent_at: int, received_at: int, at: int
) -> None:
    """A client's clock may be wrong by years; how long it says an event waited is right even so."""
    row = signal(1, ts=ts, sent_at=sent_at, received_at=received_at)
    engine.insert(Block(SIGNALS, topics.SIGNALS, 0, 0, 1, *_datums(record(topics.SIGNALS, row))))
    assert _at_of(engine, "signals") == [(ts, at)]


def test_record_of_before_sent_at_is_stored_with_when_it_happened(engine: Embedded) -> None:
    """The version before wrote what lies on the topics now."""
    older = by_id()[1]
    row = {name: value for name, value in signal(1, ts=NOW_MS, received_at=NOW_MS + 5).items() if name != "sent_at"}
    value = codec.HEADER.pack(0, older.id) + encoded(older.parsed, row)
    sent = FakeRecord(topic=topics.SIGNALS, value=value)
    check(SIGNALS, value)
    engine.insert(Block(SIGNALS, topics.SIGNALS, 0, 0, 1, *_datums(sent)))
    assert _at_of(engine, "signals") == [(NOW_MS, NOW_MS)]


def _datums(sent: FakeRecord) -> tuple[object, list[bytes]]:
    schema, datum = reader_of(SIGNALS)(sent)
    return schema, [datum]


def _at_of(engine: Embedded, table: str) -> list[tuple[int, int]]:
    sql = f"SELECT ts, toUnixTimestamp64Milli(at) FROM unjoin.{table} FINAL ORDER BY ts"
    return [(int(ts), int(at)) for ts, at in (line.split() for line in engine.select(sql, "TSV").decode().splitlines())]


def test_rows_of_one_table_share_one_schema_object() -> None:
    """A block ends where the schema changes; two parses of one schema would end it at every record."""
    first, _ = reader_of(ANALYTICS)(record(topics.ANALYTICS, PAGE_VIEW))
    second, _ = reader_of(ANALYTICS)(record(topics.ANALYTICS, PAGE_VIEW))
    assert first is second


def test_a_dead_letter_is_stored_by_where_it_lay_before(engine: Embedded) -> None:
    headers = dead_letter_headers(DeadLetterReason.TRAILING_BYTES, topics.SIGNALS, 3, 2**40)
    sent = FakeRecord(topic=topics.DEAD_LETTERS, value=b"a secret", headers=headers, offset=7)
    schema, datum = reader_of(DEAD_LETTERS)(sent)
    assert b"secret" not in datum
    engine.insert(Block(DEAD_LETTERS, topics.DEAD_LETTERS, 0, 7, 8, schema, [datum]))
    row = json.loads(engine.select("SELECT reason, topic, partition, offset, failed_at FROM unjoin.dead_letters"))
    assert row == {
        "reason": "trailing_bytes",
        "topic": "events.signals",
        "partition": 3,
        "offset": 2**40,
        "failed_at": "2026-09-21 14:13:20.000",
    }


@given(
    st.one_of(
        st.none(),
        st.lists(st.tuples(st.sampled_from(["reason", "topic", "partition", "offset", "x"]), st.binary(max_size=30))),
        st.integers(min_value=-(2**80), max_value=2**80).map(
            lambda n: [("reason", b"r"), ("topic", b"t"), ("partition", b"1"), ("offset", str(n).encode())]
        ),
    )
)
def test_any_record_on_the_dead_letter_topic_becomes_a_row(headers: object) -> None:
    """A dead letter of a dead letter would go round for ever."""
    sent = FakeRecord(topic=topics.DEAD_LETTERS, value=b"", headers=headers, partition=1, offset=9)
    schema, datum = reader_of(DEAD_LETTERS)(sent)
    row = fastavro.schemaless_reader(io.BytesIO(datum), schema, None)
    assert isinstance(row, dict)
    assert encoded(schema, row) == datum
