"""Runbooks, tried: their commands on a running `unjoin up`, and the audit after each.

python -m faults.runbooks                       every drill
python -m faults.runbooks --only keys           one
python -m faults.runbooks --only upgrade --from COMMIT    from that commit's code, on its own checkout

Exit code 0 where each ended as its runbook says. A drill prints how long it took, waiting included.
"""

import argparse
import contextlib
import datetime
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Producer

from testkit.kafka_node import kafka_home
from testkit.processes import wait_for
from testkit.running_stack import RunningStack

ROOT = Path(__file__).parents[1]
EVENTS = 3_000
SECONDS_MAX = 120.0
POISON = 150


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], choices=DRILLS)
    parser.add_argument("--from", dest="commit", default="HEAD~20", help="of the upgrade")
    options = parser.parse_args()
    failed = False
    for name in options.only or DRILLS:
        with tempfile.TemporaryDirectory(prefix=f"drill-{name}-") as folder:
            stack = RunningStack(kafka_home(), Path(folder) / "data")
            stack.data_dir.mkdir()
            began = time.monotonic()
            try:
                said = DRILLS[name](stack, options.commit)
            except Exception as error:
                failed, said = True, f"FAILED: {type(error).__name__}: {error}"[:600]
            finally:
                with contextlib.suppress(Exception):
                    stack.stop()
            sys.stdout.write(f"{name}: {said} ({time.monotonic() - began:.0f} s)\n")
            sys.stdout.flush()
    return int(failed)


def _clickhouse_restored(stack: RunningStack, _: str) -> str:
    """docs/runbooks/clickhouse-restored.md: the engine's folder of before, and then none at all."""
    rows = stack.data_dir / "clickhouse"
    backup = stack.data_dir.parent / "backup"
    stack.start()
    _load(stack)
    _audited(stack)
    stack.stop()
    shutil.copytree(rows, backup, symlinks=True)
    stack.start()
    _load(stack)
    _audited(stack)
    stack.stop()
    for restored in (backup, None):
        shutil.rmtree(rows)
        if restored:
            shutil.copytree(restored, rows, symlinks=True)
        stack.start()
        _said(stack, "sink halted")
        _ok(stack, "rewind", "--yes")
        _audited(stack)
        stack.stop()
    stack.start()
    return f"{_stored(stack)} rows again after a restore and after a loss, difference 0"


def _keys(stack: RunningStack, _: str) -> str:
    """docs/runbooks/key-lost.md: moved away and put back, then lost for good."""
    stack.start()
    today = datetime.datetime.now(datetime.UTC).date()
    key = stack.data_dir / "keys" / "edge" / f"{today}.key"
    away = stack.data_dir / "away"
    key.rename(away)
    wait_for(lambda: _vote(stack) == 503, "labels are still taken", SECONDS_MAX, every_seconds=1)
    assert "lost" in _ok(stack, "keys", "list")
    away.rename(key)
    wait_for(lambda: _vote(stack) == 200, "labels are not taken again", SECONDS_MAX, every_seconds=1)
    key.unlink()
    wait_for(lambda: _vote(stack) == 503, "labels are still taken", SECONDS_MAX, every_seconds=1)
    for role in ("edge", "epoch"):
        _ok(stack, "keys", "destroy", "--day", str(today), "--role", role, "--yes")
    wait_for(lambda: _reason(stack) == "day_closed", "the day is not closed", SECONDS_MAX, every_seconds=1)
    _audited(stack)
    return "put back: labels taken again; destroyed: `day_closed`; difference 0"


def _poisoned(stack: RunningStack, _: str) -> str:
    """docs/runbooks/poisoned-topic.md: a reader halts, is let past the poison, and stays within its bound again."""
    stack.start()
    _load(stack)
    producer = Producer({"bootstrap.servers": stack.bootstrap})
    for _number in range(POISON):
        producer.produce("labels.deidentified", b"poison", partition=0)
    producer.flush(30)
    wait_for(lambda: "sink" in _ended(stack), "the sink does not end", SECONDS_MAX, every_seconds=1)
    stack.stop()
    stack.environment["UNJOIN_DEAD_LETTER_PERCENT_MAX"] = "100"
    stack.start()
    stack.wait_for_count("SELECT count() FROM dead_letters FINAL", POISON)
    stack.stop()
    del stack.environment["UNJOIN_DEAD_LETTER_PERCENT_MAX"]
    stack.start()
    assert f"{POISON} would be replayed" in _ok(stack, "replay", "--dry-run")
    _load(stack)
    _audited(stack)
    return f"the sink halted, went past {POISON} records, and is bounded again; difference 0"


def _partitions(stack: RunningStack, _: str) -> str:
    """docs/runbooks/adding-partitions.md."""
    stack.start()
    _load(stack)
    stack.environment["UNJOIN_PARTITIONS"] = "4"
    assert "4 partitions" in _ok(stack, "topics")
    _load(stack)
    wait_for(lambda: _partitions_used(stack) == 4, "the new partitions get nothing", 400, every_seconds=10)
    _audited(stack)
    return "collectors and sinks use 4 partitions without a restart, difference 0"


def _partitions_used(stack: RunningStack) -> int:
    _load(stack)
    admin = Producer({"bootstrap.servers": stack.bootstrap})
    from confluent_kafka import Consumer, TopicPartition  # noqa: PLC0415 - only here

    consumer = Consumer({"bootstrap.servers": stack.bootstrap, "group.id": "drill"})
    try:
        known = admin.list_topics("events.signals", timeout=10).topics["events.signals"].partitions
        ends = [consumer.get_watermark_offsets(TopicPartition("events.signals", one), timeout=10)[1] for one in known]
    finally:
        consumer.close()
    return sum(end > 0 for end in ends)


