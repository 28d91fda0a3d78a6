"""Port 8123: what stock clients need, and the layers that keep it read-only."""

import gzip
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPResponse
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import clickhouse_connect
import msgspec
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from faults.chaos.rows import physical_sql
from sinks.clickhouse.embedded import Embedded
from sinks.http import interface
from sinks.http.compression import coded
from sinks.metrics import SinkMetrics
from testkit.http_interface import running_interface
from testkit.sink_configs import query_bounds, sink_config
from testkit.sink_records import label, labels, signal, signals
from tests.sinks.http.heavy_queries import ROWS, WARM_UP_BLOCKS, Report
from unjoin.audit.keys import ROW_KEYS
from unjoin.subjects.search.needles import Needles
from unjoin.subjects.search.stored import search_tables

BOUNDS = query_bounds(max_execution_time=2, max_result_rows=200_000)
LARGE_BYTES, LIGHT_BYTES = 201_326_592, 67_108_864
METRICS = SinkMetrics()
ROOT = Path(__file__).parents[3]
# What inserts and merges take beside the queries, with room to spare.
INSERTS_BYTES = 134_217_728


@pytest.fixture(scope="module")
def port(embedded: Embedded) -> Iterator[int]:
    """The interface, as a sink runs it."""
    bounds = {"bounds": BOUNDS, "large_bytes": LARGE_BYTES, "light_bytes": LIGHT_BYTES}
    with running_interface(embedded, METRICS, hosts=("clickhouse.test",), **bounds) as port:
        yield port


def ask(
    port: int, sql: str | bytes | None = None, path: str = "/", headers: dict[str, str] | None = None, **url: str
) -> tuple[int, str, Any]:
    """Status, body and headers; the SQL goes as the body, everything else into the URL."""
    address = f"http://127.0.0.1:{port}{path}" + (f"?{urllib.parse.urlencode(url)}" if url else "")
    body = sql.encode() if isinstance(sql, str) else sql
    request = urllib.request.Request(address, data=body, headers=headers or {})
    answer: HTTPResponse | urllib.error.HTTPError
    try:
        answer = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status or 0, answer.read().decode(), answer.headers


def test_ping_and_an_empty_question_answer_ok(port: int) -> None:
    """Health checks of every client library ask one or the other."""
    assert ask(port, path="/ping")[:2] == (200, "Ok.\n")
    assert ask(port)[:2] == (200, "Ok.\n")
    assert ask(port, path="/nothing")[0] == 404


def test_the_query_comes_by_url_by_body_or_half_by_each(port: int) -> None:
    assert ask(port, query="SELECT 1")[:2] == (200, "1\n")
    assert ask(port, "SELECT 1")[:2] == (200, "1\n")
    assert ask(port, "1, 2", query="SELECT")[:2] == (200, "1\t2\n")
    assert ask(port, "-- a comment\nSELECT 1;")[:2] == (200, "1\n")


def test_the_format_is_named_in_the_query_the_url_or_a_header(port: int) -> None:
    for answer in (
        ask(port, "SELECT 1 AS a FORMAT JSONEachRow"),
        ask(port, "SELECT 1 AS a", default_format="JSONEachRow"),
        ask(port, "SELECT 1 AS a", headers={"X-ClickHouse-Format": "JSONEachRow"}),
    ):
        assert answer[:2] == (200, '{"a":1}\n')
        assert answer[2]["X-ClickHouse-Format"] == "JSONEachRow"
    assert ask(port, "SELECT 1", default_format="Nonsense")[0] == 404
    assert ask(port, "SELECT 1", default_format="DataFrame")[0] == 404


def test_an_answer_says_what_it_cost(port: int) -> None:
    summary = json.loads(ask(port, "SELECT * FROM numbers(5)")[2]["X-ClickHouse-Summary"])
    assert (summary["read_rows"], summary["result_rows"], summary["written_rows"]) == ("5", "5", "0")


def test_parameters_arrive_as_values(port: int) -> None:
    answer = ask(port, "SELECT {name:String}, {n:UInt8} + 1", param_name="it's\\t1", param_n="2")
    assert answer[:2] == (200, "it\\'s\\t1\t3\n")
    assert ask(port, "SELECT {n:UInt8}", param_n="x")[0] == 400


