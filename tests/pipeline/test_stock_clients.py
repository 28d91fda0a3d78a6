"""Programs that know nothing of unjoin, with their defaults: what they read of a running pipeline."""

import csv
import datetime
import json
import shutil
import subprocess
import uuid
from io import StringIO
from typing import Any

import clickhouse_connect
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from schemas.topics import LABELED, VERDICTS, topics
from testkit.kafka_node import stored_records
from testkit.questions import FOLDER
from testkit.running_stack import RunningStack

pytestmark = pytest.mark.kafka
TOPICS = topics(partitions=1, labeled_partitions=1, events_days=1, labeled_hours=1)
NOW_MS = 1_790_000_000_123
# Two crowds of 20: whatever another test left in the open one, one that is all of this module's leaves.
LABELING_SESSIONS = 40


@pytest.fixture(scope="module")
def mark(stack: RunningStack) -> str:
    """Part of every id and task that this module has sent, once each table holds some of it."""
    mark = uuid.uuid4().hex[:12]

    def post(key: str, session: str, *events: dict[str, Any]) -> None:
        numbered = [{"id": f"{mark}-{uuid.uuid4()}", "ts": NOW_MS, **event} for event in events]
        status, answer = stack.post({"sent_at": NOW_MS, "session": session, "events": numbered}, key)
        assert (status, answer) == (200, {"accepted": len(events), "rejected": []})

    pointer = {"type": "pointer", "t": [0, 16.5], "x": [10, 12], "y": [5, 5]}
    view = {"type": "page_view", "url": "https://example.test/", "referrer": "", "properties": {"plan": "free"}}
    person = {"name": "Ada", "email": "ada@example.test", "country": "DE"}
    post("dev-browser-key", mark, pointer, view)
    contact = {"type": "contact", "account": mark, "role": "integrator", **person}
    post("dev-server-key", mark, contact, {"type": "labeler_application", **person, "languages": ["sv"]})
    for number in range(LABELING_SESSIONS):
        label = {"type": "text_answer", "task": f"task-{mark}", "answer": "beagle"}
        post("dev-browser-key", f"{mark}-{number}", label)
    for table in ("signals", "analytics", "personal", "labelers"):
        assert stack.wait_until(f"SELECT count() > 0 FROM {table} WHERE startsWith(event_id, '{mark}')"), table
    assert stack.wait_until(f"SELECT count() > 0 FROM labels WHERE task = 'task-{mark}'")
    return mark


@pytest.mark.parametrize(
    "topic", [topic.name for topic in TOPICS if topic.subject and topic.name not in (LABELED, VERDICTS)]
)
def test_stock_avro_deserializer_decodes_every_topic_through_the_registry_endpoints(
    stack: RunningStack, mark: str, topic: str
) -> None:
    """Whoever writes a consumer of their own needs an address, and nothing of ours."""
    with SchemaRegistryClient({"url": stack.http}) as registry:
        deserialize = AvroDeserializer(registry)
        values = [record.value() for record in stored_records(stack.bootstrap, topic)]
        ours = [value for value in values if value is not None and mark.encode() in value]
        context = SerializationContext(topic, MessageField.VALUE)
        decoded = [deserialize(value, context) for value in ours]
    assert decoded
    for datum in decoded:
        assert EXPECTED[topic].items() <= flat(datum).items()


EXPECTED: dict[str, dict[str, Any]] = {
    "events.signals": {"site": "dev", "type": "pointer", "ts": NOW_MS, "t": [0, 16.5], "x": [10, 12], "y": [5, 5]},
    "events.analytics": {"type": "page_view", "ip": "127.0.0.1", "properties": '{"plan":"free"}'},
    "events.personal": {"type": "contact", "name": "Ada", "email": "ada@example.test", "country": "DE"},
    "events.labelers": {"name": "Ada", "languages": ["sv"], "note": ""},
    "labels.deidentified": {"kind": "text_answer", "answer": "beagle"},
}


def flat(datum: Any) -> dict[str, Any]:
    """A datum with the fields of its nested record beside its own."""
    assert isinstance(datum, dict)
    return {**datum, **datum.get("act", {})}


