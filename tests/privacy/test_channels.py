"""Every channel by which a label could be joined back, each closed: the table in docs/privacy.md, row by row."""

import asyncio
import json
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
import uuid
import xml.etree.ElementTree as ElementTree
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, ConsumerGroupTopicPartitions, Message
from confluent_kafka.admin import AdminClient, ConfigResource
from prometheus_client.parser import text_string_to_metric_families

from attacks.canaries.places import system_tables, table_bytes
from ingest.encode.pseudonym import voter_of
from processors.faust_app.committed import CommittedOffsets
from schemas.codec import decode
from schemas.events import BROWSER_CATEGORIES, SERVER_CATEGORIES
from schemas.kafka_access import KafkaAccess
from schemas.outcomes import DecodeError, EventWarning, RejectionReason, RequestError, Suppression
from schemas.topics import DEIDENTIFIED, LABELED, LABELED_DEAD_LETTERS
from sinks.rows.tables import TABLES
from testkit.kafka_node import stored_records
from testkit.processes import wait_for
from testkit.running_stack import RunningStack
from testkit.seals import opened_datum
from tests.privacy.short_day import AGENT, ANSWERS, CROWD_MIN, KINDS, LABELS_EACH, URL, Day, today
from unjoin.keys.keyring import Keyring

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).parents[2]
LABEL_FIELDS = {"row_id", "day", "task", "kind", "answer", "version"}


