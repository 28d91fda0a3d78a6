"""A process that inserts blocks into an embedded engine until it is killed; prints the number of each it stored.

python -m tests.sinks.killed_inserts DIRECTORY FIRST
"""

import itertools
import sys
from pathlib import Path

from sinks.clickhouse.embedded import Embedded
from sinks.engine import Block
from testkit.sink_records import signal, signals

ROWS = 2_000


def block_numbered(number: int) -> Block:
    return signals([signal(row) for row in range(number * ROWS, (number + 1) * ROWS)])


def main() -> None:
    engine = Embedded(Path(sys.argv[1]))
    engine.migrate()
    for number in itertools.count(int(sys.argv[2])):
        # The first block may be stored already, whole or not at all: that is what the process before left unknown.
        if number == int(sys.argv[2]):
            engine.insert_missing(block_numbered(number))
        else:
            engine.insert(block_numbered(number))
        print(number, flush=True)


if __name__ == "__main__":
    main()