@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        ("SELECT FROM WHERE", 400, 62),
        ("SELECT * FROM nothing", 404, 60),
        ("SELECT nosuch(1)", 404, 46),
        ("SELECT throwIf(1)", 500, 395),
        ("SELECT sleepEachRow(1) FROM numbers(3)", 408, 159),
        ("SELECT number FROM numbers(300000)", 500, 396),
        ("SELECT groupArray(number) FROM numbers(1000000000)", 500, 241),
    ],
)
def test_errors_look_like_a_server_s(port: int, sql: str, status: int, code: int) -> None:
    got, text, headers = ask(port, sql)
    assert (got, headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
    assert text.startswith(f"Code: {code}. DB::Exception: ")
    assert "formatQuery" not in text


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO labels (task) VALUES ('x')",
        "CREATE TABLE mine (a Int8) ENGINE = Memory",
        "DROP TABLE labels",
        "ALTER TABLE labels DELETE WHERE 1",
        "KILL QUERY WHERE 1",
        "SET readonly = 0",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT * FROM (SELECT 1 SETTINGS max_execution_time = 0)",
        "SELECT 1; DROP TABLE labels",
        "SELECT 1; SELECT 2",
        "SELECT file('/etc/passwd')",
        "SELECT `fi\\x6ce`('/etc/passwd')",
        "SELECT * FROM file('/etc/passwd', LineAsString)",
        "SELECT * FROM default.`/etc/passwd`",
        "DESCRIBE file('/etc/passwd')",
        "SELECT 1 INTO OUTFILE '/tmp/unjoin-outfile'",
        "SELECT * FROM executable('id', TSV, 'a String')",
        "SELECT * FROM eval('SELECT 1')",
        "SELECT getServerSetting('path')",
        "SELECT aiGenerate('x')",
        "SELECT AIGenerate('x')",
        "SELECT * FROM url('http://127.0.0.1:9/', CSV, 'a String')",
        "DESCRIBE url('http://127.0.0.1:9/x.csv')",
        "SELECT * FROM s3('http://127.0.0.1:9/bucket/x', CSV, 'a String')",
        "SELECT * FROM remote('127.0.0.1', system.one)",
        "SELECT * FROM mysql('127.0.0.1:9', 'a', 'b', 'c', 'd')",
        "SELECT * FROM postgresql('127.0.0.1:9', 'a', 'b', 'c', 'd')",
        "SELECT * FROM sqlite('/tmp/x', 'y')",
        "SELECT * FROM Python(secret)",
        "SELECT * FROM iceberg('http://127.0.0.1:9/bucket/x')",
        "BACKUP TABLE labels TO File('/tmp/x')",
    ],
)
def test_nothing_is_written_and_nothing_outside_is_read(port: int, engine: Embedded, sql: str) -> None:
    engine.insert(labels([label(1, "t", "a")]))
    status, text, _ = ask(port, sql)
    assert status >= 400
    assert "root:" not in text
    assert engine.select("SELECT count() FROM unjoin.labels", "TSV") == b"1\n"
    assert not Path("/tmp/unjoin-outfile").exists()


@pytest.mark.parametrize(
    ("sql", "url"),
    [
        ("SELECT last_error_message FROM system.errors", {}),
        ('SELECT * FROM `sys\\x74em`."errors"', {}),
        ("SELECT * FROM errors", {"database": "system"}),
        ("SELECT * FROM {a:Identifier}.{b:Identifier}", {"param_a": "system", "param_b": "errors"}),
        ("SELECT * FROM merge(concat('sys', 'tem'), '^err')", {}),
        ("WITH e AS (SELECT * FROM system /**/ . errors) SELECT * FROM e", {}),
        ("SELECT query FROM system.processes", {}),
        ("SHOW PROCESSLIST", {}),
        ("SELECT * FROM SYSTEM.ERRORS", {}),
    ],
)
def test_what_others_asked_cannot_be_read(port: int, sql: str, url: dict[str, str]) -> None:
    """The engine keeps the last error's text, and that quotes the literal that somebody looked for."""
    assert ask(port, "SELECT toInt32('canary-of-another')")[0] == 400
    status, text, _ = ask(port, sql, **url)
    assert status in (403, 404)
    assert "canary" not in text


