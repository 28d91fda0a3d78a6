"""Runbooks of one host, on `unjoin up`: what is lost, poisoned, added, rotated or taken back."""

import contextlib
import datetime
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition

from faults.runbooks.stack import SECONDS_MAX, DrilledStack
from testkit.kafka_node import kafka_home
from testkit.processes import wait_for

ROOT = Path(__file__).parents[2]
POISON = 150


@contextlib.contextmanager
def _stack() -> Iterator[DrilledStack]:
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        stack = DrilledStack(kafka_home(), Path(folder) / "data")
        try:
            stack.node.start()
            yield stack
        finally:
            with contextlib.suppress(Exception):
                stack.stop()
            stack.node.stop()


def clickhouse_restored(_: str) -> str:
    """docs/runbooks/clickhouse-restored.md and backup.md: the engine's folder of before, and then none at all."""
    with _stack() as stack:
        rows, backup = stack.data_dir / "clickhouse", stack.data_dir.parent / "backup"
        stack.start()
        stack.load()
        stack.audited()
        stack.stop()
        backup_at = datetime.datetime.now(datetime.UTC).isoformat()
        _shell(stack, f"cp -a {rows} {backup}")
        stack.start()
        stack.load()
        stack.audited()
        stack.stop()
        for to in (("--to", backup_at), ()):
            _shell(stack, f"mv {rows} {rows}.lost")
            if to:
                _shell(stack, f"cp -a {backup} {rows}")
            shutil.rmtree(f"{rows}.lost")
            stack.start()
            stack.wait_until_said("sink halted")
            assert "nothing was changed" in stack.ok("rewind", *to)
            stack.ok("rewind", *to, "--yes")
            stack.audited()
            stack.stop()
        stack.start()
        return f"restored and rewound, lost and rewound: {stack.stored():,} rows again, {stack.tally}"


def keys(_: str) -> str:
    """docs/runbooks/key-lost.md: moved away and put back, then lost for good."""
    with _stack() as stack:
        stack.start()
        today = datetime.datetime.now(datetime.UTC).date()
        key = stack.data_dir / "keys" / "edge" / f"{today}.key"
        away = stack.data_dir / "away"
        key.rename(away)
        wait_for(lambda: _vote(stack) == 503, "labels are still taken", SECONDS_MAX, every_seconds=1)
        assert "lost" in stack.ok("keys", "list")
        away.rename(key)
        wait_for(lambda: _vote(stack) == 200, "labels are not taken again", SECONDS_MAX, every_seconds=1)
        key.unlink()
        wait_for(lambda: _vote(stack) == 503, "labels are still taken", SECONDS_MAX, every_seconds=1)
        for role in ("edge", "epoch"):
            stack.ok("keys", "destroy", "--day", str(today), "--role", role, "--yes")
        wait_for(lambda: _reason(stack) == "day_closed", "the day is not closed", SECONDS_MAX, every_seconds=1)
        stack.audited()
        return f"put back: labels taken again; destroyed: `day_closed`; {stack.tally}"


def poisoned(_: str) -> str:
    """docs/runbooks/poisoned-topic.md: a sink goes past the poison, a door halts and is let past it."""
    with _stack() as stack:
        stack.start()
        stack.load()
        _poison(stack, "labels.deidentified")
        assert stack.wait_for_count("SELECT count() FROM dead_letters FINAL", POISON, SECONDS_MAX) == POISON
        assert stack.ended == set()
        _poison(stack, "events.labeled")
        wait_for(lambda: "processor" in stack.ended, "the door does not halt", SECONDS_MAX, every_seconds=1)
        stack.stop()
        stack.environment["UNJOIN_DEAD_LETTER_PERCENT_MAX"] = "100"
        stack.start()
        found = stack.wait_for_count("SELECT count() FROM dead_letters FINAL", 2 * POISON, SECONDS_MAX)
        assert found == 2 * POISON, found
        stack.load()  # so that those that were held before the poison leave
        stack.audited()
        stack.stop()
        del stack.environment["UNJOIN_DEAD_LETTER_PERCENT_MAX"]
        stack.start()
        # Poison of labels stays where it is.
        assert f"{POISON} would be replayed" in stack.ok("replay", "--dry-run")
        stack.audited()
        assert stack.ended == set()
        return f"the sink went past {POISON} records, the door after it was let, and is bounded again; {stack.tally}"


