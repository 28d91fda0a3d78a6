"""What each attacker holds, as numbers; and the same of the stream before the door. Pure.

Everything in a `View` is the attacker's, except `owner`, which an attack reads only where the owner is told.
"""

import re
import uuid
import zlib
from collections import defaultdict
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from attacks.linkage.recording import Recording, Row

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OTHERS = "x-"
"""Sessions whose names begin so came only to complete the last crowd: nobody has to guess theirs."""

DAY_MS = 86_400_000
NO_CROWD = -1


class View(msgspec.Struct, frozen=True):
    """Labels as one attacker sees them, n of them.

    Attributes:
        owner: the session of each.
        task: likewise.
        pseudonym: what might be the same for all labels of a session: the voter before the door, row_id after it.
        at: (n,) place in time, Unix milliseconds, or NaN where the attacker has no time.
        place: (n,) place in its log or on disk, 0 to 1.
        log: (n,) the partition whose order `place` is, 0 on disk.
        features: (n, f) every field as numbers, `at` and `place` among them.
        crowd: (n,) the crowd, from 0, or -1 where it is not told.
    """

    owner: Sequence[str]
    task: Sequence[str]
    pseudonym: Sequence[str]
    at: Floats
    place: Floats
    log: Ints
    features: Floats
    crowd: Ints

    def __len__(self) -> int:
        return len(self.owner)


class Activity(msgspec.Struct, frozen=True):
    """The identified tables: when each session did something, ascending.

    Attributes:
        at: (n,) Unix milliseconds.
    """

    at: Floats
    session: Sequence[str]


class Crowds(msgspec.Struct, frozen=True):
    """What a watcher is told of every crowd.

    Attributes:
        members: the sessions of each, in the order in which they came.
        began, complete: (crowds,) when its first and its last label reached the labeled topic, Unix milliseconds.
    """

    members: Sequence[Sequence[str]]
    began: Floats
    complete: Floats


def crowds_of(recording: Recording) -> Crowds:
    """Every crowd as the rule makes it."""
    appended = {(record.partition, record.offset): record.appended_at_ms for record in recording.labeled}
    crowds = recording.truth.crowds
    return Crowds(
        [crowd.members for crowd in crowds],
        np.array([appended[(crowd.partition, crowd.first)] for crowd in crowds], dtype=float),
        np.array([appended[(crowd.partition, crowd.end - 1)] for crowd in crowds], dtype=float),
    )


def activity_of(recording: Recording) -> Activity:
    """Every identified event, by the time at which it was received."""
    ordered = sorted(recording.signals, key=lambda signal: signal.received_at_ms)
    times = np.array([signal.received_at_ms for signal in ordered], dtype=float)
    return Activity(times, [signal.session for signal in ordered])


def before_the_door(recording: Recording) -> View:
    """The labeled topic, as far as it was released later: order, time and voter of every label."""
    truth = recording.truth
    crowd_of = {
        (crowd.partition, offset): number
        for number, crowd in enumerate(truth.crowds)
        for offset in range(crowd.first, crowd.end)
    }
    chosen = [
        record
        for record in recording.labeled
        if (record.partition, record.offset) in crowd_of
        and not truth.owner_of_voter[record.voter.hex()].startswith(OTHERS)
    ]
    features = [
        (
            record.partition,
            record.offset,
            record.appended_at_ms % DAY_MS,
            *record.voter,
            *_words(record.kind, record.task, record.answer),
        )
        for record in chosen
    ]
    last = max(record.offset for record in recording.labeled) + 1
    return View(
        owner=[truth.owner_of_voter[record.voter.hex()] for record in chosen],
        task=[record.task for record in chosen],
        pseudonym=[record.voter.hex() for record in chosen],
        at=np.array([record.appended_at_ms for record in chosen], dtype=float),
        place=np.array([record.offset / last for record in chosen]),
        log=np.array([record.partition for record in chosen]),
        features=np.array(features, dtype=float),
        crowd=np.array([crowd_of[(record.partition, record.offset)] for record in chosen]),
    )


def at_rest(recording: Recording) -> View:
    """The merged table on disk, every column and where it lies; no time, and nobody tells which crowd."""
    owner_of = recording.truth.owner_of_vote
    parts = {part: number for number, part in enumerate(sorted({one.part for one in recording.stored}))}
    chosen = [
        (place, one) for place, one in enumerate(recording.stored) if not owner_of[one.row.vote].startswith(OTHERS)
    ]
    features = [(place, parts[one.part], one.part_offset, *_fields(one.row)) for place, one in chosen]
    return View(
        owner=[owner_of[one.row.vote] for _, one in chosen],
        task=[one.row.task for _, one in chosen],
        pseudonym=[one.row.row_id for _, one in chosen],
        at=np.full(len(chosen), np.nan),
        place=np.array([place / len(recording.stored) for place, _ in chosen]),
        log=np.zeros(len(chosen), dtype=int),
        features=np.array(features, dtype=float),
        crowd=np.full(len(chosen), NO_CROWD),
    )


def watched(recording: Recording) -> View:
    """The released topic as it was written, when each record came, and of which crowd it is."""
    truth = recording.truth
    # A vote that was given again leaves again, with a later crowd, and on the same partition: the order tells which.
    crowds_of: defaultdict[str, list[int]] = defaultdict(list)
    for number, crowd in enumerate(truth.crowds):
        for vote in crowd.votes:
            crowds_of[vote].append(number)
    chosen = []
    for one in sorted(recording.released, key=lambda one: (one.partition, one.offset)):
        numbers = crowds_of[one.row.vote]
        if numbers and not truth.owner_of_vote[one.row.vote].startswith(OTHERS):
            chosen.append((one, numbers.pop(0)))
    chosen.sort(key=lambda pair: (pair[0].arrived_at_ms, pair[0].partition, pair[0].offset))
    features = [
        (
            one.partition,
            one.offset,
            one.timestamp_ms % DAY_MS,
            one.arrived_at_ms % DAY_MS,
            *_fields(one.row),
        )
        for one, _ in chosen
    ]
    last = max(one.offset for one in recording.released) + 1
    return View(
        owner=[truth.owner_of_vote[one.row.vote] for one, _ in chosen],
        task=[one.row.task for one, _ in chosen],
        pseudonym=[one.row.row_id for one, _ in chosen],
        at=np.array([one.arrived_at_ms for one, _ in chosen], dtype=float),
        place=np.array([one.offset / last for one, _ in chosen]),
        log=np.array([one.partition for one, _ in chosen]),
        features=np.array(features, dtype=float),
        crowd=np.array([number for _, number in chosen]),
    )


def _fields(row: Row) -> tuple[float, ...]:
    """Every column of a row: the keyed ones as numbers and byte by byte, the words as numbers."""
    row_id, version = uuid.UUID(row.row_id), row.version
    return (
        row_id.int / 2**128,
        version / 2**64,
        *row_id.bytes,
        *version.to_bytes(8, "big"),
        *_words(row.kind, row.task, row.answer),
    )


def _words(kind: str, task: str, answer: str) -> tuple[float, ...]:
    digits = re.sub(r"\D", "", task)[-15:]
    return (
        *(float(zlib.crc32(word.encode())) for word in (kind, task, answer)),
        float(digits or 0),
        float(len(answer)),
    )
