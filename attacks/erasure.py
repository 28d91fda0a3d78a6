"""`python -m attacks.erasure`: a text of a person's own in every field, looked for, erased, looked for again.

The search is the product's own (`unjoin subject --search`): in tables, topics, segments, parts, the spool, logs and
every other file. Before the erasure it has to find the text in every place that it knows of, or it proves nothing;
afterwards nowhere. Neighbours with as many rows have to be the same, byte for byte. Topics are given a retention of a
second once the request is made, so that the run ends in minutes instead of days, and the engine looks for parts to
delete every few seconds instead of every 30 to 300.
"""

import argparse
import asyncio
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from confluent_kafka import Producer
from rich import box
from rich.console import Console
from rich.table import Table

from attacks.canaries import places
from attacks.canaries.needles import Canaries
from schemas.kafka_access import KafkaAccess
from schemas.topics import DEAD_LETTERS, SIGNALS, TOPIC_OF_CATEGORY
from sinks.clickhouse.embedded import Embedded
from testkit.kafka_node import kafka_home
from testkit.running_stack import RunningStack
from unjoin.settings import Settings
from unjoin.subjects.search.command import search_everywhere
from unjoin.subjects.search.stored import Searched

KEYS = {
    "signals": "site, session, event_id",
    "analytics": "site, session, event_id",
    "personal": "site, account, event_id",
    "labelers": "site, event_id",
}
BATCH_EVENTS = 100
DONE_S_MAX, STORED_S_MAX = 1_800.0, 120.0
SHORT_MS = {"retention.ms": "1000"}
HURRIED = "cleanup_delay_period = 1, cleanup_delay_period_random_add = 0, max_cleanup_delay_period = 5"


class Unproved(Exception):
    """The run proves nothing; the text says why."""


class Person:
    """Somebody with a session, an account and an address, each field of whose events holds a text of theirs."""

    def __init__(self, seed: int) -> None:
        self.canaries = Canaries(Random(seed))
        self.session, self.account = self.canaries.text("session"), self.canaries.text("account")
        self.email = f"{self.canaries.text('email')}@Example.test"

    def browser(self, events: int, now_ms: int) -> list[dict[str, Any]]:
        """Signals and page views; and answers, which the person's texts are in no field of but the session."""
        text, made = self.canaries.text, []
        for number in range(events):
            about = {"id": text("event"), "ts": now_ms + number}
            made.append({**about, "type": "pointer", "t": [0, 1], "x": [number, 2], "y": [3, 4]})
            view = {name: f"https://{text(name)}.example/" for name in ("url", "referrer")}
            made.append(
                {**about, "id": text("view"), "type": "page_view", **view, "properties": {text("p"): text("v")}}
            )
        made.append({"id": text("label"), "ts": now_ms, "type": "text_answer", "task": "task-1", "answer": "yes"})
        return made

    def server(self, now_ms: int) -> list[dict[str, Any]]:
        """A contact and a check of the account, and an application under the same address."""
        text = self.canaries.text
        names = {field: text(field) for field in ("name", "country")}
        about = {"ts": now_ms, "account": self.account}
        return [
            {**about, "id": text("contact"), "type": "contact", "email": self.email, "role": text("role"), **names},
            {**about, "id": text("check"), "type": "identity_check",
             "provider": text("provider"), "method": text("method"), "outcome": text("outcome")},
            {"id": text("application"), "ts": now_ms, "type": "labeler_application", "email": self.email.upper(),
             "languages": [text("language")], "note": text("note"), **names},
        ]  # fmt: skip


def main() -> int:
    """0 where every place held the person before and none does after, and nobody else was touched; else 1."""
    parser = argparse.ArgumentParser(prog="python -m attacks.erasure", description=__doc__)
    parser.add_argument("--people", type=int, default=20, help="among whom one is erased")
    parser.add_argument("--events", type=int, default=50, help="of signals, and as many page views, of each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings there")
    options = parser.parse_args()
    console = Console(width=150)
    try:
        result = run(options.people, options.events, console)
    except Unproved as error:
        console.print(f"this run proves nothing: {error}", style="bold red", markup=False)
        return 1
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    return 0 if result["ok"] else 1


def run(people: int, events: int, console: Console) -> dict[str, Any]:
    """Starts a pipeline of its own, fills it, searches, erases, waits, searches again.

    Raises:
        Unproved: the pipeline did not do what it should, or the first search was blind.
    """
    with tempfile.TemporaryDirectory(prefix="unjoin-erasure-") as folder:
        stack = RunningStack(kafka_home(), Path(folder), UNJOIN_TRUSTED_PROXIES="127.0.0.0/8")
        _hurry_parts(stack.data_dir / "clickhouse")
        stack.start()
        try:
            return _run(stack, people, events, console)
        finally:
            stack.stop()


