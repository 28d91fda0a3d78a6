"""A sink as a process, to be killed.

python -m testkit.sink_process CONFIG    runs a sink; CONFIG is SinkConfig as JSON
python -m testkit.sink_process plain DIR makes an engine whose `signals` collapses nothing, so doubles show
"""

import logging
import sys
from pathlib import Path

import msgspec

import sinks.main
from sinks.clickhouse.embedded import Embedded
from sinks.main import SinkConfig, run

# Whoever follows one that was killed waits for so long.
SESSION_TIMEOUT_MS = 2_000


def prepare(directory: Path) -> None:
    engine = Embedded(directory)
    engine.migrate()  # before: a view of it needs a table that collapses
    ddl = engine.select("SHOW CREATE TABLE unjoin.signals", "TSVRaw").decode()
    engine.select("DROP TABLE unjoin.signals SYNC", "Null")
    engine.select(ddl.replace("ReplacingMergeTree(received_at)", "MergeTree"), "Null")
    engine.close()


def main() -> int:
    if sys.argv[1] == "plain":
        prepare(Path(sys.argv[2]))
        return 0
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    sinks.main.SESSION_TIMEOUT_MS = SESSION_TIMEOUT_MS
    return run(msgspec.json.decode(sys.argv[1], type=SinkConfig, dec_hook=lambda kind, value: kind(value)))


if __name__ == "__main__":
    sys.exit(main())
