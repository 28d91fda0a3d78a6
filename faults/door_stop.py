"""Tries to stop the door with nothing but a public key: `python -m faults.door_stop answers` (or `session`).

`answers`: eight requests of 32 answers that cost as much as an answer can. `session`: one session that posts more
labels than everybody else in the crowd. Honest sessions answer meanwhile, and it is measured what becomes of theirs.
0 where the door was never started again, every honest label left that was not in the last crowd, and none was waited
for much longer than its wait.
"""

import argparse
import asyncio
import hashlib
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import msgspec
from rich.console import Console
from rich.table import Table

from faults.one_door import OneDoor, one_door
from schemas.events import IdentifiedLabel
from schemas.outcomes import UnjoinError
from testkit.machine import percentile
from unjoin.settings import Settings, settings_of

ANSWER = "1234567890,"
HOSTILE_SESSIONS, HOSTILE_ANSWERS = 8, 32
STEP_S = 0.25
LATE_S_MAX = 15.0
"""How much later than its wait a label may leave here: the door's own time, on a busy machine."""


class Report(msgspec.Struct, frozen=True):
    """What was found.

    Attributes:
        written, released: honest labels.
        released_meanwhile: of them, before the last record of the attack was passed.
        delays_s: from writing an honest label to its release: median, 99th percentile, largest.
        peak_bytes: of the door's resident memory; `bytes_max` is what its held labels may take of it.
    """

    attack: str
    restarts: int
    written: int
    released: int
    released_meanwhile: int
    delays_s: tuple[float, float, float]
    attack_released: int
    seconds: float
    cpu_s: float
    peak_bytes: int
    bytes_max: int
    counts: dict[str, float]


def main() -> int:
    options = _parser().parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="unjoin-door-stop-") as folder:
        report = asyncio.run(_run(options, Path(folder)))
    _print(report, Console(width=110))
    late = report.delays_s[2] > options.wait_s + LATE_S_MAX
    return int(bool(report.restarts or late or report.released < 0.95 * report.written))


async def _run(options: argparse.Namespace, folder: Path) -> Report:
    bytes_max = Settings().crowd_bytes_max
    async with one_door(
        settings_of().kafka_home,
        folder,
        crowd_min=20,
        crowd_target=options.target,
        crowd_wait_ms=int(options.wait_s * 1_000),
        counts_every_s=1.0,
    ) as door:
        return await _attacked(options, door, bytes_max)