def _run(stack: RunningStack, people: int, events: int, console: Console) -> dict[str, Any]:
    everybody = [Person(seed) for seed in range(people)]
    person = everybody[0]
    now_ms = time.time_ns() // 1_000_000
    for one in everybody:
        _post(stack, one, events, now_ms)
    _garbage(stack, person)
    expected = {"signals": people * events, "analytics": people * events, "personal": 2 * people, "labelers": people}
    for table, count in {**expected, "dead_letters": 1}.items():
        if stack.wait_for_count(f"SELECT count() FROM {table}", count, STORED_S_MAX) != count:
            raise Unproved(f"{table} has not {count} rows")
    settings = Settings(
        data_dir=stack.data_dir,
        kafka_port=stack.kafka_port,
        clickhouse_http_port=stack.clickhouse_port,
    )
    prefix = {"text": person.canaries.prefix}
    others = _others(stack, person)
    before = search_everywhere(settings, prefix, console)
    if blind := _blind(before):
        raise Unproved(f"the search before found nothing in {', '.join(blind)}")
    began = time.monotonic()
    for selector in (
        ("--session", person.session, "--site", "dev"),
        ("--account", person.account),
        ("--email", person.email),
    ):
        done = stack.command("erase", *selector, "--reference", selector[0][2:], "--yes")
        if done.returncode:
            raise Unproved(f"the request was refused: {done.stderr.strip()}")
    rows_s = time.monotonic() - began
    asyncio.run(_short_retention(stack.bootstrap))
    states = _wait(stack, began, console)
    after = search_everywhere(settings, prefix, console)
    untouched = _others(stack, person) == others
    audit = json.loads(stack.command("audit", "--format", "json").stdout)
    console.print(_table(before, after))
    ok = not after.found and not after.blind and untouched and audit["difference"] == 0
    console.print(
        f"rows gone after {rows_s:.1f} s, {states}; found {before.found:,} times before and {after.found:,} after; "
        f"others {'the same, byte for byte' if untouched else 'CHANGED'}; audit's difference {audit['difference']}",
        highlight=False,
    )
    documents = {"before": msgspec.to_builtins(before), "after": msgspec.to_builtins(after)}
    return {"ok": ok, "states": states, "untouched": untouched, "difference": audit["difference"], **documents}


def _hurry_parts(directory: Path) -> None:
    engine = Embedded(directory)
    engine.migrate()
    for table in KEYS:
        engine.select(f"ALTER TABLE unjoin.{table} MODIFY SETTING {HURRIED}", "Null")
    engine.close()


def _post(stack: RunningStack, person: Person, events: int, now_ms: int) -> None:
    made = person.browser(events, now_ms)
    for start in range(0, len(made), BATCH_EVENTS):
        batch = {"session": person.session, "events": made[start : start + BATCH_EVENTS]}
        status, answer = stack.post(batch)
        if status != 200 or answer["rejected"]:
            raise Unproved("a batch was not accepted")
    status, answer = stack.post({"session": "server", "events": person.server(now_ms)}, "dev-server-key")
    if status != 200 or answer["rejected"]:
        raise Unproved("a batch of the server was not accepted")


def _garbage(stack: RunningStack, person: Person) -> None:
    """A record that nobody can read, which becomes a dead letter with the person's text in it."""
    producer = Producer({"bootstrap.servers": stack.bootstrap, "log_level": 0})
    producer.produce(SIGNALS, b"\0\xff\xff\xff\xff" + person.canaries.text("garbage").encode())
    producer.flush(STORED_S_MAX)


def _others(stack: RunningStack, person: Person) -> dict[str, str]:
    """A hash of every row that is not the person's, table by table."""
    mine = f"position(event_id, '{person.canaries.prefix}') > 0"
    found = {}
    for table, key in KEYS.items():
        rows = places.table_bytes(stack, f"SELECT * FROM {table} FINAL WHERE NOT ({mine}) ORDER BY {key}")
        found[table] = f"{len(rows)} {hashlib.sha256(rows).hexdigest()}"
    return found


def _blind(before: Searched) -> list[str]:
    """Places that have to hold the person's text, and in which none was found."""
    wanted = {f"ClickHouse: table {table}" for table in KEYS}
    wanted |= {f"ClickHouse: parts, merged ones too, of {table}" for table in KEYS}
    topics = {topic for category, topic in TOPIC_OF_CATEGORY.items() if category in KEYS} | {DEAD_LETTERS}
    wanted |= {f"Kafka: topic {topic}" for topic in topics} | {f"Kafka: segments of {topic}" for topic in topics}
    return sorted(wanted - {one.place for one in before.findings if one.found})


async def _short_retention(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(**KafkaAccess(bootstrap).client())
    await admin.start()
    try:
        names = [topic for category, topic in TOPIC_OF_CATEGORY.items() if category in KEYS] + [DEAD_LETTERS]
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=SHORT_MS) for name in names])
    finally:
        await admin.close()


def _wait(stack: RunningStack, began: float, console: Console) -> dict[str, str]:
    """Seconds after which all requests had reached each state."""
    reached: dict[str, str] = {}
    with console.status("waiting until nothing is left"):
        while time.monotonic() - began < DONE_S_MAX:
            listed = json.loads(stack.command("erase", "--list", "--format", "json").stdout)
            for state in set.intersection(*({*one["at_ms"]} for one in listed)):
                at = max(one["at_ms"][state] - one["asked_at_ms"] for one in listed) / 1_000
                reached[state] = f"{at:.0f} s"
            if "done" in reached:
                return reached
            time.sleep(5)
    raise Unproved(f"the requests are not done after {DONE_S_MAX:.0f} s: {reached}")


def _table(before: Searched, after: Searched) -> Table:
    table = Table("place", "how", "bytes searched before", "after", "found before", "after", box=box.SIMPLE)
    for column in table.columns[2:]:
        column.justify = "right"
    later = {(one.place, one.how): one for one in after.findings}
    for one in before.findings:
        then = later.pop((one.place, one.how), None)
        found = sum(one.found.values())
        left = sum(then.found.values()) if then else 0
        if found or left:
            bytes_after = f"{then.searched_bytes:,}" if then else "gone"
            table.add_row(one.place, one.how, f"{one.searched_bytes:,}", bytes_after, f"{found:,}", f"{left:,}")
    rest = [one for one in before.findings if not one.found]
    table.add_row(f"{len(rest)} other places", "", f"{sum(one.searched_bytes for one in rest):,}", "", "0", "0")
    return table


if __name__ == "__main__":
    sys.exit(main())
