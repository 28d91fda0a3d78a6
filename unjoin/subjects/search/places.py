"""The places of a search, and what was found in each."""

import errno
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import msgspec

from unjoin.subjects.search.compressed import NotReadable, batches, blocks
from unjoin.subjects.search.needles import Needles, Search

PIECE_BYTES = 1 << 22
AS_IT_LIES, UNCOMPRESSED = "as it lies", "without compression"
_UUID = re.compile(r"UUID '([0-9a-f-]{36})'")
_SPOOLED = "SELECT pack FROM spooled UNION ALL SELECT pack FROM set_aside"


class Finding(msgspec.Struct):
    """One place after it was searched.

    Attributes:
        how: in which way its bytes were looked at.
        items: files, rows or records.
        found: what was looked for, by the name and the form of it -> how often.
        missed: items that could not be looked at in this way, for a reason that `note` gives.
        blind: whether one of them may hold anything: nobody was let in. A file that is just being written ends early.
    """

    place: str
    how: str
    items: int = 0
    searched_bytes: int = 0
    found: dict[str, int] = {}
    missed: int = 0
    blind: bool = False
    note: str = ""


def shown(found: Counter[tuple[str, str]]) -> dict[str, int]:
    """What was found, by words; never the text itself."""
    return {f"{name}, {form}": count for (name, form), count in sorted((+found).items())}


def search_files(
    data_dir: Path, spools: Iterable[Path], needles: Needles, advance: Callable[[int], None]
) -> list[Finding]:
    """Every file of a data directory and of spools elsewhere; the files' names too.

    Files that vanish meanwhile, as merged parts do, are left out: what was in them is in another.
    """
    tables = _tables_by_uuid(data_dir)
    found: dict[tuple[str, str], _Gathered] = {}
    folders = [data_dir, *(spool for spool in spools if not spool.is_relative_to(data_dir))]
    for file in (file for folder in folders for file in files_below(folder)):
        place = place_of(file.relative_to(data_dir).parts if file.is_relative_to(data_dir) else ("spool",), tables)
        gathered = found.setdefault((place, AS_IT_LIES), _Gathered(needles))
        gathered.file(file, _raw)
        advance(1)
        for suffix, name, read in _INSIDE:
            if file.suffix == suffix and place.startswith(name):
                found.setdefault((place, UNCOMPRESSED), _Gathered(needles)).file(file, read)
    return [gathered.finding(*key) for key, gathered in sorted(found.items())]


class _Gathered:
    def __init__(self, needles: Needles) -> None:
        self._search = Search(needles)
        self._items = self._missed = 0
        self._blind = False

    def file(self, path: Path, read: Callable[[BinaryIO], Iterator[bytes]]) -> None:
        """Searches a file, and its name."""
        try:
            with path.open("rb") as stream:
                self._items += 1
                self._search.feed(path.name.encode(errors="replace"))
                self._search.end()
                for piece in read(stream):
                    self._search.feed(piece)
        except FileNotFoundError:
            pass
        except (NotReadable, sqlite3.Error):
            self._missed += 1
        except OSError:
            self._missed += 1
            self._blind = True
        self._search.end()

    def finding(self, place: str, how: str) -> Finding:
        note = "could not be read, or not to the end" if self._missed else ""
        found = shown(self._search.found)
        searched = self._search.searched_bytes
        return Finding(place, how, self._items, searched, found, self._missed, self._blind, note)


def _raw(stream: BinaryIO) -> Iterator[bytes]:
    """What lies on the disk; holes are skipped: Kafka's indexes are ten megabytes of them each. Source: lseek(2)."""
    descriptor, position = stream.fileno(), 0
    while True:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # there is none behind it
                return
            raise
        position = os.lseek(descriptor, start, os.SEEK_HOLE)
        while start < position and (piece := os.pread(descriptor, min(PIECE_BYTES, position - start), start)):
            yield piece
            start += len(piece)


def _packs(stream: BinaryIO) -> Iterator[bytes]:
    """What is spooled, each pack in one piece: in the file a long one is cut into pages."""
    with closing(sqlite3.connect(f"{Path(stream.name).absolute().as_uri()}?mode=ro", uri=True)) as connection:
        for (pack,) in connection.execute(_SPOOLED):
            yield b"\n" + (pack if isinstance(pack, bytes) else str(pack).encode())


_INSIDE = (
    (".log", "Kafka", batches),
    (".bin", "ClickHouse", blocks),
    (".cidx", "ClickHouse", blocks),
    (".sqlite", "spool", _packs),
)


def files_below(folder: Path) -> Iterator[Path]:
    """Every regular file in there, as far as this user may look; no link is followed."""
    for path in sorted(folder.rglob("*")):
        try:
            if path.is_file() and not path.is_symlink():
                yield path
        except OSError:
            continue


def place_of(parts: tuple[str, ...], tables: dict[str, str]) -> str:
    """What a person calls the place of a file.

    Args:
        parts: of its path within the data directory.
        tables: the engine's ids of tables -> their names.
    """
    if parts[0] == "clickhouse":
        table = next((tables[part] for part in parts if part in tables), "")
        kind = "detached parts" if "detached" in parts else "parts, merged ones too,"
        return f"ClickHouse: {kind} of {table}" if table else "ClickHouse: its other files"
    if parts[0] == "kafka":
        topic = next(
            (part.rpartition("-")[0] for part in reversed(parts[:-1]) if part.rpartition("-")[2].isdigit()), ""
        )
        return f"Kafka: segments of {topic}" if topic else "Kafka: its other files"
    if any(part.startswith("spool") for part in parts):
        return "spool: its file, free pages and log"
    return (
        "logs of every part"
        if parts[0] == "logs" or parts[-1].endswith(".log")
        else "other files of the data directory"
    )


def _tables_by_uuid(data_dir: Path) -> dict[str, str]:
    found = {}
    for file in (data_dir / "clickhouse").rglob("*.sql"):
        try:
            if match := _UUID.search(file.read_text(errors="replace")):
                found[match[1]] = file.stem
        except OSError:
            continue
    return found