@pytest.mark.parametrize(
    "table", ["parts", "parts_columns", "projection_parts", "dropped_tables_parts", "merges", "part_log", "mutations"]
)
def test_when_a_row_was_stored_cannot_be_read(port: int, table: str) -> None:
    """Joined by `_part`, it would be the second in which a label was released."""
    assert ask(port, f"SELECT * FROM system.{table}")[0] == 403
    assert ask(port, f"SELECT * FROM `{table}`", database="system")[0] == 403


OF_A_PART = (
    "SELECT _part FROM labels",
    "SELECT *, _part_offset FROM labels",
    "SELECT count() FROM labels GROUP BY `_part`",
    'SELECT "_block_number" FROM labels',
    "SELECT labels._part_uuid FROM labels",
    "SELECT one._part_index FROM labels AS one JOIN labels AS other ON one._part_index = other._part_index",
    "SELECT p FROM (SELECT _part AS p FROM labels)",
    "SELECT * FROM view(SELECT _partition_id FROM labels)",
    "WITH _part AS p SELECT p FROM labels",
    "SELECT 1 FROM labels WHERE _PART_OFFSET = 0 OR _part_offset = 0",
    "SELECT _sample_factor, _block_offset FROM signals",
    "SELECT blockNumber(), task FROM labels",
    "SELECT rowNumberInAllBlocks(), task FROM labels",
    "SELECT neighbor(task, -1) FROM labels SETTINGS allow_deprecated_error_prone_window_functions = 1",
    "SELECT * FROM labels WHERE indexHint(task = 't')",
    "SELECT lowCardinalityIndices(kind) FROM labels",
    "SHOW MERGES",
    "EXPLAIN SELECT * FROM labels",
    "EXPLAIN PLAN SELECT * FROM labels",
    "EXPLAIN indexes = 1 SELECT * FROM label_consensus",
    "EXPLAIN PIPELINE SELECT * FROM labels",
    "EXPLAIN ESTIMATE SELECT * FROM labels WHERE task = 't'",
    "SELECT * FROM (EXPLAIN ESTIMATE SELECT * FROM labels)",
    "SELECT * FROM mergeTreeProjection('unjoin', 'labels', 'p')",
    "SELECT * FROM mergeTreeAnalyzeIndexes('unjoin', 'labels')",
    "SELECT * FROM system.query_condition_cache",
    "SELECT * FROM system.part_moves_between_shards",
    "SELECT * FROM system.detached_parts",
    "SELECT * FROM merge('unjoin', 'labels')",
    "SELECT * FROM mergeTreeIndex('unjoin', 'labels')",
)


@pytest.mark.parametrize("sql", OF_A_PART)
def test_nobody_is_told_which_part_a_row_lies_in(port: int, sql: str) -> None:
    """An insert's part holds the members of its crowds until it is merged."""
    assert ask(port, sql)[0] == 403


@pytest.fixture
def parts_of_labels(engine: Embedded) -> Iterator[str]:
    """Four inserts of 30 labels that no merge joins; each answer names its insert, and a task many of them."""
    engine.select("SYSTEM STOP MERGES unjoin.labels", "Null")
    rng = random.Random(1)
    for part in "abcd":
        engine.insert(labels([label(rng.randrange(10**9), f"t-{rng.randrange(100):03}", part) for _ in range(30)]))
    yield "SELECT task, row_id, answer FROM unjoin.labels"
    engine.select("SYSTEM START MERGES unjoin.labels", "Null")


def changes_of_insert(text: str) -> int:
    """How often the next row is of another insert than the one before."""
    inserts = [line.split("\t")[2] for line in text.splitlines()]
    assert len(inserts) == 120
    return sum(one != other for one, other in pairwise(inserts))


