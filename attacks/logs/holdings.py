"""What the attacker of all logs holds of one day, and, apart from it, the truth by which he is judged. Pure."""

import msgspec


class Entry(msgspec.Struct, frozen=True):
    """A record of the labeled topic.

    Attributes:
        appended_at_ms: by the broker's clock, Unix milliseconds.
        value_bytes: length of its value.
        voter, task, answer: where the record can be read without a key; else empty.
    """

    partition: int
    offset: int
    appended_at_ms: float
    value_bytes: int
    voter: str = ""
    task: str = ""
    answer: str = ""


class Told(msgspec.Struct, frozen=True):
    """What a session's signals and analytics of one moment say.

    Attributes:
        received_at_ms: Unix milliseconds.
        strokes: told then.
        places: told of the hand, milliseconds and pixels; empty where nothing was told.
    """

    session: str
    received_at_ms: float
    strokes: int
    places: tuple[tuple[float, float, float], ...]


class Moment(msgspec.Struct, frozen=True):
    """Labels that left between two moments at which something was seen to leave.

    Attributes:
        at_ms: when it was seen, Unix milliseconds.
        partition, end: of the labeled topic, as committed; `end` is -1 where only the time is known.
        rows: indices into `Holdings.rows`.
    """

    at_ms: float
    partition: int
    end: int
    rows: tuple[int, ...]


class Row(msgspec.Struct, frozen=True):
    """A released label: what of it is no keyed hash."""

    task: str
    kind: str
    answer: str


class Holdings(msgspec.Struct, frozen=True):
    """Everything that the attacker holds.

    Attributes:
        entries: in offset order of each partition.
        told: in any order.
        rows: of the released topic, in no order.
        committed: the released batches, by the commits of the labeled topic's offsets; in the order of time.
        scraped: the same, by what metrics that are read every second show.
    """

    entries: list[Entry]
    told: list[Told]
    rows: list[Row]
    committed: list[Moment]
    scraped: list[Moment]


class Truth(msgspec.Struct, frozen=True):
    """For the evaluation, and where the attacker is told some of it to learn from.

    Attributes:
        owner_of_voter: voter in hexadecimal -> session; empty where none can be read.
        owner: the session of each row.
        entry: the place in `Holdings.entries` of the record that each row was made of.
    """

    owner_of_voter: dict[str, str]
    owner: list[str]
    entry: list[int]


class LoggedDay(msgspec.Struct, frozen=True):
    """A day, and whose it was."""

    source: str
    holdings: Holdings
    truth: Truth