@pytest.fixture(scope="module")
def day(kafka_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    settings = {"UNJOIN_CROWD_MIN": str(CROWD_MIN), "UNJOIN_FOLLOW_EVERY": "1"}
    stack = RunningStack(kafka_home, tmp_path_factory.mktemp("channels"), **settings)
    stack.start()
    try:
        yield Day(stack)
    finally:
        stack.stop()


def released_datum(record: Message) -> dict[str, Any]:
    return decode(record.value(), "labels.deidentified-value")


def ask(stack: RunningStack, sql: str) -> tuple[int, str]:
    """Status and text of port 8123."""
    request = urllib.request.Request(f"http://127.0.0.1:{stack.clickhouse_port}/?database=unjoin", sql.encode())
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


# Kafka: key, headers, record timestamp, partition, offset.


def test_labeled_record_is_ciphertext_to_all_but_the_door(day: Day) -> None:
    """The edge's key makes every voter of a day: with it, neither the topic nor its files on disk may say a thing."""
    needles = [*ANSWERS, *KINDS, "task-of-", "secret", AGENT, URL]
    found = [needle.encode() for needle in needles]
    found += [voter_of("dev", session, day.edge_key(today())) for session in day.sessions]
    segments = b"".join(file.read_bytes() for file in (day.stack.data_dir / "kafka").rglob(f"{LABELED}-*/*.log"))
    assert len(segments) > 200 * len(day.labeled)
    for record in day.labeled:
        assert record.key() is None
        assert record.headers() is None
        assert set(decode(record.value(), "events.labeled-value")) == {"day", "wrapped_key", "number", "ciphertext"}
    for needle in found:
        assert needle not in segments
        assert not any(needle in (record.value() or b"") for record in day.labeled)


def test_labeled_record_tells_its_length_by_class_alone(day: Day) -> None:
    """An answer's length would be a way to know it again."""
    assert len({len(decode(record.value(), "events.labeled-value")["ciphertext"]) for record in day.labeled}) == 1


def test_nobody_opens_labels_once_the_key_of_their_day_is_destroyed(day: Day, tmp_path: Path) -> None:
    """Whoever has a copy of the topic, and every other key, has noise."""
    keys = tmp_path / "epoch"
    shutil.copytree(day.stack.data_dir / "keys" / "epoch", keys)
    record = day.labeled[0]
    assert opened_datum(record.value(), Keyring(keys).existing_key_of)
    assert Keyring(keys).destroy(today())
    with pytest.raises(LookupError):
        opened_datum(record.value(), Keyring(keys).existing_key_of)
    left = [file.read_bytes()[:32].ljust(32, b"0") for file in (day.stack.data_dir / "keys" / "edge").glob("*.key")]
    left += [file.read_bytes()[:32].ljust(32, b"0") for file in keys.iterdir()]
    for key in left:
        with pytest.raises(DecodeError):
            opened_datum(record.value(), lambda _, key=key: key)


def test_labeled_record_holds_a_keyed_hash_and_nothing_that_was_sent_but_the_answer(day: Day) -> None:
    """What is inside the seal is a pseudonym; session, event, site, address, browser and page are not there."""
    # What was acknowledged late is there twice: nobody knew what had become of it.
    assert len({repr(day.opened(record)) for record in day.labeled}) == len(day.posted) + 2
    voters = {}
    for record in day.labeled:
        datum = day.opened(record)
        assert set(datum) == {"voter", "day", "act"}
        assert set(datum["act"]) in ({"kind", "task", "answer"}, {"human"})
        voters[datum["voter"]] = datum["day"]
        for trace in (b"secret", b"dev", b"127.0.0.1", AGENT.encode(), URL.encode()):
            assert trace not in repr(datum).encode()
    expected = {voter_of("dev", session, day.edge_key(when)) for session in day.sessions for when in voters.values()}
    assert voters.keys() <= expected


def test_labeled_record_is_stamped_by_the_broker(day: Day) -> None:
    """Its retention counts from there, whatever a client's clock says."""
    assert {record.timestamp()[0] for record in day.labeled} == {TIMESTAMP_LOG_APPEND_TIME}


def test_verdict_names_the_voter_of_the_labels_that_it_judges(day: Day) -> None:
    """A second way to name a session would be a join."""
    opened = [day.opened(record) for record in day.labeled]
    judged = [datum["voter"] for datum in opened if "human" in datum["act"]]
    labels_of_the_first = {datum["voter"] for datum in opened[:LABELS_EACH]}
    assert len(judged) == 2  # of this day and the one before
    assert labels_of_the_first & set(judged)


def test_released_record_has_no_key_no_headers_and_midnight_for_a_time(day: Day) -> None:
    """A key joins, headers carry what nobody looked at, and an exact time finds the session that was active then."""
    assert day.released
    for record in day.released:
        midnight = datetime.combine(released_datum(record)["day"], datetime.min.time(), UTC)
        assert record.key() is None
        assert record.headers() is None
        assert record.timestamp() == (TIMESTAMP_CREATE_TIME, int(midnight.timestamp() * 1_000))


def test_partition_of_a_released_record_tells_no_more_than_its_row_id(day: Day) -> None:
    """By the voter, the partition would be a field of the session."""
    for record in day.released:
        assert record.partition() == uuid.UUID(str(released_datum(record)["row_id"])).bytes[0] % 2


def test_offsets_of_the_labeled_topic_are_stored_nowhere_beside_labels(day: Day) -> None:
    """They are in the order in which people answered."""
    assert {name for record in day.released for name in released_datum(record)} == LABEL_FIELDS
    columns = day.stack.rows("SELECT name FROM system.columns WHERE database = 'unjoin' AND table = 'labels'")
    assert {row["name"] for row in columns} == LABEL_FIELDS
    admin = AdminClient({"bootstrap.servers": day.stack.bootstrap, "log_level": 0})
    group = ConsumerGroupTopicPartitions("unjoin-sink-labels")
    committed = admin.list_consumer_group_offsets([group])["unjoin-sink-labels"].result(30).topic_partitions
    assert {partition.topic for partition in committed} == {DEIDENTIFIED}
    readers = {group.group_id for group in admin.list_consumer_groups().result(30).valid} - {"unjoin-sink-labels"}
    of_labeled = {
        reader
        for reader in readers
        for one in admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(reader)])[reader]
        .result(30)
        .topic_partitions
        if one.topic == LABELED
    }
    assert len(of_labeled) == 1  # the door, and nobody else


