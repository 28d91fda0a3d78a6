"""`unjoin subject`: what is stored of one person, counted, or written as one JSON document.

    about, made_at, subject, tables {name: {rows}}, counts {name: n}, not_yet_stored {topic: n}, not_included [...]

The document is written row by row, so that a long session costs no memory, and its file is there whole or not at all.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec

from schemas.subjects.selectors import Selector, tables_of
from sinks.engine import Table
from sinks.rows.tables import TABLES
from unjoin.audit.command import SINK_GROUP
from unjoin.audit.snapshot import AuditError, KafkaReader
from unjoin.connections.kafka_login import kafka_access_of
from unjoin.output import print_report
from unjoin.settings import Settings
from unjoin.subjects.arguments import named
from unjoin.subjects.stored_rows import SelectJson, SubjectError, count, iso, pages, rows_of

STDOUT = "-"
NOTHING_STORED = 4

ABOUT = (
    "Everything that is stored of this subject when this document was made. A time is in Unix milliseconds, as it is "
    "stored, and beside it as ISO 8601 in UTC; each event is given once, also where it arrived more than once."
)
LABELS = (
    "Answers to tasks are not in this document, and nobody could put them in: before an answer is stored, what ties it "
    "to a person is replaced by a number of a day's key, and the key is destroyed. Among the stored answers nobody, we "
    "included, can tell yours from anybody else's."
)
NOT_INCLUDED = (
    {"what": "answers to tasks (table `labels`)", "why": LABELS},
    {
        "what": "rows that hold the name of the subject in another field",
        "why": "A session is looked for as `session`, an account as `account`, an address as `email` of persons and "
        "labelers. An address that is used as an account, or that lies in `properties`, `url` or `referrer` of an "
        "analytics event, in a name or in a note, is not found by it: ask for that account or that session as well. "
        "`unjoin subject --search` says in which places a text lies.",
    },
    {
        "what": "records that have not become rows yet",
        "why": "They become rows within seconds; `not_yet_stored` counts how many there are, of everybody.",
    },
    {
        "what": "the same events on their topics",
        "why": "Every row was a record first, and the record stays on its topic until its retention; it says the same.",
    },
    {
        "what": "records that could not be read (dead letters)",
        "why": "They are kept as the bytes that arrived, until their retention; nobody can say whose they are.",
    },
    {
        "what": "events that wait in a browser, in an SDK or in a collector's spool",
        "why": "They have not reached the tables; ask again once they have.",
    },
    {
        "what": "backups, and the logs of proxies and machines in front of the collector",
        "why": "They are the operator's own, and this program does not know them.",
    },
)

NotStored = Callable[[], Mapping[str, int | None]]


def run_subject(settings: Settings, selector: Selector, target: str | None, form: str = "table") -> int:
    """Counts what is stored of one person or, with a target, writes it; the exit code, `NOTHING_STORED` for nothing.

    Args:
        target: a file, `STDOUT`, or None to count only.

    Raises:
        SubjectError, QueryError: nothing was written, and a file that was there before is as it was.
    """
    tables = [table for table in TABLES if table.name in tables_of(selector)]
    with rows_of(settings) as source:
        if target is None:
            counts = {table.name: count(source, selector, table.name) for table in tables}
        else:
            with _opened(target) as out:
                counts = write_document(out, source, selector, tables, lambda: not_yet_stored(settings, tables))
    said = ", ".join(f"{n} in {table}" for table, n in counts.items())
    total = sum(counts.values())
    written = f"; written to {target}" * (target not in (None, STDOUT))
    unit = "row" if total == 1 else "rows"
    text = f"{total} {unit} stored: {said}{written}" if total else f"nothing is stored of that subject: {said}{written}"
    if target == STDOUT:
        sys.stderr.write(f"{text}\n")
    else:
        print_report(text, form, rows=total, **counts)
    return 0 if total else NOTHING_STORED


def write_document(
    out: IO[bytes], source: SelectJson, selector: Selector, tables: list[Table], not_stored: NotStored
) -> dict[str, int]:
    """Writes the document; how many rows of each table are in it."""
    now_ms = time.time_ns() // 1_000_000
    head = {"about": ABOUT, "made_at": iso(now_ms), "subject": named(selector)}
    out.write(msgspec.json.encode(head).removesuffix(b"}") + b',"tables":{')
    counts = {}
    for place, table in enumerate(tables):
        out.write(b"," * (place > 0) + b"\n" + msgspec.json.encode(table.name) + b":[")
        rows = 0
        for page in pages(source, selector, table):
            for row in page:
                out.write(b"," * (rows > 0) + b"\n" + msgspec.json.encode(row))
                rows += 1
        out.write(b"]")
        counts[table.name] = rows
    foot: dict[str, Any] = {"counts": counts, "not_yet_stored": not_stored(), "not_included": NOT_INCLUDED}
    out.write(b"},\n" + msgspec.json.encode(foot).removeprefix(b"{") + b"\n")
    return counts


def not_yet_stored(settings: Settings, tables: list[Table]) -> dict[str, int | None]:
    """Records of everybody that the sink has not passed, by topic; None where Kafka does not say."""
    try:
        return dict(asyncio.run(_lags(settings, tables)))
    except AuditError:
        return {topic: None for table in tables for topic in table.topics}


async def _lags(settings: Settings, tables: list[Table]) -> dict[str, int]:
    lags = {}
    async with KafkaReader(kafka_access_of(settings)) as kafka:
        for table in tables:
            partitions = await kafka.partitions(table.topics)
            for topic, parts in partitions.items():
                commits = await kafka.commits(SINK_GROUP + table.name, parts)
                spans = await kafka.spans(parts)
                lags[topic] = sum(
                    span.end - max(span.start, commits[one].offset or span.start) for one, span in spans.items()
                )
    return lags


@contextmanager
def _opened(target: str) -> Iterator[IO[bytes]]:
    """The target to write to. A file is its owner's alone, and is put in its place once it is whole."""
    if target == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(target)
    if path.is_dir() or not path.parent.is_dir():
        raise SubjectError("the export cannot be written there: name a file in a folder that is there")
    try:
        with tempfile.NamedTemporaryFile(prefix=f".{path.name}.", dir=path.parent, delete=False) as out:
            try:
                yield out
                out.flush()
                os.fsync(out.fileno())
                Path(out.name).replace(path)
            except BaseException:
                Path(out.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise SubjectError(f"the export cannot be written there: {error.strerror}") from None
