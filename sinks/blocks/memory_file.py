"""A block as a file in memory, which an engine in this process can read.

Another process cannot open a memory file by name, the file ends with this process, and the size of /dev/shm (64 MB in a
container) does not bound it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from sinks.blocks.avro_container import END_BYTES, container
from sinks.blocks.native import native_block
from sinks.engine import Block


class File(NamedTuple):
    """A file of rows that the engine can read.

    Attributes:
        end: the bytes behind each datum (`avro_container.py`), whose absence fails the statement; None of a file in
            Native, whose datums were looked at when it was made.
    """

    path: str
    end: bytes | None


@contextmanager
def file_of(block: Block) -> Iterator[File]:
    """The block in Native, or as Avro where it cannot be made Native here, for as long as the context lasts."""
    with _memory_file() as (file, path):
        yield File(path, _write(file, block))


@contextmanager
def avro_file(block: Block) -> Iterator[File]:
    """The block as Avro, for as long as the context lasts."""
    with _memory_file() as (file, path):
        yield File(path, _write_avro(file, block))


@contextmanager
def _memory_file() -> Iterator[tuple[BinaryIO, str]]:
    descriptor = os.memfd_create("block", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        yield file, f"/proc/self/fd/{descriptor}"


def _write(file: BinaryIO, block: Block) -> bytes | None:
    made = native_block(block)
    if made is None:
        return _write_avro(file, block)
    file.write(made)
    file.flush()
    return None


def _write_avro(file: BinaryIO, block: Block) -> bytes:
    end = os.urandom(END_BYTES)
    file.writelines(container(block.schema, block.datums, end))
    file.flush()
    return end