def test_commits_of_the_door_say_totals_since_ever_and_nothing_else(day: Day) -> None:
    """Beside an offset lies what became of all records below it: no session, task, site or time. What left in between
    two commits is on the released topic, what came is in the log's ends; the rest is in the door's metrics."""
    # Not by confluent-kafka (2.16): it gives metadata with what lies behind it in memory.
    offset, metadata = asyncio.run(CommittedOffsets(KafkaAccess(day.stack.bootstrap), "unjoin-door").of((LABELED, 0)))
    said = json.loads(metadata)
    suppressed = said.pop("suppressed")
    assert said.keys() == {"since", "released", "collapsed", "verdicts", "dead_lettered", "expired"}
    assert suppressed.keys() <= set(Suppression)
    assert all(isinstance(count, int) for count in (*said.values(), *suppressed.values()))
    assert said["released"] == len(day.released)
    assert sum(said.values()) + sum(suppressed.values()) == offset


# Order and co-occurrence; row order on disk.


def test_crowd_leaves_whole_and_sorted_by_row_id(day: Day) -> None:
    """Within a crowd, order and neighbours tell nothing; what is left waits."""
    released = [released_datum(record) | {"partition": record.partition()} for record in day.released]
    assert {row["task"] for row in released} == set().union(*day.crowds)
    assert len(released) == sum(map(len, day.crowds))
    for partition in range(2):
        here = [row for row in released if row["partition"] == partition]
        expected = [
            row
            for crowd in day.crowds
            for row in sorted((row for row in here if row["task"] in crowd), key=lambda row: str(row["row_id"]))
        ]
        assert here == expected


def test_rows_lie_on_disk_by_task_and_keyed_hash(day: Day) -> None:
    """Insertion order would be the order of release."""
    (table,) = day.stack.rows(
        "SELECT sorting_key, partition_key FROM system.tables WHERE database = 'unjoin' AND name = 'labels'"
    )
    assert table == {"sorting_key": "task, row_id", "partition_key": ""}


def test_nobody_is_told_which_part_a_row_lies_in(day: Day) -> None:
    """A part holds the members of the crowds of one insert, until it is merged."""
    for column in ("_part", "_part_offset", "_part_index", "_part_uuid", "_partition_id", "_block_number"):
        assert ask(day.stack, f"SELECT {column}, * FROM labels")[0] == 403


def test_pseudonyms_end_at_the_door(day: Day) -> None:
    """Not a byte string that stands for a session is in a label, a metric or a log, nor is a row_id a piece of one."""
    voters = {day.opened(record)["voter"] for record in day.labeled}
    stored = b"".join(record.value() for record in day.released) + table_bytes(day.stack, "SELECT * FROM labels")
    stored += b"".join(day.stack.metrics().values()) + logs_of(day.stack)
    for voter in voters:
        for form in (voter, voter[:16], voter[16:], voter.hex().encode(), voter[:16].hex().encode()):
            assert form not in stored
        assert str(uuid.UUID(bytes=voter[:16])).encode() not in stored


# Deduplication tokens, query_log, part_log.


def test_engine_keeps_no_log_of_queries_or_parts(day: Day) -> None:
    """They would hold the literals that analysts look for, and when which rows came."""
    assert ask(day.stack, "SELECT count() FROM signals WHERE session = 'secret-literal'")[0] == 200
    assert ask(day.stack, "SELECT toInt32('secret-literal')")[0] == 400
    system = system_tables(day.stack)
    assert len(system) > 50
    logs = {name: rows for name, rows in system.items() if re.search(r"_log(_\d+)?\Z", name)}
    assert not any(logs.values())
    assert [name for name, rows in system.items() if b"secret-literal" in rows] == []


def test_server_of_the_compose_file_keeps_none_either() -> None:
    """A server keeps them unless it is told not to."""
    configured = ElementTree.parse(ROOT / "deploy" / "clickhouse" / "server.xml").getroot()
    removed = {element.tag for element in configured if element.get("remove") == "remove"}
    assert {"query_log", "query_thread_log", "query_views_log", "part_log", "text_log", "trace_log"} <= removed
    assert {"asynchronous_insert_log", "session_log", "opentelemetry_span_log", "processors_profile_log"} <= removed


# Time; metrics and the page.


