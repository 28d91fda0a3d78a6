"""The users and roles of deploy/clickhouse, each logged in to a server: who may read, write and see what."""

import os
import random
import re
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest
import re2

from sinks.clickhouse.address import address_of
from sinks.clickhouse.migrate import MigrationError, migrate
from sinks.clickhouse.server import Server
from sinks.rows.dictionary import DICTIONARY
from testkit.clickhouse_server import ClickHouseServer, missing
from testkit.sink_records import label, labels

ROOT = Path(__file__).parents[2]
USERS = ROOT / "deploy" / "clickhouse" / "users.xml"
SERVER = ROOT / "deploy" / "clickhouse" / "server.xml"

MIGRATIONS: list[str] = []
migrate(MIGRATIONS.append, lambda sql, output_format: b"")

ENGINES_NEED_A_GRANT = """<access_control_improvements><table_engines_require_grant>true</table_engines_require_grant>
</access_control_improvements>"""
LABELS = {"labels", "label_consensus", "label_export", "label_export_votes"}
OPEN = {"signals", "session_features", "analytics", "dead_letters"} | LABELS
CLOSED = {"personal", "labelers", "migrations", "sink_marks", "sink_adopted", "erasures"}
ASKED_WITH = {"label_export": "(k = 5)", "label_export_votes": "(k = 5)"}
MAY_READ = {"analyst": OPEN, "ml": LABELS, "privacy": OPEN | CLOSED}
# Refused to every reader, by a missing grant or by its profile.
FORBIDDEN = (
    "INSERT INTO unjoin.dead_letters (reason) VALUES ('x')",
    "ALTER TABLE unjoin.labels DELETE WHERE 1",
    "DROP TABLE unjoin.labels",
    "CREATE TABLE unjoin.copy (a Int32) ENGINE = Memory",
    "SELECT 1 SETTINGS readonly = 0",
    "SET final = 0",
    "SET max_execution_time = 0",
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
    "SELECT * FROM remote('127.0.0.1:1', 'unjoin', 'personal')",
    "SELECT * FROM system.users",
    "SELECT _part FROM unjoin.labels",
    "SELECT task, _part_offset FROM unjoin.labels",
    "SYSTEM SHUTDOWN",
)

Run = Callable[..., list[dict[str, object]]]

READERS = tuple(MAY_READ)
VIRTUAL = ("_part", "_part_index", "_part_uuid", "_part_offset", "_block_number", "_block_offset", "_partition_id")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    """A server with the users of deploy/, each of whom has its name for a password; engines of tables need a grant."""
    if reason := missing():
        pytest.skip(reason)
    passwords = {f"CLICKHOUSE_{user.upper()}_PASSWORD_SHA256": sha256(user.encode()).hexdigest() for user in READERS}
    running = ClickHouseServer(
        tmp_path_factory.mktemp("clickhouse"),
        deployed=True,
        environment=passwords | {"CLICKHOUSE_SINK_PASSWORD": "sink"},
        more=ENGINES_NEED_A_GRANT,
    )
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def run(server: ClickHouseServer) -> Run:
    """Runs statements as a user, over HTTP; the sink has made its tables before anybody reads."""
    sink = Server(address_of(server.url_of("sink", "sink")))
    sink.migrate()
    for version in (1, 2):
        sink.insert(labels([label(1, "dogs", "pug", version)]))
    sink.close()

    def as_user(user: str, *statements: str) -> list[dict[str, object]]:
        return [_answer(server, user, sql) for sql in statements]

    return as_user


def _answer(server: ClickHouseServer, user: str, sql: str) -> dict[str, object]:
    """The rows, or the name of the error."""
    request = urllib.request.Request(f"http://127.0.0.1:{server.http_port}/", sql.encode())
    for name, value in (("User", user), ("Key", user), ("Format", "JSONCompactEachRow")):
        request.add_header(f"X-ClickHouse-{name}", value)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return {"rows": answer.read().decode().splitlines()}
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        code = re.findall(r"\(([A-Z_]+)\)", text)
        return {"error": code[-1] if code else text}


@pytest.mark.parametrize("user", MAY_READ)
def test_reader_reads_exactly_the_tables_of_its_role(run: Run, user: str) -> None:
    """The contract's roles: analysts see no personal data of customers or labelers, `ml` sees labels alone."""
    names = sorted(OPEN | CLOSED)
    answers = run(user, *(f"SELECT * FROM unjoin.{name}{ASKED_WITH.get(name, '')} LIMIT 1" for name in names))
    assert {name for name, answer in zip(names, answers, strict=True) if "rows" in answer} == MAY_READ[user]
    assert {answer["error"] for answer in answers if "error" in answer} <= {"ACCESS_DENIED"}


