"""What lies at the edge: records that a collector accepted and Kafka has not acknowledged."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ingest.spool.file import SpoolError, waiting_by_topic
from schemas.topics import LABELED
from unjoin.audit.balance import Finding
from unjoin.settings import WORKER_SPOOL


class Spooled(msgspec.Struct):
    """The counts of all spools together.

    Attributes:
        waiting: records, by topic.
        expired: records, by topic; only labels expire in a spool.
        set_aside: records whose checksum is wrong; their topic is unknown.
    """

    waiting: Counter[str] = msgspec.field(default_factory=Counter)
    expired: Counter[str] = msgspec.field(default_factory=Counter)
    set_aside: int = 0
    findings: list[Finding] = []
    doubts: list[str] = []
    notes: list[str] = []


def read_spools(folders: Sequence[Path], named: bool) -> Spooled:
    """Adds up the spools in these folders, and those of further workers below them.

    Args:
        named: somebody named them, so that one that is not there is a doubt.
    """
    total = Spooled()
    below = [worker for folder in folders for worker in sorted(folder.glob(f"{WORKER_SPOOL}*"))]
    for folder in [*folders, *below]:
        path = folder / "spool.sqlite"
        if broken := sorted(folder.glob("spool.sqlite.broken-*")):
            total.doubts.append(f"{folder}: {len(broken)} spool files are broken, see docs/spool.md")
        if not path.exists():
            if named:
                total.doubts.append(f"there is no spool in {folder}")
            else:
                total.notes.append(f"there is no spool in {folder}; name those of other collectors with --spool")
            continue
        try:
            counts, waiting = waiting_by_topic(path)
        except SpoolError as error:
            total.doubts.append(f"{path}: {error}; is this user allowed to read it?")
            continue
        total.waiting += waiting
        total.expired[LABELED] += counts.expired
        total.set_aside += counts.set_aside
        if missing := counts.waiting - waiting.total():
            total.findings.append(Finding(f"the spool in {folder} counts {missing} records more than can be read"))
    if total.set_aside:
        total.doubts.append(f"{total.set_aside} spooled records failed their checksum, see docs/spool.md")
    return total
