"""An upgrade in the middle of anything: what an earlier version left on disk and on Kafka is read by this one.

Whoever changes a stored form keeps a state of the version before (`make_state.py` says how), and these stay green.
"""

import datetime
import json
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from ingest.access.sites import SitesFile
from ingest.spool.file import SpoolFile
from processors.door.deidentify import verdict_id
from processors.door.outcome_counts import OutcomeCounts
from processors.door.records import labeled_of, stored_verdict_of
from schemas.events import IdentifiedLabel, IdentifiedVerdict
from schemas.outcomes import Suppression
from schemas.seal import Opener, place_of, public_key_of
from schemas.topics import KEY_ANNOUNCEMENTS, LABELED, VERDICTS
from sinks.kafka.block_planner import Intent
from sinks.kafka.commit_marks import split_mark
from sinks.rows.tables import TABLES, check
from tests.upgrade.kept import State, versions
from unjoin.keys.announcement import announcement_of, fingerprint_of
from unjoin.keys.identity import existing_identity
from unjoin.keys.keyring import KeyDestroyed, Keyring

NOW_MS = 1_790_000_001_000
DAY = datetime.date(2026, 9, 21)
DESTROYED = datetime.date(2026, 9, 14)


@pytest.fixture(params=versions())
def state(request: pytest.FixtureRequest) -> State:
    return State.of(request.param)


@pytest.fixture
def keys(state: State, tmp_path: Path) -> dict[str, Keyring]:
    """Copies: a keyring writes beside its keys."""
    shutil.copytree(state.folder / "keys", tmp_path / "keys")
    return {role: Keyring(tmp_path / "keys" / role) for role in ("edge", "epoch")}


def test_spool_gives_what_the_version_before_acknowledged(state: State, tmp_path: Path) -> None:
    """Kafka was away while the collector was upgraded; a label keeps its partition and its end."""
    shutil.copy(state.folder / "spool.sqlite", tmp_path)
    spool = SpoolFile(tmp_path / "spool.sqlite", 10_000_000, 3_600_000, lambda: NOW_MS)
    spool.open()
    assert spool.broken == 0
    assert spool.counts.waiting == sum(one.topic.startswith("events.") and not one.headers for one in state.records)
    packs = spool.read(0, 1_000, 1_000_000)
    found = Counter((one.topic, one.partition or 0, one.value) for pack in packs for one in pack.records)
    sent = Counter((one.topic, one.partition, one.value) for one in state.records)
    assert found <= sent
    assert [pack.expires_ms for pack in packs] == [None, NOW_MS + 21_600_000]
    spool.delete(packs)
    assert spool.counts.waiting == 0
    spool.close()


def test_keys_open_what_was_sealed_and_stay_destroyed(state: State, keys: dict[str, Keyring]) -> None:
    """Another key of the day would count a voter twice; one that comes back could join again."""
    opener = Opener(keys["epoch"].existing_key_of)
    said = [
        labeled_of(one.value, NOW_MS, place_of(LABELED, one.partition), opener)
        for one in state.records
        if one.topic == LABELED
    ]
    labels = [one for one in said if isinstance(one, IdentifiedLabel)]
    verdicts = [one for one in said if isinstance(one, IdentifiedVerdict)]
    assert [one.answer for one in labels] == ["beagle", "a beagle, ask ada@example.com"]
    assert [(one.voter, one.day, one.human) for one in verdicts if one.day == DAY] == [(labels[0].voter, DAY, True)]
    for keyring in keys.values():
        with pytest.raises(KeyDestroyed):
            keyring.key_of(DESTROYED)


def test_announcements_are_of_those_keys(state: State, keys: dict[str, Keyring], tmp_path: Path) -> None:
    """Collectors of this version seal to a door of the version before, and the other way round."""
    values = [one.value for one in state.records if one.topic == KEY_ANNOUNCEMENTS]
    edge, door = (announcement_of(value, "") for value in values)
    assert edge.fingerprint == fingerprint_of("edge", keys["edge"].key_of(DAY))
    assert bytes.fromhex(door.public_key) == public_key_of(keys["epoch"].key_of(DAY))
    assert bytes.fromhex(door.identity) == existing_identity(tmp_path / "keys" / "epoch")


def test_commits_say_what_they_said(state: State, keys: dict[str, Keyring]) -> None:
    """Where a sink or a door goes on, which rows may be stored, and what became of the labels below."""
    said = {name: Intent.of(5, split_mark(text)[1], 20) for name, text in state.commits.items() if name != "door"}
    assert said == {
        "sink, all below": Intent(5, 5),
        "sink, in work": Intent(8, 8),
        "sink, in doubt": Intent(8, 11),
        "sink, of the version before": Intent(8, 11),
    }
    counts = OutcomeCounts(since=2, released=3, collapsed=1, verdicts=1, suppressed={Suppression.EXPIRED: 4})
    assert OutcomeCounts.of(state.commits["door"]) == counts
    (verdict,) = (stored_verdict_of(one.value) for one in state.records if one.topic == VERDICTS)
    assert verdict.voter_id == verdict_id(b"v" * 32, keys["epoch"].key_of(DAY))
    assert (verdict.day, verdict.human, verdict.partition, verdict.offset) == (DAY, False, 1, 7)


def test_sites_keep_their_keys(state: State) -> None:
    """And their rights."""
    (site,) = SitesFile(state.folder / "sites.json").list()
    browser, server = site.keys
    assert (site.name, site.origins) == ("shop", ("https://shop.example",))
    assert (browser.kind, browser.categories, server.kind) == ("browser", {"signals", "labeled"}, "server")


def test_tables_are_brought_up_to_date_and_hold_every_row_once(state: State, tmp_path: Path) -> None:
    """The engine's folder of then: migrated, its commits its own, and each record, read again, found to be stored."""
    of_tables = [(table, one) for table in TABLES for one in state.records if one.topic in table.topics]
    for table, one in of_tables:
        check(table, one.value)
    with tarfile.open(state.folder / "clickhouse.tar.xz") as tar:
        tar.extraction_filter = getattr(tarfile, "tar_filter", None)  # Python 3.11.3 and before know no filters
        tar.extractall(tmp_path)
    command = [sys.executable, "-m", "tests.upgrade.open_tables", state.folder.name, str(tmp_path / "clickhouse")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    counts = Counter(table.name for table, _ in of_tables)
    assert found["before"] == found["after"] == {table.name: counts[table.name] for table in TABLES}
    assert found["added"] == 0
    assert found["kinds"] == {
        "sink, all below": "own",
        "sink, in work": "own",
        "sink, in doubt": "own",
        "sink, of the version before": "foreign",
    }
    assert found["label"]["answer"] == "beagle"
    assert found["label"]["version"] == str(2**64 - 3)
