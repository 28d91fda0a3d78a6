"""`python -m attacks.canaries`: posts canaries in every identifying field and looks for them where none may be."""

import argparse
import asyncio
import datetime
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from attacks.canaries import places
from attacks.canaries.needles import Canaries
from attacks.canaries.places import Place
from attacks.canaries.posting import CanaryError, post_all, produce_garbage, send_bad_requests, send_queries
from attacks.canaries.traffic import EXPECTED, Traffic
from schemas.topics import DEAD_LETTERS, DEIDENTIFIED, LABELED, LABELED_DEAD_LETTERS, TOPIC_OF_CATEGORY
from testkit.kafka_node import kafka_home
from testkit.running_stack import RunningStack
from unjoin.keys.keyring import Keyring

CLOSING_SESSIONS, CLOSING_LABELS_MAX = 60, 500
STORED_S_MAX, STORED_EVENTS_PER_S_MIN = 60.0, 1_000
LABELED_GARBAGE = frozenset({"labeledgarbage"})
"""Tags of what was put on `events.labeled` past the collector: its dead letters keep it, byte for byte, for hours."""


class Finding(msgspec.Struct):
    """One place after the search.

    Attributes:
        found: canaries by tag.
        expected: tags that belong there.
    """

    place: str
    scanned_bytes: int
    may_be_empty: bool
    found: dict[str, int]
    expected: list[str]

    @property
    def ok(self) -> bool:
        """Exactly what belongs there is there; where nothing does, something was searched all the same."""
        return set(self.found) == set(self.expected) and (self.scanned_bytes > 0 or self.may_be_empty)


