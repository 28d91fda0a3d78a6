"""A folder of Parquet files, each of some whole closed days, to which files are only added.

    lock ─▶ compare ─▶ finish what a crash left ─▶ write .pending ─▶ record it in the manifest ─▶ rename ─▶ it is a part

The files that the manifest lists are compared with it first: what is added is read with what is there. A file that a
reader may have seen is never written again: its record, with its hash, is durable before it appears. A second file of
the same days could differ from the first by one vote, and would tell it.
"""

import datetime
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from unjoin.export.files import SUFFIXES, ExportError, Notes, Writer, new_file, put_in_place, sha256_of, sync
from unjoin.export.manifest import NAME, Manifest, Part, decoded, encoded

PENDING = ".pending"


class Folder:
    """An open folder.

    Attributes:
        manifest: what it holds.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self._path = path
        self.manifest = manifest

    @property
    def missing(self) -> list[Path]:
        """Files that the manifest lists and that are not there any more."""
        return [file for part in self.manifest.parts if not (file := self._path / part.path).exists()]

    def check_unchanged(self) -> None:
        """Compares each file that is there with the manifest: by its size, and by its hash where it is as new as that.

        What was written before the manifest was has not been written to since, so that a folder of years is not read
        whole each night.

        Raises:
            ExportError: one is not what was put in place.
        """
        if not self.manifest.parts:
            return
        written_ns = (self._path / NAME).stat().st_mtime_ns
        for part in self.manifest.parts:
            file = self._path / part.path
            if not file.exists():
                continue
            found = file.stat()
            if found.st_size != part.bytes or (found.st_mtime_ns >= written_ns and not _is(file, part)):
                raise ExportError(
                    f"{file} is not the file that {NAME} lists: put that one back, or begin another folder"
                )

    def add(
        self, name: str, last: datetime.date, schema: pa.Schema, notes: Notes, write: Callable[[Writer], int]
    ) -> Part:
        """Adds a file and moves the mark, or nothing.

        Args:
            name: of the file in the folder, as `through=2026-11-26/labels.parquet`.
            last: its last day, later than the mark.
            notes: `write` completes them.
            write: writes the rows; gives how much the days held of what the notes count as left out.
        """
        if self.manifest.mark is not None and last <= self.manifest.mark:
            raise ExportError(f"the days until {self.manifest.mark} are in that folder")
        pending = self._path / PENDING
        with new_file(pending, ".parquet", schema, notes) as file:
            seen = write(file)
        part = Part(path=name, bytes=pending.stat().st_size, sha256=sha256_of(pending), notes=notes, seen=seen)
        notes.last_day = last
        self.manifest.pending = part
        self.save()
        self.finish()
        return part

    def finish(self) -> None:
        """Puts in place what was written and recorded; forgets what was not written whole."""
        part, pending = self.manifest.pending, self._path / PENDING
        if part is not None:
            target = self._path / part.path
            if not _is(target, part) and _is(pending, part):
                target.parent.mkdir(exist_ok=True)
                sync(self._path)
                put_in_place(pending, target)
            if _is(target, part):
                self.manifest.parts.append(part)
                self.manifest.mark = part.notes.last_day
            self.manifest.pending = None
            self.save()
        pending.unlink(missing_ok=True)

    def save(self) -> None:
        """Replaces the manifest."""
        written = self._path / f".{NAME}"
        written.write_bytes(encoded(self.manifest))
        put_in_place(written, self._path / NAME)


def _is(file: Path, part: Part) -> bool:
    return file.is_file() and file.stat().st_size == part.bytes and sha256_of(file) == part.sha256


@contextmanager
def opened(path: Path, dataset: str, *, may_miss: bool = False) -> Iterator[Folder]:
    """The folder, made if it is missing, locked against a second export into it.

    Args:
        may_miss: files that the manifest lists may have been deleted, as for an erasure.

    Raises:
        ExportError: it cannot be one, another export is at work in it, or a file is not as it was exported.
    """
    if path.suffix.lower() in SUFFIXES:
        raise ExportError(f"{path} is to be a folder of Parquet files: name it without {path.suffix}")
    try:
        path.mkdir(exist_ok=True)
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ExportError(f"{path} cannot be a folder of exports: {error.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExportError(f"another export writes into {path}; call again when it is done") from None
        manifest = path / NAME
        if not manifest.exists() and any(not one.name.startswith(".") for one in path.iterdir()):
            raise ExportError(f"{path} holds files and no {NAME}; name a folder of its own")
        folder = Folder(
            path, decoded(manifest.read_bytes(), dataset) if manifest.exists() else Manifest(dataset=dataset)
        )
        if folder.missing and not may_miss:
            raise ExportError(
                f"{folder.missing[0]} is missing, and {NAME} lists it: put it back, or begin another folder"
            )
        folder.check_unchanged()
        folder.finish()
        yield folder
    finally:
        os.close(lock)
