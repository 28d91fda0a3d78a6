"""Records a day without a broker or an engine: the pipeline's pure code on a clock that is a number. Pure.

For tests, and for trying the attacks on a door whose protections are switched off one at a time.
"""

import hmac
import uuid
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from random import Random

import msgspec

from attacks.linkage.recording import Labeled, Recording, Released, Signal, Stored
from attacks.linkage.traffic import Post
from attacks.linkage.truth import Door, deidentified, identified, row_of, truth_of
from ingest.encode.pseudonym import day_of_event, voter_of
from processors.door.crowd import Crowd, CrowdRule, Held
from processors.door.deidentify import rank
from processors.door.records import midnight_s, released_partition
from schemas.events import DeidentifiedLabel, IdentifiedLabel
from testkit.door_config import crowd_rule

SITE = "dev"
START_MS = 1_790_000_000_000
POST_MS = 4
PARTITIONS = 2
CROWD_MIN = 20


class Weakness(StrEnum):
    """One protection of the door, switched off."""

    NONE = "none"
    ARRIVAL_ORDER = "a crowd leaves in the order in which it came"
    VOTER_ROW_ID = "row_id is the voter's, the same for every task"
    NO_CROWD = "a crowd of one is enough"


def record_in_process(
    posts: Iterable[Post], rng: Random, weakness: Weakness = Weakness.NONE, *, crowd_target: int = CROWD_MIN
) -> Recording:
    """The day of `posts`, one every few milliseconds.

    Args:
        rng: keys, and the jitter of the clock.
        crowd_target: sessions with which a crowd leaves.
    """
    now_ms = START_MS
    edge_key, epoch_key = rng.randbytes(32), rng.randbytes(32)
    day = day_of_event(now_ms, now_ms)
    labeled: list[Labeled] = []
    signals: list[Signal] = []
    for post in posts:
        now_ms += rng.randint(1, 2 * POST_MS)
        signals.append(Signal(post.session, now_ms, now_ms))
        voter = voter_of(SITE, post.session, edge_key)
        appended_at_ms = now_ms + rng.randint(0, 2)
        for given in post.answers:
            labeled.append(
                Labeled(0, len(labeled), appended_at_ms, voter, str(day), given.kind, given.task, given.answer)
            )
    door = _voter_row if weakness is Weakness.VOTER_ROW_ID else deidentified
    rule = crowd_rule(CROWD_MIN, crowd_target=crowd_target)
    released = _released(labeled, epoch_key, door, weakness, rule)
    rows = sorted((one.row for one in released), key=lambda row: (row.task, row.row_id))
    return Recording(
        source=f"in process; switched off: {weakness}",
        crowd_min=CROWD_MIN,
        labeled=labeled,
        signals=signals,
        released=released,
        stored=[Stored("all_1_1_1", place, row) for place, row in enumerate(rows)],
        truth=truth_of(
            labeled,
            {signal.session for signal in signals},
            site=SITE,
            edge_keys={day: edge_key},
            epoch_keys={day: epoch_key},
            rule=rule,
            door=door,
        ),
    )


def _released(
    labeled: list[Labeled], epoch_key: bytes, door: Door, weakness: Weakness, rule: CrowdRule
) -> list[Released]:
    crowd = Crowd(crowd_rule(1) if weakness is Weakness.NO_CROWD else rule)
    came: dict[DeidentifiedLabel, int] = {}
    offsets: Counter[int] = Counter()
    released: list[Released] = []
    for record in labeled:
        row = door(identified(record), epoch_key)
        came[row] = record.offset
        crowd.add(
            record.voter, record.task, Held(record.appended_at_ms, row, rank(record.voter, record.task, epoch_key))
        )
        if crowd.complete():
            labels = list(crowd.release().labels)
            if weakness is Weakness.ARRIVAL_ORDER:
                labels.sort(key=lambda label: came[label])
            for label in labels:
                partition = released_partition(label, PARTITIONS)
                midnight_ms = int(midnight_s(label.day) * 1000)
                arrived_at_ms = record.appended_at_ms + 5
                released.append(Released(partition, offsets[partition], midnight_ms, arrived_at_ms, row_of(label)))
                offsets[partition] += 1
    return released


def _voter_row(label: IdentifiedLabel, epoch_key: bytes) -> DeidentifiedLabel:
    row_id = uuid.UUID(bytes=hmac.digest(epoch_key, label.voter, "sha256")[:16])
    return msgspec.structs.replace(deidentified(label, epoch_key), row_id=str(row_id))
