"""Pure: what a commit of a sink's group says to the database in front of it.

A sink puts a mark before what it says in the metadata of a commit: "by=DATABASE/MOMENT …". The database is a random id
that the database holds; the moment is one that a sink made and stored there before it used it.

    commit                                   what it is   what the sink does
    none                                     none         reads from the log's start, inserts what is missing
    marked, of this database and a moment    own          goes on from it
    that it holds
    marked, of this database and a moment    ahead        refuses: the database was restored from a backup
    that it does not hold
    marked, of another database              other        refuses
    without a mark, as it was when the       adopted      goes on from it
    first sink with marks started
    without a mark                           foreign      goes on from the adopted one, and inserts what is missing;
                                                          where there is none, as if there were no commit

The version before wrote no mark. Of its commits those are adopted that lay there when the first sink with marks started
on a database that held rows: later ones may be anybody's.
"""

import enum
from collections.abc import Collection, Mapping

import msgspec

MARK = "by="
# In the place of an intent: any row from the offset on may be stored. `Intent.of` reads it so.
ANY_MAY_BE_STORED = "?"


class Commit(msgspec.Struct, frozen=True):
    """A group's commit of a partition; offset None where there is none."""

    offset: int | None
    metadata: str = ""


class Kind(enum.Enum):
    """What a commit is to a database."""

    NONE = "none"
    OWN = "own"
    AHEAD = "ahead"
    OTHER = "other"
    ADOPTED = "adopted"
    FOREIGN = "foreign"


REFUSED = frozenset({Kind.AHEAD, Kind.OTHER})


class Meaning(msgspec.Struct, frozen=True):
    """What a commit is, and where the sink goes on.

    Attributes:
        go_on: the commit to believe, without its mark.
    """

    kind: Kind
    go_on: Commit


def marked(database: str, moment: str, said: str) -> str:
    """Metadata with its mark."""
    return f"{MARK}{database}/{moment} {said}".rstrip()


def split_mark(metadata: str) -> tuple[tuple[str, str] | None, str]:
    """Database and moment of a commit's mark, None where it has none, and the rest of its metadata."""
    word, _, rest = metadata.partition(" ")
    database, slash, moment = word.removeprefix(MARK).partition("/")
    if word.startswith(MARK) and database and slash and moment:
        return (database, moment), rest
    return None, metadata


def meaning_of(commit: Commit, moments: Mapping[str, Collection[str]], adopted: Commit | None) -> Meaning:
    """What a commit is to the database that holds these moments.

    Args:
        moments: by id of the database. There are two ids only where two sinks made the tables at the same time.
        adopted: the partition's commit without a mark that the database took over; None where it did not.
    """
    if commit.offset is None:
        return Meaning(Kind.NONE, Commit(None))
    mark, said = split_mark(commit.metadata)
    if mark is not None:
        database, moment = mark
        kind = Kind.OTHER if database not in moments else Kind.OWN if moment in moments[database] else Kind.AHEAD
        return Meaning(kind, Commit(commit.offset, said))
    if adopted is None:
        return Meaning(Kind.FOREIGN, Commit(None))
    if commit == adopted:
        return Meaning(Kind.ADOPTED, adopted)
    return Meaning(Kind.FOREIGN, Commit(adopted.offset, _doubted(adopted.metadata)))


def rewound(meaning: Meaning, start: int, end: int, since: int | None) -> Commit:
    """The commit, without its mark, from which a database is filled again from the log.

    It never goes forward from a commit of this database, or nobody would read what lies between.

    Args:
        meaning: of the commit that is there.
        start, end: the log's first offset, and the one after its last.
        since: the first offset to read again; None for the log's start.
    """
    offset = start if since is None else min(max(since, start), end)
    counted: list[str] = []
    if meaning.kind is not Kind.OTHER and meaning.go_on.offset is not None:
        offset = max(start, min(offset, meaning.go_on.offset))
        counted = _counted(meaning.go_on.metadata)
    # Rows of everything that is there now may be stored.
    in_doubt = [f"{offset} {end}"] if end > offset else []
    return Commit(offset, " ".join([*in_doubt, *counted]))


def _doubted(metadata: str) -> str:
    """What is counted stays counted; which rows are stored is open."""
    return " ".join([ANY_MAY_BE_STORED, *_counted(metadata)])


def _counted(metadata: str) -> list[str]:
    return [word for word in metadata.split(" ") if "=" in word]
