"""Processor time of a label at the edge and at the door, sealed and not: `python -m bench.seal`.

    edge   events ──▶ records: voter, Avro, seal          door   record ──▶ what it says: unseal, Avro

Both in this process, without a broker. `before` is the version before labels were sealed: its records are what the door
reads of it still, and its edge is this one with a seal that does nothing. Signals show that nothing is added to them.
"""

import argparse
import datetime
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from ingest.encode.records import Sender, records_of
from ingest.encode.seals import Seals
from processors.door.records import labeled_of
from schemas.events import AnyEvent, Pointer, TextAnswer
from schemas.seal import Opener, place_of
from schemas.topics import LABELED
from testkit.seals import opened_datum, seals_of, unsealed_value

BATCH = 20
ROUNDS = 9


class NoSeals:
    """As `Seals`, without a seal."""

    def partition_of(self, voter: bytes) -> int:
        """The only one."""
        return 0

    def sealed(self, content: bytes, day: datetime.date, partition: int) -> bytes:
        """The content."""
        return content


def edge_key(day: datetime.date) -> bytes:
    """Any."""
    return b"k" * 32


def epoch_key(day: datetime.date) -> bytes:
    """Any."""
    return b"e" * 32


def microseconds(work: Callable[[], Any], events: int, seconds: float) -> float:
    """Processor time of one event: the least of several rounds, since others only ever add to it."""
    best = float("inf")
    for _ in range(ROUNDS):
        began, done = time.process_time(), 0
        while (spent := time.process_time() - began) < seconds / ROUNDS:
            work()
            done += events
        best = min(best, spent / done)
    return best * 1e6


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of processor time a figure")
    options = parser.parse_args()
    now_ms = time.time_ns() // 1_000_000
    sender = Sender("shop", "s-1", now_ms, "", "")
    seals = seals_of(epoch_key)
    not_sealed: Any = NoSeals()
    answers: list[tuple[int, AnyEvent]] = [
        (number, TextAnswer(id=f"e-{number}", ts=now_ms, task=f"task-{number}", answer="two red buses"))
        for number in range(BATCH)
    ]
    pointers: list[tuple[int, AnyEvent]] = [
        (number, Pointer(id=f"e-{number}", ts=now_ms, t=[0.0, 16.0], x=[1.0, 2.0], y=[3.0, 4.0]))
        for number in range(BATCH)
    ]
    values = [record.value for record in records_of(answers, sender, edge_key, seals)[0]]
    plain = [unsealed_value(opened_datum(value, epoch_key)) for value in values]
    place, opener = place_of(LABELED, 0), Opener(epoch_key)

    def encoded(events: list[tuple[int, AnyEvent]], of: Seals) -> Callable[[], Any]:
        return lambda: records_of(events, sender, edge_key, of)

    def read(of: list[bytes]) -> Callable[[], Any]:
        return lambda: [labeled_of(value, now_ms, place, opener) for value in of]

    rows = {
        "edge, a label of a batch of 20": (encoded(answers, not_sealed), encoded(answers, seals), BATCH),
        "edge, the only label of a batch": (encoded(answers[:1], not_sealed), encoded(answers[:1], seals), 1),
        "edge, a signal of a batch of 20": (encoded(pointers, not_sealed), encoded(pointers, seals), BATCH),
        "door, a label": (read(plain), read(values), BATCH),
    }
    table = Table("µs of processor time", "before", "sealed", "more")
    for name, (before, sealed, events) in rows.items():
        was, now = microseconds(before, events, options.seconds), microseconds(sealed, events, options.seconds)
        table.add_row(name, f"{was:.2f}", f"{now:.2f}", f"{now - was:.2f}")
    Console().print(table)
    sizes = (len(plain[0]), len(values[0]))
    Console().print(f"bytes of a record: {sizes[0]} before, {sizes[1]} sealed; 80 of them are the same for minutes")


if __name__ == "__main__":
    main()
