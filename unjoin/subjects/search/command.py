"""One search of every place, shown as a table and written as a report that names none of the texts."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.progress import MofNCompleteColumn, TextColumn, TimeElapsedColumn

from schemas.subjects.selectors import Selector
from unjoin.audit.snapshot import AuditError
from unjoin.audit.stored import source_of
from unjoin.connections.kafka_login import kafka_access_of
from unjoin.output import print_table, progress_on, say
from unjoin.roles import topics_of
from unjoin.settings import Settings
from unjoin.subjects.arguments import named
from unjoin.subjects.search.needles import Needles
from unjoin.subjects.search.places import Finding, search_files
from unjoin.subjects.search.stored import Searched, search_tables, search_topics
from unjoin.subjects.stored_rows import SubjectError, iso

SHORT_BYTES = 6
NOT_SEEN = (
    "events that wait in visitors' browsers and in SDKs of servers, which have not arrived yet",
    "disks of other machines: run this on each host that has a data directory or a spool of the pipeline",
    "backups and snapshots of disks, and logs of proxies and machines in front of the collector",
    "blocks that a file system or a disk has freed and not overwritten, and swapped memory",
    "memory of running processes: what a collector or a sink is working on in this second",
    "answers to tasks: they hold no session, and their row can be joined to nobody",
)


def texts_of(selector: Selector, written: str | None, also: Sequence[str] = ()) -> dict[str, str]:
    """The texts to look for, by names that may be shown; a site is nobody's.

    Args:
        written: an address as the operator wrote it, which may have letters that its canonical form does not.
    """
    texts = {name: text for name, text in named(selector).items() if name != "site"}
    if written and written.strip() not in texts.values():
        texts["email as written"] = written.strip()
    return texts | {f"also {number}": text for number, text in enumerate(also, 1)}


def search_everywhere(settings: Settings, texts: Mapping[str, str], console: Console) -> Searched:
    """Looks for the texts in tables, topics and every file of the data directory and the spool.

    Raises:
        SubjectError: there is nothing to look for. A place that cannot be searched is said in its finding.
    """
    needles = Needles(texts)
    if not needles.texts:
        raise SubjectError("there is nothing to look for")
    findings: list[Finding] = []
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with progress_on(console, *columns) as progress:
        bar = progress.add_task("tables", total=None)
        try:
            with source_of(settings) as source:
                findings += search_tables(source, needles)
        except AuditError as error:
            findings.append(Finding("ClickHouse: every table", "by SQL", missed=1, blind=True, note=str(error)))
        bar = progress.add_task("records", total=None)
        names = sorted(topic.name for topic in topics_of(settings))
        try:
            access = kafka_access_of(settings)
            findings += asyncio.run(search_topics(access, names, needles, lambda n: progress.advance(bar, n)))
        except (AuditError, KafkaError) as error:
            why = str(error) if isinstance(error, AuditError) else type(error).__name__
            findings.append(Finding("Kafka: every topic", "as a consumer reads it", missed=1, blind=True, note=why))
        bar = progress.add_task("files", total=None)
        folders = (settings.data_dir.resolve(), [settings.spool_folder.resolve()])
        findings += search_files(*folders, needles, lambda n: progress.advance(bar, n))
    not_seen = [*NOT_SEEN, *(f"{one.place}, {one.how}: {one.note}" for one in findings if one.missed)]
    if not settings.data_dir.is_dir():
        not_seen.append(f"files: there is no data directory at {settings.data_dir} on this machine")
    short = sorted(name for name, text in needles.texts.items() if len(text.encode()) < SHORT_BYTES)
    not_seen += [f"whether {name} was found as itself or within others' texts: it is short" for name in short]
    return Searched(iso(time.time_ns() // 1_000_000) or "", sorted(needles.texts), findings, not_seen)


def show(searched: Searched, form: str = "table") -> None:
    """Prints where something was found, and how much was searched; as JSON what `write_report` writes."""
    rows = [
        (one.place, one.how, one.items, one.searched_bytes, sum(one.found.values()), "partly" * bool(one.missed))
        for one in sorted(searched.findings, key=lambda one: -sum(one.found.values()))
    ]
    names = ("place", "how", "items", "bytes searched", "found", "not read")
    if form == "csv":
        names = ("place", "how", "items", "searched_bytes", "found", "missed")
    print_table(names, rows, form, document=searched)
    if form == "table":
        for line in searched.not_seen:
            say(f"not seen: {line}")


def write_report(searched: Searched, target: Path) -> None:
    """Writes the report as JSON.

    Raises:
        SubjectError: it cannot be written there.
    """
    try:
        target.write_bytes(msgspec.json.format(msgspec.json.encode(searched), indent=1) + b"\n")
    except OSError as error:
        raise SubjectError(f"the report cannot be written there: {error.strerror}") from None
