"""What a sink asks of a ClickHouse engine; `clickhouse/embedded.py` and `clickhouse/server.py` are two.

UnjoinError
└── EngineError
    ├── Refused     the engine stored nothing of the block: bisect it, down to the rows that become dead letters
    └── Unknown     the answer is missing or broken: insert the rows that are missing, never all of them again
"""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from schemas.outcomes import UnjoinError


class EngineError(UnjoinError):
    """The engine did not do what it was asked."""


class Refused(EngineError):
    """The engine stored nothing of the block, for certain; the text is the engine's error code, never a value."""


class Unknown(EngineError):
    """Whether the block was stored is unknown; insert only the rows that are missing."""


class Table(msgspec.Struct, frozen=True):
    """One table of ClickHouse, with what an insert must know of it.

    Attributes:
        name: in database `unjoin`.
        topics: its records lie on these.
        columns: (column, its type in a file of datums, the expression that makes the column from it), in insert order.
        key: two rows are the same if these columns are equal: the sorting key, and the version where there is one.
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
    """A ClickHouse that stores blocks. Its methods block; a sink calls them from a thread."""

    def migrate(self) -> None:
        """Applies the migrations that this engine has not seen yet, in order."""

    def insert(self, block: Block) -> None:
        """Stores the whole block, once it is known that none of it is stored yet.

        Raises:
            Refused: nothing was stored; raised always if a datum is cut short or bytes follow it.
            Unknown: the rows may be stored or not.
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
        """Closes the engine; acknowledged rows stay stored whether it is called or not."""
