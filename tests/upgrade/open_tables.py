"""Opens an engine's folder as a sink of this version does, and says what is in it: a process has one folder.

python -m tests.upgrade.open_tables FOLDER
"""

import json
import sys
from pathlib import Path

from aiokafka import TopicPartition

from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.marks import Marks
from sinks.engine import Block
from sinks.kafka.commit_marks import Commit
from sinks.rows.tables import TABLES, reader_of
from tests.upgrade.kept import State


def main(state: State, folder: Path) -> None:
    engine = Embedded(folder)
    before = {table.name: _count(engine, table.name) for table in TABLES}
    engine.migrate()
    marks = Marks(engine.select)
    added = 0
    for table in TABLES:
        read = reader_of(table)
        for offset, one in enumerate(record for record in state.records if record.topic in table.topics):
            schema, datum = read(one)
            block = Block(table, one.topic, one.partition, offset, offset + 1, schema, [datum])
            added += engine.insert_missing(block)
    kinds = {
        name: str(marks.meaning("sink", TopicPartition("events.signals", 0), Commit(5, said)).kind.value)
        for name, said in state.commits.items()
        if name != "door"
    }
    after = {table.name: _count(engine, table.name) for table in TABLES}
    released = json.loads(engine.select("SELECT row_id, answer, toString(version) AS version FROM unjoin.labels FINAL"))
    engine.close()
    found = {"before": before, "after": after, "added": added, "kinds": kinds, "label": released}
    sys.stdout.write(json.dumps(found) + "\n")


def _count(engine: Embedded, table: str) -> int:
    return int(engine.select(f"SELECT count() FROM unjoin.{table} FINAL", "TSV"))


if __name__ == "__main__":
    main(State.of(sys.argv[1]), Path(sys.argv[2]))
