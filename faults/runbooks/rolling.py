"""Roles of two versions at once: an upgrade and its way back, and a new schema in both orders."""

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from faults.runbooks.roles import ROOT, Roles
from faults.runbooks.stack import SECONDS_MAX
from testkit.kafka_node import kafka_home
from testkit.processes import wait_for

READERS_FIRST = ("processor", "sink", "collector")
FIELD = {"name": "drilled", "type": "string", "default": "", "privacy": "technical", "doc": "Of a drill."}


def upgrade(commit: str) -> str:
    """docs/runbooks/upgrade.md: role by role under load."""
    with _checkout(commit) as old, _roles() as roles:
        roles.start(old)
        with roles.loaded():
            roles.ok("topics")
            for role in READERS_FIRST:
                roles.replace(role)
        roles.audited()
        return f"from {commit} to here: {roles.stored():,} rows, {roles.tally}"


def rollback(commit: str) -> str:
    """docs/runbooks/upgrade.md: the writers back under load, the sink only where it has every table."""
    with _checkout(commit) as old, _roles() as roles:
        roles.start()
        with roles.loaded():
            for role in ("collector", "processor"):
                roles.replace(role, old)
            if _migrated(old):
                roles.replace("sink", old, ready=False)
                assert roles.exit_code_of("sink") == 1, roles.log_of("sink")
                assert "start a version that has it" in roles.log_of("sink")
            roles.replace("sink")
        roles.audited()
        return f"from here to {commit}, but for the sink: {roles.stored():,} rows, {roles.tally}"


def kafka_away(_: str) -> str:
    """docs/runbooks/kafka-away.md: into the spool, which is made larger meanwhile, and out of it again."""
    with _roles() as roles:
        roles.start()
        with roles.loaded():
            roles.node.stop()
            wait_for(lambda: roles.spooled, "nothing is spooled", SECONDS_MAX, every_seconds=0.2)
            roles.replace("collector", UNJOIN_SPOOL_BYTES_MAX="536870912")
            spooled = roles.spooled
            assert spooled > 0
            wait_for(lambda: roles.spooled > spooled, "no more is spooled", SECONDS_MAX, every_seconds=0.2)
            roles.node.start()
            wait_for(lambda: roles.spooled == 0, "the spool is not emptied", SECONDS_MAX, every_seconds=0.2)
        roles.audited()
        return f"spooled, by a new collector too, and sent: {roles.stored():,} rows, {roles.tally}"


def schema_change(_: str) -> str:
    """docs/runbooks/schema-change.md: readers first."""
    with _newer() as newer, _roles() as roles:
        roles.start()
        with roles.loaded():
            for role in READERS_FIRST:
                roles.replace(role, newer)
            assert roles.wait_until("SELECT count() > 0 FROM signals WHERE drilled = 'new'", SECONDS_MAX)
        with contextlib.chdir(newer):
            roles.audited()
        assert roles.count("SELECT count() FROM signals WHERE drilled = ''")
        assert not roles.count("SELECT count() FROM dead_letters")
        return f"rows with the new field and without: {roles.stored():,} rows, {roles.tally}"


def schema_too_early(_: str) -> str:
    """docs/runbooks/schema-change.md: a collector first, whose records are put back."""
    with _newer() as newer, _roles() as roles:
        roles.start()
        roles.load()
        roles.replace("collector", newer)
        roles.load()
        unknown = "SELECT count() > 0 FROM dead_letters WHERE reason = 'unknown_schema'"
        assert roles.wait_until(unknown, SECONDS_MAX), "the old sink reads the new schema"
        roles.replace("sink", newer)
        with contextlib.chdir(newer):
            assert not roles.ok("replay", "--dry-run", "--reason", "unknown_schema").startswith("0 ")
            roles.ok("replay", "--reason", "unknown_schema")
            roles.audited()
        put_back = roles.count("SELECT count() FROM signals FINAL WHERE drilled = 'new'")
        assert put_back
        return f"{put_back:,} rows put back: {roles.stored():,} rows, {roles.tally}"


def _migrated(old: Path) -> bool:
    """Whether this version has made tables that the other one does not know."""
    files = Path("sinks/migrations")
    return {file.name for file in (ROOT / files).glob("*.sql")} != {file.name for file in (old / files).glob("*.sql")}


@contextlib.contextmanager
def _roles() -> Iterator[Roles]:
    with tempfile.TemporaryDirectory(prefix="drill-roles-") as folder:
        roles = Roles(kafka_home(), Path(folder) / "data")
        try:
            roles.node.start()
            yield roles
        finally:
            roles.stop()
            roles.node.stop()


@contextlib.contextmanager
def _checkout(commit: str) -> Iterator[Path]:
    """A commit's files."""
    with tempfile.TemporaryDirectory(prefix="drill-checkout-") as folder:
        tree = Path(folder) / "checkout"
        tree.mkdir()
        packed = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "--extract", "--directory", str(tree)], input=packed, check=True)
        yield tree


@contextlib.contextmanager
def _newer() -> Iterator[Path]:
    """This version with a field more of signals, as CONTRIBUTING.md adds one; the collector writes "new" into it."""
    with _checkout("HEAD") as checkout:
        _add_a_field(checkout)
        yield checkout


def _add_a_field(checkout: Path) -> None:
    schemas, migrations = checkout / "schemas", checkout / "sinks" / "migrations"
    schema = json.loads((schemas / "signals.v2.avsc").read_text())
    schema["fields"].append(FIELD)
    (schemas / "signals.v3.avsc").write_text(json.dumps(schema))
    subjects = json.loads((schemas / "subjects.json").read_text())
    subjects.append({"id": 90, "subject": "events.signals-value", "version": 3, "file": "signals.v3.avsc"})
    (schemas / "subjects.json").write_text(json.dumps(subjects))
    number = len(list(migrations.glob("*.sql"))) + 1
    (migrations / f"{number:04}_drilled.sql").write_text(
        "ALTER TABLE unjoin.signals ADD COLUMN IF NOT EXISTS drilled String;\n"
    )
    samples = '("t", "x", "y", "z", "force", "t_up"))'
    _replace(checkout / "sinks" / "rows" / "tables.py", samples, f'{samples}, ("drilled", "String")')
    encoder = "_SIGNALS[kind], kind"
    _replace(checkout / "ingest" / "encode" / "records.py", encoder, f'{encoder}, drilled="new"')


def _replace(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert text.count(before) == 1, f"{file} has {before!r} {text.count(before)} times"
    file.write_text(text.replace(before, after))
