"""The marks of a database's own commits, as `sinks/kafka/commit_marks.py` reads them, kept in the database.

unjoin.sink_marks    the database's id, and every moment that a sink has marked commits with
unjoin.sink_adopted  commits of the version before, which wrote no marks
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiokafka import TopicPartition

from sinks.clickhouse.statements import literal
from sinks.kafka.commit_marks import Commit, Kind, Meaning, marked, meaning_of, split_mark

Select = Callable[[str], bytes]

_MARKS = "SELECT database, moment, held_rows FROM unjoin.sink_marks ORDER BY made_at, database"
_ADOPTED = "SELECT consumer_group, topic, partition, offset, metadata FROM unjoin.sink_adopted ORDER BY offset DESC"


class _Mark(msgspec.Struct):
    database: str
    moment: str
    held_rows: bool


class _Adopted(msgspec.Struct):
    consumer_group: str
    topic: str
    partition: int
    offset: int
    metadata: str


class Marks:
    """The marks of one database. Its methods may block, and be called from any thread.

    Args:
        select: runs one statement on the migrated database; rows as JSON, a line each.

    Raises:
        EngineError: of every method that asks the database.
    """

    def __init__(self, select: Select) -> None:
        self._select = select
        self._moments: dict[str, set[str]] = {}
        self._held_rows = False
        self._adopted: dict[tuple[str, TopicPartition], Commit] = {}
        self._looked_at: set[str] = set()
        self.read()
        self._database = next(iter(self._moments))
        self._moment = ""
        self.renew()

    def read(self) -> None:
        """Reads what other sinks may have added."""
        moments: dict[str, set[str]] = {}
        for mark in _rows(self._select(_MARKS), _Mark):
            moments.setdefault(mark.database, set()).add(mark.moment)
            self._held_rows |= mark.held_rows
        for one in _rows(self._select(_ADOPTED), _Adopted):
            if one.topic:
                # Of two that two sinks noted at the same time, the smaller one: from there on what is missing is found.
                self._adopted[one.consumer_group, TopicPartition(one.topic, one.partition)] = Commit(
                    one.offset, one.metadata
                )
            else:
                self._looked_at.add(one.consumer_group)
        self._moments = moments

    def renew(self) -> None:
        """Marks commits with a new moment from now on; it is stored before."""
        moment = secrets.token_hex(8)
        self._select(
            f"INSERT INTO unjoin.sink_marks (database, moment) SELECT {literal(self._database)}, {literal(moment)}"
        )
        self._moments.setdefault(self._database, set()).add(moment)
        self._moment = moment

    def marked(self, said: str) -> str:
        """A commit's metadata with the mark of now; asks nobody."""
        return marked(self._database, self._moment, said)

    def adopt(self, group: str, commits: Mapping[TopicPartition, Commit]) -> None:
        """Takes over commits without a mark: once a group, and only where a version before has filled the database."""
        if group in self._looked_at or not self._held_rows:
            return
        self.read()
        if group in self._looked_at:
            return
        for one, commit in commits.items():
            if commit.offset is not None and split_mark(commit.metadata)[0] is None:
                self._note(group, one, commit)
        self._note(group, TopicPartition("", 0), Commit(0))
        self.read()

    def _note(self, group: str, one: TopicPartition, commit: Commit) -> None:
        self._select(
            "INSERT INTO unjoin.sink_adopted (consumer_group, topic, partition, offset, metadata) "
            f"SELECT {literal(group)}, {literal(one.topic)}, {one.partition}, {commit.offset}, "
            f"{literal(commit.metadata)}"
        )

    def meaning(self, group: str, one: TopicPartition, commit: Commit) -> Meaning:
        """What a commit of a group is to this database; a moment that is new here may be another sink's."""
        adopted = self._adopted.get((group, one))
        meaning = meaning_of(commit, self._moments, adopted)
        if meaning.kind in (Kind.AHEAD, Kind.OTHER):
            self.read()
            meaning = meaning_of(commit, self._moments, adopted)
        return meaning


def _rows(lines: bytes, kind: Any) -> list[Any]:
    return [msgspec.json.decode(line, type=kind, strict=False) for line in lines.splitlines() if line.strip()]