@pytest.mark.parametrize(
    "settings", [{}, {"max_threads": "1"}, {"max_block_size": "10"}, {"optimize_read_in_order": "0"}, {"final": "1"}]
)
def test_rows_of_one_insert_do_not_follow_each_other(
    port: int, engine: Embedded, parts_of_labels: str, settings: dict[str, str]
) -> None:
    """An insert's rows left the door together. The engine's own FINAL gives them part by part, unless it is told."""
    own_choice = engine.read(parts_of_labels, "TSV", {"final": "1", "readonly": "1"}).body.decode()
    assert changes_of_insert(own_choice) == 3, "the control: each part's rows in a row"
    status, text, _ = ask(port, parts_of_labels, **settings)
    assert status == 200
    keys = [tuple(line.split("\t")[:1]) for line in text.splitlines()]
    assert keys == sorted(keys)
    assert changes_of_insert(text) > 60


@pytest.mark.parametrize(
    "settings",
    [
        {"max_rows_to_read": "1"},
        {"max_bytes_to_read": "1"},
        {"read_overflow_mode": "break"},
        {"output_format_write_statistics": "1"},
        {"final": "0"},
        {"final": "false"},
    ],
)
def test_no_setting_shows_the_parts_of_labels(port: int, parts_of_labels: str, settings: dict[str, str]) -> None:
    """Unmerged rows lie part by part, and a bound on what is read asks which parts a key may lie in."""
    assert ask(port, parts_of_labels, **settings)[0] == 500
    name, value = next(iter(settings.items()))
    assert ask(port, f"{parts_of_labels} SETTINGS {name} = '{value}'")[0] >= 400
    assert ask(port, "SELECT count() FROM signals", **settings)[0] in (200, 500)


@pytest.mark.parametrize(
    ("sql", "settings"),
    [
        ("SELECT groupArray(task) FROM labels", {}),
        ("SELECT row_id, 1 AS count FROM labels", {}),
        ("SELECT count() OVER (ROWS UNBOUNDED PRECEDING), task FROM labels", {}),
        ("SELECT count(), any(row_id) FROM labels", {}),
        (
            "SELECT task, count() FROM labels GROUP BY task",
            {"max_rows_to_group_by": "9", "group_by_overflow_mode": "any"},
        ),
        ("SELECT (SELECT count() FROM labels), * FROM (SELECT task FROM labels)", {}),
        ("SELECT task FROM labels UNION ALL SELECT toString(count()) FROM labels", {}),
        ("WITH a AS (SELECT task FROM labels) SELECT count() FROM a UNION ALL SELECT 1", {}),
        ('SELECT count() AS "labels", 1 AS `x`, groupArray(task) FROM labels', {}),
    ],
)
def test_without_final_there_are_counts_of_labels_alone(
    port: int, parts_of_labels: str, sql: str, settings: dict[str, str]
) -> None:
    assert parts_of_labels
    assert "READONLY" in ask(port, sql, final="0", **settings)[1]


def test_an_audit_counts_what_a_merge_will_drop(port: int, engine: Embedded) -> None:
    for version in (1, 2):
        engine.insert(labels([label(1, "t", "a", version=version)]))
    named = ROW_KEYS["labels"]
    rows = ask(port, named.statement(0, 1), final="0")[1].splitlines()
    assert sum(int(row.split("\t")[3]) for row in rows) == 2 or len(rows) == 1, "two rows, unless they were merged"
    assert ask(port, "SELECT count() FROM unjoin.labels", final="0")[0] == 200
    assert ask(port, physical_sql([1, 2]), final="0")[0] == 200
    texts = Needles({"a text": "beagle"})
    found = search_tables(lambda sql: ask(port, sql, final="0")[1].encode(), texts)
    assert "ClickHouse: table labels" in {one.place for one in found}


def test_no_format_tells_the_progress_of_reading_labels(port: int, parts_of_labels: str) -> None:
    """It counts the rows that were read."""
    assert ask(port, parts_of_labels, default_format="JSONEachRowWithProgress")[0] == 404
    assert ask(port, f"{parts_of_labels} FORMAT JSONEachRowWithProgress")[0] == 404
    assert ask(port, "SELECT 1 FORMAT JSONEachRowWithProgress")[0] == 200


