"""`unjoin audit` on the real stack: 0 after duplicates, garbage, verdicts and kills of all roles, 1 after a loss."""

import asyncio
import datetime
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka.admin import AdminClient

from schemas.topics import LABELED
from testkit.running_stack import RunningStack
from tests.pipeline.garbage import deliver, garbage, whole

pytestmark = pytest.mark.kafka

ROLES = {"sink": b"sink", "processor": b"process", "collector": b"collect", "kafka": b"kafka.Kafka"}
SESSIONS_MIN, PAUSE_SECONDS = 40, 0.05
HELD_MAX = 80  # less than a crowd of four sessions, and the garbage between
SETTLE_SECONDS_MAX = 90.0
GARBAGE_TOPICS = ("events.signals", "events.analytics", "labels.deidentified", LABELED)

TAMPER = """
import sys
from pathlib import Path
from sinks.clickhouse.embedded import Embedded
engine = Embedded(Path(sys.argv[1]))
for statement in sys.argv[2:]:
    engine.select(statement, "Null")
engine.close()
"""


@pytest.fixture(scope="module")
def stack(kafka_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    running = RunningStack(kafka_home, tmp_path_factory.mktemp("audited"), UNJOIN_CROWD_MIN="4")
    running.start()
    yield running
    running.stop()


def pid_of(stack: RunningStack, role: str) -> int | None:
    """The process of a role of this stack."""
    mark = str(stack.data_dir).encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, about = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            continue  # gone meanwhile
        if ROLES[role] in command.split(b"\0") and mark in command + about:
            return int(process.name)
    return None


def audited(stack: RunningStack) -> tuple[int, dict[str, Any]]:
    done = once_it_looked(stack)
    return done.returncode, json.loads(done.stdout)


def once_it_looked(stack: RunningStack) -> subprocess.CompletedProcess[str]:
    """An audit; again where it could not look, since a part is on its way back."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while (done := stack.command("audit", "--format", "json")).returncode == 3:
        assert time.monotonic() < deadline, done.stderr
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout, done.stderr
    return done


def lines_of(shown: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {line["name"]: line for line in shown["lines"]}


def at_rest(stack: RunningStack) -> dict[str, Any]:
    """The audit once nothing is in flight; every one on the way must be balanced as well."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while True:
        code, shown = audited(stack)
        assert (code, shown["difference"], shown["findings"]) == (0, 0, []), shown
        held = {name: line["held"] for name, line in lines_of(shown).items()}
        if held.pop("labeled") < HELD_MAX and not any(held.values()):
            return shown
        assert time.monotonic() < deadline, shown
        time.sleep(0.2)


def test_difference_is_0_while_traffic_flows_and_after_every_role_was_killed(stack: RunningStack) -> None:
    """Duplicates, changed answers, verdicts and garbage each end as what they are, whatever is read or sent again."""
    again = {
        "sent_at": 1, "session": "s-again",
        "events": [{"id": str(uuid.uuid4()), "type": "scroll", "ts": 1, "t": [0], "x": [0], "y": [1]},
                   {"id": str(uuid.uuid4()), "type": "text_answer", "ts": int(time.time() * 1_000), "task": "t-1",
                    "answer": "yes"}],
    }  # fmt: skip
    bad: dict[str, int] = {}
    with Traffic(stack):
        for roles in (["sink", "processor", "collector"], ["kafka"]):
            for _ in range(3):
                assert stack.post(again)[0] == 200
            for topic in GARBAGE_TOPICS:
                found = garbage(topic, whole(topic, "m", 0))
                deliver(stack.bootstrap, topic, [(key, value) for _, key, value in found])
                bad[topic] = bad.get(topic, 0) + len(found)
            kill(stack, roles)
            wait_until_it_takes_events(stack, again)
            code, shown = audited(stack)
            assert (code, shown["difference"], shown["findings"]) == (0, 0, []), shown
    lines = lines_of(at_rest(stack))
    for name in ("signals", "analytics", "personal", "labelers", "labels", "dead_letters"):
        assert lines[name]["stored"] == stack.count(f"SELECT count() FROM {name}"), name
    assert lines["signals"]["collapsed"] >= 2 * 3 - 1
    assert lines["labeled"]["verdicts"] > 0
    assert lines["labeled"]["suppressed"] > 0, "what bots answered"
    assert lines["labeled"]["passed_on"] > 0
    set_aside = {"events.signals": "signals", "events.analytics": "analytics", "labels.deidentified": "labels"}
    assert {topic: lines[name]["dead_lettered"] for topic, name in set_aside.items()} == {
        topic: bad[topic] for topic in set_aside
    }
    assert lines["labeled"]["dead_lettered"] + lines["labeled"]["held"] >= bad[LABELED]


class Traffic:
    """Sessions of every category, one after the other, until the context ends; every fourth is judged a bot."""

    def __init__(self, stack: RunningStack) -> None:
        self._stack, self._ending = stack, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(SETTLE_SECONDS_MAX)

    def _run(self) -> None:
        for number in itertools.count():
            if self._ending.wait(PAUSE_SECONDS) and number >= SESSIONS_MIN:
                return
            session, ts = f"s-{number}", int(time.time() * 1_000)
            answers = [
                {"type": "text_answer", "task": f"t-{task % 5}", "answer": f"a-{task % 3}", "ts": ts}
                for task in range(7)
            ]
            seen = [{"type": "pointer", "ts": ts, "t": [0, 1], "x": [1, 2], "y": [1, 2]} for _ in range(20)]
            page = {"type": "page_view", "ts": ts, "url": "https://example.test/"}
            contact = {"type": "contact", "ts": ts, "account": session, "role": "integrator", "name": "Ada",
                       "email": "a@b.test", "country": "DE"}  # fmt: skip
            verdict = {"type": "verdict", "ts": ts, "session": session, "human": False}
            self._post(session, [*answers, *seen, page], "dev-browser-key")
            self._post(session, [contact, *[verdict] * (number % 4 == 0)], "dev-server-key")

    def _post(self, session: str, events: list[dict[str, Any]], key: str) -> None:
        """As a client does it: again under the same ids until it is accepted."""
        batch = {"sent_at": 1, "session": session, "events": [{"id": str(uuid.uuid4()), **one} for one in events]}
        while True:
            try:
                if self._stack.post(batch, key)[0] == 200:
                    return
            except OSError:
                pass
            if self._ending.wait(PAUSE_SECONDS):
                return


def kill(stack: RunningStack, roles: list[str]) -> None:
    """SIGKILL, all at once; returns when each runs again."""
    before = {role: pid_of(stack, role) for role in roles}
    for role, pid in before.items():
        assert pid is not None, f"no {role} runs"
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while any(pid_of(stack, role) in (None, pid) for role, pid in before.items()):
        assert time.monotonic() < deadline, "not all of them come back"
        time.sleep(0.05)


def wait_until_it_takes_events(stack: RunningStack, batch: dict[str, Any]) -> None:
    """The collector's own restart is no fault of the audit."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while True:
        try:
            if stack.post(batch)[0] == 200:
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, "the collector does not come back"
        time.sleep(0.1)


def test_what_a_transaction_took_back_is_no_record_and_no_row(stack: RunningStack) -> None:
    """Whoever writes to the topics in transactions leaves markers and records that nobody may read."""
    before = lines_of(at_rest(stack))["signals"]

    async def play() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap, transactional_id=f"t-{uuid.uuid4()}")
        await producer.start()
        try:
            for number in range(20):
                mark = "aborted" if number % 2 else "committed"
                await producer.begin_transaction()
                for one in range(3):
                    await producer.send("events.signals", whole("events.signals", mark, 10 * number + one), b"k")
                await (producer.abort_transaction() if number % 2 else producer.commit_transaction())
        finally:
            await producer.stop()

    asyncio.run(play())
    after = lines_of(at_rest(stack))["signals"]
    assert (after["accepted"], after["stored"]) == (before["accepted"] + 30, before["stored"] + 30)
    assert after["expired"] == 0
    assert stack.count("SELECT count() FROM signals WHERE session = 'aborted'") == 0
    assert stack.count("SELECT count() FROM signals WHERE session = 'committed'") == 30


def test_row_that_is_gone_doubled_or_forged_and_a_letter_that_is_gone_are_each_found(stack: RunningStack) -> None:
    """An audit that says 0 whatever happened would be worse than none. Behind the sink's back, on the real engine."""
    at_rest(stack)
    lost = stack.rows("SELECT session, event_id FROM signals ORDER BY event_id LIMIT 1")[0]
    letter = stack.rows("SELECT topic, partition, offset FROM dead_letters WHERE topic = 'events.analytics' LIMIT 1")[0]
    still = "max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1"
    where = "topic = '{topic}' AND partition = {partition} AND offset = {offset}".format(**letter)
    now = "SETTINGS mutations_sync = 2"
    forged = "INSERT INTO unjoin.personal SELECT * REPLACE ('forged' AS event_id) FROM unjoin.personal LIMIT 1"
    tamper(
        stack,
        *(f"ALTER TABLE unjoin.{table} MODIFY SETTING {still}" for table in ("analytics", "signals")),
        f"ALTER TABLE unjoin.signals DELETE WHERE event_id = '{lost['event_id']}' {now}",
        "INSERT INTO unjoin.analytics SELECT * FROM unjoin.analytics LIMIT 2",
        forged,
        f"ALTER TABLE unjoin.dead_letters DELETE WHERE {where} {now}",
    )
    done = once_it_looked(stack)
    assert done.returncode == 1
    shown = json.loads(done.stdout)
    lines = lines_of(shown)
    assert {name: (line["missing"], line["excess"]) for name, line in lines.items() if line["difference"]} == {
        "signals": (1, 0), "analytics": (0, 2), "personal": (0, 1), "dead_letters": (1, 0),
    }  # fmt: skip
    assert shown["difference"] == 5
    wheres = [where for finding in shown["findings"] for where in finding["where"]]
    assert sorted(where.partition("-")[0] for where in wheres) == ["events.dead_letters", "events.signals"]
    for payload in lost.values():
        assert payload not in done.stdout + done.stderr


def tamper(stack: RunningStack, *statements: str) -> None:
    """While the sink is away and nobody starts it again; in a process of its own, which opens the one directory."""
    sink = pid_of(stack, "sink")
    assert sink is not None
    os.kill(stack.pid, signal.SIGSTOP)
    try:
        os.kill(sink, signal.SIGTERM)
        deadline = time.monotonic() + SETTLE_SECONDS_MAX
        while Path(f"/proc/{sink}/cmdline").read_bytes():  # empty once it has ended, since nobody looks after it
            assert time.monotonic() < deadline, "the sink does not end"
            time.sleep(0.05)
        command = [sys.executable, "-c", TAMPER, str(stack.data_dir / "clickhouse"), *statements]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
    finally:
        os.kill(stack.pid, signal.SIGCONT)


def test_topic_that_was_made_again_is_settled_by_the_time_since_when_to_look(stack: RunningStack) -> None:
    """Its records are gone and their rows are not; new records have the offsets of old ones."""
    contact = {"type": "contact", "account": "again", "role": "integrator", "name": "Ada", "email": "a@b.test",
               "country": "DE", "ts": 1}  # fmt: skip

    def post() -> bool:
        event = contact | {"id": str(uuid.uuid4())}
        return stack.post({"sent_at": 1, "session": "s", "events": [event]}, "dev-server-key")[0] == 200

    assert post()
    admin = AdminClient({"bootstrap.servers": stack.bootstrap})
    admin.delete_topics(["events.personal"])["events.personal"].result(30)
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while "events.personal" in admin.list_topics(timeout=30).topics:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    since = datetime.datetime.now(datetime.UTC).isoformat()
    assert stack.command("topics").returncode == 0
    rows = stack.count("SELECT count() FROM personal")
    assert post()
    while stack.count("SELECT count() FROM personal") < rows + 1:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    stale = lines_of(audited(stack)[1])["personal"]
    assert stale["excess"] >= rows - 1
    while True:
        done = stack.command("audit", "--format", "json", "--since", since)
        line = lines_of(json.loads(done.stdout))["personal"]
        if (line["accepted"], line["stored"], line["held"], line["difference"]) == (1, 1, 0, 0):
            break
        assert time.monotonic() < deadline, line


def test_audit_that_cannot_look_says_so_with_a_code_of_its_own(stack: RunningStack) -> None:
    """Neither 0 nor 1: nothing is known to be missing."""
    stack.stop()
    done = stack.command("audit")
    assert (done.returncode, done.stdout) == (3, "")
    assert "Kafka at" in done.stderr
    assert "Traceback" not in done.stderr
