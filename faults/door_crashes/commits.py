"""Whether the group ever committed past something that had not left, from what was seen from outside. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from faults.door_crashes.crowds import Expected
from schemas.events import DeidentifiedLabel


class Sample(msgspec.Struct, frozen=True):
    """One moment.

    Attributes:
        committed: labeled partition -> the group's next offset.
        ends: released partition -> one past its last record, asked *after* `committed` was.
    """

    committed: dict[int, int]
    ends: dict[int, int]


class CommitFindings(msgspec.Struct, kw_only=True):
    """What was found; the first two are the bar, and zero.

    Attributes:
        ahead: commits that passed a crowd of which a label lay on the released topic only later, or never.
        astray: commits that are not where a crowd's range begins, nor the end of what is done.
        samples: different states that were seen.
    """

    ahead: int = 0
    astray: int = 0
    samples: int = 0

    @property
    def holds(self) -> bool:
        """Whether all that must be zero is."""
        return not self.ahead and not self.astray


def commit_findings_of(
    samples: Iterable[Sample], expected: Expected, released: Mapping[int, Sequence[DeidentifiedLabel]]
) -> CommitFindings:
    """Holds every sample against the log.

    Args:
        released: by partition, in offset order, whole: an index is an offset.
    """
    needed = _needed(expected, released)
    findings = CommitFindings()
    for sample in samples:
        findings.samples += 1
        for partition, committed in sample.committed.items():
            findings.astray += committed not in expected.boundaries.get(partition, {0})
            missing = [
                at
                for end, ends in needed[partition]
                if end <= committed
                for at, needs in ends.items()
                if sample.ends[at] < needs
            ]
            findings.ahead += bool(missing)
    return findings


def _needed(
    expected: Expected, released: Mapping[int, Sequence[DeidentifiedLabel]]
) -> defaultdict[int, list[tuple[int, dict[int, float]]]]:
    """Labeled partition -> (end of a crowd's range, released partition -> how long it is once the crowd is on it)."""
    first: dict[DeidentifiedLabel, tuple[int, int]] = {}
    for partition, labels in released.items():
        for index, label in enumerate(labels):
            first.setdefault(label, (partition, index))
    needed: defaultdict[int, list[tuple[int, dict[int, float]]]] = defaultdict(list)
    for crowd in expected.crowds:
        ends: dict[int, float] = {}
        for label in crowd.labels:
            partition, index = first.get(label, (min(released), float("inf")))
            ends[partition] = max(ends.get(partition, 0), index + 1)
        needed[crowd.partition].append((crowd.end, ends))
    return needed