def test_stock_deserializer_gives_days_as_dates_and_times_as_times(stack: RunningStack, mark: str) -> None:
    """Logical types are part of the schemas: a consumer must not have to know what a number counts."""
    with SchemaRegistryClient({"url": stack.http}) as registry:
        (signal, *_), (label, *_) = (
            [
                AvroDeserializer(registry)(record.value(), SerializationContext(topic, MessageField.VALUE))
                for record in stored_records(stack.bootstrap, topic)
                if mark.encode() in (record.value() or b"")
            ]
            for topic in ("events.signals", "labels.deidentified")
        )
    assert isinstance(signal, dict)
    assert isinstance(label, dict)
    assert isinstance(signal["received_at"], datetime.datetime)
    assert type(label["day"]) is datetime.date


@pytest.fixture
def kcat() -> str:
    """kcat's path, or a skip that says how to get it."""
    path = shutil.which("kcat")
    if path is None:
        pytest.skip("needs kcat: apt-get install kcat")
    return path


def test_kcat_lists_the_topics(stack: RunningStack, kcat: str) -> None:
    """The first thing that somebody on call types."""
    done = subprocess.run([kcat, "-b", stack.bootstrap, "-L", "-J"], capture_output=True, check=True, timeout=30)
    listed = {topic["topic"] for topic in json.loads(done.stdout)["topics"]}
    assert {topic.name for topic in TOPICS} <= listed


def test_kcat_sees_no_key_no_header_and_no_time_of_a_released_label(stack: RunningStack, mark: str, kcat: str) -> None:
    """What a stock tool shows of a record is what a watcher of the topic has."""
    command = [kcat, "-b", stack.bootstrap, "-C", "-t", "labels.deidentified", "-e", "-q", "-f", "%p %o|%k|%h|%T\n"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    shown = {place: rest for place, *rest in (line.split("|") for line in done.stdout.splitlines())}
    ours = [
        f"{record.partition()} {record.offset()}"
        for record in stored_records(stack.bootstrap, "labels.deidentified")
        if mark.encode() in (record.value() or b"")
    ]
    assert ours
    for key, headers, timestamp in (shown[place] for place in ours):
        assert (key, headers, int(timestamp) % 86_400_000) == ("", "", 0)


def test_clickhouse_connect_reads_a_table_into_a_data_frame(stack: RunningStack, mark: str) -> None:
    """What a notebook does first."""
    client = clickhouse_connect.get_client(host="127.0.0.1", port=stack.clickhouse_port, database="unjoin")
    try:
        frame = client.query_df("SELECT * FROM signals WHERE startsWith(event_id, %(mark)s)", {"mark": mark})
        labels = client.query_df("SELECT * FROM label_consensus WHERE task = %(task)s", {"task": f"task-{mark}"})
    finally:
        client.close()
    assert len(frame) == 1
    assert frame["type"].tolist() == ["pointer"]
    assert list(frame["t"].iloc[0]) == [0, 16.5]
    assert labels["answer"].tolist() == ["beagle"]
    assert labels["votes"].tolist() == labels["total"].tolist()


def test_query_asks_a_file_with_parameters(stack: RunningStack, mark: str) -> None:
    """As docs/questions/README.md says; a value is a value, whatever stands in it."""
    question = str(FOLDER / "04_busiest_sessions.sql")
    done = stack.command("query", "--file", question, "--param", "site=dev", "--format", "TSV")
    assert (done.returncode, done.stderr) == (0, "")
    assert mark in done.stdout
    odd = "it's\ta \\ {site:String} €\n"
    answer = (
        "SELECT {odd:String} = unhex({hex:String})",
        "--param",
        f"odd={odd}",
        "--param",
        f"hex={odd.encode().hex()}",
    )
    assert stack.command("query", *answer, "--format", "TSV").stdout == "1\n"
    done = stack.command("query", "--file", question)
    assert (done.returncode, done.stdout) == (1, "")
    assert "--param site=VALUE" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("by", ["url", "body"])
def test_curl_reads_a_table(stack: RunningStack, mark: str, by: str) -> None:
    """What everybody else does first; the README's own line is one of the two."""
    sql = f"SELECT type, count() AS n FROM unjoin.signals WHERE startsWith(event_id, '{mark}') GROUP BY type"
    base = f"http://127.0.0.1:{stack.clickhouse_port}/"
    asked = ["-G", "--data-urlencode", f"query={sql} FORMAT CSVWithNames"] if by == "url" else [
        "--data-binary", f"{sql} FORMAT CSVWithNames"
    ]  # fmt: skip
    done = subprocess.run(["curl", "-sS", "--fail", base, *asked], capture_output=True, text=True, check=True)
    assert list(csv.DictReader(StringIO(done.stdout))) == [{"type": "pointer", "n": "1"}]