def partitions(_: str) -> str:
    """docs/runbooks/adding-partitions.md."""
    with _stack() as stack:
        stack.start()
        stack.load()
        stack.environment["UNJOIN_PARTITIONS"] = "4"
        assert "4 partitions" in stack.ok("topics")
        wait_for(lambda: _partitions_used(stack) == 4, "the new partitions get nothing", 400, every_seconds=10)
        stack.audited()
        return f"collectors and sinks use 4 partitions without a restart; {stack.tally}"


def site_keys(_: str) -> str:
    """docs/runbooks/rotating-site-keys.md."""
    with _stack() as stack:
        stack.start()
        old = stack.ok("sites", "add", "shop", "--origin", "https://shop.example").strip()
        _answers(stack, old, 200)
        new = stack.ok("sites", "rotate", "shop", old, "--overlap-hours", "48").strip().splitlines()[-1]
        _answers(stack, new, 200)
        _answers(stack, old, 200)
        stack.ok("sites", "revoke", "shop", old)
        _answers(stack, old, 401)
        _answers(stack, new, 200)
        stack.ok("sites", "quota", "shop", new, "1")
        wait_for(lambda: _status(stack, new) == 429, "the quota does not hold", 10)
        return f"both keys in the overlap, the new one alone after it, a quota within a second; {stack.tally}"


def wrong_label(_: str) -> str:
    """docs/runbooks/label-wrongly-released.md, with the embedded engine."""
    with _stack() as stack:
        stack.start()
        stack.load()
        assert stack.wait_until("SELECT count() > 0 FROM labels", SECONDS_MAX), "no crowd has left"
        stack.audited()
        row = stack.rows("SELECT row_id FROM labels LIMIT 1")[0]["row_id"]
        stack.stop()
        text = (ROOT / "docs" / "runbooks" / "label-wrongly-released.md").read_text()
        (code,) = re.findall(r'python -c "\n(.*?)^"$', text, re.M | re.S)
        code = code.replace('\\"', '"').replace("ROW_ID", row).replace(".unjoin", str(stack.data_dir))
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=ROOT)
        stack.commands += 1
        stack.start()
        assert stack.count(f"SELECT count() FROM labels WHERE row_id = '{row}'") == 0
        done = stack.command("audit", "--format", "json")
        found = json.loads(done.stdout)
        assert (done.returncode, found["difference"]) == (1, 1), done.stdout
        return f"the row is gone; the audit says one of `labels` is missing, as the runbook does; {stack.tally}"


def _shell(stack: DrilledStack, command: str) -> None:
    subprocess.run(command, shell=True, check=True, timeout=60, stdout=subprocess.DEVNULL)
    stack.commands += 1


def _poison(stack: DrilledStack, topic: str) -> None:
    producer = Producer({"bootstrap.servers": stack.bootstrap})
    for _number in range(POISON):
        producer.produce(topic, b"poison", partition=0)
    producer.flush(30)


def _partitions_used(stack: DrilledStack) -> int:
    stack.load()
    consumer = Consumer({"bootstrap.servers": stack.bootstrap, "group.id": "drill"})
    try:
        known = consumer.list_topics("events.signals", timeout=10).topics["events.signals"].partitions
        ends = [consumer.get_watermark_offsets(TopicPartition("events.signals", one), timeout=10)[1] for one in known]
    finally:
        consumer.close()
    return sum(end > 0 for end in ends)


def _answers(stack: DrilledStack, key: str, status: int) -> None:
    wait_for(lambda: _status(stack, key) == status, f"a key is not answered {status}", 10, every_seconds=0.1)


def _status(stack: DrilledStack, key: str) -> int:
    return stack.post({"session": "drill", "events": [_pointer(), _pointer()]}, key=key)[0]


def _vote(stack: DrilledStack) -> int:
    return stack.post(_voting())[0]


def _reason(stack: DrilledStack) -> str:
    status, answer = stack.post(_voting())
    return str(answer["rejected"][0]["reason"]) if status == 200 and answer["rejected"] else ""


def _voting() -> dict[str, object]:
    now_ms = time.time_ns() // 1_000_000
    vote = {"id": f"v-{now_ms}", "type": "image_label", "ts": now_ms, "task": "t", "answer": "beagle"}
    return {"session": f"s-{now_ms}", "events": [vote]}


def _pointer() -> dict[str, object]:
    now_ns = time.time_ns()
    return {"id": f"p-{now_ns}", "type": "pointer", "ts": now_ns // 1_000_000, "t": [0], "x": [1], "y": [1]}