def test_day_is_all_the_time_there_is(day: Day) -> None:
    """Hours find the session that was active."""
    kinds = day.stack.rows("SELECT name, type FROM system.columns WHERE database = 'unjoin' AND table = 'labels'")
    assert {row["name"]: row["type"] for row in kinds} == {
        "row_id": "UUID", "day": "Date", "task": "String", "kind": "LowCardinality(String)", "answer": "String",
        "version": "UInt64",
    }  # fmt: skip
    for name in ("deidentified", "labeled"):
        schema = (ROOT / "schemas" / f"{name}.avsc").read_text()
        assert set(re.findall(r'"logicalType": "([^"]+)"', schema)) <= {"date", "uuid"}
    assert len({row["day"] for row in day.rows}) <= 2
    times = "SELECT _part, modification_time FROM labels JOIN system.parts ON _part = name"
    assert ask(day.stack, times)[0] == 403


SINK_METRICS = (
    "malformed_http",
    "rows",
    "blocks",
    "repairs",
    "refusals",
    "unknown_outcomes",
    "dead_letters",
    "expired_offsets",
    "lag",
)
DOOR_METRICS = (
    *("released", "dead_lettered", "verdicts", "held_labels", "held_voters", "held_bytes", "oldest_wait_seconds"),
    *("lag_records", "crowd_min", "crowd_target", "crowd_wait_seconds", "hold_seconds_max", "makes_progress"),
)
SERIES: dict[str, dict[str, Collection[str]]] = {
    "unjoin_requests": {"outcome": {*RequestError, "answered", "client_gone"}},
    "unjoin_events_accepted": {"category": BROWSER_CATEGORIES | SERVER_CATEGORIES},
    "unjoin_events_rejected": {"reason": set(RejectionReason)},
    "unjoin_events_warned": {"warning": set(EventWarning)},
    "unjoin_door_suppressed": {"reason": set(Suppression)},
    **{f"unjoin_sink_{name}": {"table": {table.name for table in TABLES}} for name in SINK_METRICS},
}
"""Every metric that has series, the labels that tell them apart, and the values that those may have: a closed list."""
TOTALS = {
    *(f"unjoin_door_{name}" for name in DOOR_METRICS),
    *("unjoin_produce_seconds", "unjoin_sites_errors", "unjoin_ready", "unjoin_edge_keys_missing"),
    *(f"unjoin_waiting_{name}" for name in ("requests", "bytes", "receiving_bytes", "turn_seconds")),
    *("unjoin_role_started_seconds", "unjoin_disk_free_bytes", "unjoin_disk_size_bytes", "unjoin_keys"),
    *("unjoin_keys_overdue", "unjoin_keys_oldest_seconds"),
    *("unjoin_sink_malformed_http", "unjoin_sink_refused_web_pages", "unjoin_sink_asn_errors"),
    "unjoin_sink_erasures_open",
    *("unjoin_overload_waited", "unjoin_overload_shed_early", "unjoin_overload_shed_late"),
}


def test_no_metric_tells_sites_keys_sessions_tasks_or_hours_apart(day: Day) -> None:
    """A count that is small enough tells of one person. A new metric has to be thought about, and named here."""
    seen = set()
    for role, text in day.stack.metrics().items():
        for family in text_string_to_metric_families(text.decode()):
            assert not family.name.endswith("_created"), "of labels, the second of the first release"
            if family.name.startswith(("process_", "unjoin_producer_", "unjoin_spool_")):
                assert all(not sample.labels for sample in family.samples), family.name
                continue
            seen.add(family.name)
            assert family.name in SERIES or family.name in TOTALS, (role, family.name)
            allowed = {"le": ()} if family.type == "histogram" else SERIES.get(family.name, {})
            for sample in family.samples:
                assert sample.labels.keys() <= allowed.keys(), (role, sample.name)
                assert all(name == "le" or value in allowed[name] for name, value in sample.labels.items())
    assert {"unjoin_requests", "unjoin_door_released", "unjoin_sink_rows"} <= seen