@pytest.mark.parametrize("user", MAY_READ)
def test_reader_gets_each_row_once_under_the_plain_name(run: Run, user: str) -> None:
    """Two versions of a vote lie in two parts until a merge; `final` in the profile collapses them for whoever asks."""
    (answer,) = run(user, "SELECT version FROM unjoin.labels")
    assert answer == {"rows": ['["2"]']} or answer == {"rows": ["[2]"]}


@pytest.mark.parametrize("user", MAY_READ)
def test_reader_can_neither_write_nor_leave_its_tables(run: Run, user: str) -> None:
    """The missing grants and `readonly` close what a plain SELECT could still reach."""
    answers = run(user, *FORBIDDEN)
    refused = {sql: answer.get("error") for sql, answer in zip(FORBIDDEN, answers, strict=True)}
    assert {sql for sql, error in refused.items() if error not in ("ACCESS_DENIED", "READONLY")} == set(), refused


@pytest.mark.parametrize("user", MAY_READ)
def test_no_reader_sees_where_or_in_which_insert_a_vote_was_stored(run: Run, user: str) -> None:
    """Rows that were inserted together came out of the door together: such a column would group votes by moment."""
    answers = run(user, *(f"SELECT {column} FROM unjoin.labels" for column in VIRTUAL))
    assert {answer.get("error") for answer in answers} == {"ACCESS_DENIED"}, answers


@pytest.mark.parametrize("user", MAY_READ)
def test_reader_gets_rows_of_several_inserts_by_their_key(run: Run, server: ClickHouseServer, user: str) -> None:
    """The server's own FINAL gives one insert's rows after the other's, which left the door together.

    What the settings of the profile do before a merge is shown in tests/sinks/http/test_interface.py: nobody here may
    stop merges.
    """
    sink = Server(address_of(server.url_of("sink", "sink")))
    rng = random.Random(1)
    for insert in "abcd":
        tasks = [f"of-insert-{rng.randrange(100):03}" for _ in range(30)]
        sink.insert(labels([label(rng.randrange(10**9), task, insert) for task in tasks]))
    sink.close()
    (answer, said) = run(
        user,
        "SELECT task, answer FROM unjoin.labels WHERE task LIKE 'of-insert-%'",
        "SELECT groupArray(value) FROM system.settings WHERE name IN ('final', 'enable_vertical_final', "
        "'split_parts_ranges_into_intersecting_and_non_intersecting_final', "
        "'split_intersecting_parts_ranges_into_layers_final') AND readonly",
    )
    assert isinstance(answer["rows"], list)
    assert len(answer["rows"]) >= 120
    assert answer["rows"] == sorted(answer["rows"], key=lambda row: row.split(",")[0])
    assert sorted(re.findall(r"\d", str(said["rows"]))) == ["0", "0", "0", "1"]


@pytest.mark.parametrize("user", MAY_READ)
def test_index_of_parts_is_what_a_server_still_tells_its_readers(run: Run, user: str) -> None:
    """docs/privacy.md says so: no grant closes it. The day this fails, that line can go."""
    index, analyzed, parts = run(
        user,
        "SELECT part_name, rows_in_granule FROM mergeTreeIndex('unjoin', 'labels')",
        "SELECT * FROM mergeTreeAnalyzeIndexes('unjoin', 'labels')",
        "SELECT * FROM system.parts",
    )
    assert index["rows"]
    assert {analyzed["error"], parts["error"]} == {"ACCESS_DENIED"}


@pytest.mark.parametrize("user", MAY_READ)
def test_reader_gives_values_to_a_question(run: Run, server: ClickHouseServer, user: str) -> None:
    """`readonly` forbids to set settings; the value of a placeholder is none."""
    run(user, "SELECT 1")
    with closing(Server(address_of(server.url_of(user, user)), database="unjoin")) as engine:
        sql, value = "SELECT {day:Date}, count() >= 0 FROM label_consensus", {"day": "2026-09-21"}
        assert engine.select(sql, "TabSeparated", final=False, parameters=value) == b"2026-09-21\t1\n"


def test_tables_that_a_reader_may_not_read_are_invisible_to_it(run: Run) -> None:
    """Nor do the listings, or a table function that gathers tables, give away what a role leaves out."""
    listed, gathered = run(
        "ml",
        "SELECT DISTINCT table FROM system.columns WHERE database = 'unjoin' ORDER BY table",
        "SELECT task FROM merge('unjoin', '^(labels|personal)$')",
    )
    assert listed == {"rows": ['["label_consensus"]', '["labels"]']}
    assert gathered == {"error": "ACCESS_DENIED"}  # `_table` is a virtual column, and no column that was granted


