"""A Parquet or a CSV file, with notes of what is in it, put in place at once.

Notes lie in a Parquet file's own metadata, under `unjoin`; beside a CSV file, which has none, in `FILE.json`.

    UnjoinError
    └── ExportError    nothing was exported
"""

import datetime
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from schemas.outcomes import UnjoinError
from unjoin import installed_version

SUFFIXES = (".parquet", ".csv")
METADATA_KEY = "unjoin"


class ExportError(UnjoinError):
    """Nothing was exported, and what was there before is as it was; the text says what to do."""


class Notes(msgspec.Struct, kw_only=True):
    """What a file holds, for whoever gets it alone; every note is in it, also where it is 0 or empty.

    Attributes:
        query: the rows, as SQL.
        rows: in the file.
        k: what fewer votes say is left out; 0 where the rule is not asked.
        left_out: how many were left out, by reason; never what they say.
        first_day, last_day: UTC days of the rows; None for all.
        made_at: UTC, to the second.
    """

    dataset: str
    query: str
    rows: int = 0
    k: int = 0
    left_out: dict[str, int] = {}
    first_day: datetime.date | None = None
    last_day: datetime.date | None = None
    made_at: datetime.datetime
    unjoin: str = msgspec.field(default_factory=installed_version)


class Writer(Protocol):
    """Of pyarrow: writes tables of one schema."""

    def write_table(self, table: pa.Table) -> None:
        """Appends the rows."""

    def close(self) -> None:
        """Ends the file."""


def suffix_of(target: Path, suffixes: tuple[str, ...] = SUFFIXES) -> str:
    """The suffix that decides the format.

    Raises:
        ExportError: there is no such format, or no such folder.
    """
    if target.suffix.lower() not in suffixes:
        raise ExportError(f"{target} does not say its format: name it {' or '.join(suffixes)}")
    if target.is_dir() or not target.parent.is_dir():
        raise ExportError(f"{target} cannot be written: name a file in a folder that is there")
    return target.suffix.lower()


@contextmanager
def new_file(written: Path, suffix: str, schema: pa.Schema, notes: Notes) -> Iterator[Writer]:
    """A file that tables are written to; `notes` may change until it ends, and is in it then."""
    writer: Any
    if suffix == ".csv":
        with pyarrow.csv.CSVWriter(written, schema) as writer:
            yield writer
        return
    with pyarrow.parquet.ParquetWriter(written, schema, compression="zstd") as writer:
        yield writer
        writer.add_key_value_metadata({METADATA_KEY: msgspec.json.encode(notes).decode()})


def put_in_place(written: Path, target: Path) -> None:
    """Replaces the target at once: a reader sees the old file or the new one, whole, also after a power failure."""
    sync(written)
    written.replace(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Returns once the file, or a folder's names, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(file: Path) -> str:
    """In hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
