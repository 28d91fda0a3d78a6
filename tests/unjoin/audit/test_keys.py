"""A record and its row have one name: what Python makes of the record is what the engine makes of the row."""

import uuid
from types import SimpleNamespace
from typing import Any

import pytest

from schemas import codec
from schemas.dead_letters import dead_letter_headers
from schemas.outcomes import DeadLetterReason, DecodeError
from sinks.clickhouse.embedded import Embedded
from sinks.engine import Block
from sinks.rows.tables import TABLES, check, reader_of
from tests.pipeline.garbage import garbage, good
from unjoin.audit.keys import ROW_KEYS, row_key_of
from unjoin.audit.scratch import TABLE, Buckets, bucket_count, table_entries
from unjoin.audit.stored import read_slice

NAMES = ["s", "", "1 2 ", "ä\0b", "'); --", "\\N\t\n", "x" * 300]


def records_of(topic: str) -> list[Any]:
    """Records whose keys hold what would confuse a separator, a quote or a decoder."""
    if "dead_letters" in topic:
        places = [("events.signals", 0, 17), ("events.labeled", 2_147_483_647, (1 << 63) - 1)]
        return [
            SimpleNamespace(
                topic=topic, partition=0, offset=at, timestamp=1_790_000_000_123 + at, value=b"", key=None,
                headers=dead_letter_headers(DeadLetterReason.REFUSED, *place),
            )
            for at, place in enumerate(places)
        ]  # fmt: skip
    found = []
    for number, text in enumerate(NAMES):
        datum = good(topic, text, number)
        datum |= {name: text for name in ("site", "session", "account", "task") if name in datum}
        if "version" in datum:
            datum |= {"version": -number, "row_id": str(uuid.UUID(int=number << 120))}
        found.append(SimpleNamespace(topic=topic, partition=0, offset=number, timestamp=1, headers=(), key=None,
                                     value=codec.encode(f"{topic}-value", datum)))  # fmt: skip
    return found


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_row_of_a_record_is_found_under_its_name(engine: Embedded, tmp_path: Any, table: Any) -> None:
    """Were the two ever different, every event would look lost."""
    named, records = ROW_KEYS[table.name], records_of(table.topics[0])
    read = reader_of(table)
    schema = read(records[0])[0]
    block = Block(table=table, topic=table.topics[0], partition=0, first=0, end=len(records), schema=schema,
                  datums=[read(record)[1] for record in records])  # fmt: skip
    engine.insert(block)
    buckets = Buckets(tmp_path, "rows", TABLE, 4)

    def unmerged(sql: str) -> bytes:
        return engine.read(sql, "TabSeparated", {"final": "0"}).body

    assert sum(read_slice(unmerged, named, number, 3, buckets) for number in range(3)) == len(records)
    stored = [entry for number in range(4) for entry in table_entries(buckets, number)]
    assert {(entry.hash, entry.version) for entry in stored} == {row_key_of(named, record) for record in records}
    assert len({entry.hash for entry in stored}) == len({row_key_of(named, record)[0] for record in records})


@pytest.mark.parametrize("topic", ["events.signals", "events.analytics", "events.personal", "events.labelers",
                                   "labels.deidentified"])  # fmt: skip
def test_what_the_sink_sets_aside_has_no_name(topic: str) -> None:
    """Judged otherwise than by the sink, a dead letter would look like a lost row, or a lost row like a dead letter."""
    (table,) = (table for table in TABLES if topic in table.topics)
    for reason, key, value in garbage(topic, codec.encode(f"{topic}-value", good(topic, "m", 0))):
        record: Any = SimpleNamespace(topic=topic, partition=0, offset=0, timestamp=1, headers=(), key=key, value=value)
        with pytest.raises(DecodeError) as caught:
            row_key_of(ROW_KEYS[table.name], record)
        assert caught.value.reason == reason


def test_text_that_the_sink_does_not_read_is_not_judged() -> None:
    """A sink hands it on as it is: were it read here, a stored row would look like one that was set aside."""
    value = codec.encode("events.analytics-value", {**good("events.analytics", "m", 0), "referrer": "mark"})
    damaged = SimpleNamespace(value=value.replace(b"mark", b"\xff\xfe\xff\xfe"))
    check(ROW_KEYS["analytics"].table, damaged.value)
    assert reader_of(ROW_KEYS["analytics"].table)(damaged)
    assert row_key_of(ROW_KEYS["analytics"], damaged) == row_key_of(ROW_KEYS["analytics"], SimpleNamespace(value=value))


def test_names_of_different_keys_differ_where_their_text_runs_together() -> None:
    """Ids are chosen by clients."""
    topic = "events.signals"
    names = set()
    for site, session, event in (("a", "b", "c"), ("ab", "", "c"), ("a", "", "bc"), ("", "a", "bc"), ("a b", "", "c")):
        datum = {**good(topic, "m", 0), "site": site, "session": session, "event_id": event}
        names.add(row_key_of(ROW_KEYS["signals"], SimpleNamespace(value=codec.encode(f"{topic}-value", datum)))[0])
    assert len(names) == 5


@pytest.mark.parametrize(("entries", "buckets"), [(0, 1), (50_000, 1), (50_001, 2), (10_000_000, 256), (1 << 40, 256)])
def test_buckets_keep_to_the_memory_of_one(entries: int, buckets: int) -> None:
    """However many events there are."""
    assert bucket_count(entries) == buckets
