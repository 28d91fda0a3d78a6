"""Pure: accepted = stored + passed on + verdicts + collapsed + dead-lettered + suppressed + expired + erased + held.

The unit is a record, on Kafka or in a spool: an accepted event, or a copy of one that a retry made. A verdict is one
record or two. Every copy has an outcome of its own: where two of them reach a table, one is stored and one collapsed.
"""

from collections.abc import Iterable, Sequence

import msgspec


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the records of one topic, or of a category's topic and spool.

    Attributes:
        name: the category, `labels` for released ones, `dead_letters`.
        accepted: acknowledged records.
        stored: rows, counted in ClickHouse.
        passed_on: labels that the door released; what became of those is `labels`.
        verdicts: judgements that the door took in.
        collapsed: further records of a row, counted in the log; at the door, answers that lost to another.
        dead_lettered: set aside on the topic of dead letters.
        suppressed: labels that the door will never release.
        expired: records that outlived their retention before they were read or could leave.
        erased: rows that are gone because somebody asked.
        held: records in a spool, in flight, or waiting for their crowd.
        excess: rows or dead letters that no record explains. They never make up for what is missing.
        before: records that left the log by retention; their rows are out of the audit's reach.
    """

    name: str
    accepted: int = 0
    stored: int = 0
    passed_on: int = 0
    verdicts: int = 0
    collapsed: int = 0
    dead_lettered: int = 0
    suppressed: int = 0
    expired: int = 0
    erased: int = 0
    held: int = 0
    excess: int = 0
    before: int = 0

    @property
    def missing(self) -> int:
        """Accepted, and nowhere; negative where outcomes were counted that nobody accepted."""
        outcomes = self.stored + self.passed_on + self.verdicts + self.collapsed + self.dead_lettered
        return self.accepted - outcomes - self.suppressed - self.expired - self.erased - self.held

    @property
    def difference(self) -> int:
        """0, or how many records are not accounted for, rows too many added."""
        return abs(self.missing) + self.excess


class Finding(msgspec.Struct, frozen=True):
    """Something that is wrong.

    Attributes:
        what: a sentence with numbers and without a payload.
        where: ranges of offsets, as text.
    """

    what: str
    where: tuple[str, ...] = ()


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """The way between the door and `labels`.

    Attributes:
        said: labels that the door committed as released.
        on_topic: readable records of the released topic, since ever.
        distinct: different ones among them (row and version).
        held: records that the door has not committed yet; some may be released already.
    """

    said: int
    on_topic: int
    distinct: int
    held: int

    @property
    def lost(self) -> int:
        """Released on the door's word, and not on the topic."""
        return max(0, self.said - self.on_topic)

    @property
    def unsaid(self) -> int:
        """More than the door ever released; what it releases again after a crash is equal and counts once."""
        return max(0, self.distinct - self.said)


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of an audit.

    Attributes:
        findings: empty where the difference is 0.
        doubts: why something could not be told.
        notes: what was left out, and is no fault.
    """

    lines: Sequence[Line]
    findings: Sequence[Finding] = ()
    doubts: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def difference(self) -> int:
        """The sum of the lines' differences."""
        return sum(line.difference for line in self.lines)

    @property
    def exit_code(self) -> int:
        """0 balanced, 1 not, 3 where it could not be told."""
        if self.difference or self.findings:
            return 1
        return 3 if self.doubts else 0


def ranges(offsets: Iterable[int]) -> list[str]:
    """Offsets as few words: "17", "42-44"."""
    found: list[list[int]] = []
    for offset in sorted(set(offsets)):
        if found and found[-1][1] == offset - 1:
            found[-1][1] = offset
        else:
            found.append([offset, offset])
    return [str(first) if first == last else f"{first}-{last}" for first, last in found]
