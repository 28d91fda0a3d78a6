"""The marks of a database that is none: as `sinks.clickhouse.marks.Marks`, in memory."""

import itertools
from collections.abc import Mapping

from aiokafka import TopicPartition

from sinks.kafka.commit_marks import Commit, Meaning, marked, meaning_of, split_mark

_databases = itertools.count(1)


def shared_marks() -> "MemoryMarks":
    """The same in every process: of sinks in front of one database that holds no marks."""
    return MemoryMarks({"shared": set()}, moment="any")


class MemoryMarks:
    """One sink's marks; those of several on one database share `moments`.

    Args:
        moment: this one instead of a new one.

    Attributes:
        moments: by id of the database.
        held_rows: whether a version before has filled it.
    """

    def __init__(
        self, moments: dict[str, set[str]] | None = None, *, held_rows: bool = False, moment: str = ""
    ) -> None:
        self.moments = {f"database-{next(_databases)}": set()} if moments is None else moments
        self.held_rows = held_rows
        self._adopted: dict[str, dict[TopicPartition, Commit]] = {}
        self._database = next(iter(self.moments))
        known = self.moments[self._database]
        self._moment = moment or f"moment-{len(known)}"
        known.add(self._moment)

    def marked(self, said: str) -> str:
        """With the mark of now."""
        return marked(self._database, self._moment, said)

    def adopt(self, group: str, commits: Mapping[TopicPartition, Commit]) -> None:
        """Once a group."""
        if self.held_rows and group not in self._adopted:
            self._adopted[group] = {
                one: commit
                for one, commit in commits.items()
                if commit.offset is not None and split_mark(commit.metadata)[0] is None
            }

    def meaning(self, group: str, one: TopicPartition, commit: Commit) -> Meaning:
        """What a commit is to this database."""
        return meaning_of(commit, self.moments, self._adopted.get(group, {}).get(one))