def test_answer_about_labels_does_not_say_how_many_rows_were_read(port: int, parts_of_labels: str) -> None:
    """The rows read for one key are those of the parts whose range it lies in."""
    status, text, headers = ask(port, f"{parts_of_labels} WHERE task = 't-050' FORMAT JSON")
    summary = json.loads(headers["X-ClickHouse-Summary"])
    assert status == 200
    assert summary["read_rows"] == summary["total_rows_to_read"] == summary["result_rows"]
    assert int(summary["result_rows"]) < 30
    assert "statistics" not in json.loads(text)


def test_virtual_column_is_refused_as_a_parameter_too_and_given_by_no_star(port: int) -> None:
    """A name may come in an identifier's placeholder, and a pattern must not match what nobody listed."""
    assert ask(port, "SELECT {what:Identifier} FROM labels", param_what="_part")[0] == 403
    for sql in ("SELECT * FROM labels", "SELECT COLUMNS('.*') FROM labels", "SELECT COLUMNS('^_p') FROM labels"):
        status, text, _ = ask(port, f"{sql} FORMAT JSON")
        assert status != 200 or "_part" not in text


@pytest.mark.slow
def test_no_system_table_that_can_be_read_repeats_what_others_asked(port: int) -> None:
    """Whatever tables the engine has."""
    assert ask(port, "SELECT toInt32('canary-of-another')")[0] == 400
    names = ask(port, "SELECT name FROM system.tables WHERE database = 'system'")[1].split()
    assert "errors" in names
    read = 0
    for name in names:
        status, text, _ = ask(port, f"SELECT * FROM system.`{name}` LIMIT 5000")
        read += status == 200
        assert "canary-of-another" not in text, name
    assert read > 50


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM file('/etc/passwd', LineAsString)",
        "SELECT * FROM url('http://127.0.0.1:9/', CSV, 'a String')",
        "INSERT INTO labels (task) VALUES ('x')",
        "DROP TABLE labels",
        "SET readonly = 0",
        "SELECT * FROM default.`/etc/passwd`",
    ],
)
def test_readonly_alone_stops_what_it_can(embedded: Embedded, sql: str) -> None:
    """A layer of its own: the session that every request gets, without what is judged before."""
    with pytest.raises(Exception, match="code 164"):
        embedded.read(sql, "TSV", {"readonly": "1"})


def test_a_post_of_bytes_is_refused_and_not_run(port: int) -> None:
    status, text, _ = ask(port, b"\xff\xfe\x00", query="INSERT INTO labels FORMAT Native")
    assert (status, text.split(".")[0]) == (500, "Code: 164")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:8123", 200),
        ("[::1]:8123", 200),
        ("Clickhouse.Test:1", 200),
        ("evil.test", 403),
        ("127.0.0.1.evil.test", 403),
        ("", 403),
    ],
)
def test_only_known_hosts_are_answered(port: int, host: str, status: int) -> None:
    """A page whose name was rebound to 127.0.0.1 sends its own name."""
    assert ask(port, "SELECT 1", headers={"Host": host})[0] == status