def test_sink_writes_and_migrates_but_reaches_nothing_else(run: Run) -> None:
    """The sink's password lies in a container's environment: what leaks with it has to be small."""
    may = run(
        "sink",
        *MIGRATIONS[:-1],
        "ALTER TABLE unjoin.signals ADD COLUMN newer Int32",
        "SELECT count(), max(newer) FROM unjoin.signals FINAL",
        "OPTIMIZE TABLE unjoin.signals FINAL",
        "CREATE TABLE unjoin.newer (a Int32) ENGINE = ReplacingMergeTree ORDER BY a",
        "DROP TABLE unjoin.newer",
    )
    assert [answer for answer in may if "error" in answer] == []
    may_not = run(
        "sink",
        "CREATE DATABASE other",
        "DROP DATABASE unjoin",
        "CREATE USER mallory",
        "GRANT SELECT ON unjoin.personal TO default",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        "SYSTEM SHUTDOWN",
    )
    assert {answer.get("error") for answer in may_not} == {"ACCESS_DENIED"}, may_not


def test_migration_without_a_grant_says_which_one_is_missing(run: Run, server: ClickHouseServer) -> None:
    """A bare code 497 does not tell an operator what to grant."""
    run("sink", "SELECT 1")
    for user, grant in (("ml", "CREATE DATABASE"), ("privacy", "CREATE DATABASE")):
        engine = Server(address_of(server.url_of(user, user)))
        with pytest.raises(MigrationError, match=f"the user has to be granted {grant}"):
            engine.migrate()
        engine.close()


def test_every_table_of_the_migrations_is_open_or_closed_to_analysts() -> None:
    """A table that a migration adds is closed until somebody decides who reads it, and this test makes them decide."""
    made = {
        match[1] for sql in MIGRATIONS if (match := re.match(r"CREATE (?:TABLE|VIEW) IF NOT EXISTS unjoin\.(\w+)", sql))
    }
    assert made == OPEN | CLOSED
    granted = {query.rsplit(".", 1)[1] for query in _grants("labels_reader") + _grants("analytics_reader")}
    assert granted == OPEN


def test_dictionary_says_of_every_table_who_reads_it() -> None:
    """docs/tables.md tells an analyst what to ask for; the grants decide."""
    said = {user: {table for table, one in DICTIONARY.items() if user in one.readers} for user in MAY_READ}
    assert said == MAY_READ
    roles = {"ml": ("labels_reader",), "analyst": ("labels_reader", "analytics_reader")}
    for user, granted in roles.items():
        assert said[user] == {query.rsplit(".", 1)[1] for role in granted for query in _grants(role)}


def _grants(role: str) -> list[str]:
    found = ET.parse(USERS).findall(f"roles/{role}/grants/query")
    return [element.text or "" for element in found]


def test_nobody_logs_in_without_a_password_from_the_environment() -> None:
    """The file is public: it may name where a password comes from, and hold none."""
    users = ET.parse(USERS).find("users")
    assert users is not None
    default = users.find("default")
    assert default is not None
    assert default.get("remove") == "remove"
    for user in users:
        secrets = [child for child in user if child.tag.startswith("password")]
        assert user.tag == "default" or (len(secrets) == 1 and secrets[0].get("from_env") and not secrets[0].text), (
            user.tag
        )
        assert user.find("access_management") is None


def test_server_keeps_no_log_of_queries_and_masks_literals() -> None:
    """Queries of `privacy` name people. Only the rule is tried here: the embedded engine applies it to no log."""
    server = ET.parse(SERVER).getroot()
    for name in ("query_log", "query_thread_log", "query_views_log", "part_log", "text_log", "trace_log"):
        element = server.find(name)
        assert element is not None, name
        assert element.get("remove") == "remove", name
    pattern, replacement = (server.findtext(f"query_masking_rules/rule/{name}") for name in ("regexp", "replace"))
    assert pattern is not None
    masked = re2.sub(
        pattern, replacement, r"SELECT * FROM personal WHERE email = 'o\'hara@example.org' AND name IN ('A', '')"
    )
    assert masked == "SELECT * FROM personal WHERE email = '?' AND name IN ('?', '?')"
    assert server.findtext("logger/level") == "information"


def test_sink_takes_back_a_label_as_the_runbook_says(server: ClickHouseServer, run: Run) -> None:
    """Somebody is named in it: this is no time to find out which user may delete."""
    text = (ROOT / "docs" / "runbooks" / "label-wrongly-released.md").read_text()
    (sql,) = re.findall(r'^unjoin query "(ALTER .*)"$', text, re.M)
    with closing(Server(address_of(server.url_of("sink", "sink")))) as sink:
        sink.insert(labels([label(2, "named", "pug")]))
    count = "SELECT count() FROM unjoin.labels WHERE task = 'named'"
    assert run("privacy", count) == [{"rows": ["[1]"]}]
    done = subprocess.run(
        [sys.executable, "-m", "unjoin", "query", sql.replace("ROW_ID", str(uuid.UUID(int=2)))],
        env=os.environ | {"UNJOIN_CLICKHOUSE_URL": server.url_of("sink", "sink")},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert run("privacy", count) == [{"rows": ["[0]"]}]