def test_page_shows_labels_as_totals_only(day: Day) -> None:
    """Next to who sent them, even a count would be a join."""
    shown, of_nobody = (_told(day.stack, session) for session in (day.sessions[0], "nobody"))
    whole, own = shown["whole"], shown["own"]
    assert set(own) == {"signals", "analytics", "latest"}
    assert all(set(row) == {"event_id", "type"} for row in own["latest"])
    assert not {row["type"] for row in own["latest"]} & set(KINDS)
    assert set(whole) == {"kafka", "edge", "door", "labels"}
    assert whole["labels"] == {"rows": sum(map(len, day.crowds)), "votes": []}
    assert set(whole["door"]) == {
        *("held_labels", "held_voters", "crowd_min", "crowd_target", "released", "suppressed")
    }
    assert set(whole["edge"]) == {"accepted", "rejected", "requests", "spooled"}
    assert of_nobody["whole"] == whole
    assert of_nobody["own"] == {"signals": 0, "analytics": 0, "latest": []}


def _told(stack: RunningStack, session: str) -> Any:
    with urllib.request.urlopen(f"{stack.http}/playground/events?session={session}", timeout=30) as stream:
        return next(json.loads(line[6:]) for line in stream if line.startswith(b"data: "))


# Rare values; masked text.


@pytest.mark.parametrize("what", [[], ["--votes"]])
def test_export_leaves_out_answers_that_few_gave(day: Day, tmp_path: Path, what: list[str]) -> None:
    """What one person alone wrote is a name of theirs. Here every task has one voter, so nothing may be left."""
    file = tmp_path / "labels.parquet"
    done = day.stack.command("export", *what, str(file))
    assert done.returncode == 0, done.stderr
    assert pyarrow.parquet.read_table(file).num_rows == 0
    for view in ("label_export", "label_export_votes"):
        assert day.stack.count(f"SELECT count() FROM {view}(k = 5)") == 0
        assert day.stack.count(f"SELECT count() FROM {view}(k = 1)") > 0


@pytest.mark.parametrize("kind", KINDS)
def test_answer_of_every_kind_is_masked(day: Day, kind: str) -> None:
    """An `image_label` comes from a public key, and is a free string too."""
    answers = {row["answer"] for row in day.rows if row["kind"] == kind}
    assert any("[email]" in answer for answer in answers)
    assert not any("lovelace" in answer for answer in answers)


def test_what_was_masked_is_in_no_stored_byte_past_the_door(day: Day) -> None:
    """Neither on the released topic nor in the table."""
    stored = b"".join(record.value() for record in day.released) + table_bytes(day.stack, "SELECT * FROM labels")
    assert b"beagle" in stored
    assert b"lovelace" not in stored


# Logs, error texts, dead letters.


def logs_of(stack: RunningStack) -> bytes:
    files = [*sorted((stack.data_dir / "logs").iterdir()), stack.data_dir / "up.log"]
    return b"".join(file.read_bytes() for file in files)


def test_no_log_or_error_text_repeats_what_was_sent(day: Day) -> None:
    """Logs outlive every retention, and an error text ends in somebody else's log."""
    hostile: list[dict[str, Any]] = [
        {"session": "secret session", "events": []},
        {"session": "s", "events": [], "secret-member": 1},
        {"session": "s", "events": "secret-events"},
        {"session": "s", "events": [{"id": "e", "type": "secret-type"}]},
        {"session": "s", "events": [{"id": "e", "type": "text_answer", "ts": 1, "task": "t", "answer": {"secret": 1}}]},
    ]
    for batch in hostile:
        assert "secret" not in json.dumps(day.stack.post(batch))
    status, text = day.stack.post({"session": "s", "events": []}, key="secret-key")
    assert status == 401
    assert "secret" not in json.dumps(text)
    logs = logs_of(day.stack)
    assert b"unjoin" in logs
    for trace in (b"secret", b"lovelace", b"beagle", b"task-of"):
        assert trace not in logs


FIELDS = {"time", "level", "role", "logger", "event", "error", "place", "trace", "records", "rejected", "durable", "ms"}
FIELDS |= {"table", "partition", "first", "end", "rows"}


