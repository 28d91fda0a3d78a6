"""What is there is found, in whatever form and behind whatever compression; what is not there is not."""

import base64
import io
import json
import struct
from pathlib import Path

import cramjam
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.encode.records import Record
from ingest.spool.file import SpoolFile
from ingest.spool.packs import pack_of
from sinks.clickhouse.embedded import Embedded
from testkit.sink_records import signal, signals
from unjoin.cli import main
from unjoin.subjects.search.compressed import NotReadable, batches, blocks
from unjoin.subjects.search.needles import Needles, Search
from unjoin.subjects.search.places import AS_IT_LIES, UNCOMPRESSED, place_of, search_files
from unjoin.subjects.search.stored import search_tables

TEXT = "zoë.o'hara@example.test"
NEEDLES = Needles({"email": TEXT, "also 1": ""})
PLAIN = TEXT.encode()


def found_in(*pieces: bytes) -> dict[str, int]:
    search = Search(NEEDLES)
    for piece in pieces:
        search.feed(piece)
    search.end()
    return {form: count for (_, form), count in search.found.items() if count}


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (PLAIN, "as it is"),
        (b"\0x" + PLAIN.upper() + b"\xff", "as it is"),
        (TEXT.upper().encode(), "in capitals"),
        (json.dumps(TEXT).encode(), "as JSON escapes"),
        (b"/?e=zo%C3%AB.o%27hara%40example.test&", "percent-encoded"),
        (PLAIN.hex().upper().encode(), "as hexadecimal"),
        (TEXT.encode("utf-16-le"), "as UTF-16"),
        (base64.b64encode(PLAIN), "as base64, shifted by 0"),
        (base64.b64encode(b"a" + PLAIN + b"b"), "as base64, shifted by 1"),
        (base64.b64encode(b"ab" + PLAIN), "as base64, shifted by 2"),
    ],
)
def test_text_is_found_in_every_form(data: bytes, form: str) -> None:
    assert found_in(data)[form] == 1
    assert not found_in(data[1:-1].replace(b"h", b"", 1)[: len(data) // 2])


@given(st.binary(), st.binary(), st.integers(1, 40), st.integers(1, 3))
def test_no_seam_hides_a_text_or_doubles_it(before: bytes, after: bytes, size: int, times: int) -> None:
    """Files are read in pieces, and a compressed block ends where it is full."""
    data = (before + PLAIN + b"\0") * times + after
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert found_in(*pieces) == found_in(data)
    assert found_in(data)["as it is"] == data.lower().count(PLAIN)


def block(method: int, body: bytes, plain: bytes) -> bytes:
    return b"c" * 16 + struct.pack("<BII", method, len(body) + 9, len(plain)) + body


def segment(codec: int) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1_000_000)
    builder.append(0, 1, PLAIN, b"value " * 50, [("name", PLAIN)])
    builder.append(1, 1, None, b"x" + PLAIN, [])
    return bytes(builder.build())


@pytest.mark.parametrize("codec", range(5), ids=["none", "gzip", "snappy", "lz4", "zstd"])
def test_records_of_every_codec_are_read_from_a_segment(codec: int) -> None:
    """And what a broker is just writing ends the search of that file, not the search."""
    whole = segment(codec)
    for file in (whole + whole, whole + whole + b"\0" * 100, whole + whole + whole[:70]):
        assert found_in(*batches(io.BytesIO(file))) == {"as it is": 6}


@settings(max_examples=150)
@given(
    st.sampled_from(
        [segment(4), segment(2), block(0x82, bytes(cramjam.lz4.compress_block(PLAIN, store_size=False)), PLAIN)]
    ),
    st.data(),
)
def test_damaged_file_is_not_readable_and_nothing_worse(whole: bytes, data: st.DataObject) -> None:
    """Any bytes may lie on a disk that an attacker has written to."""
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    for read in (batches, blocks):
        try:
            for _ in read(io.BytesIO(damaged)):
                pass
        except NotReadable:
            continue


def test_search_of_a_data_directory_names_places_and_sees_through_compression(tmp_path: Path) -> None:
    """Of a spool also what its free pages and its log still hold: a deleted record is not gone by itself."""
    uuid = "11111111-2222-3333-4444-555555555555"
    part = tmp_path / "clickhouse" / "store" / "111" / uuid / "detached" / "all_1_1_0"
    kafka = tmp_path / "kafka" / "data" / "events.signals-0"
    for folder in (part, kafka, tmp_path / "spool", tmp_path / "logs", tmp_path / "clickhouse" / "metadata"):
        folder.mkdir(parents=True)
    (tmp_path / "clickhouse" / "metadata" / "signals.sql").write_text(f"ATTACH TABLE _ UUID '{uuid}'")
    (part / "event_id.bin").write_bytes(block(0x90, bytes(cramjam.zstd.compress(PLAIN * 3)), PLAIN * 3))
    (part / "t.bin").write_bytes(b"no block of ClickHouse's")
    (kafka / "00000000000000000000.log").write_bytes(segment(4))
    (tmp_path / "logs" / f"{TEXT}.log").write_bytes(b"nothing")
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.seek(1 << 30)
        sparse.write(PLAIN)
        sparse.truncate(1 << 31)
    (tmp_path / "link").symlink_to(part / "event_id.bin")
    spool = SpoolFile(tmp_path / "spool" / "spool.sqlite", 1 << 20, 1, lambda: 1)
    spool.open()
    long = Record("events.personal", b"k", b"p" * 4_000 + PLAIN + b"q" * 200, 1)
    spool.append([pack_of([long], None)])
    found = {(one.place, one.how): one for one in search_files(tmp_path, [], NEEDLES, lambda _: None)}
    spool.close()
    assert found["ClickHouse: detached parts of signals", UNCOMPRESSED].found == {"email, as it is": 3}
    assert found["ClickHouse: detached parts of signals", UNCOMPRESSED].missed == 1
    assert found["Kafka: segments of events.signals", UNCOMPRESSED].found == {"email, as it is": 3}
    assert found["spool: its file, free pages and log", UNCOMPRESSED].found == {"email, as it is": 1}
    assert found["logs of every part", AS_IT_LIES].found == {"email, as it is": 1}
    assert found["other files of the data directory", AS_IT_LIES].found == {"email, as it is": 1}
    assert found["other files of the data directory", AS_IT_LIES].searched_bytes < 1 << 20


def test_table_is_searched_in_every_text_column_and_every_row(engine: Embedded) -> None:
    """Rows that another one replaces lie there until parts merge."""
    engine.select("SYSTEM STOP MERGES unjoin.signals", "Null")
    for _ in range(2):
        engine.insert(signals([signal(1, session=f"x-{PLAIN.decode()}"), signal(2)]))
    engine.select(
        f"INSERT INTO unjoin.labelers (event_id, languages) VALUES ('e', ['de', unhex('{PLAIN.hex()}')])", "Null"
    )
    engine.select("SYSTEM START MERGES unjoin.signals", "Null")
    found = {one.place: one for one in search_tables(lambda sql: engine.select(sql, "TabSeparated"), NEEDLES)}
    assert found["ClickHouse: table signals"].found == {"email, as it is": 2}
    assert found["ClickHouse: table signals"].items == 4
    assert found["ClickHouse: table labelers"].found == {"email, as it is": 1}
    assert found["ClickHouse: table labels"].found == {}


def test_places_are_named_for_people() -> None:
    assert place_of(("kafka", "data", "__consumer_offsets-12", "0.log"), {}) == "Kafka: segments of __consumer_offsets"
    assert place_of(("kafka", "server.properties"), {}) == "Kafka: its other files"
    assert place_of(("keys", "edge", "2026-11-29"), {}) == "other files of the data directory"
    assert place_of(("up.log",), {}) == "logs of every part"


def test_search_that_was_let_in_nowhere_does_not_say_that_nothing_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """An erasure would be proved by a ClickHouse and a Kafka that are down."""
    for name, value in {
        "DATA_DIR": str(tmp_path),
        "CLICKHOUSE_HTTP_PORT": "1",
        "KAFKA_BOOTSTRAP": "127.0.0.1:1",
    }.items():
        monkeypatch.setenv(f"UNJOIN_{name}", value)
    search = ["subject", "--email", "STRASSE@example.test", "--search"]
    assert main(search) == 3
    said = capfd.readouterr()
    assert "not searched to the end" in said.out
    assert "strasse" not in (said.out + said.err).lower()
    (tmp_path / "anything").write_text("Strasse@example.test")
    assert main(search) == 0
    assert main([*search, "--report", str(tmp_path / "no" / "report")]) == 1
