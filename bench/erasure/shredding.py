"""`python -m bench.erasure.shredding`: what it would cost to encrypt each value under a key of its person and day.

Destroying the key would then erase Kafka's records at once. Processor time of an event, on one core: at the collector
the way from a decoded signal to its record, with and without AES-256-GCM under a session's key; at the sink the way
from a record to what the engine is given, with and without decrypting it; and the memory of a store of keys. A batch
under one key is shown, too: it is the least that could be, and no record would be an event any more.
"""

import argparse
import os
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rich.console import Console
from rich.table import Table

from ingest.encode.records import Sender, records_of
from schemas.events import AnyEvent, Pointer
from sinks.blocks.avro_container import END_BYTES, container
from sinks.rows.tables import SIGNALS, reader_of
from testkit.seals import seals_of
from testkit.sink_records import FakeRecord

BATCH = 50
ROUNDS = 7
NONCE_BYTES = 12
STORED_KEYS = 200_000


def microseconds(work: Callable[[], Any], seconds: float) -> float:
    """Processor time of one event of a batch: the least of several rounds, since others only ever add to it."""
    best = float("inf")
    for _ in range(ROUNDS):
        began, done = time.process_time(), 0
        while (spent := time.process_time() - began) < seconds / ROUNDS:
            work()
            done += BATCH
        best = min(best, spent / done)
    return best * 1e6


def encrypted(key: AESGCM, value: bytes) -> bytes:
    """Header in clear, nonce, ciphertext with its tag."""
    nonce = os.urandom(NONCE_BYTES)
    return value[:5] + nonce + key.encrypt(nonce, value[5:], value[:5])


def decrypted(key: AESGCM, value: bytes) -> bytes:
    """What was encrypted."""
    return value[:5] + key.decrypt(value[5 : 5 + NONCE_BYTES], value[5 + NONCE_BYTES :], value[:5])


def key_store_bytes() -> float:
    """Memory of a key in a dictionary by session and day."""
    tracemalloc.start()
    store = {(f"session-{number:024}", 20_000): os.urandom(32) for number in range(STORED_KEYS)}
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / len(store)


def main() -> int:
    """Prints a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.erasure.shredding", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of processor time a figure")
    seconds = parser.parse_args().seconds
    now_ms = time.time_ns() // 1_000_000
    sender = Sender("shop", "s-1", now_ms, "", "")
    seals = seals_of(lambda day: b"e" * 32)
    samples = [float(number) for number in range(10)]
    events: list[tuple[int, AnyEvent]] = [
        (number, Pointer(id=f"e-{number}", ts=now_ms, t=samples, x=samples, y=samples)) for number in range(BATCH)
    ]
    keys = {("shop", "s-1"): AESGCM(os.urandom(32))}

    def encode() -> list[bytes]:
        records, _ = records_of(events, sender, lambda day: b"k" * 32, seals)
        return [record.value for record in records]

    values = encode()
    sealed = [encrypted(keys["shop", "s-1"], value) for value in values]
    joined = b"".join(values)
    together = encrypted(keys["shop", "s-1"], joined)
    reader, end = reader_of(SIGNALS), os.urandom(END_BYTES)

    def stored(values: list[bytes]) -> None:
        datums = [reader(FakeRecord(topic="events.signals", value=value)) for value in values]
        container(datums[0][0], [datum for _, datum in datums], end)

    def key_of() -> AESGCM:
        return keys["shop", "s-1"]

    ways = {
        "collector: decoded signal to record": (
            encode,
            lambda: [encrypted(key_of(), value) for value in encode()],
            lambda: (encode(), encrypted(key_of(), joined)),
        ),
        "sink: record to block": (
            lambda: stored(values),
            lambda: stored([decrypted(key_of(), value) for value in sealed]),
            lambda: (decrypted(key_of(), together), stored(values)),
        ),
    }
    console = Console(width=120)
    table = Table("processor time of an event, µs", "as it is", "each encrypted", "a batch of 50 encrypted")
    for name, works in ways.items():
        plain, *others = [microseconds(work, seconds) for work in works]
        table.add_row(name, f"{plain:.2f}", *(f"{other:.2f} (+{other / plain - 1:.0%})" for other in others))
    console.print(table)
    console.print(
        f"{len(values[0])} bytes a value, {len(sealed[0]) - len(values[0])} more encrypted; "
        f"{key_store_bytes():.0f} bytes of memory a session's key of a day, in every collector and sink; "
        f"load average {os.getloadavg()[0]:.1f}",
        highlight=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