async def _attacked(options: argparse.Namespace, door: OneDoor, bytes_max: int) -> Report:
    rng = Random(options.seed)
    honest = _honest(rng, options, door)
    hostile = _answers(options, door) if options.attack == "answers" else _session(options, door)
    steps = max(1, round(options.seconds / STEP_S))
    a_step = -(-len(honest) // steps)
    hostile_a_step = -(-len(hostile) // steps)
    written_at: dict[str, float] = {}
    began = time.monotonic()
    ticking = asyncio.create_task(_tick(door))
    posts = iter(honest)
    attack = iter(hostile)
    for step in range(steps):
        # The hostile answers come at once, and what the session posts all the time.
        many = len(hostile) if options.attack == "answers" and step == 4 else hostile_a_step
        if options.attack == "session" or step == 4:
            await door.write(list(islice(attack, many)))
        for chunk in _chunks(list(islice(posts, a_step))):
            await door.write(chunk)
            now_s = time.monotonic()
            written_at.update({door.row_id_of(one): now_s for one in chunk})
        await asyncio.sleep(max(0.0, began + (step + 1) * STEP_S - time.monotonic()))
    await asyncio.sleep(2.0)  # the door shows its lag every second
    await door.until(door.passed_all, 600.0, "every record passed")
    attack_ended = time.monotonic()
    await asyncio.sleep(options.wait_s)
    ticking.cancel()
    await door.settled(120.0)
    delays = [door.arrived_at[row] - at for row, at in written_at.items() if row in door.arrived_at]
    return Report(
        attack=options.attack,
        restarts=door.restarts,
        written=len(written_at),
        released=len(delays),
        released_meanwhile=sum(row in door.arrived_at and door.arrived_at[row] <= attack_ended for row in written_at),
        delays_s=(percentile(delays, 50), percentile(delays, 99), max(delays)) if delays else (0.0, 0.0, 0.0),
        attack_released=sum(door.row_id_of(one) in door.arrived_at for one in hostile),
        seconds=time.monotonic() - began,
        cpu_s=door.cpu_s,
        peak_bytes=door.peak_bytes,
        bytes_max=bytes_max,
        counts={name: value for name, value in (await door.metrics()).items() if value},
    )


async def _tick(door: OneDoor) -> None:
    """Writes a label now and then: a crowd leaves with a record, and by then its wait is over."""
    number = 0
    while True:
        await asyncio.sleep(0.5)
        await door.write([_label(door, "clock", 0, f"task-{number}", "yes")])
        number += 1


def _honest(rng: Random, options: argparse.Namespace, door: OneDoor) -> list[IdentifiedLabel]:
    labels = [
        _label(door, "honest", session, f"task-{number}", rng.choice(("beagle", "a red bus", "")))
        for session in range(options.sessions)
        for number in range(options.answers)
    ]
    rng.shuffle(labels)
    return labels


def _answers(options: argparse.Namespace, door: OneDoor) -> list[IdentifiedLabel]:
    answer = (ANSWER * (options.answer_chars // len(ANSWER) + 1))[: options.answer_chars]
    return [
        _label(door, "hostile", session, f"task-{number}", answer)
        for number in range(HOSTILE_ANSWERS * options.times)
        for session in range(HOSTILE_SESSIONS)
    ]


def _session(options: argparse.Namespace, door: OneDoor) -> list[IdentifiedLabel]:
    answer = "x" * options.session_chars
    return [_label(door, "hostile", 0, f"task-{number}", answer) for number in range(options.labels)]


def _label(door: OneDoor, kind: str, session: int, task: str, answer: str) -> IdentifiedLabel:
    voter = hashlib.sha256(f"{kind}-{session}".encode()).digest()
    return IdentifiedLabel(voter, door.day, "image_label", task, answer)


def _chunks(labels: list[IdentifiedLabel]) -> Iterator[list[IdentifiedLabel]]:
    for start in range(0, len(labels), 500):
        yield labels[start : start + 500]


def _print(report: Report, console: Console) -> None:
    table = Table(title=f"The door under attack: {report.attack}", show_header=False)
    median, late, last = report.delays_s
    meanwhile = report.released_meanwhile / max(1, report.written)
    for what, found in (
        ("restarts of the processor", f"{report.restarts}"),
        ("honest labels written, released in the end", f"{report.written:,}, {report.released:,}"),
        ("released while the attack ran", f"{report.released_meanwhile:,} ({meanwhile:.1%})"),
        ("seconds from writing to release: median, 99th percentile, largest", f"{median:.1f}, {late:.1f}, {last:.1f}"),
        ("labels of the attack released", f"{report.attack_released:,}"),
        ("seconds in all, of the door's processor time", f"{report.seconds:.0f}, {report.cpu_s:.1f}"),
        (
            "peak memory of the door, bound of what it holds",
            f"{report.peak_bytes / 1e6:,.0f} MB, {report.bytes_max / 1e6:,.0f} MB",
        ),
        *(
            (name.removeprefix("unjoin_door_"), f"{value:,.0f}")
            for name, value in report.counts.items()
            if "suppressed" in name or "held" in name
        ),
    ):
        table.add_row(what, found)
    console.print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m faults.door_stop", description=__doc__)
    parser.add_argument("attack", choices=["answers", "session"])
    parser.add_argument("--labels", type=int, default=5_000, help="that the one session posts")
    parser.add_argument("--session-chars", type=int, default=20, help="of each of its answers")
    parser.add_argument("--times", type=int, default=1, help="so often are the 256 hostile answers posted")
    parser.add_argument("--answer-chars", type=int, default=32_500, help="of a hostile answer")
    parser.add_argument("--sessions", type=int, default=2_000, help="honest ones")
    parser.add_argument("--answers", type=int, default=20, help="of each")
    parser.add_argument("--seconds", type=float, default=40.0, help="in which all of it is written")
    parser.add_argument("--target", type=int, default=200)
    parser.add_argument("--wait-s", type=float, default=10.0, help="stands for the wait of an hour")
    parser.add_argument("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UnjoinError as error:
        sys.exit(f"door_stop: {error}")
