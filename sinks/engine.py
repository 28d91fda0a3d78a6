"""What a ClickHouse engine must be able to do for a sink; `embedded.py` and `clickhouse.py` are two of them.

UnjoinError
└── EngineError
    ├── Refused     the engine said no and stored nothing: bisect, then dead-letter
    └── Unknown     no answer, or a broken one: the rows may or may not be stored; repair, never repeat
"""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from schemas.outcomes import UnjoinError


class EngineError(UnjoinError):
    """The engine did not do what it was asked."""


class Refused(EngineError):
    """The engine definitely stored nothing of the block; its text is the engine's error code, never a value."""


class Unknown(EngineError):
    """Whether the block was stored is unknown; insert only the rows that are missing."""


class Table(msgspec.Struct, frozen=True):
    """A table as its sink sees it.

    Attributes:
        name: in database `unjoin`.
        topic: where its records come from.
        columns: (column, type in a file of datums, expression that makes the column of it), in insert order.
        key: the columns that tell two rows apart: the sorting key, and the version where there is one.
    """

    name: str
    topics: tuple[str, ...]
    columns: tuple[tuple[str, str, str], ...]
    key: tuple[str, ...]


class Block(msgspec.Struct, frozen=True):
    """The rows of one contiguous offset range of one partition, all of one schema.

    Attributes:
        schema: the Avro schema that every datum was written with, as fastavro parses it.
        datums: Avro datums, each meant to be exactly one; fewer than `end - first` where records were set aside.
    """

    table: Table
    topic: str
    partition: int
    first: int
    end: int
    schema: Any
    datums: Sequence[bytes]


class Engine(Protocol):
    """Where rows go. Its methods block; a sink calls them from a thread."""

    def migrate(self) -> None:
        """Applies the migrations that this engine has not seen yet, in order."""

    def insert(self, block: Block) -> None:
        """Stores the whole block, once it is known that none of it is stored yet.

        Raises:
            Refused: nothing was stored; of a block with a datum that is cut short, or that bytes follow, always.
            Unknown: nobody can tell.
        """

    def insert_missing(self, block: Block) -> int:
        """Stores the rows of the block whose key is not stored yet, and tells how many they were.

        Raises:
            Refused, Unknown: as `insert`; calling again is always safe.
        """

    def select(self, sql: str, output_format: str = "JSONEachRow") -> bytes:
        """The answer to a query of our own, in a ClickHouse output format.

        Raises:
            EngineError: the engine refused it or did not answer.
        """

    def close(self) -> None:
        """Lets go of the engine; nothing acknowledged depends on it."""