def _site_keys(stack: RunningStack, _: str) -> str:
    """docs/runbooks/rotating-site-keys.md."""
    stack.start()
    old = _ok(stack, "sites", "add", "shop", "--origin", "https://shop.example").strip()
    _answers(stack, old, 200)
    new = _ok(stack, "sites", "rotate", "shop", old, "--overlap-hours", "48").strip().splitlines()[-1]
    _answers(stack, new, 200)
    _answers(stack, old, 200)
    _ok(stack, "sites", "revoke", "shop", old)
    _answers(stack, old, 401)
    _answers(stack, new, 200)
    _ok(stack, "sites", "quota", "shop", new, "1")
    wait_for(lambda: _status(stack, new) == 429, "the quota does not hold", 10)
    return "both keys in the overlap, the new one alone after it, a quota within a second"


def _wrong_label(stack: RunningStack, _: str) -> str:
    """docs/runbooks/label-wrongly-released.md, with the embedded engine."""
    stack.start()
    _load(stack)
    assert stack.wait_until("SELECT count() > 0 FROM labels", SECONDS_MAX), "no crowd has left"
    _audited(stack)
    row = stack.rows("SELECT row_id FROM labels LIMIT 1")[0]["row_id"]
    stack.stop()
    text = (ROOT / "docs" / "runbooks" / "label-wrongly-released.md").read_text()
    (code,) = re.findall(r'python -c "\n(.*?)^"$', text, re.M | re.S)
    code = code.replace('\\"', '"').replace("ROW_ID", row).replace(".unjoin", str(stack.data_dir))
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=ROOT)
    stack.start()
    assert stack.count(f"SELECT count() FROM labels WHERE row_id = '{row}'") == 0
    done = stack.command("audit", "--format", "json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["difference"]) == (1, 1), done.stdout
    return "the row is gone; the audit says one of `labels` is missing, as the runbook does"


def _upgrade(stack: RunningStack, commit: str) -> str:
    """docs/runbooks/upgrade.md on one machine: the state of another commit, read by this one, and back."""
    old = stack.data_dir.parent / "old"
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(old), commit], cwd=ROOT, check=True)
    try:
        with contextlib.chdir(old):
            stack.start()
            _load(stack)
            stack.stop()
        for folder in (ROOT, old, ROOT):
            with contextlib.chdir(folder):
                stack.start()
                _load(stack)
                if folder == ROOT:
                    _audited(stack)
                stack.stop()
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(old)], cwd=ROOT, check=True)
    stack.start()
    _audited(stack)
    return f"from {commit} to here, back, and here again: {_stored(stack)} rows, difference 0"


def _ok(stack: RunningStack, *arguments: str) -> str:
    done = stack.command(*arguments)
    assert done.returncode == 0, f"`unjoin {' '.join(arguments)}`: {done.stderr[-500:]}{done.stdout[-500:]}"
    return done.stdout


def _load(stack: RunningStack) -> None:
    _ok(stack, "simulate", "--events", str(EVENTS), "--seed", str(time.monotonic_ns() % 1_000_000))


def _audited(stack: RunningStack) -> None:
    """Difference 0, once what is on its way has arrived and the door has told its totals."""
    end = time.monotonic() + 2 * SECONDS_MAX
    while (done := stack.command("audit", "--format", "json")).returncode or _on_the_way(done.stdout):
        assert time.monotonic() < end, done.stdout + done.stderr
        time.sleep(1)


def _on_the_way(audit: str) -> int:
    return sum(line["held"] for line in json.loads(audit)["lines"] if line["name"] != "labeled")


def _stored(stack: RunningStack) -> int:
    return sum(stack.count(f"SELECT count() FROM {table} FINAL") for table in ("signals", "analytics", "labels"))


def _said(stack: RunningStack, text: str) -> None:
    wait_for(lambda: text in (stack.data_dir / "up.log").read_text(), f"`unjoin up` does not say {text!r}", SECONDS_MAX)


def _ended(stack: RunningStack) -> set[str]:
    said = (stack.data_dir / "up.log").read_text()
    return set(re.findall(r"^(\w+) (?:halted|died)", said, re.M))


def _answers(stack: RunningStack, key: str, status: int) -> None:
    wait_for(lambda: _status(stack, key) == status, f"a key is not answered {status}", 10, every_seconds=0.1)


def _status(stack: RunningStack, key: str) -> int:
    return stack.post({"session": "drill", "events": [_pointer(), _pointer()]}, key=key)[0]


def _vote(stack: RunningStack) -> int:
    return stack.post(_voting())[0]


def _reason(stack: RunningStack) -> str:
    status, answer = stack.post(_voting())
    return str(answer["rejected"][0]["reason"]) if status == 200 and answer["rejected"] else ""


def _voting() -> dict[str, object]:
    now_ms = time.time_ns() // 1_000_000
    vote = {"id": f"v-{now_ms}", "type": "image_label", "ts": now_ms, "task": "t", "answer": "beagle"}
    return {"session": f"s-{now_ms}", "events": [vote]}


def _pointer() -> dict[str, object]:
    now_ns = time.time_ns()
    return {"id": f"p-{now_ns}", "type": "pointer", "ts": now_ns // 1_000_000, "t": [0], "x": [1], "y": [1]}


DRILLS: dict[str, Callable[[RunningStack, str], str]] = {
    "restore": _clickhouse_restored,
    "keys": _keys,
    "poison": _poisoned,
    "partitions": _partitions,
    "site-keys": _site_keys,
    "wrong-label": _wrong_label,
    "upgrade": _upgrade,
}


if __name__ == "__main__":
    sys.exit(main())