def main() -> int:
    """0 where every place holds what belongs there; 1 where not, or where the run proves nothing."""
    parser = argparse.ArgumentParser(prog="python -m attacks.canaries", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings there")
    options = parser.parse_args()
    console = Console(width=140)
    try:
        findings = run(options.events, options.seed, console)
    except CanaryError as error:
        console.print(f"this run proves nothing: {error}", style="bold red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    console.print(_table(findings))
    if options.json:
        options.json.write_text(json.dumps([msgspec.to_builtins(finding) for finding in findings], indent=1))
    return 0 if all(finding.ok for finding in findings) else 1


def run(events: int, seed: int, console: Console) -> list[Finding]:
    """Starts a pipeline of its own, fills it, searches it while it runs, stops it, searches its files.

    Raises:
        CanaryError: the pipeline did not do what it should, so that a search would prove nothing.
    """
    with tempfile.TemporaryDirectory(prefix="unjoin-canaries-") as folder:
        stack = RunningStack(kafka_home(), Path(folder), UNJOIN_TRUSTED_PROXIES="127.0.0.0/8")
        canaries = Canaries(Random(seed))
        stack.start()
        try:
            accepted = _fill(stack, canaries, events, console)
            findings = [_searched(place, canaries, console) for place in _while_it_runs(stack)]
            folders = {name: places.table_folders(stack, name) for name in ("labels", "dead_letters", *EXPECTED)}
        finally:
            stopped = stack.stop()
        if stopped != 0:
            raise CanaryError(f"`unjoin up` ended with {stopped}")
        findings += [_searched(place, canaries, console) for place in _at_rest(stack.data_dir.resolve(), folders)]
        console.print(f"{events:,} events accepted: {dict(accepted)}", highlight=False)
        return findings


def _fill(stack: RunningStack, canaries: Canaries, events: int, console: Console) -> Counter[str]:
    keys = (_key(stack, canaries.text("site")), _key(stack, canaries.text("serversite"), server=True))
    traffic = Traffic(canaries, time.time_ns() // 1_000_000)
    closing = traffic.closing(CLOSING_SESSIONS, min(CLOSING_LABELS_MAX, max(1, events // 200)))
    today = datetime.datetime.now(datetime.UTC).date()
    epoch_key = Keyring(stack.data_dir / "keys" / "epoch").key_of(today)
    with Progress(console=console) as progress:
        task = progress.add_task("posting", total=events)

        def posted(more: int) -> None:
            progress.advance(task, more)

        accepted = asyncio.run(post_all(stack.http, keys, traffic.batches(events), posted))
        undecodable = produce_garbage(stack.bootstrap, canaries, os.urandom(32), today, epoch_key)
        statuses = send_bad_requests(stack.http_port, canaries)
        queries = send_queries(stack.clickhouse_port, canaries)
        asyncio.run(post_all(stack.http, keys, closing, lambda _: None))
        if accepted.total() != events:
            raise CanaryError(f"{accepted.total()} of {events} events were accepted")
        if queries[200] != 2:
            raise CanaryError("port 8123 answered a query that is wrong on purpose")
        storing = progress.add_task("waiting until all is stored", total=None)
        for table in EXPECTED:
            _wait(stack, f"SELECT count() FROM {table}", accepted[table], events)
        # One more than were posted: of the labels that came past the collector, the good one.
        _wait(stack, "SELECT count() FROM labels WHERE task NOT LIKE 'closing-%'", accepted["labeled"] + 1, events)
        _wait(stack, "SELECT count() FROM dead_letters", undecodable, events)
        progress.remove_task(storing)
    console.print(f"bad requests by status: {dict(statuses)}; queries by status: {dict(queries)}", highlight=False)
    return accepted


def _key(stack: RunningStack, site: str, *, server: bool = False) -> str:
    given = ["--server", "--categories", "personal,labelers,labeled"]
    if not server:
        given = ["--origin", "https://shop.example", "--categories", "signals,labeled,analytics"]
    done = stack.command("sites", "add", site, *given)
    if done.returncode:
        raise CanaryError("the site could not be added")
    return done.stdout.split()[-1]


def _wait(stack: RunningStack, sql: str, expected: int, events: int) -> None:
    found = stack.wait_for_count(sql, expected, STORED_S_MAX + events / STORED_EVENTS_PER_S_MIN)
    if found != expected:
        raise CanaryError(f"{sql}: {found} instead of {expected}")


def _while_it_runs(stack: RunningStack) -> Iterator[Place]:
    yield Place("released topic, keys, values and headers", places.record_bytes(stack.bootstrap, DEIDENTIFIED))
    released_letters = places.letters_of_released(stack.bootstrap, DEAD_LETTERS)
    yield Place("released topic, its dead letters", released_letters)
    yield Place("table labels, SELECT *", [places.table_bytes(stack, "SELECT * FROM labels")])
    yield Place("table dead_letters, SELECT *", [places.table_bytes(stack, "SELECT * FROM dead_letters")])
    for role, text in stack.metrics().items():
        yield Place(f"metrics of {role}", [text])
    system = places.system_tables(stack)
    logs = {name for name in system if name.endswith("_log")}
    tables_of = "engine's tables of logs" if logs else "engine's tables of logs, none exist"
    yield Place(tables_of, [system[name] for name in logs], may_be_empty=True)
    others = [system[name] for name in system.keys() - logs]
    yield Place(f"engine's {len(others)} other system tables that SQL can read", others)
    for category, tags in EXPECTED.items():
        topic = TOPIC_OF_CATEGORY[category]
        here = frozenset(tags) | ({"signalsgarbage"} if category == "signals" else set())
        yield Place(f"control: {topic}", places.record_bytes(stack.bootstrap, topic), here)
        rows = places.table_bytes(stack, f"SELECT * FROM {category} ORDER BY event_id LIMIT {places.ROWS_MAX}")
        yield Place(f"control: table {category}", [rows], frozenset(tags))
    insider = LABELED_GARBAGE | {"insider"}
    yield Place(
        "events.labeled: none but what was put there past the collector",
        places.record_bytes(stack.bootstrap, LABELED),
        insider,
    )
    letters = places.record_bytes(stack.bootstrap, LABELED_DEAD_LETTERS)
    yield Place("control: events.labeled.dead_letters", letters, LABELED_GARBAGE)
    letters = places.record_bytes(stack.bootstrap, DEAD_LETTERS)
    yield Place("control: events.dead_letters", letters, frozenset({"signalsgarbage"}))


def _at_rest(data_dir: Path, folders: dict[str, list[Path]]) -> Iterator[Place]:
    kafka = data_dir / "kafka" / "data"
    yield Place("released topic, files of its log", places.file_bytes(_partitions(kafka, DEIDENTIFIED)))
    for table in ("labels", "dead_letters"):
        files = places.files_below(*folders[table])
        yield Place(f"table {table}, files", places.file_bytes(files))
        yield Place(f"table {table}, files without compression", places.inflated_bytes(files))
    logs = [*places.files_below(data_dir / "logs"), data_dir / "up.log"]
    yield Place("logs of every part", places.file_bytes(logs))
    # The names of sites are where their keys are looked up; collectors alone read that file.
    sites = [file.parent for file in data_dir.rglob("sites.json") if file.parent != data_dir]
    elsewhere = [kafka, data_dir / "sites.json", *sites, *logs, *(one for each in folders.values() for one in each)]
    rest = [file for file in places.files_below(data_dir) if not any(file.is_relative_to(one) for one in elsewhere)]
    yield Place("every other file of the data directory", places.file_bytes(rest))
    own = [file for name in ("__consumer_offsets", "__cluster_metadata") for file in _partitions(kafka, name)]
    yield Place("Kafka's own topics, files", places.file_bytes(own))
    for category, tags in EXPECTED.items():
        files = places.files_below(*folders[category])
        yield Place(f"control: files of {category}, uncompressed", places.inflated_bytes(files), frozenset(tags))


def _partitions(kafka: Path, topic: str) -> list[Path]:
    return [file for file in places.files_below(kafka) if file.parent.name.rpartition("-")[0] == topic]


def _searched(place: Place, canaries: Canaries, console: Console) -> Finding:
    scanned = 0

    def counted() -> Iterator[bytes]:
        nonlocal scanned
        for chunk in place.chunks:
            scanned += len(chunk)
            yield chunk

    with console.status(f"searching {place.name}"):
        found = canaries.found_in(counted())
    return Finding(place.name, scanned, place.may_be_empty, dict(found), sorted(place.expected))


def _table(findings: list[Finding]) -> Table:
    table = Table("place", "bytes searched", "canaries", "of how many fields", "verdict", box=box.SIMPLE)
    for column in table.columns[1:4]:
        column.justify = "right"
    for finding in sorted(findings, key=lambda finding: bool(finding.expected)):
        wrong = sorted(set(finding.found) ^ set(finding.expected))
        verdict = "as it should" if finding.ok else f"LEAK, or blind: {', '.join(wrong)}"
        number = f"{sum(finding.found.values()):,}"
        fields = f"{len(finding.found)} of {len(finding.expected)}" if finding.expected else str(len(finding.found))
        table.add_row(finding.place, f"{finding.scanned_bytes:,}", number, fields, verdict)
    return table


if __name__ == "__main__":
    sys.exit(main())