@pytest.mark.parametrize("path", ["/?query=SELECT+1", "/ping", "/replicas_status", "/nothing"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "anything"},
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://evil.test", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_a_web_page_is_refused_before_its_query_is_read(port: int, path: str, headers: dict[str, str]) -> None:
    """It cannot read an answer, but timed it: a stored e-mail address was read letter by letter."""
    before = counted("unjoin_sink_refused_web_pages_total")
    assert ask(port, path=path, headers=headers)[:2] == (403, "This port does not answer web pages.\n")
    assert counted("unjoin_sink_refused_web_pages_total") == before + 1


def test_a_refused_web_page_runs_nothing(port: int, monkeypatch: pytest.MonkeyPatch, embedded: Embedded) -> None:
    """Not even the parser: whatever runs takes a time that tells."""
    monkeypatch.setattr(embedded, "read", None)
    monkeypatch.setattr(embedded, "read_bounded", None)
    assert ask(port, "SELECT 1", headers={"Sec-Fetch-Site": "cross-site"})[0] == 403


@pytest.mark.parametrize("fetch_site", ["none", "same-origin"])
def test_a_reader_s_own_browser_is_answered_without_leave_for_others(port: int, fetch_site: str) -> None:
    """Somebody who types the address is no page of another; the answer is no page either."""
    own = {"Sec-Fetch-Site": fetch_site, "Origin": f"http://127.0.0.1:{port}"}
    status, _, headers = ask(port, "SELECT '<script>' FORMAT RawBLOB", headers=own)
    assert status == 200
    assert not [name for name in headers if name.lower().startswith("access-control")]
    assert headers["Content-Type"].startswith("text/plain")
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_query_that_needs_more_gets_the_large_place(port: int) -> None:
    """One place is large enough for it; a second one of its size waits."""
    heavy = "SELECT length(groupArray(number)) FROM numbers(6000000)"
    assert ask(port, heavy, max_memory_usage=str(LIGHT_BYTES * 3 // 4))[2]["X-ClickHouse-Exception-Code"] == "241"
    assert ask(port, heavy)[:2] == (200, "6000000\n")


def test_an_answer_that_grows_as_it_is_written_is_bounded(port: int) -> None:
    """The engine counts rows, not what JSON makes of them: six characters of one."""
    sql = "SELECT repeat('\\0', {}) FROM numbers(200000) FORMAT JSONEachRow"
    status, body, _ = ask(port, sql.format(24), max_block_size="1000")
    assert (status, body.count("\n")) == (200, 200_000)
    assert len(body) > LIGHT_BYTES // 4
    status, text, headers = ask(port, sql.format(60), max_block_size="1000")
    assert (status, headers["X-ClickHouse-Exception-Code"]) == (500, "396")
    assert "The answer is over 50331648 bytes" in text


def test_an_answer_that_nobody_reads_leaves_its_place(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a few connections that read nothing would keep everybody out."""
    monkeypatch.setattr(interface, "SEND_SECONDS_MAX", 0.2)
    deaf = []
    for _ in range(interface.LIGHT_QUERIES + 1):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.sendall(
            b"GET /?query=SELECT+repeat('x',1000000)+FROM+numbers(12) HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        deaf.append(connection)
    try:
        assert ask(port, "SELECT 1")[:2] == (200, "1\n")
    finally:
        for connection in deaf:
            connection.close()


@pytest.mark.slow
def test_inserts_go_on_beside_heavy_queries_and_memory_stays_within_the_sum(tmp_path: Path) -> None:
    """One query took 1 GiB, four at once more than two: the sink that shares their process must not pay for it."""
    query_bytes, queries_bytes = 268_435_456, 536_870_912
    command = [sys.executable, "-m", "tests.sinks.http.heavy_queries", str(tmp_path), str(query_bytes)]
    done = subprocess.run([*command, str(queries_bytes)], cwd=ROOT, capture_output=True, timeout=300, check=True)
    report = msgspec.json.decode(done.stdout, type=Report)
    assert set(report.codes) == {"", "241", "396"}
    assert report.blocks > 0
    assert report.rows == (WARM_UP_BLOCKS + report.blocks) * ROWS
    assert report.grown_bytes <= queries_bytes + INSERTS_BYTES


@pytest.mark.parametrize(("query", "queries"), [(1_073_741_824, 1_073_741_824), (100, 50)])
def test_bounds_that_leave_no_room_for_small_queries_stop_the_sink(query: int, queries: int) -> None:
    """With a clear error at the start, not a port that answers nothing."""
    with pytest.raises(interface.QueryMemoryError, match="UNJOIN_QUERIES_BYTES_MAX must be at least"):
        sink_config("", Path(), query_bytes_max=query, queries_bytes_max=queries).http()


@pytest.mark.usefixtures("unmerged")
def test_plain_table_names_give_each_row_once(port: int, engine: Embedded) -> None:
    engine.insert(signals([signal(1), signal(2)]))
    engine.insert(signals([signal(1)]))
    assert ask(port, "SELECT count() FROM signals")[1] == "2\n"
    assert ask(port, "SELECT count() FROM unjoin.signals")[1] == "2\n"
    assert ask(port, "SELECT count() FROM signals", final="0")[1] == "3\n"


def test_settings_by_url_are_welcome_refused_or_unknown(port: int) -> None:
    assert ask(port, "SELECT 1", max_result_rows="5", wait_end_of_query="1", session_id="s", readonly="2")[0] == 200
    assert ask(port, "SELECT number FROM numbers(9)", max_result_rows="5")[0] == 500
    assert ask(port, "SELECT 1", max_ast_depth="5")[2]["X-ClickHouse-Exception-Code"] == "164"
    assert ask(port, "SELECT 1", nonsense="5")[2]["X-ClickHouse-Exception-Code"] == "115"
    assert ask(port, "SELECT 1", database="nothing")[0] == 404
    assert ask(port, "SELECT 1", database="nothing`; DROP TABLE labels")[0] == 404
    assert ask(port, "SELECT name FROM tables LIMIT 0", database="system")[0] == 200


def test_a_bound_that_was_capped_is_told_in_a_header(port: int) -> None:
    """By URL or in SETTINGS; of memory the large place's counts, for there a query runs again."""
    sql = "SELECT getSetting('max_execution_time'), getSetting('max_threads') SETTINGS max_threads = 64"
    answer = ask(port, sql, max_execution_time="100", max_memory_usage="99999999999")
    assert answer[:2] == (200, "2\t2\n")
    assert answer[2]["X-Unjoin-Capped"] == "max_execution_time=2, max_memory_usage=150994944, max_threads=2"
    assert ask(port, "SELECT 1", max_memory_usage="100000000")[2]["X-Unjoin-Capped"] is None


def test_two_queries_of_one_id_do_not_run_at_once(port: int) -> None:
    """A server refuses the second one with 216; an id is free again once its query has ended, however it did."""
    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(ask, port, "SELECT sleep(1)", query_id="one") for _ in range(2)]
    statuses = sorted((answer.result() for answer in running), key=itemgetter(0))
    assert [status for status, _, _ in statuses] == [200, 500]
    assert statuses[1][2]["X-ClickHouse-Exception-Code"] == "216"
    assert {headers["X-ClickHouse-Query-Id"] for _, _, headers in statuses} == {"one"}
    assert ask(port, "SELECT throwIf(1)", query_id="one")[2]["X-ClickHouse-Exception-Code"] == "395"
    assert ask(port, "SELECT 1", query_id="one")[0] == 200


@pytest.mark.parametrize(
    ("body", "headers", "url", "code"),
    [
        (b"SELECT '" + b"x" * 2_000_000 + b"'", {}, {}, "307"),
        (gzip.compress(b" " * 20_000_000), {"Content-Encoding": "gzip"}, {}, "307"),
        (b"SELECT 1", {"Content-Encoding": "gzip"}, {}, "271"),
        (gzip.compress(b"SELECT 1")[:-9], {"Content-Encoding": "gzip"}, {}, "271"),
        (coded(b"SELECT 1 FROM labels", "br", 3)[:-3], {"Content-Encoding": "br"}, {}, "271"),
        (coded(b"SELECT 1", "zstd", 3)[:-5], {"Content-Encoding": "zstd"}, {}, "271"),
        (coded(b"SELECT 1", "gzip", 3), {"Content-Encoding": "gzip, gzip"}, {}, "271"),
        (b"SELECT 1", {"Content-Encoding": "lz4"}, {}, "271"),
        (b"SELECT 1", {"Content-Encoding": "xz"}, {}, "271"),
        (b"SELECT 1", {}, {"decompress": "1"}, "271"),
        (b"SELECT 1", {"Content-Type": "multipart/form-data"}, {}, "117"),
        (b"SELECT 1", {"Content-Type": "multipart/form-data; boundary=b"}, {}, "117"),
        (b"--b\r\n\r\nSELECT 1", {"Content-Type": "multipart/form-data; boundary=b"}, {}, "117"),
        (b"--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}, {"decompress": "1"}, "271"),
        (b"SELECT '\xff'", {}, {}, "164"),
        (b"SELECT '\\xff'", {}, {}, "48"),
    ],
    ids=[str(number) for number in range(16)],  # bodies hold the time at which they were compressed
)
def test_a_body_that_is_not_as_it_says_ends_with_a_sentence(
    port: int, body: bytes, headers: dict[str, str], url: dict[str, str], code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Of one line, without what was in it, and with nothing in the log but that there was one."""
    _, text, got = ask(port, body, headers=headers, **url)
    assert got["X-ClickHouse-Exception-Code"] == code
    assert text.count("\n") == 1
    assert "Traceback" not in caplog.text
    assert "File " not in caplog.text


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd", "br", "lz4"])
def test_a_body_in_a_coding_is_read(port: int, coding: str) -> None:
    assert ask(port, coded(b"SELECT 1", coding, 3), headers={"Content-Encoding": coding})[:2] == (200, "1\n")


def test_clickhouse_connect_reads_a_table_into_a_data_frame(port: int, engine: Embedded) -> None:
    engine.insert(signals([signal(number) for number in range(100)]))
    client = clickhouse_connect.get_client(host="127.0.0.1", port=port, database="unjoin")
    try:
        frame = client.query_df("SELECT event_id, ts, x FROM signals ORDER BY ts")
        assert list(frame["event_id"]) == [signal(number)["event_id"] for number in range(100)]
        assert list(frame["x"][7]) == [1.5, 7.0]
        asked = client.query(
            "SELECT {who:String}", parameters={"who": "it's\t'"}, settings={"max_result_rows": 5, "final": 0}
        )
        assert asked.result_rows == [("it's\t'",)]
        assert client.query_arrow("SELECT 1 AS a").to_pydict() == {"a": [1]}
        with pytest.raises(DatabaseError, match="READONLY"):
            client.command("DROP TABLE labels")
    finally:
        client.close()


def test_curl_reads_csv(port: int) -> None:
    curl = shutil.which("curl")
    assert curl, "curl is not installed"
    command = [curl, "-sS", f"http://127.0.0.1:{port}/?default_format=CSV", "--data-binary", "SELECT 1, 'a'"]
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, env=environment)
    assert done.stdout == '1,"a"\n'


def test_what_was_asked_is_in_no_log(port: int, caplog: pytest.LogCaptureFixture) -> None:
    """A query can hold what it looks for."""
    caplog.set_level("DEBUG")
    ask(port, "SELECT 'canary-7731' FROM nothing")
    ask(port, "SELECT 'canary-7731'")
    assert "canary-7731" not in caplog.text


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /?query=canary-7732" + b"x" * 1_100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: canary-7732" + b"x" * 9_000 + b"\r\n\r\n",
        b"canary-7732 \x00\x01\r\n\r\n",
        b"GET /?query=canary-7732 HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: canary-7732\r\n\r\n",
    ],
)
def test_a_malformed_request_is_counted_and_its_bytes_are_in_no_log(
    port: int, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """aiohttp's traceback quotes them: the text of a query, and what it looked for."""
    caplog.set_level("DEBUG")
    before = counted("unjoin_sink_malformed_http_total")
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port), 30) as connection, suppress(OSError):
            connection.sendall(request_bytes)
            answer = connection.recv(1_000)
            assert b" 400 " in answer
            assert b"7732" not in answer
    assert counted("unjoin_sink_malformed_http_total") == before + 3
    assert "7732" not in caplog.text
    assert caplog.text.count("was not HTTP or too long") <= 1


def test_a_failure_of_ours_is_logged_without_what_was_asked(
    port: int, embedded: Embedded, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where it is helps; the text of an exception may hold a query."""

    secret = "canary-7733"

    def fail(*_: object) -> None:
        raise ValueError(secret)

    monkeypatch.setattr(embedded, "read", fail)
    assert ask(port, "SELECT 'canary-7733'")[0] == 500
    assert "answering a request ended by ValueError" in caplog.text
    assert "canary-7733" not in caplog.text


def test_a_long_request_line_is_read(port: int) -> None:
    """@clickhouse/client sends parameters in the URL, thousands of items of an array."""
    items = ",".join(str(number) for number in range(50_000))
    assert ask(port, query="SELECT length({a:Array(UInt32)})", param_a=f"[{items}]")[:2] == (200, "50000\n")


def counted(name: str) -> float:
    """One counter of the interface's sink."""
    return METRICS.registry.get_sample_value(name) or 0.0
