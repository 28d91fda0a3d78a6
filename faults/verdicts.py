"""Whether what a session answers after it was judged a bot ever leaves: `python -m faults.verdicts --restarts 4`.

A hundred sessions answer; each of the busiest is judged after five labels, and goes on. The door is killed meanwhile,
and in the middle of it the log forgets everything that was committed, verdicts included. 0 where none of the later
labels left and every other label did that was not in the last crowd.
"""

import argparse
import asyncio
import hashlib
import logging
import sys
import tempfile
from pathlib import Path
from random import Random

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from rich.console import Console
from rich.table import Table

from faults.one_door import OneDoor, one_door
from schemas.events import IdentifiedLabel, IdentifiedVerdict
from schemas.outcomes import UnjoinError
from schemas.topics import LABELED
from unjoin.settings import settings_of

JUDGED_AFTER = 5
GROUP = "unjoin-door"


def main() -> int:
    options = _parser().parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="unjoin-verdicts-") as folder:
        return asyncio.run(_run(options, Path(folder)))


async def _run(options: argparse.Namespace, folder: Path) -> int:
    async with one_door(settings_of().kafka_home, folder, crowd_min=20, counts_every_s=0.5, session_s=2.0) as door:
        log, later, others = _log(options, door)
        size = -(-len(log) // (options.restarts + 1))
        pieces = [log[start : start + size] for start in range(0, len(log), size)]
        forgotten = 0
        for number, piece in enumerate(pieces):
            await door.write(piece)
            await door.settled(120.0)
            if number < len(pieces) - 1:
                door.worker.die()
                if number == len(pieces) // 2 - 1:
                    forgotten = await _forget_committed(door.bootstrap)
                door.worker.start()
                await door.until(door.worker.is_ready, 60.0, "a door that is ready")
        left = len(later & door.arrived_at.keys())
        missing = len(others - door.arrived_at.keys())
        counts = await door.metrics()
        table = Table(title=f"Verdicts over {options.restarts} SIGKILLs", show_header=False)
        for what, found in (
            ("sessions judged, verdicts stored", f"{options.bots}, {await door.stored_verdicts()}"),
            ("labels that they gave later, of these released", f"{len(later):,}, {left:,}"),
            ("labels of the others, of these not released", f"{len(others):,}, {missing:,}"),
            ("held when it ended", f"{counts['unjoin_door_held_labels']:,.0f}"),
            ("records that the log forgot meanwhile", f"{forgotten:,}"),
        ):
            table.add_row(what, found)
        Console().print(table)
        return int(left > 0 or missing > counts["unjoin_door_held_labels"])


def _log(
    options: argparse.Namespace, door: OneDoor
) -> tuple[list[IdentifiedLabel | IdentifiedVerdict], set[str], set[str]]:
    """The records in their order; row_ids of what bots gave later, and of what the others gave."""
    rng = Random(options.seed)
    weights = sorted((rng.lognormvariate(0, 0.8) for _ in range(options.sessions)), reverse=True)
    voters = [hashlib.sha256(f"session-{number}".encode()).digest() for number in range(options.sessions)]
    given = [0] * options.sessions
    log: list[IdentifiedLabel | IdentifiedVerdict] = []
    later: set[str] = set()
    others: set[str] = set()
    for number in rng.choices(range(options.sessions), weights, k=options.labels):
        label = IdentifiedLabel(voters[number], door.day, "image_label", f"task-{given[number]}", "beagle")
        log.append(label)
        if number >= options.bots:
            others.add(door.row_id_of(label))
        elif given[number] >= JUDGED_AFTER:
            later.add(door.row_id_of(label))
        given[number] += 1
        if number < options.bots and given[number] == JUDGED_AFTER:
            log.append(IdentifiedVerdict(voters[number], door.day, human=False))
    return log, later, others


async def _forget_committed(bootstrap: str) -> int:
    """What retention does in hours: the log begins at the group's committed offset. Gives that."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        one = TopicPartition(LABELED, 0)
        committed = (await admin.list_consumer_group_offsets(GROUP, partitions=[one]))[one].offset
        if committed > 0:
            await admin.delete_records({one: RecordsToDelete(committed)})
        return int(max(0, committed))
    finally:
        await admin.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m faults.verdicts", description=__doc__)
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--bots", type=int, default=30, help="of them, the busiest, are judged after five labels")
    parser.add_argument("--labels", type=int, default=5_000)
    parser.add_argument("--restarts", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UnjoinError as error:
        sys.exit(f"verdicts: {error}")
