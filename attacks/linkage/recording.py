"""What was seen of one day, by whom. Pure but for `save` and `load`.

`Truth` is for the evaluation alone: no attacker is handed it, or a key. A recording of invented sessions may be kept in
a file; one of real sessions would be the very join that the pipeline prevents.
"""

import gzip
import os
from pathlib import Path

import msgspec


class Labeled(msgspec.Struct, frozen=True):
    """A record of `events.labeled`: a label before the door.

    Attributes:
        appended_at_ms: by the broker's clock, Unix milliseconds.
        voter: 32 bytes.
        day: ISO date.
    """

    partition: int
    offset: int
    appended_at_ms: int
    voter: bytes
    day: str
    kind: str
    task: str
    answer: str


class Signal(msgspec.Struct, frozen=True):
    """A row of `signals`: when a session was active, which is in the identified tables for anybody to see.

    Attributes:
        ts: by the client's clock, Unix milliseconds.
    """

    session: str
    ts: int
    received_at_ms: int


class Row(msgspec.Struct, frozen=True):
    """A label after the door, every field of it."""

    row_id: str
    day: str
    task: str
    kind: str
    answer: str
    version: int

    @property
    def vote(self) -> str:
        """What tells this row from every other of its day, even where a door gives several the same row_id."""
        return f"{self.row_id} {self.task}"


class Released(msgspec.Struct, frozen=True):
    """A record of `labels.deidentified`, as a watcher sees it.

    Attributes:
        timestamp_ms: as stamped.
        arrived_at_ms: by the watcher's own clock, Unix milliseconds.
    """

    partition: int
    offset: int
    timestamp_ms: int
    arrived_at_ms: int
    row: Row


class Stored(msgspec.Struct, frozen=True):
    """A row of `labels` on disk, after the day was merged.

    Attributes:
        part: the folder that holds it.
        part_offset: its place in there, from 0.
    """

    part: str
    part_offset: int
    row: Row


class ToldCrowd(msgspec.Struct, frozen=True):
    """One crowd as the rule makes it.

    Attributes:
        partition, first, end: the offsets of the labeled topic that it is made of, `end` not included.
        members: sessions, in the order in which they came.
        votes: of its rows (`Row.vote`), sorted by row_id.
    """

    partition: int
    first: int
    end: int
    members: tuple[str, ...]
    votes: tuple[str, ...]


class Truth(msgspec.Struct, frozen=True):
    """Whose each label is; computed with the keys of the day.

    Attributes:
        owner_of_voter: voter in hexadecimal -> session.
        owner_of_vote: `Row.vote` -> session.
        crowds: in the order in which the rule completes them.
    """

    owner_of_voter: dict[str, str]
    owner_of_vote: dict[str, str]
    crowds: tuple[ToldCrowd, ...]


class Recording(msgspec.Struct, frozen=True):
    """One day.

    Attributes:
        source: where it was recorded, in words.
        labeled, released: in offset order of each partition.
        crowd_min: what is promised, whatever the door did.
        signals: in any order.
        stored: in the order on disk.
        truth: for the evaluation alone.
    """

    source: str
    crowd_min: int
    labeled: list[Labeled]
    signals: list[Signal]
    released: list[Released]
    stored: list[Stored]
    truth: Truth


def save(recording: Recording, file: Path) -> None:
    """Writes it, readable by its owner only."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(gzip.compress(msgspec.msgpack.encode(recording), 3))


def load(file: Path) -> Recording:
    """Reads what `save` wrote.

    Raises:
        OSError: there is none, or it is not one.
        msgspec.DecodeError: likewise.
    """
    return msgspec.msgpack.decode(gzip.decompress(file.read_bytes()), type=Recording)
