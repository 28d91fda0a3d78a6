"""Turns datums into ClickHouse's Native format: Python decodes no datum.

A server's protocol carries blocks in Native, and older servers read no Avro. Compiled code makes them
(`sinks/blocks/native.py`); where it does not, an engine in this process does, which stores nothing: it reads a file in
memory and answers with bytes.
"""

import threading
from pathlib import Path
from typing import Any

from sinks.blocks.memory_file import avro_file
from sinks.blocks.native import native_block
from sinks.clickhouse import statements
from sinks.clickhouse.embedded import FAILURES, code_of, engine_of, path_of_engine, temporary_in
from sinks.clickhouse.errors import DATA_ERRORS
from sinks.engine import Block, EngineError, Refused, Unknown

# These codes are final, and no row causes them: the table does not fit the schema of the datums.
_DEPLOYMENT = {8: "THERE_IS_NO_COLUMN", 44: "ILLEGAL_COLUMN", 50: "UNKNOWN_TYPE"}
_REFUSALS = DATA_ERRORS | _DEPLOYMENT


class Transcoder:
    """Makes Native of blocks. Any thread may call it; the engine starts with the first block that needs one.

    Args:
        scratch: the folder for the engine's temporary files; None for the system's.
    """

    def __init__(self, scratch: Path | None = None) -> None:
        self._scratch = scratch
        self._lock = threading.Lock()
        self._first: Any = None
        self._closed = False

    def native(self, block: Block) -> bytes:
        """The rows of the block in Native: a header, then column by column in the table's order.

        Raises:
            Refused: a datum of it cannot be read.
            Unknown: anything else went wrong; nothing was sent anywhere.
        """
        failure: EngineError
        if self._closed:
            raise Unknown("the block cannot be transcoded: the sink stops")
        if (made := native_block(block)) is not None:
            return made
        try:
            with avro_file(block) as file:
                made = self._answer(statements.transcode(block.table, file))
        except OSError as error:
            failure = Unknown(f"the block cannot be transcoded: {error.strerror or type(error).__name__}")
        except FAILURES as error:
            code = code_of(error)
            if code in _REFUSALS:
                failure = Refused(f"the block cannot be read: {code} ({_REFUSALS[code]})")
            else:
                failure = Unknown(f"clickhouse failed to read the block with code {code}")
        else:
            # A packet of the protocol holds one block: the server would read what follows it as another packet.
            assert shape_of(made) == (len(block.table.columns), len(block.datums)), "not one block of all rows"
            return made
        # This is raised outside the handler, so that the engine's text, which holds values, is not its context.
        raise failure

    def close(self) -> None:
        """Closes the engine; later calls raise Unknown."""
        with self._lock:
            self._closed = True
            if self._first is not None:
                self._first.close()
                self._first = None

    def _answer(self, sql: str) -> bytes:
        with self._lock:
            if self._closed:
                raise BrokenPipeError
            sessions, path = engine_of(self._scratch), path_of_engine()
            if self._first is None:
                # The engine stops with its last session; this one keeps it running.
                with temporary_in(self._scratch):
                    self._first = sessions(path)
            session = sessions(path)
        try:
            return bytes(session.query(sql, "Native").bytes())
        finally:
            session.close()


def shape_of(native: bytes) -> tuple[int, int]:
    """How many columns and rows a block has, by its first bytes."""
    found = []
    at = 0
    for _ in range(2):
        number = shift = 0
        more = True
        while more:
            number |= (native[at] & 0x7F) << shift
            more = native[at] > 0x7F
            at, shift = at + 1, shift + 7
        found.append(number)
    return found[0], found[1]
