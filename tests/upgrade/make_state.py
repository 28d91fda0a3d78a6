"""Writes what a version leaves on disk and on Kafka, by that version's own code, for the next ones to read.

    git worktree add --detach /tmp/old COMMIT
    cd /tmp/old
    PYTHONPATH=. HERE/.venv/bin/python HERE/tests/upgrade/make_state.py HERE/tests/upgrade/states/COMMIT

A folder a version, some 40 KB, is kept as it was made: spool.sqlite, keys/, sites.json, clickhouse.tar.xz (the folder
of the embedded engine) and kafka.json (records by topic, and the metadata of the groups' commits). One of the keys is
destroyed. Nothing in it is secret: the keys were made for it.
"""

import datetime
import json
import sys
import tarfile
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ingest.access.sites import SitesFile
from ingest.encode.records import Record, Sender, records_of
from ingest.encode.seals import Seals
from ingest.spool.file import SpoolFile
from ingest.spool.packs import pack_of
from processors.door.deidentify import verdict_id
from processors.door.outcome_counts import OutcomeCounts
from processors.door.records import value_of, verdict_key_of, verdict_value_of
from processors.door.verdicts import StoredVerdict
from schemas.dead_letters import dead_letter_headers
from schemas.events import AnyEvent, DeidentifiedLabel
from schemas.outcomes import DeadLetterReason, Suppression
from schemas.seal import public_key_of
from schemas.topics import DEAD_LETTERS, DEIDENTIFIED, KEY_ANNOUNCEMENTS, LABELED, VERDICTS
from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.marks import Marks
from sinks.engine import Block
from sinks.kafka.block_planner import Intent
from sinks.rows.tables import DEAD_LETTERS as DEAD_LETTERS_TABLE
from sinks.rows.tables import TABLES, reader_of
from testkit.sink_records import FakeRecord
from unjoin.keys.announcement import door_announcement, edge_announcement
from unjoin.keys.identity import door_identity
from unjoin.keys.keyring import Keyring

NOW_MS = 1_790_000_001_000
DAY = datetime.date(2026, 9, 21)
DESTROYED = datetime.date(2026, 9, 14)
SENDER = Sender("shop", "s-1", NOW_MS, "203.0.113.9", "Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0", NOW_MS - 9)
ARRAYS: dict[str, list[float]] = {"t": [0, 16.5], "x": [1, 2], "y": [3, 4]}
EVENTS: tuple[dict[str, Any], ...] = (
    {"type": "pointer", **ARRAYS},
    {"type": "touch", **ARRAYS, "force": [0.5, 1]},
    {"type": "key", "t_down": [0, 90.5], "t_up": [40, 130]},
    {"type": "page_view", "url": "https://shop.example/", "referrer": "", "properties": {"plan": "free"}},
    {"type": "image_label", "task": "dogs-1", "answer": "beagle"},
    {"type": "text_answer", "task": "dogs-1", "answer": "a beagle, ask ada@example.com"},
    {"type": "verdict", "session": "s-1", "human": True},
)
RELEASED = DeidentifiedLabel(str(uuid.UUID(int=7)), DAY, "dogs-1", "image_label", "beagle", 2**64 - 3)


def main(out: Path) -> None:
    out.mkdir(parents=True)
    edge, epoch = (_keyring(out / "keys" / role) for role in ("edge", "epoch"))
    identity = door_identity(out / "keys" / "epoch")
    seals = Seals(lambda day: public_key_of(epoch.key_of(day)), lambda _: 1, lambda: 0.0)
    events = [
        (number, msgspec.convert({"id": f"e-{number}", "ts": NOW_MS - 877, **event}, AnyEvent))  # type: ignore[arg-type]
        for number, event in enumerate(EVENTS)
    ]
    records, closed = records_of(events, SENDER, edge.key_of, seals)
    assert not closed
    _spool(out / "spool.sqlite", list(records))

    verdict = StoredVerdict(verdict_id(b"v" * 32, epoch.key_of(DAY)), DAY, False, 1, 7)
    announced = (edge_announcement(DAY, edge.key_of(DAY)), door_announcement(DAY, epoch.key_of(DAY), identity))
    headers = dead_letter_headers(DeadLetterReason.MALFORMED_DATUM, "events.signals", 1, 3)
    kafka: list[FakeRecord] = [
        *(FakeRecord(topic=one.topic, value=one.value, partition=one.partition or 0) for one in records),
        FakeRecord(topic=DEIDENTIFIED, value=value_of(RELEASED)),
        FakeRecord(topic=VERDICTS, value=verdict_value_of(verdict), headers=[("key", verdict_key_of(verdict))]),
        *(FakeRecord(topic=KEY_ANNOUNCEMENTS, value=msgspec.json.encode(one)) for one in announced),
        FakeRecord(topic=DEAD_LETTERS, value=b"\0\0\0\0\1x", headers=headers),
    ]
    counts = OutcomeCounts(since=2, released=3, collapsed=1, verdicts=1, suppressed={Suppression.EXPIRED: 4})
    metadata = {"door": counts.metadata(), **_tables(out / "clickhouse.tar.xz", kafka)}
    told = [
        {
            "topic": one.topic,
            "partition": one.partition,
            "value": (one.value or b"").hex(),
            "headers": [(name, value.hex()) for name, value in one.headers],
        }
        for one in kafka
    ]
    (out / "kafka.json").write_text(json.dumps({"records": told, "commits": metadata}, indent=1) + "\n")
    sites = SitesFile(out / "sites.json")
    sites.add("shop", ["https://shop.example"], ["signals", "labeled"], "browser")
    sites.add("shop", [], None, "server")
    for lock in out.glob("**/*.lock"):
        lock.unlink()


def _keyring(folder: Path) -> Keyring:
    keys = Keyring(folder, now_ms=lambda: NOW_MS)
    for day in (DESTROYED, DAY):
        keys.key_of(day)
    keys.destroy(DESTROYED)
    return keys


def _spool(path: Path, records: Sequence[Record]) -> None:
    file = SpoolFile(path, 10_000_000, 3_600_000, lambda: NOW_MS)
    file.open()
    labeled = [one for one in records if one.topic == LABELED]
    file.append([pack_of([one for one in records if one.topic != LABELED], None)])
    file.append([pack_of(labeled, NOW_MS + 21_600_000)])
    file.close()


def _tables(archive: Path, kafka: Sequence[FakeRecord]) -> dict[str, str]:
    """Fills every table; gives what sinks commit, by what it says."""
    with tempfile.TemporaryDirectory() as folder:
        engine = Embedded(Path(folder) / "clickhouse")
        engine.migrate()
        for table in TABLES:
            read = reader_of(table)
            for offset, one in enumerate(record for record in kafka if record.topic in table.topics):
                schema, datum = read(one)
                engine.insert(Block(table, one.topic, one.partition, offset, offset + 1, schema, [datum]))
        assert engine.select(f"SELECT count() FROM unjoin.{DEAD_LETTERS_TABLE.name}", "TSV") == b"1\n"
        marks = Marks(engine.select)
        said = {"all below": Intent(5, 5), "in work": Intent(8, 8), "in doubt": Intent(8, 11)}
        commits = {f"sink, {name}": marks.marked(intent.metadata(5)) for name, intent in said.items()}
        commits["sink, of the version before"] = Intent(8, 11).metadata(5)
        engine.close()
        with tarfile.open(archive, "w:xz", preset=9) as tar:
            tar.add(Path(folder) / "clickhouse", "clickhouse")
    return commits


if __name__ == "__main__":
    main(Path(sys.argv[1]))
