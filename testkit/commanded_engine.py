"""An embedded engine in a process that can be killed within an insert; it does what its input says.

python -m testkit.commanded_engine DIRECTORY

    insert FIRST END    plain insert of these rows      stored
    repair FIRST END    those of them that are missing  how many they were
    count               of the whole table              rows, different rows, parts

The rows are of four sites, and the table is partitioned by site: a block is four parts, each renamed by itself. It is
a plain MergeTree, so nothing collapses, and never merges.
"""

import sys
from pathlib import Path

import msgspec

from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.migrate import DIRECTORY
from sinks.engine import Block
from sinks.rows.tables import SIGNALS
from testkit.sink_records import signal, signals

SITES = 4
TABLE = msgspec.structs.replace(SIGNALS, name="signals_by_site")
NEVER_MERGES = "max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1"


def ddl() -> str:
    """The table `signals` as it is migrated, but for what the docstring says."""
    text = (DIRECTORY / "0001_events.sql").read_text()
    text = text[text.index("CREATE TABLE IF NOT EXISTS unjoin.signals") :].split(";\n")[0]
    text = text.replace("unjoin.signals", f"unjoin.{TABLE.name}")
    text = text.replace("ReplacingMergeTree(received_at)", "MergeTree PARTITION BY site")
    return text.replace("SETTINGS ", f"SETTINGS {NEVER_MERGES}, ")


def block(first: int, end: int) -> Block:
    rows = [signal(number, site=f"site-{number % SITES}") for number in range(first, end)]
    columns = tuple(column for column in TABLE.columns if column[0] != "sent_at")  # a later migration's
    return msgspec.structs.replace(signals(rows), table=msgspec.structs.replace(TABLE, columns=columns))


def main() -> None:
    engine = Embedded(Path(sys.argv[1]))
    engine.select(ddl(), "Null")
    print("ready", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["insert", first, end]:
                engine.insert(block(int(first), int(end)))
                print("stored", flush=True)
            case ["repair", first, end]:
                print(engine.insert_missing(block(int(first), int(end))), flush=True)
            case ["count"]:
                counts = f"SELECT count(), uniqExact(event_id), uniqExact(_part) FROM unjoin.{TABLE.name}"
                print(engine.select(counts, "TSV").decode().strip().replace("\t", " "), flush=True)
    engine.close()


if __name__ == "__main__":
    main()
