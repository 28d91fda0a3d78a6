"""One of several workers that share a port: its link to the process that started them, for their common metrics.

    worker ──▶ "worker 1"; then, each time it is asked: its own metrics, behind their length     for as long as it lives
    worker ──▶ "sum"     ◀── the metrics of all                                                  once a scrape

A closed link says that the worker died. Source of the sum: `metrics_sum.py`.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)

ANSWER_SECONDS_MAX = 2.0
# Also how long a worker may have been dead before nobody has asked it.
ASK_SECONDS = 1.0
TEXT_BYTES_MAX = 4_194_304
LENGTH_BYTES = 4


class Worker(msgspec.Struct, frozen=True):
    """Which of the workers this is.

    Attributes:
        number: 1 to `count`.
        link: the socket of the process that started it.
    """

    number: int
    count: int
    link: Path


async def tell_metrics(worker: Worker, own: Callable[[], bytes]) -> None:
    """Gives this worker's metrics whenever they are asked for; returns when nobody can ask any more."""
    try:
        reader, writer = await asyncio.open_unix_connection(worker.link)
    except OSError as error:
        log.error("the metrics of the other workers cannot be had: %s", error.strerror)
        return
    try:
        writer.write(b"worker %d\n" % worker.number)
        with suppress(OSError):
            while await reader.readline():
                writer.write(framed(own()))
                await writer.drain()
    finally:
        writer.close()


async def metrics_of_all(worker: Worker) -> bytes | None:
    """The metrics of all workers in one; None where they cannot be had."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            reader, writer = await asyncio.open_unix_connection(worker.link)
            try:
                writer.write(b"sum\n")
                return await read_framed(reader)
            finally:
                writer.close()
    except (OSError, EOFError, TimeoutError):
        return None


def framed(text: bytes) -> bytes:
    """Behind its length."""
    return len(text).to_bytes(LENGTH_BYTES, "big") + text


async def read_framed(reader: asyncio.StreamReader) -> bytes:
    """What `framed` made.

    Raises:
        EOFError: the other side closed, or sent what cannot be a length.
    """
    length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
    if length > TEXT_BYTES_MAX:
        raise EOFError
    return await reader.readexactly(length)