def test_request_is_followed_to_its_block_unless_a_label_is_in_it(day: Day) -> None:
    """The id that ties a request to a block must end where a label begins."""
    pointer = {"id": "followed", "type": "pointer", "ts": 1_790_000_000_000, "t": [0], "x": [1], "y": [1]}
    assert day.stack.post({"session": "followed", "events": [pointer]})[0] == 200

    def traces(role: str, event: str) -> set[str]:
        lines = map(json.loads, (day.stack.data_dir / "logs" / f"{role}.log").read_text().splitlines())
        return {line["trace"] for line in lines if line["event"] == event}

    wait_for(lambda: traces("collector", "followed a request") & traces("sink", "stored a block"), lambda: "", 30)
    for topic in (LABELED, DEIDENTIFIED):
        records = stored_records(day.stack.bootstrap, topic)
        assert records
        assert not any(record.headers() for record in records)
    documented = (ROOT / "docs" / "logs.md").read_text()
    for role in ("collector", "processor", "sink"):
        for line in (day.stack.data_dir / "logs" / f"{role}.log").read_text().splitlines():
            assert json.loads(line).keys() <= FIELDS
    assert all(f"`{field}`" in documented for field in FIELDS)


def test_dead_letters_of_labels_live_no_longer_than_labels(day: Day) -> None:
    """They are identified labels too; and the table about them has no room for a payload."""
    admin = AdminClient({"bootstrap.servers": day.stack.bootstrap, "log_level": 0})
    resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in (LABELED, LABELED_DEAD_LETTERS)]
    configured = {}
    for resource, future in admin.describe_configs(resources).items():
        found = future.result(30)
        names = ("retention.ms", "segment.ms", "message.timestamp.type", "cleanup.policy")
        configured[resource.name] = {name: found[name].value for name in names}
    assert configured[LABELED] == configured[LABELED_DEAD_LETTERS]
    assert int(configured[LABELED]["retention.ms"]) <= 24 * 3_600_000
    assert configured[LABELED]["message.timestamp.type"] == "LogAppendTime"
    columns = day.stack.rows("SELECT name FROM system.columns WHERE database = 'unjoin' AND table = 'dead_letters'")
    assert {row["name"] for row in columns} == {"reason", "topic", "partition", "offset", "failed_at"}


# Analysts' SQL.


def test_no_sql_reads_a_key_writes_a_file_or_reaches_another_machine(day: Day) -> None:
    """Whoever holds the keys of a day can join."""
    data_dir = day.stack.data_dir
    key_file = next((data_dir / "keys" / "epoch").glob("*.key"))
    key = key_file.read_bytes()
    for sql in (
        f"SELECT hex(file('{key_file}'))",
        f"SELECT * FROM file('{key_file}', 'RawBLOB')",
        f"SELECT * FROM file('{data_dir}/keys/**', 'RawBLOB', 'a String')",
        f"SELECT `fi\\x6ce`('{key_file}')",
        f"SELECT * FROM default.`{key_file}`",
        f"DESCRIBE file('{data_dir}/sites/sites.json')",
        f"SELECT * FROM filesystem('{data_dir}/keys')",
        f"SELECT 1 INTO OUTFILE '{data_dir}/clickhouse/out'",
        "SELECT * FROM executable('cat', 'RawBLOB', 'a String')",
        "SELECT * FROM url('http://127.0.0.1:9/', 'RawBLOB', 'a String')",
        f"SELECT * FROM url('file://{key_file}', 'RawBLOB', 'a String')",
        f"SELECT * FROM sqlite('{key_file}', 'a')",
        "SELECT * FROM remote('127.0.0.1', 'system', 'one')",
    ):
        status, text = ask(day.stack, sql)
        assert status >= 400, sql
        assert key.hex().upper() not in text
        assert key.hex() not in text
    assert not (data_dir / "clickhouse" / "out").exists()


def test_process_that_answers_sql_has_promised_the_kernel_to_open_no_key(day: Day) -> None:
    """The layer below SQL; that the promise holds is shown in test_sandbox.py."""
    if b"no Landlock" in logs_of(day.stack):
        pytest.skip("this kernel has no Landlock, so there is no such layer here")
    statuses = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            ours = str(day.stack.data_dir).encode() in (process / "environ").read_bytes()
            status = (process / "status").read_text()
        except OSError:
            continue  # gone meanwhile
        if ours and b"unjoin" in command:
            statuses[command[-2].decode()] = re.search(r"NoNewPrivs:\s(\d)", status)[1]  # type: ignore[index]
    assert statuses["sink"] == "1"
